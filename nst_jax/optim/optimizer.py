"""The optimizers behind one interface: an optax transformation, how to restart it, and its bounds.

Restarting matters where the loss explodes; it must not copy L-BFGS's history, so each optimizer
says itself how its state is emptied.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nst_jax.optim.lbfgs import LANE_AXES, LBFGSState, forget, lbfgs
from nst_jax.optim.preconditioner import precondition
from nst_jax.rows import ALONE, Rows

# Steps after which Adam's learning rate, which falls as 1/√(1 + step / COOLING), is 0.7 of the
# first one. A first rate of 0.07 gives a lower loss than a constant 0.02 (at 96 px after 120 steps
# from the content image 0.47 and 0.57), and a worse picture: at 192 and 256 px speckle all over.
COOLING = 25


# Images in a row above the best loss after which L-BFGS goes back to the best one. Its fixed step
# may raise the loss once or twice and still be ahead; after a first step that was too long it took
# 23 to come back (luminance alone, 64 px). Going back after 2 or 5 ended 3 and 5 % higher there, in
# the mean of five runs of 60 steps.
PATIENCE = 3


class Optimizer(NamedTuple):
    """How an image is updated.

    Attributes:
        init: params → state.
        update: (gradients, state, params) → (updates, state), as in optax.
        restart: state → the state before any update, without copying what is large.
        project: image → the image that the next gradient is taken at.
        lane_axes: of the state under `vmap`, as its in_axes and out_axes want them.
        patience: images in a row above the best loss after which it goes back to the best; 0:
            never.
    """

    init: Callable[[jax.Array], optax.OptState]
    update: Callable[[jax.Array, optax.OptState, jax.Array], tuple[jax.Array, optax.OptState]]
    restart: Callable[[optax.OptState], optax.OptState]
    project: Callable[[jax.Array], jax.Array]
    lane_axes: Any
    patience: int = 0


def make_optimizer(
    name: str,
    learning_rate: float,
    lbfgs_memory: int,
    preconditioned: bool = False,
    lbfgs_history: str = "float32",
    chroma_smoothing: jax.Array | float | None = None,
    by_planes: bool = False,
    rows: Rows = ALONE,
) -> Optimizer:
    """Make the optimizer called "lbfgs" or "adam".

    L-BFGS is never clipped: a clipped step breaks the pairs that it learns curvature from.
    Adam is clipped to [0, 1] at each step, and takes shorter and shorter ones (`COOLING`): it moves
    every pixel by about the learning rate, at first to clear away what the image began with, later
    only to and fro; so a loss above the best does not call it back.

    Args:
        name: "lbfgs" or "adam".
        learning_rate: of the optimizer; for Adam that of the first step, in units of the image's
            range.
        lbfgs_memory: pairs of history, for L-BFGS.
        preconditioned: whether it works in the variables that `preconditioner` describes, of an
            image (H, W, C).
        lbfgs_history: the type of these pairs: "float32" (or wider, where the image is) or
            "bfloat16".
        chroma_smoothing: of the preconditioner, a scalar, or None.
        by_planes: whether L-BFGS keeps its vectors channel by channel, as a TPU keeps an image: in
            the order of pixels each would be copied through an array padded from 3 channels to 128.
            Its history then lies in a TPU's tiles.
        rows: of the image, where devices share them.
    """
    scaled = partial(precondition, chroma_smoothing=chroma_smoothing, rows=rows)
    if name == "lbfgs":
        preconditioner: Callable[..., Any] | None = scaled if preconditioned else None
        history = jnp.bfloat16 if lbfgs_history == "bfloat16" else None
        if by_planes and preconditioner:
            preconditioner = _on_planes(preconditioner)
        init, update = lbfgs(learning_rate, lbfgs_memory, preconditioner, history, rows, by_planes)
        if by_planes:
            update = _of_planes(update)
        axes = LANE_AXES, 0
        return Optimizer(init, update, _restart_lbfgs, lambda image: image, axes, PATIENCE)
    init, update = optax.adam(lambda step: learning_rate / jnp.sqrt(1 + step / COOLING))
    if preconditioned:
        update = _between_roots(update, partial(scaled, power=0.5))
    return Optimizer(init, update, _zeros, lambda image: image.clip(0.0, 1.0), 0)


def _between_roots(
    update: Callable[..., Any], root: Callable[[jax.Array], jax.Array]
) -> Callable[..., Any]:
    """Adam's update, of variables z of which the image is x = M½ z; `root` multiplies with M½."""

    def updated(gradient: jax.Array, state: optax.OptState, image: jax.Array) -> Any:
        change, state = update(root(gradient), state, image)
        return root(change), state

    return updated


def _to_planes(image: jax.Array) -> jax.Array:
    return jnp.moveaxis(image, -1, 0)


def _from_planes(planes: jax.Array) -> jax.Array:
    return jnp.moveaxis(planes, 0, -1)


def _on_planes(operator: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """An operator on images (H, W, C), for (C, H, W)."""
    return lambda planes: _to_planes(operator(_from_planes(planes)))


def _of_planes(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update of (C, H, W), for images (H, W, C)."""

    def updated(gradient: jax.Array, state: optax.OptState, image: jax.Array) -> Any:
        change, state = update(_to_planes(gradient), state, _to_planes(image))
        return _from_planes(change), state

    return updated


def _restart_lbfgs(state: optax.OptState) -> optax.OptState:
    return tuple(forget(s) if isinstance(s, LBFGSState) else s for s in state)


def _zeros(state: optax.OptState) -> optax.OptState:
    """Adam starts from zeros throughout."""
    return jax.tree.map(jnp.zeros_like, state)
