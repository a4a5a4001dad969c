"""VGG-16 and VGG-19 as feature extractors: one pure Flax module."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from nst_jax.architecture import block_of, convolutions_up_to, kernel_shapes, smallest_side
from nst_jax.network import convolution
from nst_jax.network.gram import observe
from nst_jax.network.kernel_forms import CONVOLUTIONS
from nst_jax.rows import ALONE, Rows

# {layer: (function of its features (N, h, w, C) and of arguments, *these)}, as `observe` has it.
Observers = Mapping[str, Sequence[Any]]

POOLINGS = convolution.POOLINGS
PADDINGS = ("zero", "reflect", "replicate")
# Type of the activations, and precision of the products that make them. DEFAULT is TF32 on
# NVIDIA GPUs and one product of bfloat16 on TPUs; neither loses as much as 2 % of the final loss on
# average (docs/benchmark.md, "Precision").
PRECISIONS = {
    "float32": (jnp.float32, lax.Precision.HIGHEST),
    "tf32": (jnp.float32, lax.Precision.DEFAULT),
    "bfloat16": (jnp.bfloat16, lax.Precision.DEFAULT),
}


def precision_on(platform: str, precision: str) -> str:
    """What the precision "auto" is on "cpu", "gpu" or "tpu"; another one is itself."""
    if precision != "auto":
        return precision
    return "float32" if platform == "cpu" else "tf32"


class Convolution(nn.Module):
    """3×3 convolution, bias and ReLU, with parameters `kernel` (3, 3, I, O) and `bias` (O,).

    In place of `kernel` there may be another form of it, which `kernel_forms` has. With the padding
    "none" the outputs are smaller than the inputs by one pixel on each side.

    Attributes:
        kept: see `convolution.bias_relu`.
        pooling: that follows, if nothing else reads the outputs.
        rows: that this device holds of the outputs before it.
    """

    filters: int
    dtype: jnp.dtype
    precision: lax.Precision
    padding: str = "zero"
    kept: bool = False
    pooling: str | None = None
    rows: Rows = ALONE

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """(N, H, W, I) to (N, H, W, O) or, pooled, (N, H//2, W//2, O), of type `dtype`."""
        form = next(filter(partial(self.has_variable, "params"), CONVOLUTIONS), "kernel")
        if form == "kernel":
            shape = (3, 3, inputs.shape[-1], self.filters)
            kernel: Any = self.param(form, nn.initializers.he_normal(), shape)
        else:
            kernel = self.get_variable("params", form)
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        pad = 1 if self.padding == "zero" else 0
        if self.padding in convolution.BORDERS:
            inputs = convolution.pad_border(inputs, self.padding)
        kernel = jax.tree.map(lambda array: array.astype(self.dtype), kernel)
        outputs = CONVOLUTIONS[form](inputs, kernel, self.precision, pad)
        if self.pooling:
            return convolution.bias_relu_pool(outputs, bias, self.pooling, self.rows)
        return convolution.bias_relu(outputs, bias, self.kept, self.rows)


class VGG(nn.Module):
    """The convolutional part of VGG-16 or VGG-19, up to the deepest layer asked for.

    Attributes:
        architecture: "vgg16" or "vgg19".
        layers: names of the layers whose features are returned, conv1_1 to conv5_4.
        mean: what is subtracted from the image's channels, RGB in [0, 1]. It is subtracted before
            the zero padding, as in training, and so cannot be folded into conv1_1's bias.
        pooling: "average" (Gatys et al. 2015, section "Methods") or "max".
        dtype: type of the activations. The losses sum in float32 whatever it is.
        precision: of the convolutions' products.
        padding: what stands around the image and around each layer's maps: "zero", as in training;
            "reflect" or "replicate", which leave no frame along the border (`pad_border`).
        tiled: whether `tiles.observe_features` lays maps out for a TPU.
        rows: that this device holds of the images, for `row_shards.observe_features`.

    Source: Simonyan & Zisserman 2014. Features are after the ReLU, as in Caffe, where the ReLU
    works in place and "conv4_2" is read after it.
    """

    architecture: str
    layers: tuple[str, ...]
    mean: tuple[float, float, float]
    pooling: str = "average"
    dtype: jnp.dtype = jnp.float32
    precision: lax.Precision = lax.Precision.HIGHEST
    padding: str = "zero"
    tiled: bool = False
    rows: Rows = ALONE

    @nn.compact
    def __call__(
        self, images: jax.Array, observers: Observers | None = None, first_block: int = 1
    ) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        """Compute features, and functions of features.

        Args:
            images: (N, H, W, 3), float32 (or wider) sRGB in [0, 1]; or what the first block that
                is computed here takes, (N, h, w, C) of type `dtype`.
            observers: of features that need not be returned.
            first_block: the blocks before it have been computed, pooling included.

        Returns:
            {layer: (N, h, w, C)} of type `dtype`, in the order of `layers`; h and w are halved,
            rounding down, before each block but the first. And {layer: its observer's value}.

        Raises:
            ValueError: while tracing, what is no image or too small for the deepest layer.
        """
        observers = observers or {}
        wanted = (*self.layers, *observers)
        features, observed = {}, {}
        outputs = images
        if first_block == 1:
            check_images(images, wanted)
            outputs = subtract_mean(self, images)
        layers = convolutions_up_to(self.architecture, wanted)
        for layer, following in zip(layers, (*layers[1:], layers[-1]), strict=True):
            if block_of(layer) < first_block:
                continue
            kept, pooling = layer in wanted, None
            if block_of(following) > block_of(layer):
                pooling = self.pooling
            options = {"kept": kept, "pooling": None if kept else pooling, "name": layer}
            outputs = make_convolution(self, layer, self.padding, **options)(outputs)
            if layer in observers:
                function, *arguments = observers[layer]
                outputs, observed[layer] = observe(function, outputs, *arguments)
            features[layer] = outputs
            if kept and pooling:
                outputs = POOLINGS[pooling](outputs)
        return {layer: features[layer] for layer in self.layers}, observed


def make_convolution(network: VGG, layer: str, padding: str, **options: Any) -> Convolution:
    """The convolution of a layer, of the network's types but with a padding of its own."""
    filters = kernel_shapes(network.architecture)[layer][-1]
    return Convolution(filters, network.dtype, network.precision, padding, **options)


def check_images(images: jax.Array, layers: Sequence[str], rows: Rows = ALONE) -> None:
    """Refuse, while tracing, what is no image or too small for the deepest layer.

    The users' own images have been checked by then, with their names in the message.

    Raises:
        ValueError: the shape is not (N, H, W, 3), or the deepest layer would have no position.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images have shape {images.shape}; wanted (N, H, W, 3)")
    height, width = rows.whole(images.shape[1]), images.shape[2]
    if min(height, width) < smallest_side(layers):
        raise ValueError(
            f"images of {width}×{height} px are too small for {max(layers)}: each side needs "
            f"{smallest_side(layers)} px"
        )


def subtract_mean(network: VGG, images: jax.Array) -> jax.Array:
    """What the first convolution takes, (N, H, W, 3) of the network's type, of images like it."""
    mean = jnp.asarray(network.mean, images.dtype).reshape(1, 1, 1, 3)
    return (images - mean).astype(network.dtype)


def extract_features(
    network: VGG, params: Mapping[str, Any], images: jax.Array
) -> dict[str, jax.Array]:
    """Features of images (N, H, W, 3) under these parameters: {layer: (N, h, w, C)}."""
    return observe_features(network, params, images, {})[0]


def observe_features(
    network: VGG,
    params: Mapping[str, Any],
    images: jax.Array,
    observers: Observers,
    first_block: int = 1,
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Features, and {layer: the value of its observer}; arguments and results as `VGG` has them."""
    features, observed = network.apply({"params": params}, images, observers, first_block)
    assert isinstance(features, dict)  # else mutable variables, of which there are none
    return features, observed  # type: ignore[return-value]
