"""Lanes in the middle of their run, in a file: every bit comes back, or nothing does."""

import errno
import json
import os
import shutil
from functools import partial
from types import SimpleNamespace

import jax
import jaxlib
import numpy as np
import pytest
from command import listing
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nst_jax
from nst_jax import Settings, SettingsError
from nst_jax.engine.checkpoint import (
    METADATA,
    AnotherRunError,
    Checkpoint,
    CheckpointFile,
    checkpoint_bytes,
    identities_in,
    load_checkpoint,
    save_checkpoint,
)
from nst_jax.engine.program import lane_axes, make_program, start
from nst_jax.engine.pyramid import Scale
from nst_jax.files import remove_abandoned
from nst_jax.losses.terms import Losses
from nst_jax.rows import ALONE

SHAPE = (6, 8, 3)
SCALES = (Scale((3, 4), 5, 2), Scale((6, 8), 15, 1))
A, B, C, D = (
    {"settings": {"size": 8, "ratio": ratio}, "inputs": {"network": "w", "content image": "c"}}
    for ratio in (1e-4, 1e-3, 1e-2, 0.1)
)
SETTINGS = Settings(content_layers=("conv2_1",), style_layers=("conv1_1",), lbfgs_memory=5)


@pytest.fixture(params=[("lbfgs", 0), ("adam", 5)])
def program(request, narrow):
    optimizer, average = request.param
    return make_program(
        Settings(**{**vars(SETTINGS), "optimizer": optimizer, "average": average}), narrow
    )


def problem_of(program, *identities, shape=SHAPE):
    """As far as a checkpoint asks: the lanes, by what decides them."""
    return SimpleNamespace(program=program, scales=SCALES, identities=identities, shape=shape)


def noise(random, leaf):
    """Any bits of its type, in any order: NaN, infinities and subnormal numbers among them."""
    leaf = np.asarray(leaf)
    bits = np.frombuffer(random.bytes(leaf.nbytes), leaf.dtype).reshape(leaf.shape)
    return np.asarray(bits, order="F")


def make_checkpoint(program, random, numbers=(2, 0, 1), shape=SHAPE):
    images = np.zeros((len(numbers), *shape), np.float32)
    carry = jax.vmap(partial(start, program), out_axes=lane_axes(program))(images)
    carry = jax.tree.map(lambda leaf: [noise(random, leaf)], carry)
    histories = [
        [(0, Losses(number + 0.1, 1e-30, 3.0, 0.0, {"conv2_1": 1 / 3}, {"conv1_1": 0.25}))]
        + [(10, Losses(np.inf, 2.0, 3.0, 0.0, {"conv2_1": np.inf}, {"conv1_1": 0.25}))]
        for number in numbers
    ]
    return Checkpoint(tuple(numbers), 12, carry, histories, 34.5)


@pytest.fixture
def saved(program, random, tmp_path):
    """A checkpoint of three lanes, and its file."""
    path = tmp_path / "unfinished.safetensors"
    whole = make_checkpoint(program, random)
    save_checkpoint(path, whole, problem_of(program, B, C, A))  # in the file A, B, C
    return whole, path


def bits(tree):
    """{path: type, shape and bytes} of every array."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()}


def test_every_bit_comes_back(program, saved):
    whole, path = saved
    found = load_checkpoint(path, problem_of(program, D, B, C, A))
    assert found.lanes == (3, 1, 2)  # as this run numbers them, in the file's order
    assert (found.step, found.seconds) == (12, 34.5)
    assert found.histories == whole.histories
    assert bits(found.carry) == bits(whole.carry)
    assert jax.tree.structure(found.carry) == jax.tree.structure(whole.carry)
    assert listing(path.parent) == [(str(path), path.stat().st_size, path.stat().st_mtime_ns)]
    size = checkpoint_bytes(problem_of(program), 3)
    assert size < path.stat().st_size < size + 10_000


def test_some_of_the_lanes(program, saved):
    whole, path = saved
    found = load_checkpoint(path, problem_of(program, C, D))
    assert found.lanes == (0,) and found.histories == [whole.histories[2]]
    assert found.carry.image[0].shape == (1, *SHAPE)
    per_lane = {"image": found.carry.image, "best": found.carry.best, "shrink": found.carry.shrink}
    for name, tree in per_lane.items():
        third = jax.tree.map(lambda leaf: leaf[2:], getattr(whole.carry, name))
        assert bits(tree) == bits(third)


def test_copies_of_one_lane(program, random, tmp_path):
    """As `rerun` makes them: each has a place of its own."""
    save_checkpoint(tmp_path / "x", make_checkpoint(program, random), problem_of(program, A, A, A))
    assert load_checkpoint(tmp_path / "x", problem_of(program, A, A)).lanes == (0, 1)
    assert load_checkpoint(tmp_path / "x", problem_of(program, A, A, A, A)).lanes == (0, 1, 2)


def test_what_the_lanes_share_is_not_cut(narrow, random, tmp_path):
    """Of L-BFGS: the number of the slot that is written next."""
    program = make_program(SETTINGS, narrow)
    whole = make_checkpoint(program, random)
    save_checkpoint(tmp_path / "x", whole, problem_of(program, A, B, C))
    found = load_checkpoint(tmp_path / "x", problem_of(program, B))
    before, after = bits(whole.carry), bits(found.carry)
    scalars = [name for name, (_, shape, _) in before.items() if shape == ()]
    assert len(scalars) == 1 and before[scalars[0]] == after[scalars[0]]
    assert all(shape[0] == 1 for name, (_, shape, _) in after.items() if name not in scalars)


@pytest.mark.parametrize("step", [1, 5])
def test_of_a_coarse_scale(program, random, tmp_path, step):
    """Its last step included: the carry belongs to the step before the next."""
    whole = make_checkpoint(program, random, shape=(3, 4, 3))._replace(step=step)
    problem = problem_of(program, A, B, C)
    save_checkpoint(tmp_path / "x", whole, problem)
    found = load_checkpoint(tmp_path / "x", problem)
    assert found.step == step and bits(found.carry) == bits(whole.carry)


def test_lanes_that_wait(program, random, tmp_path):
    """Of another step; the same file has them."""
    first = make_checkpoint(program, random, (0, 1))
    other, path = make_checkpoint(program, random, (2,))._replace(step=9), tmp_path / "x"
    problem = problem_of(program, A, B, C)
    save_checkpoint(path, first._replace(waiting=(other,)), problem)
    found = load_checkpoint(path, problem)
    assert [(each.lanes, each.step) for each in found.groups] == [((0, 1), 12), ((2,), 9)]
    assert [bits(each.carry) for each in found.groups] == [bits(first.carry), bits(other.carry)]
    alone = load_checkpoint(path, problem_of(program, C))
    assert (alone.lanes, alone.step, alone.waiting) == ((0,), 9, ())
    assert identities_in(path) == [A, B, C]


def changed(identity, part, **changes):
    return identity | {part: identity[part] | changes}


OTHERS = [
    (D, "is of a run with ratio 0.0001, not 0.1"),
    (changed(A, "settings", size=16), "is of a run with size 8, not 16"),
    (changed(A, "settings", swirl=1), "is of a run with swirl None, not 1"),
    (changed(A, "inputs", network="v"), "is of a run with another network"),
    (changed(A, "inputs", **{"content image": "d"}), "is of a run with another content image"),
]


@pytest.mark.parametrize(("other", "words"), OTHERS)
def test_of_another_run(program, saved, other, words):
    with pytest.raises(AnotherRunError, match=words):
        load_checkpoint(saved[1], problem_of(program, other))


@pytest.mark.parametrize("module", [nst_jax, jax, jaxlib])
def test_of_another_version(program, saved, monkeypatch, module):
    monkeypatch.setattr(module, "__version__", "999.0")
    words = f"was made with .*, not .*{module.__name__} 999.0"
    with pytest.raises(SettingsError, match=words):
        load_checkpoint(saved[1], problem_of(program, A))


def test_files_that_are_none(program, saved, tmp_path):
    _, path = saved
    whole, problem = path.read_bytes(), problem_of(program, A)
    files = {"empty": b"", "letter": b"Dear Theo, " * 99, "longer": whole + b"x"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    save_file({"conv1_1/bias": np.zeros(3, np.float32)}, tmp_path / "weights")
    save_file({"image": np.zeros(3, np.float32)}, tmp_path / "note", {METADATA: "no JSON"})
    save_file({"image": np.zeros(3, np.float32)}, tmp_path / "list", {METADATA: "[1, 2]"})
    save_file({"image": np.zeros(3, np.float32)}, tmp_path / "bare", {METADATA: "{}"})
    (tmp_path / "folder").mkdir()
    for name in (*files, "weights", "note", "list", "bare", "folder", "missing"):
        assert load_checkpoint(tmp_path / name, problem) is None, name


def test_cut_short_anywhere(program, saved):
    _, path = saved
    whole, problem = path.read_bytes(), problem_of(program, A)
    for length in {0, 7, 8, 9, 100, len(whole) - 1, *range(0, len(whole), len(whole) // 40)}:
        path.write_bytes(whole[:length])
        assert load_checkpoint(path, problem) is None, length
    path.write_bytes(whole)
    assert load_checkpoint(path, problem) is not None


def test_a_flipped_bit_anywhere(program, saved, random):
    """In the length, in the header, in any array."""
    _, path = saved
    whole, problem = path.read_bytes(), problem_of(program, A)
    for place in {*range(0, 16), *random.integers(len(whole), size=100).tolist()}:
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        assert load_checkpoint(path, problem) is None, place


def test_losses_that_were_changed(program, saved):
    """The checksum is of the metadata, too."""
    _, path = saved
    with safe_open(path, "np") as file:
        metadata = json.loads(file.metadata()[METADATA])
    metadata["step"] = 13
    save_file(load_file(path), path, {METADATA: json.dumps(metadata)})
    assert load_checkpoint(path, problem_of(program, A)) is None


def test_another_program_can_read_it(saved):
    """As safetensors does: all arrays, under the paths in the tree."""
    whole, path = saved
    found = {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in load_file(path).items()}
    assert found == {f"0{name}": each for name, each in bits(whole.carry).items()}


def test_what_a_killed_process_leaves_is_removed(program, saved, monkeypatch):
    """Whatever is there while it is written: `SIGKILL` leaves that."""
    whole, path = saved
    there, fsync = [], os.fsync

    def look(descriptor):
        there.extend(each for each in path.parent.iterdir() if each != path)
        for each in list(there):
            shutil.copy(each, path.with_name("copy of " + each.name))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    save_checkpoint(path, whole, problem_of(program, B, C, A))
    assert len(there) == 1
    os.rename(path.with_name("copy of " + there[0].name), there[0])
    remove_abandoned(path)
    assert [*path.parent.iterdir()] == [path]


# ---- The file of a run


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(path, *_):
    path.write_bytes(b"half a checkpoint")
    full_disk()


WRITES = [
    ("array_file.write", half_written),
    ("array_file.write", full_disk),
    ("array_file.os.fsync", full_disk),
]


@pytest.fixture
def file(narrow, random, tmp_path):
    """A file of one run, what it told, and two checkpoints of it."""
    program, told = make_program(SETTINGS, narrow), []
    made = [make_checkpoint(program, random)._replace(step=step) for step in (12, 13)]
    problem = problem_of(program, A, B, C)
    return CheckpointFile(tmp_path / "x", problem, told.append, "choose another"), told, made


@pytest.mark.parametrize(("name", "fail"), [*WRITES, ("replacing", full_disk)])
def test_a_full_disk_is_told_once(file, monkeypatch, name, fail):
    """The file that was there stays, and no other is left."""
    kept, told, (first, second) = file
    assert kept.load() is None and kept.step is None and not told
    kept.keep(first)
    before = kept.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(f"nst_jax.engine.checkpoint.{name}", fail)
        kept.keep(second), kept.keep(second)
    assert len(told) == 1 and told[0].startswith(f"{kept.path}: no checkpoint can be written (")
    assert "No space left on device" in told[0] and "\n" not in told[0]
    assert kept.step == 12 and kept.path.read_bytes() == before
    assert len(listing(kept.path.parent)) == 1
    kept.keep(second)
    assert kept.step == kept.load().step == 13
    kept.remove(), kept.remove()
    assert listing(kept.path.parent) == [] and len(told) == 1


def test_a_damaged_file_is_told(file):
    kept, told, _ = file
    kept.path.write_text("Dear Theo,")
    assert kept.load() is None
    assert told == [f"{kept.path}: is damaged, or no checkpoint; what it had begins anew"]


def test_a_file_of_another_run_is_refused_with_the_remedy(file):
    kept, _, (first, _) = file
    kept.keep(first)
    other = CheckpointFile(
        kept.path, problem_of(SimpleNamespace(rows=ALONE), D), print, "choose another"
    )
    with pytest.raises(AnotherRunError, match="x: is of a run with ratio .*; choose another$"):
        other.load()


def test_what_is_held_stays(file):
    """Neither another checkpoint nor the end of the run takes its place."""
    kept, _, (first, second) = file
    kept.hold()
    kept.keep(first)
    before = kept.path.read_bytes()
    kept.keep(second), kept.remove()
    assert kept.path.read_bytes() == before and kept.step == 12
