"""The operators of a layer: 3×3 convolution, padding, bias and ReLU, 2×2 pooling.

Maps are NHWC and kernels HWIO. Everything here is pure and may be jitted, vmapped and
differentiated (in reverse).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.rows import ALONE, Rows

BORDERS = {"reflect": "reflect", "replicate": "edge"}  # what NumPy calls them


def _convolve(
    inputs: jax.Array, kernel: jax.Array, precision: lax.Precision, pad: int, layout: str
) -> jax.Array:
    return lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=(1, 1),
        padding=((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", layout, "NHWC"),
        precision=precision,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv3x3(
    inputs: jax.Array,
    kernel: jax.Array,
    precision: lax.Precision = lax.Precision.HIGHEST,
    pad: int = 1,
    layout: str = "HWIO",
) -> jax.Array:
    """Convolve with 3×3 kernels, stride 1, zero padding.

    The gradient with respect to the inputs is written as the same kind of convolution, because
    XLA:CPU runs the transposed convolution that automatic differentiation makes 4 to 60 times
    slower inside `scan`, `while_loop` and `cond` (jax issue 12868).

    Args:
        inputs: (N, H, W, I), any float type.
        kernel: (3, 3, I, O), of the inputs' type.
        precision: of the products; HIGHEST is float32 everywhere, DEFAULT is TF32 on NVIDIA GPUs
            and bfloat16 on TPUs.
        pad: pixels of zeros on each side, 0 to 2; 0 for inputs that `pad_border` has padded.
        layout: of the kernel's axes; "OHWI", (O, 3, 3, I), is what cuDNN reads.

    Returns:
        (N, H + 2·pad − 2, W + 2·pad − 2, O), of the inputs' type.
    """
    return _convolve(inputs, kernel, precision, pad, layout)


def _conv3x3_forward(inputs, kernel, precision, pad, layout):
    return _convolve(inputs, kernel, precision, pad, layout), (inputs, kernel)


def _conv3x3_backward(precision, pad, layout, residuals, cotangent):
    inputs, kernel = residuals
    # An input reaches each of its nine outputs through the weight on the other side of the center.
    turned = jnp.flip(kernel, (layout.index("H"), layout.index("W")))
    from_outputs = layout.translate(str.maketrans("IO", "OI"))
    inputs_gradient = _convolve(cotangent, turned, precision, 2 - pad, from_outputs)
    # Only those who train the network need this one; elsewhere XLA removes it as dead code.
    (kernel_gradient,) = jax.linear_transpose(
        lambda k: _convolve(inputs, k, precision, pad, layout), kernel
    )(cotangent)
    return inputs_gradient, kernel_gradient


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def products3x3(
    inputs: jax.Array,
    kernel: tuple[jax.Array, ...],
    precision: lax.Precision = lax.Precision.HIGHEST,
    pad: int = 1,
) -> jax.Array:
    """Convolve with 3×3 kernels, stride 1, zero padding, by a matrix product for each place.

    Differentiable with respect to the inputs only; who trains kernels takes `conv3x3`.

    Args:
        inputs: (N, H, W, I), any float type.
        kernel: nine matrices (I, O) of the inputs' type, the places of the plain one row by row;
            nine arrays, since XLA:CPU would copy each out of a larger one.
        precision: of the products, which are summed in float32 at the least.
        pad: pixels of zeros on each side, 0 to 2.

    Returns:
        (N, H + 2·pad − 2, W + 2·pad − 2, O), of the inputs' type.
    """
    return _products(inputs, kernel, precision, pad, turned=False)


def _products(inputs, kernel, precision, pad, turned):
    """The convolution, or, `turned`, that with the kernel turned by 180° from O to I channels."""
    padded = jnp.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (side - 2 for side in padded.shape[1:3])
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    contract = ((3,), (1 if turned else 0,)), ((), ())
    sums: jax.Array | float = 0.0
    for place in range(9):
        top, left = divmod(place, 3)
        matrix = kernel[8 - place if turned else place]
        # As an array: XLA:CPU would look up each number inside the product.
        seen = lax.optimization_barrier(padded[:, top : top + height, left : left + width])
        sums += lax.dot_general(seen, matrix, contract, precision, preferred_element_type=wide)
    return jnp.asarray(sums, inputs.dtype)


def _products3x3_forward(inputs, kernel, precision, pad):
    return products3x3(inputs, kernel, precision, pad), kernel


def _products3x3_backward(precision, pad, kernel, cotangent):
    gradient = _products(cotangent, kernel, precision, 2 - pad, turned=True)
    # NaN, and not a zero that would be believed. Where it is not used XLA removes it.
    return gradient, tuple(jnp.full_like(matrix, jnp.nan) for matrix in kernel)


products3x3.defvjp(_products3x3_forward, _products3x3_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def bias_relu(
    inputs: jax.Array, bias: jax.Array, kept: bool = False, rows: Rows = ALONE
) -> jax.Array:
    """Add a bias and cut off below zero.

    Args:
        inputs: (N, H, W, C), any float type; computed in float32 at the least, since bfloat16
            would round twice, and jaxlib 0.12.0 on CPU makes NaN of that fusion. On NVIDIA GPUs it
            is part of cuDNN's convolution, which rounds once, if it is told in the inputs' type.
        bias: (C,), any float type.
        kept: whether the outputs are in memory until their gradient is taken. If not, it needs
            only one byte for each, which says whether it is positive.
        rows: that this device holds of the inputs.

    Returns:
        (N, H, W, C), of the inputs' type; zeros in rows beyond the layer.
    """
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    outputs = lax.platform_dependent(
        inputs, bias, cuda=partial(_cut, dtype=inputs.dtype), default=partial(_cut, dtype=wide)
    )
    return rows.masked(outputs)


def _cut(inputs: jax.Array, bias: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`bias_relu`, computed in this type."""
    biased = inputs.astype(dtype) + bias.astype(dtype).reshape(1, 1, 1, -1)
    return jnp.maximum(biased, 0).astype(inputs.dtype)


def _bias_relu_forward(inputs, bias, kept, rows):
    # Or XLA would put the comparison off, and keep the inputs until then.
    outputs = lax.optimization_barrier(bias_relu(inputs, bias, kept, rows))
    if kept:
        return outputs, (outputs, bias)
    outputs, positive = lax.optimization_barrier((outputs, outputs > 0))
    return outputs, (positive, bias)


def _bias_relu_backward(kept, rows, residuals, cotangent):
    outputs, bias = residuals  # or whether they are positive
    gradient = jnp.where(outputs > 0, cotangent, 0)
    return gradient, gradient.astype(bias.dtype).sum(axis=(0, 1, 2))


bias_relu.defvjp(_bias_relu_forward, _bias_relu_backward)


def bias_relu_pool(
    inputs: jax.Array, bias: jax.Array, pooling: str, rows: Rows = ALONE
) -> jax.Array:
    """Add a bias, cut off below zero, and pool; what is pooled need not be kept for the gradient.

    That takes one byte for each window: a bit for each of the four that the gradient reaches.

    Args:
        inputs: (N, H, W, C), any float type.
        bias: (C,), any float type.
        pooling: "average" or "max".
        rows: that this device holds of the inputs.

    Returns:
        (N, H//2, W//2, C), of the inputs' type; zeros in rows beyond the layer.
    """
    return _bias_relu_pool(inputs, bias, pooling, inputs.shape[1:3], rows)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _bias_relu_pool(inputs, bias, pooling, sides, rows):
    return rows.masked(POOLINGS[pooling](bias_relu(inputs, bias)))


def _bias_relu_pool_forward(inputs, bias, pooling, sides, rows):
    outputs = lax.optimization_barrier(bias_relu(inputs, bias))
    pooled = POOLINGS[pooling](outputs)
    reached = jnp.zeros(pooled.shape, jnp.uint8)
    for place, corner in enumerate(_corners(outputs)):
        largest = corner == pooled if pooling == "max" else True
        reached |= jnp.where((corner > 0) & largest, jnp.uint8(1 << place), jnp.uint8(0))
    pooled, reached = rows.masked(pooled), rows.masked(reached)
    pooled, reached = lax.optimization_barrier((pooled, reached))
    return pooled, (reached, bias)


def _bias_relu_pool_backward(pooling, sides, rows, residuals, cotangent):
    reached, bias = residuals
    if pooling == "max":  # where values tie, the gradient is shared among them
        share = cotangent / jnp.maximum(lax.population_count(reached), 1).astype(cotangent.dtype)
    else:
        share = cotangent * 0.25
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    reached = (reached[:, :, None, :, None] >> place) & 1
    windows = jnp.where(reached > 0, share[:, :, None, :, None], 0)
    count, (height, width), channels = cotangent.shape[0], sides, cotangent.shape[-1]
    even = windows.reshape(count, height // 2 * 2, width // 2 * 2, channels)
    gradient = jnp.pad(even, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return gradient, gradient.astype(bias.dtype).sum(axis=(0, 1, 2))


_bias_relu_pool.defvjp(_bias_relu_pool_forward, _bias_relu_pool_backward)


def pad_border(inputs: jax.Array, padding: str) -> jax.Array:
    """Put one pixel around each image, made from those at its border.

    Args:
        inputs: (N, H, W, C), any type.
        padding: "reflect" mirrors at the border pixel, which is not repeated; "replicate" repeats
            it. Along a side of one pixel there is nothing to mirror, and both repeat it.

    Returns:
        (N, H + 2, W + 2, C), of the inputs' type.
    """
    return jnp.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), BORDERS[padding])


def average_pool2x2(inputs: jax.Array) -> jax.Array:
    """Average over 2×2 windows with stride 2: (N, H, W, C) to (N, H//2, W//2, C)."""
    # Not as a reduction: XLA:CPU (jaxlib 0.10.2) would first write out its zeros, a whole layer.
    first, *others = _corners(inputs)
    return sum(others, start=first) * 0.25


def max_pool2x2(inputs: jax.Array) -> jax.Array:
    """Maximum over 2×2 windows with stride 2: (N, H, W, C) to (N, H//2, W//2, C).

    Where values tie, the gradient is shared among them (PyTorch gives it to the first).
    """
    return _windows2x2(inputs).max(axis=(2, 4))


POOLINGS = {"average": average_pool2x2, "max": max_pool2x2}


def _corners(inputs: jax.Array) -> list[jax.Array]:
    """The four of each window, row by row, each (N, H//2, W//2, C)."""
    windows = _windows2x2(inputs)
    return [windows[:, :, i, :, j] for i in (0, 1) for j in (0, 1)]


def _windows2x2(inputs: jax.Array) -> jax.Array:
    """Split (N, H, W, C) into (N, H//2, 2, W//2, 2, C); an odd last row or column is dropped."""
    count, height, width, channels = inputs.shape
    even = inputs[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels)
