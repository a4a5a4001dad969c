"""L-BFGS as an optax transformation, in the compact form: few large products, no long recursion.

The usual two-loop recursion is 2m dependent steps over vectors of the image's size. Written with
the inverse Hessian's compact representation (Byrd, Nocedal & Schnabel 1994, theorem 2.2 and
eq. 3.1), it is two passes over the history and two triangular solves of size m, and gives the same
direction. In the order of their algorithm 3.1:

    1. S and Y get the newest step s and change of the gradient y
    2. Sᵀg, Sᵀy, YᵀM g and YᵀM y, in one pass over S and one over Y
    3. R, the upper triangle of SᵀY in order of time, D, its diagonal, and YᵀMY get a column
    4. γ = sᵀy / yᵀM y
    5. a = R⁻¹ Sᵀg,  b = R⁻ᵀ ((D + γ YᵀMY) a − γ YᵀM g)
    6. H g = γ M g + S b − γ M Y a

γ M is what the inverse Hessian is taken for before anything is known of it: M is the identity, as
in their section 3, or a preconditioner. Of Y only M Y is needed, so that a preconditioner is
applied once in each step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from nst_jax.optim.lbfgs_history import (
    combine,
    narrow,
    store,
    stored_shape,
    stored_type,
    times,
    widen,
)
from nst_jax.rows import ALONE, Rows

# A pair is kept where sᵀy exceeds this share of |s|·|y|: below float32's rounding the sign of the
# curvature is noise. (PyTorch's absolute 1e-10 would depend on the loss's scale.)
CURVATURE_FLOOR = 1e-7

Preconditioner = Callable[[optax.Updates], optax.Updates]


class LBFGSState(NamedTuple):
    """State of `scale_by_lbfgs`, for n parameters in all and m pairs of history.

    All are of the parameters' type where nothing else is said.

    Attributes:
        slot: int32 scalar, the row that the next pair goes to. It depends on nothing but the number
            of updates, so that the lanes of a `vmap` may share it.
        steps: (m, n), the s = x_{k+1} − x_k, stored as `lbfgs_history` says, on TPUs in tiles; a
            row that is not valid is zero or stale.
        changes: (m, n), the M y of y = g_{k+1} − g_k, stored in the same way.
        valid: (m,) bool, the rows that hold a pair.
        steps_changes: (m, m), sᵢᵀyⱼ, right where row i is no newer than row j.
        changes_changes: (m, m), yᵢᵀM yⱼ.
        scale: scalar, γ of the newest valid pair.
        started: bool scalar, whether the three below hold the last update's values.
        params: (n,), where the last gradient was taken.
        gradient: (n,), the last gradient.
        scaled: (n,), M times it.
    """

    slot: jax.Array
    steps: jax.Array
    changes: jax.Array
    valid: jax.Array
    steps_changes: jax.Array
    changes_changes: jax.Array
    scale: jax.Array
    started: jax.Array
    params: jax.Array
    gradient: jax.Array
    scaled: jax.Array


# Of the state under `vmap`. With one slot for all lanes their pairs are stored by one update of one
# slice, in place; with a slot for each it would be a scatter of as many.
LANE_AXES: Any = LBFGSState._make([None, *[0] * (len(LBFGSState._fields) - 1)])


def lbfgs(
    learning_rate: float = 1.0,
    memory: int = 50,
    preconditioner: Preconditioner | None = None,
    history: Any = None,
    rows: Rows = ALONE,
    tiled: bool = False,
) -> optax.GradientTransformation:
    """L-BFGS with a fixed step: x ← x − learning_rate · H g.

    Without a line search each update needs exactly one gradient, so the lanes of a `vmap` never
    wait for each other.

    Args:
        learning_rate: length of the step; 1 is the quasi-Newton step.
        memory: m, the number of pairs kept.
        preconditioner: M, as `scale_by_lbfgs` describes it; None: the identity.
        history: type of the pairs; None: that of the parameters.
        rows: see `scale_by_lbfgs`.
        tiled: see `scale_by_lbfgs`.

    Returns:
        An optax transformation whose `update` needs `params`.
    """
    direction = scale_by_lbfgs(memory, preconditioner, history, rows, tiled)
    return optax.chain(direction, optax.scale(-learning_rate))


def scale_by_lbfgs(
    memory: int = 50,
    preconditioner: Preconditioner | None = None,
    history: Any = None,
    rows: Rows = ALONE,
    tiled: bool = False,
) -> optax.GradientTransformation:
    """Multiply gradients with the L-BFGS approximation of the inverse Hessian.

    The first direction is M g, shortened to length 1 where it is longer (as in optax). Pairs
    without positive curvature are skipped.

    Args:
        memory: m, the number of pairs kept; 2·m·n numbers of state.
        preconditioner: M, from gradients to what has their form; linear, symmetric and positive
            definite. With M = F Fᵀ it gives the x = F z of plain L-BFGS on z. None: the identity.
        history: the type that pairs are kept in; None is that of the parameters. bfloat16 halves
            the state of float32; what is summed is summed in the parameters' type.
        rows: of the parameters, where devices share them: each holds its own part of all vectors.
        tiled: whether pairs are stored as a TPU keeps vectors.

    Returns:
        An optax transformation whose `update` needs `params`.

    Source: Byrd, Nocedal & Schnabel 1994; Liu & Nocedal 1989.
    """
    if memory < 1:
        raise ValueError(f"L-BFGS memory is {memory}; wanted at least 1")

    def init(params: optax.Params) -> LBFGSState:
        flat, _ = ravel_pytree(params)
        kept = memory, *stored_shape(flat.size, tiled)
        pairs = jnp.zeros(kept, stored_type(history or flat.dtype))
        square = jnp.zeros((memory, memory), flat.dtype)
        return LBFGSState(
            slot=jnp.zeros((), jnp.int32),
            steps=pairs,
            changes=jnp.zeros_like(pairs),
            valid=jnp.zeros(memory, bool),
            steps_changes=square,
            changes_changes=jnp.zeros_like(square),
            scale=jnp.ones((), flat.dtype),
            started=jnp.zeros((), bool),
            params=jnp.zeros_like(flat),
            gradient=jnp.zeros_like(flat),
            scaled=jnp.zeros_like(flat),
        )

    def update(
        gradients: optax.Updates, state: LBFGSState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, LBFGSState]:
        if params is None:
            raise ValueError("L-BFGS needs params in update(gradients, state, params)")
        gradient, unravel = ravel_pytree(gradients)
        scaled = ravel_pytree(preconditioner(gradients))[0] if preconditioner else gradient
        state, products = _remember(state, ravel_pytree(params)[0], gradient, scaled, rows)
        return unravel(_direction(state, products, rows)), state

    return optax.GradientTransformation(init, update)


def forget(state: LBFGSState) -> LBFGSState:
    """Empty the history, without touching its large arrays."""
    return state._replace(valid=jnp.zeros_like(state.valid), started=jnp.zeros_like(state.started))


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)


def _remember(
    state: LBFGSState, params: jax.Array, gradient: jax.Array, scaled: jax.Array, rows: Rows
) -> tuple[LBFGSState, tuple[jax.Array, jax.Array]]:
    """Steps 1 to 4, at params (n,) with g (n,) and M g (n,).

    Returns:
        The state with the newest pair, and the products (Sᵀg, YᵀM g), each (m,).
    """

    def kept(vector: jax.Array) -> jax.Array:
        """Rounded as the history rounds, so that products are those of what it holds."""
        return widen(narrow(vector, state.steps.dtype), vector.dtype)

    step, scaled_change = kept(params - state.params), kept(scaled - state.scaled)
    change = scaled_change if scaled is gradient else gradient - state.gradient
    pairs = (step, change), (change, scaled_change), (step, step), (change, change)
    curvature, norm, *squares = rows.sum([_dot(*pair) for pair in pairs])
    floor = CURVATURE_FLOOR * jnp.sqrt(squares[0] * squares[1])
    keep = state.started & (curvature > floor) & jnp.isfinite(curvature + norm)
    # 1. A skipped pair is stored as zeros: 0 · NaN would poison the products for good.
    change = jnp.where(keep, change, 0.0)
    steps = store(state.steps, state.slot, jnp.where(keep, step, 0.0))
    changes = store(state.changes, state.slot, jnp.where(keep, scaled_change, 0.0))
    # 2.
    vectors = jnp.stack([gradient, change])
    products = rows.sum((times(steps, vectors), times(changes, vectors)))
    (steps_g, steps_y), (changes_g, changes_y) = products
    # 3. No new row for SᵀY: but for its diagonal it would lie below R.
    remembered = LBFGSState(
        slot=(state.slot + 1) % state.valid.size,
        steps=steps,
        changes=changes,
        valid=state.valid.at[state.slot].set(keep),
        steps_changes=state.steps_changes.at[:, state.slot].set(steps_y),
        changes_changes=state.changes_changes.at[:, state.slot]
        .set(changes_y)
        .at[state.slot]
        .set(changes_y),
        scale=jnp.where(keep, curvature / norm, state.scale),  # 4.
        started=jnp.ones_like(state.started),
        params=params,
        gradient=gradient,
        scaled=scaled,
    )
    return remembered, (steps_g, changes_g)


def _coefficients(
    state: LBFGSState, steps_g: jax.Array, changes_g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Step 5: (γ a, b), each (m,), of the changes and the steps in H g; zero without a pair."""
    order = (state.slot + jnp.arange(state.valid.size)) % state.valid.size  # oldest first
    valid = state.valid[order]
    both_valid = valid[:, None] & valid[None, :]
    identity = jnp.eye(valid.size, dtype=steps_g.dtype)
    # A row without a pair becomes a row of the identity, and its coefficients zero.
    r = jnp.where(both_valid, state.steps_changes[order][:, order], identity)
    yy = jnp.where(both_valid, state.changes_changes[order][:, order], 0.0)
    sg = jnp.where(valid, steps_g[order], 0.0)
    yg = jnp.where(valid, changes_g[order], 0.0)
    a = solve_triangular(r, sg)  # reads nothing below the diagonal
    right = jnp.diagonal(r) * a + state.scale * (_dot(yy, a) - yg)
    b = solve_triangular(r, right, trans="T")
    undo = (jnp.arange(valid.size) - state.slot) % valid.size
    return state.scale * a[undo], b[undo]


def _direction(state: LBFGSState, products: tuple[jax.Array, jax.Array], rows: Rows) -> jax.Array:
    """Step 6: H g of the last gradient, (n,), or the shortened M g where the history is empty."""
    a, b = _coefficients(state, *products)
    quasi_newton = state.scale * state.scaled + combine(b, state.steps, state.scaled.size)
    quasi_newton -= combine(a, state.changes, state.scaled.size)
    norm = jnp.sqrt(rows.sum(_dot(state.scaled, state.scaled)))
    shorten = jnp.minimum(1.0, 1.0 / norm)
    return jnp.where(jnp.any(state.valid), quasi_newton, shorten * state.scaled)
