"""Regions: guidance maps for every layer, and the Gram matrices that they guide.

A mask says where in an image a region is: 1 inside, 0 outside, between them at soft edges. From it
come the region's guidance maps T, one for each layer, with which its style is measured.

Source: Gatys et al. 2017, "Controlling Perceptual Factors in Neural Style Transfer", section 4.

Their section 4.3 knows two ways from a mask to the layers. Downsampling it is simple, but near an
edge the neurons of deep layers see up to 66 px of the region beyond (conv5_1 of VGG-16), and carry
its texture over. So a map here is their other one: only neurons whose receptive field lies in the
region take part. It is had exactly, by taking the mask through the network's own windows, each
with the minimum of what it sees. Deviations: a window that would leave nothing of a region is not
applied to it, so that small regions keep their style, which then reaches beyond their edges
(`crossings` says where); and there is no further map over the whole image, which would carry style
across edges again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nst_jax.vgg import block_of, convolutions_up_to

HIGHEST = lax.Precision.HIGHEST
# Numbers of a layer's features that are weighted at once, 4 MB in float32: a step of 1024×683 px
# takes 1.24 GB of temporaries with four regions and 1.19 GB without; in one piece it took 2.19 GB.
BLOCK = 2**20

Maps = Mapping[str, np.ndarray]


class Crossing(NamedTuple):
    """A region so small that no receptive field of a layer lies within it.

    Attributes:
        region: its number, from 0.
        layer: whose neurons see beyond the region.
        field: the side of their receptive field, pixels.
    """

    region: int
    layer: str
    field: int


def receptive_field(architecture: str, layer: str) -> int:
    """The side, in pixels, of the square of the image that a neuron of this layer sees."""
    field, stride, block = 1, 1, 1
    for name in convolutions_up_to(architecture, [layer]):
        if block_of(name) > block:
            field, stride, block = field + stride, 2 * stride, block_of(name)
        field += 2 * stride
    return field


def propagate(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Take masks through the network's windows: at each position the least of what it sees.

    Where nothing of a region were left, the convolution's window is not applied to it, and pooling
    takes the greatest instead; a region with one pixel above 0 is never lost.

    Args:
        masks: (R, H, W), in [0, 1].
        architecture: "vgg16" or "vgg19".
        layers: whose maps are wanted.

    Returns:
        {layer: (R, h, w)}, in [0, 1], of the height and width of the layer's features.
    """
    maps, block = np.asarray(masks), 1
    found = {}
    for layer in convolutions_up_to(architecture, layers):
        if block_of(layer) > block:
            maps, block = _where_left(_pool_least(maps), _pool_greatest(maps)), block_of(layer)
        maps = _where_left(_erode3x3(maps), maps)
        found[layer] = maps
    return {layer: found[layer] for layer in layers}


def crossings(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> list[Crossing]:
    """The regions, and for each the layers, at which style reaches beyond the region's edge.

    Args:
        masks: as in `propagate`.
        architecture: as there.
        layers: in question.
    """
    found = []
    exact, block = np.asarray(masks), 1
    for layer in convolutions_up_to(architecture, layers):
        if block_of(layer) > block:
            exact, block = _pool_least(exact), block_of(layer)
        exact = _erode3x3(exact)
        if layer in layers:
            field = receptive_field(architecture, layer)
            lost = np.flatnonzero(~exact.any(axis=(1, 2)))
            found += [Crossing(int(region), layer, field) for region in lost]
    return sorted(found)


class Guides(NamedTuple):
    """What guides the style of an image's regions.

    Attributes:
        maps: {layer: (1, R, h, w)}, normalised: Σ T² = 1 over the positions.
        weights: {layer: (1, R)}, what the regions' style losses are multiplied with.
    """

    maps: Maps
    weights: Maps


def make_guides(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> Guides:
    """The guidance maps of every layer, and the weights of the regions in it.

    λ = Σ T² / M, before T is normalised, over the M positions: so a position of a region, of a
    small one or a large one, pulls at the image as it does without regions, and the ratio of
    content and style keeps its meaning.

    Args:
        masks: (R, H, W), in [0, 1]; of each region at least one pixel above 0.
        architecture: "vgg16" or "vgg19".
        layers: with style.

    Returns:
        Maps and weights, float32 (float64 where the masks are).

    Source: Gatys et al. 2017, section 4.1, which leaves λ open; their code has 1/R.
    """
    maps, weights = {}, {}
    for layer, each in propagate(masks, architecture, layers).items():
        squares = np.square(each, dtype=np.float64)
        dtype = np.result_type(each, np.float32)
        norms = np.sqrt(squares.sum(axis=(1, 2), keepdims=True))
        maps[layer] = (each / norms).astype(dtype)[None]
        weights[layer] = squares.mean(axis=(1, 2)).astype(dtype)[None]
    return Guides(maps, weights)


def guided_gram_matrix(features: jax.Array, guides: jax.Array) -> jax.Array:
    """Gram matrices of each image's features, one for each region.

    G_r = F_rᵀ F_r, where F_r = T_r ∘ F: every filter's map times the guidance map. Summed in
    float32 at full precision whatever the features are. As Σ T² = 1 it is a mean over positions,
    and that of one region of ones is `ops.gram_matrix`, FᵀF / M.

    Args:
        features: (N, h, w, C), any float type.
        guides: (N or 1, R, h, w), the maps of `make_guides`.

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
            jnp.einsum("npc,npd->ncd", part * share[:, r, :, None], part, precision=HIGHEST)
            for r in regions
        ]
        return products + jnp.stack(terms, axis=1)

    zeros = jnp.zeros((count, len(regions), channels, channels), flat.dtype)
    return _in_blocks(add, zeros, flat.shape)


def _guided_products_backward(residuals, cotangent):
    # Σ_r s_r ∘ F (Ġ_r + Ġ_rᵀ): one product for each region, as that of `ops.gram_matrix`.
    flat, shares = residuals
    regions = range(shares.shape[1])
    symmetric = cotangent + cotangent.swapaxes(2, 3)

    def put(gradients, first, size):
        part, share = _block(flat, first, size, 1), _block(shares, first, size, 2)
        products = [
            jnp.einsum("npc,ncd->npd", part, symmetric[:, r], precision=HIGHEST) for r in regions
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


def _erode3x3(maps: np.ndarray) -> np.ndarray:
    """The least of 3×3 neighbours, of (R, h, w); beyond the image there is nothing to see."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.minimum(np.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return np.minimum(np.minimum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def _pool_least(maps: np.ndarray) -> np.ndarray:
    """The least of 2×2 windows; an odd last row or column is dropped, as the network drops it."""
    height, width = (side // 2 * 2 for side in maps.shape[1:])
    rows = np.minimum(maps[:, 0:height:2, :width], maps[:, 1:height:2, :width])
    return np.minimum(rows[..., 0::2], rows[..., 1::2])


def _pool_greatest(maps: np.ndarray) -> np.ndarray:
    """The greatest of 2×2 windows; an odd last row or column counts to the window before it."""
    for axis in (1, 2):
        starts = np.arange(0, maps.shape[axis] // 2 * 2, 2)
        maps = np.maximum.reduceat(maps, starts, axis=axis)
    return maps


def _where_left(eroded: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """The eroded maps (R, h, w) of the regions of which they leave anything."""
    return np.where(eroded.any(axis=(1, 2), keepdims=True), eroded, instead)
