"""The first blocks of the network in bands of rows, computed a second time for the gradient.

Most of what an evaluation keeps are the features of the first two blocks: as many numbers as the
image has pixels, times 64 and times 32 for each convolution. Here they never exist at once. A band
of some rows goes through these blocks, with a halo of the rows around it that their convolutions
see; what comes out are its pooled rows, and its share of each Gram matrix, which is a sum over
positions. For the gradient the band is computed again (`jax.checkpoint`).

    rows of the maps      top − halo … top … top + rows … top + rows + halo
    a 3×3 convolution     halo − 1: the outermost rows have served
    a pooling             top, rows and halo halved; all are even there
    the last pooling      halo 0: only the band's own rows are left

That is no approximation, as painting in tiles is: each convolution sees what it sees of the whole
image, and beyond the border what the network's padding puts there. The price is the second
computation, a sixth of an evaluation's products, and that of the rows that neighbors share.

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", for computing again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.architecture import FILTERS, block_of, convolutions_up_to, last_layer
from nst_jax.network import tiles, vgg
from nst_jax.network.convolution import pad_border
from nst_jax.network.gram import gram_matrix, guided_gram_matrix

MAX_BLOCKS = 2  # the third would want twice as many rows around each band
BAND_NUMBERS = 2**22  # of one layer's features in a band: 16 MB in float32
MIN_ROWS = 32  # with fewer, those that neighbors share would be most of the work


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


def observe_features(
    network: vgg.VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: vgg.Observers,
    rest: Callable[..., Any] = tiles.observe_features,
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Features of images (N, H, W, 3), and their Gram matrices; as `tiles.observe_features`.

    Args:
        network: says which layers.
        params: of the network.
        images: (N, H, W, 3), float32 (or wider) sRGB in [0, 1].
        observers: {layer: (`gram_matrix`,) or (`guided_gram_matrix`, guidance maps (N or 1, R, h,
            w))}, or these `over_devices`; of other functions the sum over bands would not be the
            whole.
        rest: computes the blocks that go as one, `tiles.observe_features` or that of `row_shards`.

    Returns:
        {layer: (N, h, w, C)} and {layer: Gram matrices (N, C, C) or (N, R, C, C)}.

    Raises:
        ValueError: while tracing, what is no image or too small for the deepest layer.
    """
    vgg.check_images(images, (*network.layers, *observers), network.rows)
    blocks = banded_blocks(network.layers, tuple(observers))
    early = {layer: observers[layer] for layer in observers if block_of(layer) <= blocks}
    late = {layer: observers[layer] for layer in observers if layer not in early}
    grams: dict[str, jax.Array] = {}
    if blocks:
        images, grams = _in_bands(network, params, images, early, blocks)
    features, observed = rest(network, params, images, late, blocks + 1)
    return features, grams | observed


def banded_blocks(layers: Sequence[str], style_layers: Sequence[str]) -> int:
    """How many blocks go in bands: those before the one of the first features that are wanted."""
    deepest = max(map(block_of, (*layers, *style_layers)))
    first = min(map(block_of, layers), default=deepest)
    return min(MAX_BLOCKS, first - 1, deepest - 1)


def _in_bands(
    network: vgg.VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: vgg.Observers,
    blocks: int,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """What these blocks hand to the next, (N, h, w, C), and the Gram matrices of layers in them."""
    count, held, width, _ = images.shape
    shared = network.rows
    height, start = shared.whole(held), shared.top(held)
    last = last_layer(network.architecture, blocks)
    layers = convolutions_up_to(network.architecture, [last])
    halo, stride = _halo(layers), 2**blocks
    # Bands of equal height, a multiple of the stride, so that each pooling pairs the rows that it
    # pairs in the whole image.
    bands = -(-held // max(MIN_ROWS, BAND_NUMBERS // (count * width * FILTERS[0])))
    rows = -(-held // (bands * stride)) * stride
    maps = shared.with_neighbors(vgg.subtract_mean(network, images), halo)
    maps = jnp.pad(maps, ((0, 0), (0, bands * rows - held), (0, 0), (0, 0)))

    def through(number: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        first = number * rows
        cut = lax.dynamic_slice_in_dim(maps, first, rows + 2 * halo, axis=1)
        band = Band(cut, start + first, rows, halo, height, start + held)
        return _through_layers(network, params, band, layers, observers)

    def add(sums: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        pooled, shares = through(number)
        return jax.tree.map(jnp.add, sums, shares), pooled

    _, shares = jax.eval_shape(through, jax.ShapeDtypeStruct((), jnp.int32))
    zeros = jax.tree.map(lambda share: jnp.zeros(share.shape, share.dtype), shares)
    again = jax.checkpoint(add, prevent_cse=False)
    grams, pooled = lax.scan(again, zeros, jnp.arange(bands))
    whole = jnp.moveaxis(pooled, 0, 1).reshape(count, -1, *pooled.shape[3:])
    return shared.masked(whole[:, : held // stride]), jax.tree.map(shared.sum, grams)


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
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """A band's pooled rows (N, rows, w, C) after these layers, and its shares of the Grams."""
    shares = {}
    pool = vgg.POOLINGS[network.pooling]
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        ends = following is None or block_of(following) > block_of(layer)
        pooling = network.pooling if ends and layer not in observers else None
        convolution = vgg.make_convolution(network, layer, "none", pooling=pooling)
        maps = convolution.apply({"params": params[layer]}, pad(band, network.padding))
        assert isinstance(maps, jax.Array)  # else mutable variables, of which there are none
        band = band._replace(halo=band.halo - 1)
        if layer in observers:
            shares[layer] = _share(band._replace(maps=maps), *observers[layer][1:])
        if ends:
            band = band.halved(maps if pooling else pool(maps))
        else:
            band = band._replace(maps=maps)
    return band.maps, shares


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
