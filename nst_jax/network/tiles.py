"""The network as a TPU computes it best: an image's rows in eight bands along the batch.

A TPU keeps an array in tiles of 8 × 128 numbers and pads its two innermost axes to them; for a
convolution XLA puts batch and channels there. With a batch of one it therefore cuts every map into
eight parts before a convolution and puts them together after it, four copies of each map; and the
64 channels of the first block it pads to 128. Here an image goes through a block as

    bands    eight of equally many rows along the batch; the first and the last row of a band's
             neighbors are put around it where a convolution reads it, which XLA does on the way
    columns  of 64 channels two side by side in the channels, the even one's first: a 3×3
             convolution stays one, with a kernel half of which is zeros

and so needs half the kernels and a third of the traffic (docs/planning.md). Nothing is approximate:
beyond the last row there are zeros, as the network's padding has them, and they stay zeros. Where
devices share an image's rows each lays out its own, and the outermost bands get their neighbors'
rows from the devices beside it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nst_jax.architecture import block_of, convolutions_up_to
from nst_jax.network import row_shards, vgg
from nst_jax.network.convolution import bias_relu
from nst_jax.network.gram import gram_matrix, observe, over_devices
from nst_jax.rows import ALONE, Rows

BANDS = 8
LANES = 128  # of a tile
MIN_ROWS = 2 * BANDS  # of a layer; with fewer, most of the bands would be padding


class Tiling(NamedTuple):
    """How a layer's maps (1, h, w, C) lie as (8, rows, w / columns, columns · C).

    Attributes:
        height: h; of the whole layer, where devices share it.
        width: w.
        rows: of each band; those from h on are zeros.
        columns: side by side in the channels, 1 or 2.
        shared: how devices share the layer; each has 8 · rows then.
    """

    height: int
    width: int
    rows: int
    columns: int
    shared: Rows = ALONE

    @classmethod
    def of_block(cls, maps: jax.Array, channels: int, shared: Rows = ALONE) -> "Tiling":
        """That of a block's maps: rows in pairs for the pooling, columns that fill the lanes."""
        _, held, width, _ = maps.shape
        rows = 2 * -(-held // (2 * BANDS))
        columns = 2 if 2 * channels <= LANES and width % 2 == 0 else 1
        return cls(shared.whole(held), width, rows, columns, shared)

    @property
    def is_exact(self) -> bool:
        """Whether no row lies beyond the layer."""
        return self.shared.devices * BANDS * self.rows == self.height

    def cut(self, maps: jax.Array) -> jax.Array:
        """Lay out maps (1, h, w, C)."""
        beyond = BANDS * self.rows - maps.shape[1]
        padded = jnp.pad(maps, ((0, 0), (0, beyond), (0, 0), (0, 0)))
        return padded.reshape(BANDS, self.rows, self.width // self.columns, -1)

    def join(self, tiled: jax.Array) -> jax.Array:
        """The maps (1, h, w, C) again."""
        maps = tiled.reshape(1, BANDS * self.rows, self.width, -1)
        return maps[:, : self.height] if self.shared.devices == 1 else maps

    def fill_beyond(self, tiled: jax.Array, value: float) -> jax.Array:
        """The same, with this value in every row beyond the layer."""
        if self.is_exact:
            return tiled
        held = BANDS * self.rows
        row = self.shared.top(held) + jnp.arange(held).reshape(BANDS, self.rows, 1, 1)
        return jnp.where(row < self.height, tiled, value)

    def pool(self, tiled: jax.Array) -> tuple[jax.Array, "Tiling"]:
        """Average over 2×2 windows with stride 2, and how the result lies, one column each."""
        pairs = tiled.reshape(BANDS, self.rows // 2, 2, *tiled.shape[2:]).sum(axis=2)
        if self.columns == 1:
            even = pairs[:, :, : self.width // 2 * 2]
            halves = even.reshape(*even.shape[:2], self.width // 2, 2, -1).sum(axis=3)
        else:
            channels = pairs.shape[-1] // 2
            halves = pairs[..., :channels] + pairs[..., channels:]
        pooled = Tiling(self.height // 2, self.width // 2, self.rows // 2, 1, self.shared)
        # A last odd row was averaged with zeros, and is dropped.
        return pooled.fill_beyond(0.25 * halves, 0) if self.height % 2 else 0.25 * halves, pooled

    def gram_matrix(self, tiled: jax.Array) -> jax.Array:
        """`gram.gram_matrix` of the whole layer's maps, (1, C, C)."""
        # In the order in which they lie in memory; a sum over positions does not mind.
        positions = tiled.transpose(1, 2, 0, 3)
        both = gram_matrix(positions.reshape(1, -1, BANDS, positions.shape[-1]))
        channels = both.shape[-1] // self.columns
        gram = both[:, :channels, :channels]
        if self.columns == 2:
            gram += both[:, channels:, channels:]
        count = positions.size // positions.shape[-1]
        return self.shared.sum(gram * (count / (self.height * self.width)))


def pack_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel (3, 3, 2I, 2O) that does to two columns side by side what (3, 3, I, O) does."""
    _, _, inputs, outputs = kernel.shape
    packed = jnp.zeros((3, 3, 2, inputs, 2, outputs), kernel.dtype)
    for column in (0, 1):  # of the outputs
        for tap in range(3):
            place, of_inputs = divmod(column + tap - 1, 2)
            packed = packed.at[:, place + 1, of_inputs, :, column].set(kernel[:, tap])
    return packed.reshape(3, 3, 2 * inputs, 2 * outputs)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv3x3(
    tiled: jax.Array, kernel: jax.Array, precision: lax.Precision, shared: Rows = ALONE
) -> jax.Array:
    """Convolve bands with 3×3 kernels, stride 1, zeros around the whole.

    Differentiable with respect to the bands only; who trains kernels takes `convolution.conv3x3`.

    Args:
        tiled: (8, rows, w, I), any float type, zeros in rows beyond the layer.
        kernel: (3, 3, I, O), of the bands' type.
        precision: of the products.
        shared: how devices share the layer.

    Returns:
        (8, rows, w, O), of the bands' type; anything in rows beyond the layer.
    """
    return _convolve(tiled, kernel, precision, shared, "HWIO")


def _convolve(tiled, kernel, precision, shared, layout):
    before, after = shared.from_neighbors(tiled[:1, :1], tiled[-1:, -1:])
    above = jnp.concatenate([before, tiled[:-1, -1:]])
    below = jnp.concatenate([tiled[1:, :1], after])
    around = jnp.concatenate([above, tiled, below], axis=1)
    numbers = ("NHWC", layout, "NHWC")
    padding = ((0, 0), (1, 1))
    return lax.conv_general_dilated(
        around, kernel, (1, 1), padding, dimension_numbers=numbers, precision=precision
    )


def _conv3x3_backward(precision, shared, kernel, cotangent):
    # The same operator with the kernel turned; no cotangent comes from rows beyond the layer.
    gradient = _convolve(cotangent, jnp.flip(kernel, (0, 1)), precision, shared, "HWOI")
    return gradient, jnp.full_like(kernel, jnp.nan)  # not a zero that would be believed


conv3x3.defvjp(lambda t, k, *how: (conv3x3(t, k, *how), k), _conv3x3_backward)


def observe_features(
    network: vgg.VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: vgg.Observers,
    first_block: int = 1,
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """`vgg.observe_features` of the same arguments, in bands where the network is `tiled`.

    Other paddings than zeros, maxima, several images and blocks with few rows go as they are; where
    devices share the images, as `row_shards` has them.
    """
    wanted, shared = (*network.layers, *observers), network.rows
    plain = (vgg if shared.devices == 1 else row_shards).observe_features
    suits = network.padding == "zero" and network.pooling == "average"
    if not (network.tiled and suits and len(images) == 1 and _goes_in_bands(images, shared)):
        return plain(network, params, images, observers, first_block)
    if first_block == 1:
        vgg.check_images(images, wanted, shared)
        # Or XLA would do it where three channels have been padded to 128.
        images = lax.optimization_barrier(shared.masked(vgg.subtract_mean(network, images)))
    layers = convolutions_up_to(network.architecture, wanted)
    features: dict[str, jax.Array] = {}
    observed: dict[str, Any] = {}
    maps, tiling = images, None
    for block in range(first_block, block_of(layers[-1]) + 1):
        own = [layer for layer in layers if block_of(layer) == block]
        is_last = own[-1] == layers[-1]
        if tiling is None or (tiling.rows % 2 and not is_last):
            maps = tiling.join(maps) if tiling else maps
            if not _goes_in_bands(maps, shared):
                rest = network.clone(layers=tuple(n for n in network.layers if n not in features))
                late = {name: observers[name] for name in observers if name not in observed}
                deep = plain(rest, params, maps, late, block)
                features, observed = features | deep[0], observed | deep[1]
                break
            tiling = Tiling.of_block(maps, params[own[0]]["kernel"].shape[-1], shared)
            maps = tiling.cut(maps)
        for layer in own:
            maps = _convolved(network, params[layer], maps, tiling, layer in wanted)
            if layer in observers:
                function, *arguments = observers[layer]
                function = partial(_observed, function, tiling)
                maps, observed[layer] = observe(function, maps, *arguments)
            if layer in network.layers:
                features[layer] = tiling.join(maps)
        if not is_last:
            maps, tiling = tiling.pool(maps)
    return {layer: features[layer] for layer in network.layers}, observed


def _goes_in_bands(maps: jax.Array, shared: Rows) -> bool:
    """Whether maps (1, h, w, C) have rows for all bands; what devices share, without a rest."""
    held = maps.shape[1]
    return held >= MIN_ROWS and (shared.devices == 1 or held % MIN_ROWS == 0)


def _convolved(
    network: vgg.VGG, layer: Mapping[str, Any], maps: jax.Array, tiling: Tiling, kept: bool
) -> jax.Array:
    """A layer's maps, after its ReLU, of those that it reads; rows beyond it are zeros."""
    kernel, bias = layer["kernel"].astype(network.dtype), layer["bias"]
    if tiling.columns == 2:
        kernel, bias = pack_kernel(kernel), jnp.tile(bias, 2)
    outputs = conv3x3(maps, kernel, network.precision, tiling.shared)
    return bias_relu(tiling.fill_beyond(outputs, -jnp.inf), bias, kept)


def _observed(function: Any, tiling: Tiling, maps: jax.Array, *arguments: Any) -> Any:
    """What a function of maps (1, h, w, C) makes of them as they lie."""
    if function == over_devices(gram_matrix, tiling.shared):
        return tiling.gram_matrix(maps)
    return function(tiling.join(maps), *arguments)
