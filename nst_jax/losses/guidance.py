"""Regions: the guidance maps of every layer, from masks.

A mask says where in an image a region is: 1 inside, 0 outside, between them at soft edges. From it
come the region's guidance maps T, one for each layer, with which its style is measured
(`guided_gram_matrix`).

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

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nst_jax.architecture import block_of, convolutions_up_to

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


class Guides(NamedTuple):
    """What guides the style of an image's regions; float32 (float64 where the masks are).

    Attributes:
        maps: {layer: (1, R, h, w)}, normalized: Σ T² = 1 over the positions.
        weights: {layer: (1, R)}, what the regions' style losses are multiplied with.
    """

    maps: Maps
    weights: Maps


def make_guides(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> Guides:
    """The guidance maps of every layer, and the weights of the regions in it.

    λ = Σ T² / M, before T is normalized, over the M positions: so a position of a region, of a
    small one or a large one, pulls at the image as it does without regions, and the ratio of
    content and style keeps its meaning.

    Args:
        masks: (R, H, W), any float type, in [0, 1]; of each region at least one pixel above 0.
        architecture: "vgg16" or "vgg19".
        layers: with style.

    Returns:
        Maps {layer: (1, R, h, w)} and weights {layer: (1, R)}.

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


def propagate(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Take masks through the network's windows: at each position the minimum of what it sees.

    Where nothing of a region were left, the convolution's window is not applied to it, and pooling
    takes the maximum instead; a region with one pixel above 0 is never lost.

    Args:
        masks: (R, H, W), any float type, in [0, 1].
        architecture: "vgg16" or "vgg19".
        layers: whose maps are wanted.

    Returns:
        {layer: (R, h, w)}, in [0, 1], of the height and width of the layer's features.
    """
    found = dict(_walk(masks, architecture, layers, keep_small=True))
    return {layer: found[layer] for layer in layers}


def crossings(masks: np.ndarray, architecture: str, layers: Sequence[str]) -> list[Crossing]:
    """The regions, and for each the layers, at which style reaches beyond the region's edge.

    Args:
        masks: (R, H, W), any float type, in [0, 1].
        architecture: "vgg16" or "vgg19".
        layers: in question.
    """
    return sorted(
        Crossing(int(region), layer, receptive_field(architecture, layer))
        for layer, maps in _walk(masks, architecture, layers, keep_small=False)
        if layer in layers
        for region in np.flatnonzero(~maps.any(axis=(1, 2)))
    )


def receptive_field(architecture: str, layer: str) -> int:
    """The side, in pixels, of the square of the image that a neuron of this layer sees."""
    field, stride, block = 1, 1, 1
    for name in convolutions_up_to(architecture, [layer]):
        if block_of(name) > block:
            field, stride, block = field + stride, 2 * stride, block_of(name)
        field += 2 * stride
    return field


def _walk(
    masks: np.ndarray, architecture: str, layers: Sequence[str], keep_small: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Each convolution up to the deepest of these layers, with its maps (R, h, w)."""
    from scipy import ndimage  # a tenth of a second that only masks want

    maps, block = np.asarray(masks), 1

    def where_left(eroded: np.ndarray, instead: np.ndarray) -> np.ndarray:
        left = eroded.any(axis=(1, 2), keepdims=True)
        return np.where(left, eroded, instead) if keep_small else eroded

    for layer in convolutions_up_to(architecture, layers):
        if block_of(layer) > block:
            even = maps[:, : maps.shape[1] // 2 * 2, : maps.shape[2] // 2 * 2]
            maps = where_left(_pool2x2(even, np.minimum), _pool2x2(maps, np.maximum))
            block = block_of(layer)
        # Beyond the image there is nothing to see: its border pixels stand there.
        eroded = ndimage.minimum_filter(maps, size=(1, 3, 3), mode="nearest")
        maps = where_left(eroded, maps)
        yield layer, maps


def _pool2x2(maps: np.ndarray, of_two: np.ufunc) -> np.ndarray:
    """Minimum or maximum of 2×2 windows; an odd last row or column counts to the one before it."""
    for axis in (1, 2):
        starts = np.arange(0, maps.shape[axis] // 2 * 2, 2)
        maps = of_two.reduceat(maps, starts, axis=axis)
    return maps
