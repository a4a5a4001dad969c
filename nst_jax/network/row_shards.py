"""The network on images whose rows are shared among devices.

Each device computes the rows that it holds of every layer. Before a convolution it gets a row from
each neighbor, and sends one; what a Gram matrix sums over positions is summed over devices, too.
Nothing is approximate: each convolution sees what it sees of the whole image, and beyond its border
what the network's padding puts there.
"""

from collections.abc import Mapping
from typing import Any

import jax

from nst_jax.architecture import block_of, convolutions_up_to
from nst_jax.network import vgg
from nst_jax.network.gram import observe
from nst_jax.network.row_bands import Band, pad


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
        fused = {"kept": kept, "pooling": None if kept else pooling}
        convolution = vgg.make_convolution(network, layer, "none", **fused)
        held, top = maps.shape[1], rows.top(maps.shape[1])
        around = rows.with_neighbors(maps)
        band = Band(around, top, held, halo=1, height=rows.whole(held), end=top + held)
        around = pad(band, network.padding, masked=True)
        outputs = convolution.apply({"params": params[layer]}, around)
        assert isinstance(outputs, jax.Array)  # else mutable variables, of which there are none
        maps = rows.masked(outputs)
        if layer in observers:
            function, *arguments = observers[layer]
            maps, observed[layer] = observe(function, maps, *arguments)
        if layer in network.layers:
            features[layer] = maps
        if kept and pooling:
            maps = rows.masked(vgg.POOLINGS[pooling](maps))
    return {layer: features[layer] for layer in network.layers}, observed
