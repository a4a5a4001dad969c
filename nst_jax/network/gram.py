"""Gram matrices of features, plain and guided, and how their gradients are put off.

Everything here is pure and may be jitted, vmapped and differentiated (in reverse). Gram matrices
are summed in float32 at full precision whatever the features are: they sum 10⁵ products.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.rows import Rows

# Numbers of a layer's features that are weighted at once, 4 MB in float32: a step of 1024×683 px
# takes 1.24 GB of temporaries with four regions and 1.19 GB without; in one piece it took 2.19 GB.
BLOCK = 2**20

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def gram_matrix(features: jax.Array) -> jax.Array:
    """Gram matrix of each image's features, divided by its number of positions.

    G = FᵀF / M, where row p of F is the feature vector at position p and M = h·w.

    Args:
        features: (N, h, w, C), any float type.

    Returns:
        (N, C, C), float32 (float64 where the features are).

    Source: Gatys et al. 2015, eq. 3. Deviation: divided by M, so that images of different size
    may be compared; `losses` puts the paper's factors back.
    """
    flat = _flatten(features)
    return _products(flat) / flat.shape[1]


def guided_gram_matrix(features: jax.Array, guides: jax.Array) -> jax.Array:
    """Gram matrices of each image's features, one for each region.

    G_r = F_rᵀ F_r, where F_r = T_r ∘ F: every filter's map times the guidance map. As Σ T² = 1 it
    is a mean over positions, and that of one region of ones is `gram_matrix`, FᵀF / M.

    Args:
        features: (N, h, w, C), any float type.
        guides: (N or 1, R, h, w), the maps of `guidance.make_guides`.

    Returns:
        (N, R, C, C), float32 (float64 where the features are).

    Source: Gatys et al. 2017, section 4.1.
    """
    flat = _flatten(features)
    count, positions, _ = flat.shape
    regions = guides.shape[1]
    shares = jnp.square(guides.astype(flat.dtype)).reshape(-1, regions, positions)
    return _guided_products(flat, jnp.broadcast_to(shares, (count, regions, positions)))


def over_devices(gram_of: Callable[..., jax.Array], rows: Rows) -> Callable[..., jax.Array]:
    """A function below, of features whose rows devices share: the whole, on all of them."""
    if rows.devices == 1:
        return gram_of
    return OverDevices(gram_of, rows)


@dataclasses.dataclass(frozen=True)
class OverDevices:
    """What `over_devices` returns; two of the same are equal."""

    gram_of: Callable[..., jax.Array]
    rows: Rows

    def __call__(self, features: jax.Array, *guides: jax.Array) -> jax.Array:
        """The Gram matrices of all devices' features."""
        share, held = self.gram_of(features, *guides), features.shape[1]
        return self.rows.sum(share if guides else share * (held / self.rows.whole(held)))


def _flatten(features: jax.Array) -> jax.Array:
    """F, (N, M, C), float32 at the least, of features (N, h, w, C)."""
    count, height, width, channels = features.shape
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    return features.reshape(count, height * width, channels).astype(dtype)


@jax.custom_vjp
def _products(flat: jax.Array) -> jax.Array:
    """FᵀF of F (N, M, C): (N, C, C)."""
    return _einsum("npc,npd->ncd", flat, flat)


def _products_backward(flat, cotangent):
    # F (Ġ + Ġᵀ): automatic differentiation would take two products for the two factors.
    return (_einsum("npc,ncd->npd", flat, cotangent + cotangent.swapaxes(1, 2)),)


_products.defvjp(lambda flat: (_products(flat), flat), _products_backward)


@jax.custom_vjp
def _guided_products(flat: jax.Array, shares: jax.Array) -> jax.Array:
    """Σ_p s_rp f_p f_pᵀ of F (N, M, C) and s = T² (N, R, M): (N, R, C, C)."""
    count, _, channels = flat.shape
    regions = range(shares.shape[1])

    def add(products, first, part, share):
        terms = [_einsum("npc,npd->ncd", part * share[:, r, :, None], part) for r in regions]
        return products + jnp.stack(terms, axis=1)

    zeros = jnp.zeros((count, len(regions), channels, channels), flat.dtype)
    return _in_blocks(add, zeros, flat, shares)


def _guided_products_backward(residuals, cotangent):
    # Σ_r s_r ∘ F (Ġ_r + Ġ_rᵀ): one product for each region, as that of `gram_matrix`.
    flat, shares = residuals
    regions = range(shares.shape[1])
    symmetric = cotangent + cotangent.swapaxes(2, 3)

    def put(gradients, first, part, share):
        products = [_einsum("npc,ncd->npd", part, symmetric[:, r]) for r in regions]
        of_flat = sum(share[:, r, :, None] * products[r] for r in regions)
        # Only those who search for masks need this one; elsewhere XLA removes it as dead code.
        of_shares = jnp.stack([jnp.sum(part * products[r], axis=2) / 2 for r in regions], axis=1)
        return (
            lax.dynamic_update_slice_in_dim(gradients[0], of_flat, first, 1),
            lax.dynamic_update_slice_in_dim(gradients[1], of_shares, first, 2),
        )

    return _in_blocks(put, (jnp.zeros_like(flat), jnp.zeros_like(shares)), flat, shares)


_guided_products.defvjp(lambda f, s: (_guided_products(f, s), (f, s)), _guided_products_backward)


def _in_blocks(update: Callable[..., Any], carry: Any, flat: jax.Array, shares: jax.Array) -> Any:
    """Apply `update(carry, first position, F, s)` to one block of positions after the other.

    All at once would take a copy of the features for every region.
    """
    count, positions, channels = flat.shape
    size = min(positions, max(1, BLOCK // (count * channels)))
    whole, rest = divmod(positions, size)

    def step(carry: Any, first: jax.Array | int, size: int) -> Any:
        part = lax.dynamic_slice_in_dim(flat, first, size, axis=1)
        return update(carry, first, part, lax.dynamic_slice_in_dim(shares, first, size, axis=2))

    carry = lax.fori_loop(0, whole, lambda n, carry: step(carry, n * size, size), carry)
    return step(carry, whole * size, rest) if rest else carry


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def observe(
    function: Callable[..., Any], inputs: jax.Array, *arguments: Any
) -> tuple[jax.Array, Any]:
    """Return the inputs, to go on with, and a function of them, whose gradient is taken late.

    XLA may compute that gradient as soon as the function's value is known, and keep it, as large as
    the inputs, until the gradient of all that comes after has arrived. Here it waits for that one.

    Args:
        function: (inputs, *arguments) → any tree of arrays.
        inputs: any array.
        arguments: any trees of arrays.

    Returns:
        The inputs, and `function(inputs, *arguments)`.
    """
    return inputs, function(inputs, *arguments)


def _observe_forward(function, inputs, *arguments):
    return observe(function, inputs, *arguments), (inputs, arguments)


def _observe_backward(function, residuals, cotangents):
    (inputs, arguments), (onward, observed) = lax.optimization_barrier((residuals, cotangents))
    own, *others = jax.vjp(function, inputs, *arguments)[1](observed)
    return onward + own, *others


observe.defvjp(_observe_forward, _observe_backward)
