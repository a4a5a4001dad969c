"""Gram matrices of features, plain and guided, and how their gradients are put off.

Features are (N, h, w, C). Everything here is pure and may be jitted, vmapped and differentiated
(in reverse).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Numbers of a layer's features that are weighted at once, 4 MB in float32: a step of 1024×683 px
# takes 1.24 GB of temporaries with four regions and 1.19 GB without; in one piece it took 2.19 GB.
BLOCK = 2**20


def gram_matrix(features: jax.Array) -> jax.Array:
    """Gram matrix of each image's features, divided by its number of positions.

    G = FᵀF / M, where row p of F is the feature vector at position p and M = h·w, summed in
    float32 at full precision whatever the features are: a Gram matrix sums 10⁵ products.

    Args:
        features: (N, h, w, C), any float type.

    Returns:
        (N, C, C), float32 (float64 where the features are).

    Source: Gatys et al. 2015, eq. 3. Deviation: divided by M, so that images of different size
    may be compared; `losses` puts the paper's factors back.
    """
    count, height, width, channels = features.shape
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    flat = features.reshape(count, height * width, channels).astype(dtype)
    return _products(flat) / (height * width)


@jax.custom_vjp
def _products(flat: jax.Array) -> jax.Array:
    """FᵀF of (N, M, C): (N, C, C)."""
    return jnp.einsum("npc,npd->ncd", flat, flat, precision=lax.Precision.HIGHEST)


def _products_backward(flat, cotangent):
    # F (Ġ + Ġᵀ): automatic differentiation would take two products for the two factors.
    symmetric = cotangent + cotangent.swapaxes(1, 2)
    return (jnp.einsum("npc,ncd->npd", flat, symmetric, precision=lax.Precision.HIGHEST),)


_products.defvjp(lambda flat: (_products(flat), flat), _products_backward)


def guided_gram_matrix(features: jax.Array, guides: jax.Array) -> jax.Array:
    """Gram matrices of each image's features, one for each region.

    G_r = F_rᵀ F_r, where F_r = T_r ∘ F: every filter's map times the guidance map. Summed in
    float32 at full precision whatever the features are. As Σ T² = 1 it is a mean over positions,
    and that of one region of ones is `gram_matrix`, FᵀF / M.

    Args:
        features: (N, h, w, C), any float type.
        guides: (N or 1, R, h, w), the maps of `guidance.make_guides`.

    Returns:
        (N, R, C, C), float32 (float64 where the features are).

    Source: Gatys et al. 2017, section 4.1.
    """
    count, height, width, channels = features.shape
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    flat = features.reshape(count, height * width, channels).astype(dtype)
    regions = guides.shape[1]
    shares = jnp.square(guides.astype(dtype)).reshape(-1, regions, height * width)
    return _guided_products(flat, jnp.broadcast_to(shares, (count, *shares.shape[1:])))


@jax.custom_vjp
def _guided_products(flat: jax.Array, shares: jax.Array) -> jax.Array:
    """Σ_p s_rp f_p f_pᵀ of F (N, M, C) and s = T² (N, R, M): (N, R, C, C)."""
    count, _, channels = flat.shape
    regions = range(shares.shape[1])

    def add(products, first, size):
        part, share = _block(flat, first, size, 1), _block(shares, first, size, 2)
        terms = [
            jnp.einsum(
                "npc,npd->ncd", part * share[:, r, :, None], part, precision=lax.Precision.HIGHEST
            )
            for r in regions
        ]
        return products + jnp.stack(terms, axis=1)

    zeros = jnp.zeros((count, len(regions), channels, channels), flat.dtype)
    return _in_blocks(add, zeros, flat.shape)


def _guided_products_backward(residuals, cotangent):
    # Σ_r s_r ∘ F (Ġ_r + Ġ_rᵀ): one product for each region, as that of `gram_matrix`.
    flat, shares = residuals
    regions = range(shares.shape[1])
    symmetric = cotangent + cotangent.swapaxes(2, 3)

    def put(gradients, first, size):
        part, share = _block(flat, first, size, 1), _block(shares, first, size, 2)
        products = [
            jnp.einsum("npc,ncd->npd", part, symmetric[:, r], precision=lax.Precision.HIGHEST)
            for r in regions
        ]
        of_flat = sum(share[:, r, :, None] * products[r] for r in regions)
        # Only those who search for masks need this one; elsewhere XLA removes it as dead code.
        of_shares = jnp.stack([jnp.sum(part * products[r], axis=2) / 2 for r in regions], axis=1)
        return (
            lax.dynamic_update_slice_in_dim(gradients[0], of_flat, first, 1),
            lax.dynamic_update_slice_in_dim(gradients[1], of_shares, first, 2),
        )

    zeros = jnp.zeros_like(flat), jnp.zeros_like(shares)
    return _in_blocks(put, zeros, flat.shape)


_guided_products.defvjp(lambda f, s: (_guided_products(f, s), (f, s)), _guided_products_backward)


def _block(array: jax.Array, first: jax.Array | int, size: int, axis: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(array, first, size, axis)


def _in_blocks(update: Callable[..., Any], carry: Any, shape: tuple[int, ...]) -> Any:
    """Apply `update(carry, first, size)` to one block of positions of F (N, M, C) after the other.

    All at once would take a copy of the features for every region.
    """
    count, positions, channels = shape
    size = min(positions, max(1, BLOCK // (count * channels)))
    whole, rest = divmod(positions, size)
    carry = lax.fori_loop(0, whole, lambda n, carry: update(carry, n * size, size), carry)
    return update(carry, whole * size, rest) if rest else carry


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
    """
    return inputs, function(inputs, *arguments)


def _observe_forward(function, inputs, *arguments):
    return observe(function, inputs, *arguments), (inputs, arguments)


def _observe_backward(function, residuals, cotangents):
    (inputs, arguments), (onward, observed) = lax.optimization_barrier((residuals, cotangents))
    own, *others = jax.vjp(function, inputs, *arguments)[1](observed)
    return onward + own, *others


observe.defvjp(_observe_forward, _observe_backward)
