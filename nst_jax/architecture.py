"""VGG-16 and VGG-19 as tables: their layers' names, filters and sizes. No JAX here."""

import difflib
from collections.abc import Sequence

from nst_jax.errors import SettingsError

# Convolutions per block and filters per block: Simonyan & Zisserman 2014, table 1, D and E.
BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


def layer_names(architecture: str) -> tuple[str, ...]:
    """Names of the convolutions in order, conv1_1 to conv5_3 (VGG-16) or conv5_4 (VGG-19)."""
    blocks = BLOCKS[architecture]
    return tuple(f"conv{b}_{i}" for b, n in enumerate(blocks, 1) for i in range(1, n + 1))


def convolutions_up_to(architecture: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Names of the convolutions that these layers' features need: all up to the deepest."""
    known = layer_names(architecture)
    return known[: max((known.index(layer) + 1 for layer in layers), default=0)]


def last_layer(architecture: str, block: int) -> str:
    """Name of the last convolution of a block, 1 to 5."""
    return f"conv{block}_{BLOCKS[architecture][block - 1]}"


def block_of(layer: str) -> int:
    """The block, 1 to 5, that a layer stands in: the b of conv{b}_{i}."""
    return int(layer[4])


def kernel_shapes(architecture: str) -> dict[str, tuple[int, int, int, int]]:
    """The HWIO shape of every convolution's kernel, in order."""
    shapes, channels = {}, 3
    for layer in layer_names(architecture):
        filters = FILTERS[block_of(layer) - 1]
        shapes[layer] = (3, 3, channels, filters)
        channels = filters
    return shapes


def canonical_layer(name: str, architecture: str) -> str:
    """The paper's name of a layer; `relu4_2` is another spelling of `conv4_2`.

    Raises:
        SettingsError: the network has no such layer.
    """
    known = layer_names(architecture)
    layer = name.strip().lower().replace("relu", "conv")
    if layer in known:
        return layer
    close = difflib.get_close_matches(layer, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has {known[0]} to {known[-1]}"
    raise SettingsError(f"{architecture} has no layer {name!r}: {hint}")


def smallest_side(layers: Sequence[str]) -> int:
    """The least height and width, in pixels, of which the deepest layer keeps one position."""
    return 2 ** max((block_of(layer) - 1 for layer in layers), default=0)
