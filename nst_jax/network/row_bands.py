"""The blocks of the network in bands of rows, computed a second time for the gradient.

Most of what an evaluation keeps are the features of the first two blocks: as many numbers as the
image has pixels, times 64 and times 32 for each convolution. Here they never exist at once. A band
of some rows goes through these blocks, with a halo of the rows around it that their convolutions
see; what comes out are its pooled rows, its rows of the features that are wanted whole, and its
share of each Gram matrix, which is a sum over positions. For the gradient the band is computed
again (`jax.checkpoint`). Of what the second block leaves the third goes in bands in the same way,
and then the fourth, where they are so large that it makes several of them.

    rows of the maps      top − halo … top … top + rows … top + rows + halo
    a 3×3 convolution     halo − 1: the outermost rows have served
    a pooling             top, rows and halo halved; all are even there
    the last pooling      halo 0: only the band's own rows are left

That is no approximation, as painting in tiles is: each convolution sees what it sees of the whole
image, and beyond the border what the network's padding puts there. The price is the second
computation, a sixth of an evaluation's products for the first two blocks and as much for each one
more, and that of the rows that neighbors share.

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", for computing again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.architecture import FILTERS, block_of, convolutions_up_to, last_layer
from nst_jax.network import tiles, vgg
from nst_jax.network.gram import gram_matrix, guided_gram_matrix
from nst_jax.network.row_shards import Band, pad

# Blocks that go together; the third with the first two would want three times as many rows around
# each band, and on its own makes do with what they leave whole.
GROUPS = ((1, 2), (3, 3), (4, 4))
BAND_NUMBERS = 2**22  # of one layer's features in a band: 16 MB in float32
MIN_BANDS = 4  # of the third and the fourth block; of fewer less would be saved than they cost
MIN_ROWS = 32  # with fewer, those that neighbors share would be most of the work


def observe_features(
    network: vgg.VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: vgg.Observers,
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Features of images (N, H, W, 3), and their Gram matrices; as `tiles.observe_features`.

    Args:
        network: says which layers.
        params: of the network.
        images: (N, H, W, 3), float32 (or wider) sRGB in [0, 1].
        observers: {layer: (`gram_matrix`,) or (`guided_gram_matrix`, guidance maps (N or 1, R, h,
            w))}, or these `over_devices`; of other functions the sum over bands would not be the
            whole.

    Returns:
        {layer: (N, h, w, C)} and {layer: Gram matrices (N, C, C) or (N, R, C, C)}.

    Raises:
        ValueError: while tracing, what is no image or too small for the deepest layer.
    """
    vgg.check_images(images, (*network.layers, *observers), network.rows)
    blocks = banded_blocks(network.layers, tuple(observers))
    maps, done = images, 0
    features: dict[str, jax.Array] = {}
    grams: dict[str, jax.Array] = {}
    for first, last in GROUPS:
        last = min(last, blocks)
        if first > last or (first > 1 and _number_of_bands(maps, first) < MIN_BANDS):
            break
        maps, *found = _in_bands(network, params, maps, observers, first, last)
        features, grams, done = features | found[0], grams | found[1], last
    deeper = network.clone(layers=tuple(name for name in network.layers if name not in features))
    late = {layer: observers[layer] for layer in observers if layer not in grams}
    rest = tiles.observe_features(deeper, params, maps, late, done + 1)
    features, grams = features | rest[0], grams | rest[1]
    return {layer: features[layer] for layer in network.layers}, grams


def banded_blocks(layers: Sequence[str], style_layers: Sequence[str]) -> int:
    """How many blocks may go in bands: those whose pooled maps another one reads."""
    deepest = max(map(block_of, (*layers, *style_layers)))
    return min(GROUPS[-1][-1], deepest - 1)


def _number_of_bands(maps: jax.Array, block: int) -> int:
    """Into how many bands maps (N, h, w, C) go that this block reads."""
    count, held, width, _ = maps.shape
    return -(-held // max(MIN_ROWS, BAND_NUMBERS // (count * width * FILTERS[block - 1])))


def _in_bands(
    network: vgg.VGG,
    params: Mapping[str, Any],
    maps: jax.Array,
    observers: vgg.Observers,
    first_block: int,
    last_block: int,
) -> tuple[jax.Array, dict[str, jax.Array], dict[str, jax.Array]]:
    """What these blocks hand to the next, (N, h, w, C), and features and Grams of their layers."""
    count, held, *_ = maps.shape
    shared = network.rows
    height, start = shared.whole(held), shared.top(held)
    last = last_layer(network.architecture, last_block)
    needed = convolutions_up_to(network.architecture, [last])
    layers = [layer for layer in needed if block_of(layer) >= first_block]
    halo, stride = _halo(layers), 2 ** (last_block - first_block + 1)
    # Bands of equal height, a multiple of the stride, so that each pooling pairs the rows that it
    # pairs in the whole image.
    bands = _number_of_bands(maps, first_block)
    rows = -(-held // (bands * stride)) * stride
    maps = vgg.subtract_mean(network, maps) if first_block == 1 else maps
    maps = shared.with_neighbors(maps, halo)
    maps = jnp.pad(maps, ((0, 0), (0, bands * rows - held), (0, 0), (0, 0)))

    def through(number: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        first = number * rows
        cut = lax.dynamic_slice_in_dim(maps, first, rows + 2 * halo, axis=1)
        band = Band(cut, start + first, rows, halo, height, start + held)
        return _through_layers(network, params, band, layers, observers)

    def add(sums: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        outputs, shares = through(number)
        return jax.tree.map(jnp.add, sums, shares), outputs

    def whole(cut: jax.Array) -> jax.Array:
        """Rows (bands, N, h, w, C) as maps (N, bands · h, w, C), without those beyond the layer."""
        joined = jnp.moveaxis(cut, 0, 1).reshape(count, -1, *cut.shape[3:])
        return shared.masked(joined[:, : held * cut.shape[2] // rows])

    _, shares = jax.eval_shape(through, jax.ShapeDtypeStruct((), jnp.int32))
    zeros = jax.tree.map(lambda share: jnp.zeros(share.shape, share.dtype), shares)
    again = jax.checkpoint(add, prevent_cse=False)
    grams, outputs = lax.scan(again, zeros, jnp.arange(bands))
    pooled, features = jax.tree.map(whole, outputs)
    return pooled, features, jax.tree.map(shared.sum, grams)


def _halo(layers: Sequence[str]) -> int:
    """Rows around a band of the image such that none are left after the last block's pooling.

    Counted backwards: one for each convolution, twice as many before each pooling. For the two
    blocks of either network 2 · 2 + 2 = 6.
    """
    halo, block = 0, block_of(layers[-1])
    for layer in reversed(layers):
        if block_of(layer) < block:
            halo, block = 2 * halo, block - 1
        halo += 1
    return halo


def _through_layers(
    network: vgg.VGG,
    params: Mapping[str, Any],
    band: Band,
    layers: Sequence[str],
    observers: vgg.Observers,
) -> tuple[tuple[jax.Array, dict[str, jax.Array]], dict[str, jax.Array]]:
    """A band's pooled rows (N, rows, w, C), those of features, and its shares of the Grams."""
    features, shares = {}, {}
    pool = vgg.POOLINGS[network.pooling]
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        ends = following is None or block_of(following) > block_of(layer)
        wanted = layer in observers or layer in network.layers
        pooling = network.pooling if ends and not wanted else None
        convolution = vgg.make_convolution(network, layer, "none", pooling=pooling)
        maps = convolution.apply({"params": params[layer]}, pad(band, network.padding))
        assert isinstance(maps, jax.Array)  # else mutable variables, of which there are none
        band = band._replace(halo=band.halo - 1)
        if layer in observers:
            shares[layer] = _share(band._replace(maps=maps), *observers[layer][1:])
        if layer in network.layers:
            features[layer] = maps[:, band.halo : band.halo + band.rows]
        if ends:
            band = band.halved(maps if pooling else pool(maps))
        else:
            band = band._replace(maps=maps)
    return (band.maps, features), shares


def _share(band: Band, guides: jax.Array | None = None) -> jax.Array:
    """What a band's own rows add to a layer's Gram matrix, guided by maps (N or 1, R, h, w)."""
    rows, height = band.rows, band.height
    inside = band.top + jnp.arange(rows) < jnp.minimum(height, band.end)
    own = band.maps[:, band.halo : band.halo + rows]
    own = jnp.where(inside[:, None, None], own, 0)
    if guides is None:
        return gram_matrix(own) * (rows / height)  # over the layer's positions, not the band's
    padded = jnp.pad(guides, ((0, 0), (0, 0), (0, rows), (0, 0)))
    first = band.top - (band.end - guides.shape[2])
    return guided_gram_matrix(own, lax.dynamic_slice_in_dim(padded, first, rows, axis=2))
