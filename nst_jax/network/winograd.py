"""3×3 convolution with a quarter of the multiplications: Winograd's F(4×4, 3×3), for CPUs.

A tile of 6×6 inputs d gives 4×4 outputs

    Y = Aᵀ [ (G k Gᵀ) ⊙ (Bᵀ d B) ] A        (Lavin & Gray 2016, eq. 8)

where ⊙ multiplies, at each of the 36 places, a vector of the inputs' channels with a matrix: 36
matrix products over all tiles instead of 9 over all pixels, and so a quarter of the arithmetic.
The steps are those of their algorithm 1:

    1. U = G k Gᵀ, (36, I, O): `transform_kernel`, once for all evaluations
    2. V = Bᵀ d B, (36, tiles, I)
    3. M = V U at each place, (36, tiles, O)
    4. Y = Aᵀ M A

The matrices belong to the points 0, 1, −1, 1/2, −2 and ∞. Their rounding error is a half of that
of the usual 0, ±1, ±2, ∞: in float32 about three times that of the plain sum.

The gradient with respect to the inputs is the convolution with the kernel turned by 180°. Turning
each tile's inputs and outputs instead does the same, so that both passes share one U.

XLA:CPU fuses these steps into few loops, in which it computes things many times over and on one
core. `lax.optimization_barrier` keeps them apart, if XLA is compiled with `COMPILER_OPTIONS`;
without them all this is right, and slow.

Source: Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"; the points: Barabasz
et al. 2020, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
Networks".
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# XLA:CPU removes the barriers before it fuses; without this pass they stay (jaxlib 0.10 to 0.12).
COMPILER_OPTIONS = {"xla_disable_hlo_passes": "cse_barrier_expander"}

TILE = 4  # outputs of a tile, along each side
PATCH = 6  # inputs of a tile, along each side

INPUT = np.array(  # Bᵀ
    [
        [2, -3, -4, 3, 2, 0],
        [0, -2, 1, 5, 2, 0],
        [0, -2, 5, -1, -2, 0],
        [0, 2, 1, -2, -1, 0],
        [0, 1, -2, -1, 2, 0],
        [0, 2, -3, -4, 3, 2],
    ]
)
KERNEL = np.array(  # G
    [
        [1 / 2, 0, 0],
        [1 / 6, 1 / 6, 1 / 6],
        [1 / 6, -1 / 6, 1 / 6],
        [16 / 15, 8 / 15, 4 / 15],
        [1 / 30, -1 / 15, 2 / 15],
        [0, 0, 1 / 2],
    ]
)
OUTPUT = np.array(  # Aᵀ
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 1 / 2, -2, 0],
        [0, 1, 1, 1 / 4, 4, 0],
        [0, 1, -1, 1 / 8, -8, 1],
    ]
)

# V or M of all tiles that are worked on at once takes at most so many bytes: more strips than that
# need are slower, fewer take more memory (and, where it comes fresh from the system, time).
STRIP_BYTES = 24e6
# Up to so many tiles, the turned kernel is multiplied with them from the left, where XLA:CPU reads
# it as it is; else it would lay it out anew, which with so few takes as long as the product. 48
# tiles of 512 channels: 3.7 and 5.1 ms (2 cores of an Intel Xeon with AVX-512, jaxlib 0.10.2).
FEW_TILES = 64


def transform_kernel(kernel: jax.Array) -> jax.Array:
    """Step 1: U = G k Gᵀ of a kernel (3, 3, I, O), (36, I, O) of its type, for `conv3x3`."""
    columns = _combine(list(kernel), KERNEL)
    places = _combine([columns[:, j] for j in range(3)], KERNEL)
    return places.reshape(PATCH * PATCH, *kernel.shape[2:])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv3x3(
    inputs: jax.Array,
    kernel: jax.Array,
    precision: lax.Precision = lax.Precision.HIGHEST,
    pad: int = 1,
) -> jax.Array:
    """Convolve with 3×3 kernels, stride 1, zero padding, as the plain `conv3x3`.

    Differentiable with respect to the inputs only; who trains kernels takes the plain one.

    Args:
        inputs: (N, H, W, I), float32 or float64.
        kernel: U, (36, I, O), of the inputs' type.
        precision: of the products.
        pad: pixels of zeros on each side, 0 to 2.

    Returns:
        (N, H + 2·pad − 2, W + 2·pad − 2, O), of the inputs' type.
    """
    return _convolve(inputs, kernel, precision, pad)


def _forward(inputs, kernel, precision, pad):
    return _convolve(inputs, kernel, precision, pad), kernel


def _backward(precision, pad, kernel, cotangent):
    gradient = _convolve(cotangent, kernel, precision, 2 - pad, turned=True)
    # NaN, and not a zero that would be believed. Where it is not used XLA removes it.
    return gradient, jnp.full_like(kernel, jnp.nan)


conv3x3.defvjp(_forward, _backward)


def _convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    precision: lax.Precision,
    pad: int,
    turned: bool = False,
) -> jax.Array:
    """The convolution, or, `turned`, that with the kernel turned by 180° from O to I channels."""
    count, height, width = inputs.shape[0], *(side + 2 * pad - 2 for side in inputs.shape[1:3])
    down, along = -(-height // TILE), -(-width // TILE)  # tiles; the last ones may reach beyond
    row_bytes = PATCH**2 * count * along * max(kernel.shape[1:]) * inputs.dtype.itemsize
    strips = min(down, -(-down * row_bytes // int(STRIP_BYTES)))
    edges = [TILE * (down * strip // strips) for strip in range(strips + 1)]

    def strip_of(top: int, bottom: int) -> jax.Array:
        patches = _patches(inputs, pad, top, bottom, along)
        strip = _convolve_strip(patches, kernel, precision, turned)
        return strip[:, : height - top, :width]

    first = strip_of(0, edges[1])
    outputs = jnp.pad(first, ((0, 0), (0, height - first.shape[1]), (0, 0), (0, 0)))
    for top, bottom in zip(edges[1:], edges[2:], strict=False):
        # One strip after the other, in the same memory.
        inputs, outputs = lax.optimization_barrier((inputs, outputs))
        outputs = lax.dynamic_update_slice(outputs, strip_of(top, bottom), (0, top, 0, 0))
    return lax.optimization_barrier(outputs)


def _patches(inputs: jax.Array, pad: int, top: int, bottom: int, along: int) -> jax.Array:
    """What the tiles of output rows `top` to `bottom` see, with zeros around the image.

    A tile sees two rows and columns more than it makes: (N, bottom − top + 2, 4·along + 2, I).
    """
    height, width = inputs.shape[1:3]
    above, below = top - pad, bottom - pad + PATCH - TILE  # in rows of the inputs
    first, last = max(above, 0), min(below, height)
    columns = pad, TILE * along + PATCH - TILE - pad - width
    strip = lax.optimization_barrier(inputs[:, first:last])
    padding = ((0, 0), (first - above, below - last), columns, (0, 0))
    return lax.optimization_barrier(jnp.pad(strip, padding))


def _convolve_strip(
    padded: jax.Array, kernel: jax.Array, precision: lax.Precision, turned: bool
) -> jax.Array:
    """Steps 2 to 4: (N, 4·down + 2, 4·along + 2, I) to (N, 4·down, 4·along, O)."""
    into, out = (INPUT[:, ::-1], OUTPUT[::-1]) if turned else (INPUT, OUTPUT)
    count, down, along = padded.shape[0], padded.shape[1] // TILE, padded.shape[2] // TILE
    fence = lax.optimization_barrier
    # 2. Every fourth row from the i-th on is row i of all tiles; of columns the same.
    rows = fence(_combine([padded[:, i::TILE][:, :down] for i in range(PATCH)], into))
    places = _combine([rows[:, :, :, j::TILE][:, :, :, :along] for j in range(PATCH)], into)
    places = fence(places.reshape(PATCH**2, count * down * along, -1))
    # 3. Over the inputs' channels; turned, the outputs' channels come in.
    batch = (0,), (0,)
    if turned and places.shape[1] <= FEW_TILES:
        products = fence(lax.dot_general(kernel, places, (((2,), (2,)), batch), precision))
        products = fence(products.swapaxes(1, 2))
    else:
        contract = ((2,), (2 if turned else 1,)), batch
        products = fence(lax.dot_general(places, kernel, contract, precision))
    products = products.reshape(PATCH, PATCH, count, down, along, -1)
    # 4. Rows of the tiles first, then columns.
    columns = fence(_combine(list(products), out))
    tiles = _combine([columns[:, i] for i in range(PATCH)], out)  # (4, 4, N, down, along, O)
    pixels = tiles.transpose(2, 3, 0, 4, 1, 5)
    return pixels.reshape(count, TILE * down, TILE * along, -1)


def _combine(arrays: Sequence[jax.Array], matrix: np.ndarray) -> jax.Array:
    """Sums of K arrays weighted by each of L rows of a matrix (L, K): (L, *shape)."""
    columns = matrix.T.astype(arrays[0].dtype).reshape(-1, len(matrix), *[1] * arrays[0].ndim)
    terms = [array[None] * column for array, column in zip(arrays, columns, strict=True)]
    return sum(terms[1:], start=terms[0])
