"""Arrays in a safetensors file, written piece by piece, and read where they are used.

The library's own writer wants all arrays in memory, and puts a file of its own beside the one that
it writes, which a process that is killed leaves; its reader copies them all.

Source: https://huggingface.co/docs/safetensors, "Format".
"""

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax.weights.storage import Checksum, checksum

# What safetensors calls them.
TYPES = {
    "float32": "F32",
    "float64": "F64",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "bool": "BOOL",
}
DTYPES = {kind: np.dtype(name) for name, kind in TYPES.items()}
UNKNOWN = "0" * 64  # a checksum, until all has been written


class Piece:
    """An array, or a part of one, that comes to the host where it is used, and then leaves it.

    Attributes:
        shape: of what `np.asarray` gives.
        dtype: of that.
    """

    def __init__(self, fetch: Callable[[], np.ndarray], shape: tuple[int, ...], dtype: np.dtype):
        """Take what makes the array on the host."""
        self._fetch, self.shape, self.dtype = fetch, shape, np.dtype(dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._fetch(), dtype)

    def __getitem__(self, index: Any) -> "Piece":
        shape = np.broadcast_to(np.zeros((), self.dtype), self.shape)[index].shape
        return Piece(lambda: self._fetch()[index], shape, self.dtype)


def piece_of(array: jax.Array) -> Piece:
    """An array on devices, of which no copy is left on the host."""

    def fetch() -> np.ndarray:
        parts = [shard.data for shard in array.addressable_shards]
        # JAX keeps what an array was on the host for as long as there is that array.
        again = jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)
        return np.asarray(again)

    return Piece(fetch, array.shape, array.dtype)


def write(
    path: Path, name: str, metadata: Mapping[str, Any], arrays: Mapping[str, Piece | np.ndarray]
) -> None:
    """Write arrays one after the other, and metadata as JSON under a name, with a checksum.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    digest = Checksum(metadata)
    entries: dict[str, Any] = {}
    end = 0
    for key in sorted(arrays):
        array = arrays[key]
        kind, shape = TYPES[array.dtype.name], list(array.shape)
        begin, end = end, end + int(np.prod(array.shape)) * array.dtype.itemsize
        entries[key] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}

    def header(checksum: str) -> bytes:
        said = {"__metadata__": {name: json.dumps({**metadata, "sha256": checksum})}}
        text = json.dumps(said | entries).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    with open(path, "wb") as file:
        file.write(header(UNKNOWN))
        for key in entries:
            # `ascontiguousarray` would make scalars 1-dimensional.
            array = np.asarray(arrays[key], order="C")
            digest.add(key, array)
            file.write(array.reshape(-1).view(np.uint8).data)
            del array  # before the next one comes
        file.seek(0)
        file.write(header(digest.text))
        file.flush()
        os.fsync(file.fileno())  # or a machine that is taken away may leave it empty


def read_metadata(path: Path, name: str) -> dict[str, Any]:
    """What `write` has written under a name, and its checksum; the file may be damaged.

    Raises:
        OSError: it cannot be read.
        LookupError, TypeError, ValueError: it is no such file.
    """
    return _read(path, name)[0]


def read(path: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata under a name, and the arrays, which stay in the file until they are used.

    Raises:
        OSError: it cannot be read.
        LookupError, TypeError, ValueError: it is damaged, or no such file.
    """
    metadata, entries, data = _read(path, name)
    arrays = {}
    for key, entry in entries.items():
        begin, end = entry["data_offsets"]
        arrays[key] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if metadata.pop("sha256") != checksum(arrays, metadata):
        raise ValueError(f"{path}: is damaged")
    return metadata, arrays


def _read(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """The metadata, the entries of the arrays, and all bytes of these."""
    file = np.memmap(path, np.uint8, "r")
    begin = 8 + int(file[:8].view("<u8")[0])
    entries = json.loads(file[8:begin].tobytes())
    metadata = json.loads(entries.pop("__metadata__")[name])
    if sum(each["data_offsets"][1] - each["data_offsets"][0] for each in entries.values()) != (
        file.size - begin
    ):
        raise ValueError(f"{path}: is longer or shorter than its arrays")
    return metadata, entries, file[begin:]
