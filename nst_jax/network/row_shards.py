"""The network on images whose rows are shared among devices.

Each device computes the rows that it holds of every layer. Before a convolution it gets a row from
each neighbor, and sends one; what a Gram matrix sums over positions is summed over devices, too.
Nothing is approximate: each convolution sees what it sees of the whole image, and beyond its border
what the network's padding puts there.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.architecture import block_of, convolutions_up_to
from nst_jax.network import vgg
from nst_jax.network.convolution import pad_border
from nst_jax.network.gram import observe


class Band(NamedTuple):
    """Some rows of a layer's maps, and a halo of more rows on each side.

    Attributes:
        maps: (N, rows + 2·halo, w, C), of the network's type.
        top: an integer, traced or not: the first of its own rows, counted from the layer's first.
        rows: how many are its own; the last band's may go beyond the layer.
        halo: how many more there are on each side; may lie outside of the layer.
        height: of the whole layer.
        end: as `top`, the first row that another device holds.
    """

    maps: jax.Array
    top: jax.Array | int
    rows: int
    halo: int
    height: int
    end: jax.Array | int

    def halved(self, pooled: jax.Array) -> "Band":
        """The same rows, pooled to maps (N, rows/2 + halo, w//2, C)."""
        rows, halo, height = self.rows // 2, self.halo // 2, self.height // 2
        return Band(pooled, self.top // 2, rows, halo, height, self.end // 2)


def pad(band: Band, padding: str, masked: bool = False) -> jax.Array:
    """A band's maps with a column more on each side, and the padding in rows beyond the layer.

    `masked` says that zeros are there already.
    """
    maps, height = band.maps, band.height
    row = (band.top - band.halo + jnp.arange(maps.shape[1]))[:, None, None]
    if padding == "zero":
        maps = maps if masked else jnp.where((row >= 0) & (row < height), maps, 0)
        return jnp.pad(maps, ((0, 0), (0, 0), (1, 1), (0, 0)))
    # Only the first row beyond the layer is seen by rows within it: it repeats the last one
    # inside, or mirrors the one before.
    inwards = min({"replicate": 1, "reflect": 2}[padding], height)
    maps = jnp.where(row == -1, jnp.roll(maps, -inwards, axis=1), maps)
    maps = jnp.where(row == height, jnp.roll(maps, inwards, axis=1), maps)
    return pad_border(maps, padding)[:, 1:-1]


def observe_features(
    network: vgg.VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: vgg.Observers,
    first_block: int = 1,
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """`vgg.observe_features` of the same arguments, but of this device's rows of images and maps.

    What observers make of them is to be the same on all devices (`gram.over_devices`).
    """
    wanted, rows = (*network.layers, *observers), network.rows
    maps = images
    if first_block == 1:
        vgg.check_images(images, wanted, rows)
        maps = rows.masked(vgg.subtract_mean(network, images))
    needed = convolutions_up_to(network.architecture, wanted)
    layers = [layer for layer in needed if block_of(layer) >= first_block]
    features, observed = {}, {}
    for layer, following in zip(layers, (*layers[1:], layers[-1]), strict=True):
        kept = layer in wanted
        pooling = network.pooling if block_of(following) > block_of(layer) else None
        fused = {"kept": kept, "pooling": None if kept else pooling, "rows": rows}
        convolution = vgg.make_convolution(network, layer, "none", **fused)
        held, top = maps.shape[1], rows.top(maps.shape[1])
        around = rows.with_neighbors(maps)
        band = Band(around, top, held, halo=1, height=rows.whole(held), end=top + held)
        around = pad(band, network.padding, masked=True)
        outputs = convolution.apply({"params": params[layer]}, around)
        assert isinstance(outputs, jax.Array)  # else mutable variables, of which there are none
        maps = outputs
        if layer in observers:
            function, *arguments = observers[layer]
            maps, observed[layer] = observe(function, maps, *arguments)
        if layer in network.layers:
            features[layer] = maps
        if kept and pooling:
            maps = rows.masked(vgg.POOLINGS[pooling](maps))
    return {layer: features[layer] for layer in network.layers}, observed
