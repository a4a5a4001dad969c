"""Our format of weights, the only reader and writer of it.

A file is safetensors with tensors `conv{b}_{i}/kernel` (3, 3, I, O), `conv{b}_{i}/bias` (O,) and,
where known, `activation_mean/conv{b}_{i}` (O,) of average pooling and
`activation_mean/max/conv{b}_{i}` (O,) of maximum pooling; its metadata is one JSON object under the
key `nst_jax` (one key, because safetensors writes several in random order), with a SHA-256 over all
the rest. Every file wants the same input: sRGB in [0, 1] minus the file's mean.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nst_jax.errors import WeightsError
from nst_jax.files import sha256_of, write_bytes
from nst_jax.weights.parameters import MEANS, Weights, check_parameters, named_tensors

SUFFIX = ".safetensors"
METADATA_KEY = "nst_jax"
METADATA = ("architecture", "licence", "mean", "source", "source_sha256")


def load_weights(path: str | Path) -> Weights:
    """Read and check one of our files.

    Returns:
        The weights; kernels (3, 3, I, O), biases and activation means (O,), float32.

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
            text = (file.metadata() or {}).get(METADATA_KEY)
            # Another program's tensors may be huge, or of types that NumPy has not.
            tensors = {key: file.get_tensor(key) for key in file.keys()} if text else {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: not a readable weights file ({error}); if it is damaged, get it again; "
            f"files of other programs are converted first: nst-jax weights convert {path}"
        ) from error
    if text is None:
        raise WeightsError(
            f"{path}: a safetensors file, but not one that nst-jax wrote; get one with: "
            f"nst-jax weights fetch vgg19"
        )
    try:
        metadata = json.loads(text)
        if metadata.pop("sha256") != checksum(tensors, metadata):
            raise WeightsError(
                f"{path}: damaged: its values do not match its checksum; get it again"
            )
        nested = _nest(tensors)
        means = {key: nested.pop(key) for key in [*nested] if key.split("/")[0] == MEANS}
        # Files of version 0.2 do not tell the pooling, and had means of average pooling only.
        made_for = metadata.get("normalized_for", "average")
        weights = Weights(
            **{key: metadata[key] for key in METADATA} | {"mean": tuple(metadata["mean"])},
            normalized_for=made_for if metadata["normalized"] else "",
            activation_means={_pooling(key): layers for key, layers in means.items()},
            params=nested,
            name=path.stem,
            sha256=sha256_of(path),
            path=str(path),
        )
        check_parameters(weights, str(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged metadata ({error!r}); get it again") from error
    return weights


class Checksum:
    """SHA-256 over metadata, and names, types, shapes and bytes of tensors in their order."""

    def __init__(self, metadata: Mapping[str, object]):
        """Begin with the metadata."""
        self._digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())

    def add(self, key: str, tensor: np.ndarray) -> None:
        """Go on with a tensor."""
        self._digest.update(f"{key} {tensor.dtype} {tensor.shape}\n".encode())
        # No copy of it.
        self._digest.update(np.asarray(tensor, order="C").reshape(-1).view(np.uint8).data)

    @property
    def text(self) -> str:
        """In hexadecimal digits."""
        return self._digest.hexdigest()


def checksum(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, object]) -> str:
    """SHA-256 over the metadata, and names, types, shapes and bytes of the tensors."""
    digest = Checksum(metadata)
    for key in sorted(tensors):
        digest.add(key, tensors[key])
    return digest.text


def _nest(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Make {"a/b": tensor, "c/d/e": …} into {"a": {"b": tensor}, "c/d": {"e": …}}, float32."""
    nested: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        outer, _, inner = key.rpartition("/")
        nested.setdefault(outer, {})[inner] = tensor.astype(np.float32)
    return nested


def _pooling(key: str) -> str:
    """The pooling of the means whose names begin so: the last part; average where there is none."""
    return key.partition("/")[2] or "average"


def has_means(path: Path) -> bool:
    """Whether a file has activation means; False where it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return any(key.startswith(MEANS) for key in file.keys())
    except (SafetensorError, OSError):
        return False


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
        key: np.ascontiguousarray(tensor, np.float32 if key.startswith(MEANS) else dtype)
        for key, tensor in named_tensors(weights).items()
    }
    metadata = {key: getattr(weights, key) for key in METADATA} | {"mean": list(weights.mean)}
    metadata["normalized"] = weights.normalized
    if weights.normalized:
        metadata["normalized_for"] = weights.normalized_for
    metadata["sha256"] = checksum(tensors, metadata)
    data = save(tensors, {METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    try:
        write_bytes(Path(path), data)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from error
    return Path(path)
