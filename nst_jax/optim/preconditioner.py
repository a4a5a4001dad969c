"""Gradients of images, preconditioned: broad areas take their color as soon as details their form.

The style loss bends the most along fine detail: at 60 steps from a content image its curvature
along luminance waves of frequency f (in cycles per two pixels, so that 1 is the finest) is about

    λ(f) ∝ ε + f² / (f² + f₁²),   f₁ = 0.15, ε = 0.04,

measured on the samples at 192 and 384 px. Plain gradients, which follow the steepest descent, thus
see to details first and leave areas gray. An optimizer that works in variables scaled by M½, where

    M = (f² + f₁²) / (f² + ε f₁²) ≈ 1 / λ,

in the basis of cosines, treats them alike. It is the same loss, lower sooner: at 192 px from the
content image 60 to 78 steps of L-BFGS and 47 of Adam come as low as 100 plain ones
(`scripts.benchmark.compare_preconditioning`). After some 300 steps of L-BFGS no difference is left:
by then it has learned the curvature itself. M is symmetric and positive definite; it leaves the
finest detail nearly as it is and multiplies what is constant by 1/ε.

Chroma, each channel's deviation from the mean of the three, may be held back where it is fine:

    M_chroma = M / (1 + (s f)⁴).

From noise with s = 0 much fine chroma comes with the first steps, and other detail settles around
it: to blur it afterwards raises the loss by half. With s = 5 it hardly comes, and the loss falls as
low by other ways (docs/paper.md, "Speckle").

Source: Neuberger 1997, "Sobolev Gradients and Differential Equations", whose gradients are smoothed
in the same way; Olah, Mordvintsev & Schubert 2017, "Feature Visualization", section
"Preconditioning and parameterization", who do it for Adam with 1/f.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint

from nst_jax.rows import ALONE, Rows

CORNER = 0.15  # f₁, in cycles per two pixels
FLOOR = 0.04  # ε
# Up to this size, in pixels of a side, the transforms are matrix products on GPUs and TPUs: some
# 10 kernels in place of 40 for a Fourier transform and what it wants around it, and a fifth of the
# traffic (XLA's account for an H100, 384×512 px). Products grow as the third power of the side.
MAX_PRODUCT_SIDE = 1024


def precondition(
    gradient: jax.Array,
    power: float = 1.0,
    chroma_smoothing: jax.Array | float | None = None,
    rows: Rows = ALONE,
) -> jax.Array:
    """M^power times a gradient.

    Where devices share its rows each transforms them along, then columns down; between the two
    they exchange what they hold, and none holds all.

    Args:
        gradient: (H, W, C), float32 or float64.
        power: 1 for M; 0.5 for its root, which is symmetric too.
        chroma_smoothing: s ≥ 0, a scalar; None, or 0: the channels are each by themselves.
        rows: that this device holds of it.

    Returns:
        (H, W, C), of the gradient's type.
    """
    filtered = partial(_filtered, power=power, chroma_smoothing=chroma_smoothing, rows=rows)
    by_products = partial(filtered, transform=_transform_by_products)
    if max(rows.whole(gradient.shape[0]), gradient.shape[1]) > MAX_PRODUCT_SIDE:
        return filtered(gradient)
    return lax.platform_dependent(gradient, cpu=filtered, default=by_products)


def _transform(image: jax.Array, axis: int, inverse: bool = False) -> jax.Array:
    """The orthonormal cosine transform of an image (H, W, C) along one of its sides.

    As a Fourier transform of real numbers, half of those that `jax.scipy.fft.dct` takes.

    Source: Makhoul 1980, "A Fast Cosine Transform in One and Two Dimensions".
    """
    count = image.shape[axis]
    half, middle = count // 2 + 1, -(-count // 2)
    lines = jnp.moveaxis(image, axis, -1)
    frequency = jnp.arange(count).reshape(1, 1, -1)
    scale = jnp.sqrt(jnp.where(frequency == 0, 1.0, 2.0) / count).astype(image.dtype)
    turn = jnp.exp(-0.5j * jnp.pi * frequency[..., :half] / count)
    turn = turn.astype(jnp.result_type(image.dtype, jnp.complex64))
    if not inverse:
        around = jnp.concatenate([lines[..., ::2], lines[..., 1::2][..., ::-1]], axis=-1)
        waves = jnp.fft.rfft(around) * turn
        upper = -waves.imag[..., 1 : count - half + 1][..., ::-1]
        return jnp.moveaxis(scale * jnp.concatenate([waves.real, upper], axis=-1), -1, axis)
    waves = lines / scale
    zero = jnp.zeros_like(waves[..., :1])
    mirrored = jnp.concatenate([zero, waves[..., ::-1]], axis=-1)[..., :half]
    around = jnp.fft.irfft(lax.complex(waves[..., :half], -mirrored) / turn, count)
    pairs = [around[..., :middle], around[..., middle:][..., ::-1]]
    pairs[1] = jnp.pad(pairs[1], ((0, 0), (0, 0), (0, count % 2)))
    lines = jnp.stack(pairs, axis=-1).reshape(*lines.shape[:-1], -1)[..., :count]
    return jnp.moveaxis(lines, -1, axis)


def _transform_by_products(image: jax.Array, axis: int, inverse: bool = False) -> jax.Array:
    """What `_transform` computes, as a matrix product."""
    matrix = cosines(image.shape[axis], image.dtype)
    # Transposed beforehand: XLA would do it inside the product, and with several lanes find no
    # tiles for that (jaxlib 0.10.2, for NVIDIA GPUs).
    lines = with_layout_constraint(jnp.moveaxis(image, axis, -1), Layout((0, 1, 2)))
    lines = lax.optimization_barrier(lines)
    product = jnp.dot(lines, matrix if inverse else matrix.T, precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(product, -1, axis)


def cosines(count: int, dtype: jnp.dtype) -> jax.Array:
    """The matrix (count, count) of the orthonormal cosine transform: a row for each frequency."""
    frequency, place = jnp.arange(count)[:, None], jnp.arange(count)[None, :]
    quarter_turns = (frequency * (2 * place + 1)) % (4 * count)  # whole numbers, so no rounding
    waves = jnp.cos(quarter_turns.astype(dtype) * (jnp.pi / (2 * count)))
    return waves * jnp.where(frequency == 0, 1.0, 2.0**0.5).astype(dtype) / count**0.5


def _filtered(
    gradient: jax.Array,
    power: float,
    chroma_smoothing: jax.Array | float | None,
    rows: Rows = ALONE,
    transform=_transform,
) -> jax.Array:
    height, width = rows.whole(gradient.shape[0]), gradient.shape[1]
    waves = transform(rows.to_columns(transform(gradient, 1)), 0)
    down = jnp.arange(height, dtype=gradient.dtype) / height
    along = rows.top(waves.shape[1]) + jnp.arange(waves.shape[1], dtype=gradient.dtype)
    squares = jnp.square(down)[:, None, None] + jnp.square(along / width)[None, :, None]
    scale = ((squares + CORNER**2) / (squares + FLOOR * CORNER**2)) ** power
    if chroma_smoothing is not None:
        kept = 1 / (1 + (chroma_smoothing**2 * squares) ** 2) ** power
        waves = kept * waves + (1 - kept) * jnp.mean(waves, axis=-1, keepdims=True)
    return transform(rows.to_rows(transform(scale * waves, 0, True), width), 1, True)
