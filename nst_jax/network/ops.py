"""The operators of the network: 3×3 convolution, padding, ReLU, 2×2 pooling, Gram matrices.

Arrays are NHWC and kernels HWIO. Everything here is pure and may be jitted, vmapped and
differentiated (in reverse).
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
BORDERS = {"reflect": "reflect", "replicate": "edge"}  # what NumPy calls them


def _convolve(
    inputs: jax.Array, kernel: jax.Array, precision: lax.Precision, pad: int
) -> jax.Array:
    return lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv3x3(
    inputs: jax.Array,
    kernel: jax.Array,
    precision: lax.Precision = lax.Precision.HIGHEST,
    pad: int = 1,
) -> jax.Array:
    """Convolve with 3×3 kernels, stride 1, zero padding.

    The gradient with respect to the inputs is written as the same kind of convolution, because
    XLA:CPU runs the transposed convolution that automatic differentiation makes 4 to 60 times
    slower inside `scan`, `while_loop` and `cond` (jax issue 12868).

    Args:
        inputs: (N, H, W, I).
        kernel: (3, 3, I, O), of the inputs' type.
        precision: of the products; HIGHEST is float32 everywhere, DEFAULT is TF32 on NVIDIA GPUs
            and bfloat16 on TPUs.
        pad: pixels of zeros on each side, 0 to 2; 0 for inputs that `pad_border` has padded.

    Returns:
        (N, H + 2·pad − 2, W + 2·pad − 2, O).
    """
    return _convolve(inputs, kernel, precision, pad)


def _conv3x3_forward(inputs, kernel, precision, pad):
    return _convolve(inputs, kernel, precision, pad), (inputs, kernel)


def _conv3x3_backward(precision, pad, residuals, cotangent):
    inputs, kernel = residuals
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    inputs_gradient = _convolve(cotangent, flipped, precision, 2 - pad)
    # Only those who train the network need this one; elsewhere XLA removes it as dead code.
    (kernel_gradient,) = jax.linear_transpose(
        lambda k: _convolve(inputs, k, precision, pad), kernel
    )(cotangent)
    return inputs_gradient, kernel_gradient


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def bias_relu(inputs: jax.Array, bias: jax.Array, kept: bool = False) -> jax.Array:
    """Add a bias and cut off below zero.

    Args:
        inputs: (N, H, W, C), any float type; computed in float32 at the least, since bfloat16
            would round twice, and jaxlib 0.12.0 on CPU makes NaN of that fusion.
        bias: (C,).
        kept: whether the outputs are in memory until their gradient is taken. If not, it needs
            only one byte for each, which says whether it is positive.

    Returns:
        (N, H, W, C), of the inputs' type.
    """
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    biased = inputs.astype(wide) + bias.astype(wide).reshape(1, 1, 1, -1)
    return jnp.maximum(biased, 0).astype(inputs.dtype)


def _bias_relu_forward(inputs, bias, kept):
    # Or XLA would put the comparison off, and keep the inputs until then.
    outputs = lax.optimization_barrier(bias_relu(inputs, bias))
    if kept:
        return outputs, (outputs, bias)
    outputs, positive = lax.optimization_barrier((outputs, outputs > 0))
    return outputs, (positive, bias)


def _bias_relu_backward(_, residuals, cotangent):
    outputs, bias = residuals  # or whether they are positive
    gradient = jnp.where(outputs > 0, cotangent, 0)
    return gradient, gradient.astype(bias.dtype).sum(axis=(0, 1, 2))


bias_relu.defvjp(_bias_relu_forward, _bias_relu_backward)


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


def pad_border(inputs: jax.Array, padding: str) -> jax.Array:
    """Put one pixel around each image, made from those at its border.

    Args:
        inputs: (N, H, W, C).
        padding: "reflect" mirrors at the border pixel, which is not repeated; "replicate" repeats
            it. Along a side of one pixel there is nothing to mirror, and both repeat it.

    Returns:
        (N, H + 2, W + 2, C).
    """
    return jnp.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), BORDERS[padding])


def _windows2x2(inputs: jax.Array) -> jax.Array:
    """Split (N, H, W, C) into (N, H//2, 2, W//2, 2, C); an odd last row or column is dropped."""
    count, height, width, channels = inputs.shape
    even = inputs[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels)


def average_pool2x2(inputs: jax.Array) -> jax.Array:
    """Average over 2×2 windows with stride 2: (N, H, W, C) to (N, H//2, W//2, C)."""
    windows = _windows2x2(inputs)
    # Not as a reduction: XLA:CPU (jaxlib 0.10.2) would first write out its zeros, a whole layer.
    corners = [windows[:, :, i, :, j] for i in (0, 1) for j in (0, 1)]
    return sum(corners[1:], start=corners[0]) * 0.25


def max_pool2x2(inputs: jax.Array) -> jax.Array:
    """Maximum over 2×2 windows with stride 2: (N, H, W, C) to (N, H//2, W//2, C).

    Where values tie, the gradient is shared among them (PyTorch gives it to the first).
    """
    return _windows2x2(inputs).max(axis=(2, 4))


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
