"""The network's parameters: find, read, check, normalise, write. The only reader of our files.

A file is safetensors with tensors `conv{b}_{i}/kernel` (3, 3, I, O), `conv{b}_{i}/bias` (O,) and,
where known, `activation_mean/conv{b}_{i}` (O,); its metadata is one JSON object under the key
`nst_jax` (one key, because safetensors writes several in random order), with a SHA-256 over all
the rest. Every file wants the same input: sRGB in [0, 1] minus the file's mean.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nst_jax import vgg
from nst_jax.errors import WeightsError
from nst_jax.files import write_bytes

EMBEDDED_NAME = "vgg16-imagenet"
METADATA_KEY = "nst_jax"
MEANS = "activation_mean/"
SUFFIX = ".safetensors"

# A filter that hardly ever fires would be scaled up without bound: its mean activation is taken
# as no less than this fraction of its layer's average.
ACTIVATION_FLOOR = 0.01

Parameters = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters of one network and what is known of them.

    Attributes:
        architecture: "vgg16" or "vgg19".
        params: {layer: {"kernel": (3, 3, I, O), "bias": (O,)}}, float32, as `vgg.VGG` takes them.
        mean: what to subtract from the image, RGB in [0, 1].
        source: where the values come from.
        source_sha256: of the file that they were converted from.
        licence: of the values.
        activation_means: {layer: (O,)}, mean of each filter's activation over photographs with
            average pooling, or None where nobody has computed it.
        normalized: whether the filters are scaled to a mean activation of 1.
        name: the file's name without suffix.
        sha256: of our file; empty before it is written.
    """

    architecture: str
    params: Parameters
    mean: tuple[float, float, float]
    source: str
    source_sha256: str
    licence: str
    activation_means: Mapping[str, np.ndarray] | None = None
    normalized: bool = False
    name: str = ""
    sha256: str = ""


def user_folder() -> Path:
    """Where fetched and converted weights live: $NST_JAX_WEIGHTS, or a folder of the user's."""
    chosen = os.environ.get("NST_JAX_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "nst_jax" / "weights"


def embedded_path() -> Path:
    """The VGG-16 that comes with the package, in an installed copy or in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "embedded" / (EMBEDDED_NAME + SUFFIX)
    return installed if installed.exists() else package.parent / "weights" / installed.name


def available_weights() -> list[Path]:
    """Every weights file that can be named without its folder: the user's, then the embedded."""
    found = sorted(user_folder().glob("[!.]*" + SUFFIX))  # hidden: half-written, left by a kill
    return found + [embedded_path()] * embedded_path().exists()


def find_weights(choice: str) -> Path:
    """Find the file that `--weights` means.

    Args:
        choice: "auto" (a VGG-19 that was fetched or converted, else the embedded VGG-16), a
            network ("vgg19", "vgg16"), the name of an installed file, or a path.

    Raises:
        WeightsError: there is no such file.
    """
    if Path(choice).suffix == SUFFIX or os.sep in choice or Path(choice).is_file():
        path = Path(choice)
        if path.is_file():
            return path
        raise WeightsError(f"{choice}: no such weights file")
    files = available_weights()
    if not files:
        raise WeightsError(f"the embedded weights are missing: {embedded_path()}; install again")
    # Not any VGG-16 of the user's for "auto": the embedded one can be normalised for sure.
    names = ("vgg19", EMBEDDED_NAME) if choice == "auto" else (choice,)
    for name in names:
        for path in files:
            if path.stem == name:
                return path
        family = [path for path in files if path.stem.startswith(name + "-")]
        if family:  # one that can be normalised first: the paper's ratios want that
            return max(family, key=_has_means)
    known = ", ".join(path.stem for path in files)
    remedy = "; get it with: nst-jax weights fetch vgg19" if choice == "vgg19" else ""
    raise WeightsError(f"no weights called {choice!r}; there are {known}{remedy}")


def _has_means(path: Path) -> bool:
    """Whether a file has activation means; False where it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return any(key.startswith(MEANS) for key in file.keys())
    except (SafetensorError, OSError):
        return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(path: str | Path) -> Weights:
    """Read and check one of our files.

    Raises:
        WeightsError: it cannot be read, does not match its checksum, or lacks a tensor; a tensor
            has another shape than its network wants, or values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        reason = "is a folder; give a file" if path.is_dir() else "no such weights file"
        raise WeightsError(f"{path}: {reason}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(METADATA_KEY)
            # Another program's tensors may be huge, or of types that NumPy has not.
            tensors = {key: file.get_tensor(key) for key in file.keys()} if metadata else {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: not a readable weights file ({error}); if it is damaged, get it again; "
            f"files of other programs are converted first: nst-jax weights convert {path}"
        ) from error
    if metadata is None:
        raise WeightsError(
            f"{path}: a safetensors file, but not one that nst-jax wrote; get one with: "
            f"nst-jax weights fetch vgg19"
        )
    try:
        facts = json.loads(metadata)
        if facts.pop("sha256") != _digest(tensors, facts):
            raise WeightsError(
                f"{path}: damaged: its values do not match its checksum; get it again"
            )
        weights = Weights(
            architecture=facts["architecture"],
            params=_group(tensors),
            mean=tuple(facts["mean"]),
            source=facts["source"],
            source_sha256=facts["source_sha256"],
            licence=facts["licence"],
            activation_means=_activation_means(tensors),
            normalized=facts["normalized"],
            name=path.stem,
            sha256=sha256_of(path),
        )
        check_parameters(weights, str(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged metadata ({error!r}); get it again") from error
    return weights


def _digest(tensors: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> str:
    """SHA-256 over the facts, and names, types, shapes and bytes of the tensors."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _group(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    params: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        layer, _, part = key.partition("/")
        if part in ("kernel", "bias"):
            params.setdefault(layer, {})[part] = tensor.astype(np.float32)
    return params


def _activation_means(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    means = {k.removeprefix(MEANS): v for k, v in tensors.items() if k.startswith(MEANS)}
    return means or None


def check_parameters(weights: Weights, name: str) -> None:
    """Check that every tensor of the network is there, has its shape and is finite.

    Means of activations must also be ≥ 0 with one above 0: `normalize` divides by them.

    Args:
        weights: what to check.
        name: of the file, for the message.

    Raises:
        WeightsError: names the tensor, the shape it has and the shape wanted.
    """
    if weights.architecture not in vgg.BLOCKS:
        raise WeightsError(
            f"{name}: network {weights.architecture!r}; wanted one of {', '.join(vgg.BLOCKS)}"
        )
    if len(weights.mean) != 3 or not np.all(np.isfinite(weights.mean)):
        raise WeightsError(f"{name}: mean is {weights.mean}; wanted three finite numbers")
    means = weights.activation_means
    for layer, shape in vgg.kernel_shapes(weights.architecture).items():
        parts = weights.params.get(layer, {})
        _check_tensor(name, f"{layer}/kernel", parts.get("kernel"), shape)
        _check_tensor(name, f"{layer}/bias", parts.get("bias"), shape[-1:])
        if means is not None:
            _check_tensor(name, f"activation_mean/{layer}", means.get(layer), shape[-1:])
            _check_means(name, f"activation_mean/{layer}", means[layer])


def _check_tensor(name: str, key: str, tensor: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if tensor is None:
        raise WeightsError(f"{name}: tensor {key} is missing; wanted shape {shape}")
    if tensor.shape != shape:
        raise WeightsError(f"{name}: tensor {key} has shape {tensor.shape}; wanted {shape}")
    if not np.all(np.isfinite(tensor)):
        raise WeightsError(f"{name}: tensor {key} has values that are not finite; get it again")


def _check_means(name: str, key: str, means: np.ndarray) -> None:
    if means.min() < 0 or means.max() == 0:
        raise WeightsError(
            f"{name}: tensor {key} has values from {means.min():g} to {means.max():g}; wanted "
            f"none below 0 and one above; compute them again, from photographs"
        )


def save_weights(weights: Weights, path: str | Path, dtype: type[np.floating] = np.float32) -> Path:
    """Write one of our files, the same bytes for the same weights.

    Args:
        weights: what to write.
        path: of the file, ending in .safetensors.
        dtype: of kernels and biases in the file.

    Returns:
        The path.

    Raises:
        WeightsError: the file cannot be written.
    """
    tensors = {
        f"{layer}/{part}": np.ascontiguousarray(tensor, dtype)
        for layer, parts in weights.params.items()
        for part, tensor in parts.items()
    }
    for layer, means in (weights.activation_means or {}).items():
        tensors[MEANS + layer] = np.ascontiguousarray(means, np.float32)
    facts = {
        "architecture": weights.architecture,
        "licence": weights.licence,
        "mean": list(weights.mean),
        "normalized": weights.normalized,
        "source": weights.source,
        "source_sha256": weights.source_sha256,
    }
    facts["sha256"] = _digest(tensors, facts)
    data = save(tensors, {METADATA_KEY: json.dumps(facts, sort_keys=True)})
    try:
        write_bytes(Path(path), data)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from error
    return Path(path)


def floored_means(activation_means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scales of `normalize`: mean activations, no less than 1 % of their layer's average.

    Args:
        activation_means: {layer: (O,)}.

    Returns:
        {layer: (O,)}, positive.
    """
    return {
        layer: np.maximum(means, ACTIVATION_FLOOR * means.mean())
        for layer, means in activation_means.items()
    }


def normalize(weights: Weights) -> Weights:
    """Scale every filter to a mean activation of 1 over photographs.

    With s_l the mean activations of layer l: k'_l = k_l · s_{l-1} / s_l and b'_l = b_l / s_l.
    ReLU and pooling commute with positive factors, so each feature map is the original one
    divided by its filter's s, and nothing else changes. Weights that are normalised already come
    back as they are.

    Raises:
        WeightsError: the weights carry no activation means.

    Source: Gatys et al. 2015, "Methods"; Gatys et al. 2016, section 2.
    """
    if weights.normalized:
        return weights
    if weights.activation_means is None:
        raise WeightsError(
            f"{weights.name}: no mean activations, so it cannot be normalised; compute them with: "
            f"nst-jax weights normalize {weights.name} --images FOLDER_OF_PHOTOGRAPHS"
        )
    params, before = {}, np.ones(3, np.float32)
    scales = floored_means(weights.activation_means)
    for layer in vgg.layer_names(weights.architecture):  # each needs the scales of the one before
        kernel, bias = weights.params[layer]["kernel"], weights.params[layer]["bias"]
        scale = scales[layer]
        params[layer] = {
            "kernel": (kernel * before[:, None] / scale).astype(np.float32),
            "bias": (bias / scale).astype(np.float32),
        }
        before = scale
    return dataclasses.replace(weights, params=params, activation_means=None, normalized=True)
