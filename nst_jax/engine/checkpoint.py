"""Lanes in the middle of their run, in a file: all that is needed to go on as if nothing had been.

A safetensors file with every array of the carry under its path in the tree; its metadata has, as
JSON, what decides the lanes' results, the next step, the histories, the versions that made it, and
a SHA-256 over all of that and the arrays.
"""

import json
import os
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from safetensors import SafetensorError, safe_open

import nst_jax
from nst_jax.engine.identity import difference
from nst_jax.engine.program import Carry, Program, lane_axes, start, take_lanes
from nst_jax.engine.pyramid import scale_at
from nst_jax.engine.results import History
from nst_jax.errors import SettingsError
from nst_jax.files import replacing
from nst_jax.losses.terms import Losses
from nst_jax.weights.storage import checksum

if TYPE_CHECKING:
    from nst_jax.engine.problem import Problem

METADATA = "nst_jax"
SHARED = "devices for an image"
# What safetensors calls them.
TYPES = {
    "float32": "F32",
    "float64": "F64",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "bool": "BOOL",
}
# What reading raises where there is no checkpoint, or a damaged one.
UNREADABLE = (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError)


class Checkpoint(NamedTuple):
    """Lanes in the middle of their run, as they can go on from.

    Attributes:
        lanes: their numbers.
        step: the next.
        carry: on the host, with these lanes only along an axis; of the scale of the step before.
        histories: of each so far.
        seconds: spent so far.
        waiting: others, of other steps perhaps, which have not been gone on with.
    """

    lanes: tuple[int, ...]
    step: int
    carry: Carry
    histories: list[History]
    seconds: float
    waiting: tuple["Checkpoint", ...] = ()

    @property
    def groups(self) -> "list[Checkpoint]":
        """These lanes, and those that wait."""
        return [self._replace(waiting=()), *self.waiting]

    def only(self, lanes: Collection[int], program: Program) -> "Checkpoint | None":
        """Those of these lanes, in their order; None if there are none."""
        positions = [at for at, lane in enumerate(self.lanes) if lane in lanes]
        if not positions:
            return None
        return self._replace(
            lanes=tuple(self.lanes[at] for at in positions),
            carry=take_lanes(program, self.carry, positions),
            histories=[self.histories[at] for at in positions],
        )

    def find(self, lanes: Sequence[int]) -> list[int]:
        """At which positions of the carry lanes are, by their numbers."""
        return [self.lanes.index(lane) for lane in lanes]


Keep = Callable[[Checkpoint], None]


class AnotherRunError(SettingsError):
    """A checkpoint has none of the lanes that are to be run."""


class CheckpointFile:
    """The one file that a run goes on from; a file that cannot be written ends no run.

    Attributes:
        path: of the file.
        step: that it goes on from; None while it has not been read or written.
    """

    def __init__(self, path: Path, problem: "Problem", tell: Callable[[str], object], remedy: str):
        """Take what to tell the user with, and what helps where the file is of another run."""
        self.path = path
        self.step: int | None = None
        self._problem, self._tell, self._remedy = problem, tell, remedy
        self._failed = self._held = False

    def load(self) -> Checkpoint | None:
        """What there is to go on from; None where there is none, or a damaged one, which is told.

        Raises:
            AnotherRunError: the file is of another run.
            SettingsError: it was made with other versions.
        """
        try:
            found = load_checkpoint(self.path, self._problem)
        except SettingsError as error:
            raise type(error)(f"{self.path}: {error}; {self._remedy}") from error
        if found is None and os.path.lexists(self.path):
            self._tell(f"{self.path}: is damaged, or no checkpoint; what it had begins anew")
        self.step = None if found is None else found.step
        return found

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write the file, whole or not at all; tell once that it cannot be written."""
        if self._held and os.path.lexists(self.path):
            return
        try:
            save_checkpoint(self.path, checkpoint, self._problem)
            self.step = checkpoint.step
        except OSError as error:
            if not self._failed:
                reason = error.strerror or error
                self._tell(f"{self.path}: no checkpoint can be written ({reason}); the run goes on")
            self._failed = True

    def hold(self) -> None:
        """From now on keep what is there: results that were made from it could not be written."""
        self._held = True

    def remove(self) -> None:
        """Remove the file, if it is there and not held."""
        if self._held:
            return
        self.step = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(f"{self.path}: cannot be removed ({error.strerror}); it is of no use now")


def checkpoint_bytes(problem: "Problem", lanes: int) -> int:
    """The size of a checkpoint at full size, nearly."""
    shapes = jax.tree.leaves(_carry_shapes(problem.program, problem.shape, lanes))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in shapes)


def save_checkpoint(path: Path, checkpoint: Checkpoint, problem: "Problem") -> None:
    """Write a checkpoint, whole or not at all.

    Lanes are known by what decides them: another run may number them otherwise.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    metadata: dict[str, Any] = {
        "groups": [_as_json(each, problem) for each in checkpoint.groups],
        "versions": _versions() | _shared(problem),
    }
    # `ascontiguousarray` would make scalars 1-dimensional.
    arrays = {
        f"{number}{name}": np.asarray(leaf, order="C")
        for number, each in enumerate(checkpoint.groups)
        for name, leaf in _named(each.carry)
    }
    metadata["sha256"] = checksum(arrays, metadata)
    with replacing(path) as temporary:
        _write(temporary, arrays, {METADATA: json.dumps(metadata)})


def _write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, array by array.

    The library's own writer puts another file beside it, which a process that is killed leaves.

    Source: https://huggingface.co/docs/safetensors, "Format".
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        kind, shape = TYPES[array.dtype.name], list(array.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())  # or a machine that is taken away may leave it empty


def _as_json(checkpoint: Checkpoint, problem: "Problem") -> dict[str, Any]:
    """All but the carry."""
    return {
        "lanes": [problem.identities[lane] for lane in checkpoint.lanes],
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "histories": [
            [[step, losses._asdict()] for step, losses in history]
            for history in checkpoint.histories
        ],
    }


def load_checkpoint(path: Path, problem: "Problem") -> Checkpoint | None:
    """Read those lanes of a checkpoint that the problem has.

    Returns:
        None where there is no file, or a damaged one.

    Raises:
        AnotherRunError: it has none of these lanes.
        SettingsError: it was made with other versions of this package or of JAX.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = json.loads(file.metadata()[METADATA])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        if metadata.pop("sha256") != checksum(arrays, metadata) or "groups" not in metadata:
            return None
    except UNREADABLE:
        return None
    versions = _versions() | _shared(problem)
    if metadata["versions"] != versions:
        then, now = (_as_text(each) for each in (metadata["versions"], versions))
        raise SettingsError(f"was made with {then}, not {now}")
    wanted = dict(enumerate(problem.identities))
    groups = []
    for number, group in enumerate(metadata["groups"]):
        found: dict[int, int] = {}  # {number of a lane: its position}; copies are alike
        for position, identity in enumerate(group["lanes"]):
            lane = next((lane for lane, each in wanted.items() if each == identity), None)
            if lane is not None:
                found[lane] = position
                del wanted[lane]
        if found:
            groups.append(_read_group(group, found, str(number), arrays, problem))
    if not groups:
        then = metadata["groups"][0]["lanes"][0]
        raise AnotherRunError(f"is of a run with {difference(then, problem.identities[0])}")
    return groups[0]._replace(waiting=tuple(groups[1:]))


def _read_group(
    group: Mapping[str, Any],
    found: Mapping[int, int],
    prefix: str,
    arrays: Mapping[str, np.ndarray],
    problem: "Problem",
) -> Checkpoint:
    """Lanes of one step, those that were found at their positions."""
    shape = (*scale_at(problem.scales, group["step"] - 1).shape, 3)
    wanted = _carry_shapes(problem.program, shape, len(group["lanes"]))
    carry = jax.tree.unflatten(
        jax.tree.structure(wanted), [arrays[prefix + name] for name, _ in _named(wanted)]
    )
    return Checkpoint(
        lanes=tuple(found),
        step=group["step"],
        carry=take_lanes(problem.program, carry, list(found.values())),
        histories=[
            [(step, Losses(**losses)) for step, losses in group["histories"][at]]
            for at in found.values()
        ],
        seconds=group["seconds"],
    )


def identities_in(path: Path) -> list[dict[str, Any]]:
    """What decides the lanes of a checkpoint, as `Problem.identities`; of no checkpoint none."""
    try:
        with safe_open(path, "np") as file:
            groups = json.loads(file.metadata()[METADATA])["groups"]
            return [lane for group in groups for lane in group["lanes"]]
    except UNREADABLE:
        return []


def devices_in(path: Path) -> int:
    """How many devices shared an image of a checkpoint; 1 where there is none."""
    try:
        with safe_open(path, "np") as file:
            return int(json.loads(file.metadata()[METADATA])["versions"][SHARED])
    except UNREADABLE:
        return 1


def _versions() -> dict[str, str]:
    # On TPUs vectors lie in another order.
    platform = {"platform": jax.default_backend()}
    return {module.__name__: module.__version__ for module in (nst_jax, jax, jaxlib)} | platform


def _shared(problem: "Problem") -> dict[str, str]:
    """Each device's part of an image is padded, and lies by itself in what is kept."""
    devices = problem.program.rows.devices
    return {} if devices == 1 else {SHARED: str(devices)}


def _as_text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _named(carry: Carry) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(carry)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _carry_shapes(program: Program, shape: tuple[int, ...], lanes: int) -> Carry:
    begin = jax.vmap(partial(start, program), out_axes=lane_axes(program))
    return jax.eval_shape(begin, jax.ShapeDtypeStruct((lanes, *shape), jnp.float32))
