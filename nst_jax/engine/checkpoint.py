"""Lanes that were interrupted, in a file: all that is needed to go on as if nothing had been.

A safetensors file with every array of the carry under its path in the tree; its metadata has, as
JSON, the lanes' keys, the next step, the histories, and the versions that made it.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

import nst_jax
from nst_jax.engine.program import Carry, Program, lane_axes, start, take_lanes
from nst_jax.engine.pyramid import Scale, scale_at
from nst_jax.engine.results import History
from nst_jax.files import replacing
from nst_jax.losses.terms import Losses

METADATA = "nst_jax"


class Checkpoint(NamedTuple):
    """Lanes in the middle of their run, as they can go on from.

    Attributes:
        lanes: their numbers.
        step: the next.
        carry: on the host, with these lanes only along an axis; of the scale of the step before.
        histories: of each so far.
        seconds: spent so far.
    """

    lanes: tuple[int, ...]
    step: int
    carry: Carry
    histories: list[History]
    seconds: float

    def find(self, lanes: Sequence[int]) -> list[int]:
        """At which positions of the carry lanes are, by their numbers."""
        return [self.lanes.index(lane) for lane in lanes]


def save_checkpoint(path: Path, checkpoint: Checkpoint, keys: Sequence[str]) -> None:
    """Write a checkpoint, whole or not at all.

    Lanes are known by their keys: another run may number them otherwise.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    metadata = {
        "keys": list(keys),
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "histories": [
            [[step, losses._asdict()] for step, losses in history]
            for history in checkpoint.histories
        ],
        "versions": _versions(),
    }
    # `save_file` takes the bytes as they lie; `ascontiguousarray` would make scalars 1-dimensional.
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in _named(checkpoint.carry)}
    with replacing(path) as temporary:
        try:
            save_file(arrays, temporary, {METADATA: json.dumps(metadata)})
        except SafetensorError as error:  # how it reports what the system says
            raise OSError(str(error)) from error


def load_checkpoint(
    path: Path, program: Program, scales: Sequence[Scale], numbers: dict[str, int]
) -> Checkpoint | None:
    """Read the lanes that are still wanted; `numbers` has their keys and numbers.

    Returns:
        Those that the file has, or None where it has none of them, is damaged, or was made with
        other versions of this package or of JAX, or by another program.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = json.loads(file.metadata()[METADATA])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        kept = [at for at, key in enumerate(metadata["keys"]) if key in numbers]
        if not kept or metadata["versions"] != _versions():
            return None
        shape = (*scale_at(scales, metadata["step"] - 1).shape, 3)
        carry = _as_carry(program, shape, len(metadata["keys"]), arrays)
        return Checkpoint(
            lanes=tuple(numbers[metadata["keys"][at]] for at in kept),
            step=metadata["step"],
            carry=take_lanes(program, carry, kept),
            histories=[
                [(step, Losses(**losses)) for step, losses in metadata["histories"][at]]
                for at in kept
            ],
            seconds=metadata["seconds"],
        )
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return None


def _versions() -> list[str]:
    return [nst_jax.__version__, jax.__version__]


def _named(carry: Carry) -> list[tuple[str, np.ndarray]]:
    leaves = jax.tree_util.tree_leaves_with_path(carry)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _as_carry(
    program: Program, shape: tuple[int, ...], count: int, arrays: dict[str, np.ndarray]
) -> Carry:
    """The tree again; ValueError where the arrays are not those of this program."""
    begin = jax.vmap(partial(start, program), out_axes=lane_axes(program))
    wanted = jax.eval_shape(begin, jax.ShapeDtypeStruct((count, *shape), jnp.float32))
    shapes = {name: (leaf.shape, leaf.dtype) for name, leaf in _named(wanted)}
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} != shapes:
        raise ValueError("other arrays than those of this program")
    return jax.tree.unflatten(jax.tree.structure(wanted), [arrays[name] for name in shapes])
