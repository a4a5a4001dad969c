"""Lanes in the middle of their run, in a file: all that is needed to go on as if nothing had been.

A safetensors file with the pieces of every array of the carry under its path in the tree; its
metadata has, as JSON, what decides the lanes' results, the next step, the histories, the versions
that made it, and a SHA-256 over all of that and the arrays.

Where several processes share an image, each has a file with its own pieces.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

import nst_jax
from nst_jax.engine import array_file, distributed
from nst_jax.engine.identity import difference
from nst_jax.engine.program import Carry, Program, lane_axes, start, take_lanes
from nst_jax.engine.pyramid import scale_at
from nst_jax.engine.results import History
from nst_jax.errors import SettingsError
from nst_jax.files import replacing
from nst_jax.losses.terms import Losses

if TYPE_CHECKING:
    from nst_jax.engine.problem import Problem

METADATA = "nst_jax"
SHARED = "devices for an image"
BEFORE = ".before"  # at the end of a file's name: the one before
# What reading raises where there is no checkpoint, or a damaged one.
UNREADABLE = (OSError, LookupError, TypeError, ValueError, AttributeError)


class Checkpoint(NamedTuple):
    """Lanes in the middle of their run, as they can go on from.

    Attributes:
        lanes: their numbers.
        step: the next.
        carry: in place of its arrays lists of their pieces, as `Executor.store` has them, with
            these lanes only along an axis; of the scale of the step before.
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

    Processes that share an image have one each, and keep the one before beside it: where one of
    them is killed while they write, only that one is the same step's everywhere.

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
        self._is_part = distributed.spans_processes(problem.program.rows.devices)
        self._before = path.with_name(path.name + BEFORE)

    def load(self) -> Checkpoint | None:
        """What there is to go on from; None where there is none, or a damaged one, which is told.

        All processes that share an image must call this, and go on from the same step.

        Raises:
            AnotherRunError: the file is of another run.
            SettingsError: it was made with other versions.
        """
        found = self._load_part() if self._is_part else self._load()
        self.step = None if found is None else found.step
        return found

    def _load(self) -> Checkpoint | None:
        try:
            found = load_checkpoint(self.path, self._problem)
        except SettingsError as error:
            raise type(error)(f"{self.path}: {error}; {self._remedy}") from error
        if found is None and os.path.lexists(self.path):
            self._tell(f"{self.path}: is damaged, or no checkpoint; what it had begins anew")
        return found

    def _load_part(self) -> Checkpoint | None:
        """Of the newest step that all processes have."""
        parts, wrong = [], None
        try:
            parts = [self._load()]
        except SettingsError as error:
            wrong = error
        with contextlib.suppress(SettingsError):
            parts.append(load_checkpoint(self._before, self._problem))
        found = {part.step: part for part in parts if part}
        every = distributed.gather((set(found), wrong))
        common = set.intersection(*(steps for steps, _ in every))
        if not common and (errors := [error for _, error in every if error]):
            raise errors[0]
        return found[max(common)] if common else None

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write the file, whole or not at all; tell once that it cannot be written."""
        if self._held and os.path.lexists(self.path):
            return
        try:
            if self._is_part and os.path.lexists(self.path):
                # All processes have it whole: since then they have taken steps together.
                os.replace(self.path, self._before)
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
        for path in (self.path, self._before) if self._is_part else (self.path,):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._tell(f"{path}: cannot be removed ({error.strerror}); it is of no use now")


def largest_piece_bytes(problem: "Problem", lanes: int) -> int:
    """What a checkpoint takes of the host's memory while it is written, nearly."""
    if jax.default_backend() == "cpu":  # whose devices have it there already
        return 0
    return max(_array_bytes(problem, lanes)) // problem.program.rows.devices


def _array_bytes(problem: "Problem", lanes: int) -> list[int]:
    shapes = jax.tree.leaves(_carry_shapes(problem.program, problem.shape, lanes))
    return [leaf.size * leaf.dtype.itemsize for leaf in shapes]


def checkpoint_bytes(problem: "Problem", lanes: int) -> int:
    """The size of a process's checkpoint at full size, nearly."""
    whole = sum(_array_bytes(problem, lanes))
    spread = distributed.spans_processes(problem.program.rows.devices)
    return whole // jax.process_count() if spread else whole


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
    arrays = {
        f"{number}{name}": piece
        for number, each in enumerate(checkpoint.groups)
        for name, piece in _named(each.carry)
    }
    with replacing(path) as temporary:
        array_file.write(temporary, METADATA, metadata, arrays)


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
        metadata, arrays = array_file.read(path, METADATA)
        if "groups" not in metadata:
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
    pieces = [_pieces(arrays, prefix + name) for name, _ in _named(wanted)]
    carry = jax.tree.unflatten(jax.tree.structure(wanted), pieces)
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


def _pieces(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    names = itertools.takewhile(arrays.__contains__, (f"{name}[{n}]" for n in itertools.count()))
    return [arrays[each] for each in names]


def identities_in(path: Path) -> list[dict[str, Any]]:
    """What decides the lanes of a checkpoint, as `Problem.identities`; of no checkpoint none."""
    try:
        groups = array_file.read_metadata(path, METADATA)["groups"]
        return [lane for group in groups for lane in group["lanes"]]
    except UNREADABLE:
        return []


def devices_in(path: Path) -> int:
    """How many devices shared an image of a checkpoint; 1 where there is none."""
    try:
        versions = array_file.read_metadata(path, METADATA)["versions"]
        return int(versions[SHARED].split()[0])
    except UNREADABLE:
        return 1


def _versions() -> dict[str, str]:
    # On TPUs vectors lie in another order.
    platform = {"platform": jax.default_backend()}
    return {module.__name__: module.__version__ for module in (nst_jax, jax, jaxlib)} | platform


def _shared(problem: "Problem") -> dict[str, str]:
    """Each device's part of an image is padded, and lies by itself in what is kept."""
    devices = problem.program.rows.devices
    spread = distributed.spans_processes(devices)
    of_processes = f" of {jax.process_count()} processes" if spread else ""
    return {} if devices == 1 else {SHARED: f"{devices}{of_processes}"}


def _as_text(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _named(carry: Carry) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(carry)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _carry_shapes(program: Program, shape: tuple[int, ...], lanes: int) -> Carry:
    begin = jax.vmap(partial(start, program), out_axes=lane_axes(program))
    return jax.eval_shape(begin, jax.ShapeDtypeStruct((lanes, *shape), jnp.float32))
