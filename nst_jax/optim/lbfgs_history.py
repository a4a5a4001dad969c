"""The history of L-BFGS as arrays of m vectors: how they are stored, and products with them.

On TPUs each vector is stored as tiles of 8 × 128 numbers, which is how it lies in memory there by
itself. Of an array (m, n) eight pairs would share each tile: ten would take the room of sixteen,
and to store one would touch all of eight (XLA's account for a v5e, 10 pairs of float32: 33 % less
memory, 38 % less traffic).

bfloat16 is stored as its bits, in uint16: of an array that it knows to be bfloat16, XLA:CPU makes a
float32 copy before it computes with any part. Elsewhere it is told so inside the product, which
then reads two bytes for each number; of the bits, made wider by a shift, it would write a copy.

On CPUs products with several vectors are sums over the pairs, taken in one pass: XLA's own
products, with so few columns, take seven times as long there, and one pair after the other twice as
long (jaxlib 0.10.2, 50 pairs of 512×342 px on 2 cores of an Intel Xeon: 69, 19 and 9 ms). Of
bfloat16, all of which a sum or a product would make wider first, pairs are taken one after the
other. Elsewhere a loop of short kernels would be what is slow.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

TILE = (8, 128)  # of a TPU


def stored_shape(size: int, tiled: bool) -> tuple[int, ...]:
    """The shape in which a vector of so many numbers is stored, the last tile filled with zeros."""
    return (-(-size // math.prod(TILE)), *TILE) if tiled else (size,)


def store(pairs: jax.Array, slot: jax.Array, vector: jax.Array) -> jax.Array:
    """Stored pairs (m, …) with this vector (n,) in the place of one of them."""
    return pairs.at[slot].set(_laid(narrow(vector, pairs.dtype), pairs.shape[1:]))


def stored_type(dtype: Any) -> jnp.dtype:
    """The type of the array that keeps numbers of this type."""
    return jnp.dtype(jnp.uint16 if dtype == jnp.bfloat16 else dtype)


def narrow(vector: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """A vector (n,) as an array of this type stores it."""
    if dtype == jnp.uint16:
        return lax.bitcast_convert_type(vector.astype(jnp.bfloat16), jnp.uint16)
    return vector.astype(dtype)


def widen(stored: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """What has been stored, of any shape, in the type to compute in."""
    if stored.dtype == jnp.uint16:
        bits = stored.astype(jnp.uint32) << 16
        stored = lax.bitcast_convert_type(bits, jnp.float32)
    return stored.astype(dtype)


@jax.jit  # nothing changes inside another program; outside of one, loops are compiled once
def times(pairs: jax.Array, vectors: jax.Array) -> jax.Array:
    """Stored pairs (m, …) times each of (k, n), in one pass over the pairs: (k, m)."""
    vectors = jax.vmap(partial(_laid, shape=pairs.shape[1:]))(vectors)
    on_cpu = _times_by_sums if pairs.dtype == vectors.dtype else _times_by_rows
    return lax.platform_dependent(pairs, vectors, cpu=on_cpu, default=_times_at_once)


@partial(jax.jit, static_argnums=2)
def combine(weights: jax.Array, pairs: jax.Array, size: int) -> jax.Array:
    """Σ_i weights_i · pairs_i of weights (m,) and stored pairs (m, …) of n numbers: (n,)."""
    if pairs.dtype == weights.dtype:  # nothing to widen
        combined = _combine_at_once(weights, pairs)
    else:
        ways = {"cpu": _combine_by_rows, "default": _combine_at_once}
        combined = lax.platform_dependent(weights, pairs, **ways)
    return combined.reshape(-1)[:size]


def _laid(vector: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A vector (n,) in the shape that it is stored in."""
    beyond = math.prod(shape) - vector.size
    return (jnp.pad(vector, (0, beyond)) if beyond else vector).reshape(shape)


def _read(pairs: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Stored pairs in the type to compute in, as a product that reads all of them takes them."""
    if pairs.dtype == jnp.uint16:
        pairs = lax.bitcast_convert_type(pairs, jnp.bfloat16)
    return pairs.astype(dtype)


def _times_at_once(pairs: jax.Array, vectors: jax.Array) -> jax.Array:
    # Or XLA would, for a small image, put both histories into one array before it multiplies them.
    pairs, vectors = lax.optimization_barrier((pairs, vectors))
    wide = _read(pairs, vectors.dtype)
    axes = tuple(range(1, pairs.ndim))
    return jnp.tensordot(vectors, wide, (axes, axes), precision=lax.Precision.HIGHEST)


def _times_by_sums(pairs: jax.Array, vectors: jax.Array) -> jax.Array:
    # Or XLA:CPU would, together with what makes the vectors, write all the terms before it sums.
    pairs, vectors = lax.optimization_barrier((pairs, vectors))
    return jnp.sum(pairs[None] * vectors[:, None], axis=tuple(range(2, vectors.ndim + 1)))


def _times_by_rows(pairs: jax.Array, vectors: jax.Array) -> jax.Array:
    def put(row, products):
        pair = _row(pairs, row, vectors.dtype)
        product = jnp.tensordot(vectors, pair, pair.ndim, precision=lax.Precision.HIGHEST)
        return products.at[:, row].set(product)

    products = jnp.zeros((len(vectors), len(pairs)), vectors.dtype)
    return lax.fori_loop(0, len(pairs), put, products)


def _combine_at_once(weights: jax.Array, pairs: jax.Array) -> jax.Array:
    wide = _read(pairs, weights.dtype)
    return jnp.tensordot(weights, wide, 1, precision=lax.Precision.HIGHEST)


def _combine_by_rows(weights: jax.Array, pairs: jax.Array) -> jax.Array:
    def add(row, total):
        return total + weights[row] * _row(pairs, row, weights.dtype)

    return lax.fori_loop(0, len(pairs), add, jnp.zeros(pairs.shape[1:], weights.dtype))


def _row(pairs: jax.Array, row: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return widen(lax.dynamic_index_in_dim(pairs, row, keepdims=False), dtype)
