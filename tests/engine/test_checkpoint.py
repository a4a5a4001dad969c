"""Interrupted lanes in a file: every bit comes back, or nothing does."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from command import listing
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nst_jax
from nst_jax import Settings
from nst_jax.engine import checkpoint
from nst_jax.engine.checkpoint import METADATA, Checkpoint, load_checkpoint, save_checkpoint
from nst_jax.engine.program import lane_axes, make_program, start
from nst_jax.engine.pyramid import Scale
from nst_jax.losses.terms import Losses

SHAPE = (6, 8, 3)
SCALES = (Scale((3, 4), 5, 2), Scale((6, 8), 15, 1))
KEYS = ["a" * 64, "b" * 64, "c" * 64]
SETTINGS = Settings(content_layers=("conv2_1",), style_layers=("conv1_1",), lbfgs_memory=5)


@pytest.fixture(params=[("lbfgs", 0), ("adam", 5)])
def program(request, narrow):
    optimizer, average = request.param
    return make_program(
        Settings(**{**vars(SETTINGS), "optimizer": optimizer, "average": average}), narrow
    )


def noise(random, leaf):
    """Any bits of its type, in any order: NaN, infinities and subnormal numbers among them."""
    leaf = np.asarray(leaf)
    bits = np.frombuffer(random.bytes(leaf.nbytes), leaf.dtype).reshape(leaf.shape)
    return np.asarray(bits, order="F")


def make_checkpoint(program, random, numbers=(4, 0, 7), shape=SHAPE):
    images = np.zeros((len(numbers), *shape), np.float32)
    carry = jax.vmap(partial(start, program), out_axes=lane_axes(program))(images)
    carry = jax.tree.map(partial(noise, random), carry)
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
    save_checkpoint(path, whole, KEYS)
    return whole, path


def bits(tree):
    """{path: type, shape and bytes} of every array."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in arrays.items()}


def test_every_bit_comes_back(program, saved):
    whole, path = saved
    found = load_checkpoint(path, program, SCALES, {"c" * 64: 2, "a" * 64: 9, "b" * 64: 1})
    assert found.lanes == (9, 1, 2)  # as this run numbers them, in the file's order
    assert (found.step, found.seconds) == (12, 34.5)
    assert found.histories == whole.histories
    assert bits(found.carry) == bits(whole.carry)
    assert jax.tree.structure(found.carry) == jax.tree.structure(whole.carry)
    assert listing(path.parent) == [(str(path), path.stat().st_size, path.stat().st_mtime_ns)]


def test_some_of_the_lanes(program, saved):
    whole, path = saved
    found = load_checkpoint(path, program, SCALES, {"c" * 64: 0, "d" * 64: 1})
    assert found.lanes == (0,) and found.histories == [whole.histories[2]]
    assert found.carry.image.shape == (1, *SHAPE)
    per_lane = {"image": found.carry.image, "best": found.carry.best, "shrink": found.carry.shrink}
    for name, tree in per_lane.items():
        third = jax.tree.map(lambda leaf: leaf[2:], getattr(whole.carry, name))
        assert bits(tree) == bits(third)


def test_what_the_lanes_share_is_not_cut(narrow, random, tmp_path):
    """Of L-BFGS: the number of the slot that is written next."""
    program = make_program(SETTINGS, narrow)
    whole = make_checkpoint(program, random)
    save_checkpoint(tmp_path / "x", whole, KEYS)
    found = load_checkpoint(tmp_path / "x", program, SCALES, {"b" * 64: 0})
    before, after = bits(whole.carry), bits(found.carry)
    scalars = [name for name, (_, shape, _) in before.items() if shape == ()]
    assert len(scalars) == 1 and before[scalars[0]] == after[scalars[0]]
    assert all(shape[0] == 1 for name, (_, shape, _) in after.items() if name not in scalars)


@pytest.mark.parametrize("step", [1, 5])
def test_of_a_coarse_scale(program, random, tmp_path, step):
    """Its last step included: the carry belongs to the step before the next."""
    whole = make_checkpoint(program, random, shape=(3, 4, 3))._replace(step=step)
    save_checkpoint(tmp_path / "x", whole, KEYS)
    found = load_checkpoint(tmp_path / "x", program, SCALES, {key: n for n, key in enumerate(KEYS)})
    assert found.step == step and bits(found.carry) == bits(whole.carry)


def test_none_of_the_lanes(program, saved):
    assert load_checkpoint(saved[1], program, SCALES, {"d" * 64: 0}) is None
    assert load_checkpoint(saved[1], program, SCALES, {}) is None


OTHERS = {
    "size": {"scales": (Scale((3, 4), 5, 2), Scale((8, 6), 15, 1))},
    "schedule": {"scales": (Scale((3, 4), 12, 2), Scale((6, 8), 8, 1))},
    "optimiser": {"optimizer": None},
    "average": {"average": None},
    "layers": {"style_layers": ("conv1_1", "conv2_1")},
}


@pytest.mark.parametrize("what", OTHERS)
def test_of_another_program_or_size(program, saved, narrow, what):
    changes = dict(OTHERS[what])
    scales = changes.pop("scales", SCALES)
    wanted = {"optimizer": program.static.optimizer, "average": program.static.average} | changes
    if wanted["optimizer"] is None:
        wanted["optimizer"] = "adam" if program.static.optimizer == "lbfgs" else "lbfgs"
    if wanted["average"] is None:
        wanted["average"] = 0 if program.static.average else 5
    other = make_program(Settings(**{**vars(SETTINGS), **wanted}), narrow)
    numbers = {key: n for n, key in enumerate(KEYS)}
    assert load_checkpoint(saved[1], program, SCALES, numbers) is not None
    assert load_checkpoint(saved[1], other, scales, numbers) is None


def test_of_another_memory(narrow, random, tmp_path):
    program = make_program(SETTINGS, narrow)
    save_checkpoint(tmp_path / "x", make_checkpoint(program, random), KEYS)
    other = make_program(Settings(**{**vars(SETTINGS), "lbfgs_memory": 6}), narrow)
    assert load_checkpoint(tmp_path / "x", other, SCALES, {KEYS[0]: 0}) is None


def test_of_another_version(program, saved, monkeypatch):
    numbers = {KEYS[0]: 0}
    for module in (nst_jax, jax):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "999.0")
            assert load_checkpoint(saved[1], program, SCALES, numbers) is None
    assert load_checkpoint(saved[1], program, SCALES, numbers) is not None


def facts_of(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()[METADATA])


def change_facts(path, **changes):
    """The same file, but for what its metadata say; None removes an entry."""
    facts = {k: v for k, v in (facts_of(path) | changes).items() if v is not None}
    save_file(load_file(path), path, {METADATA: json.dumps(facts)})


BROKEN = {
    "keys": ([None, 5, {}], {"b": 1}),
    "step": (None,),
    "seconds": (None,),
    "histories": (None, [], [[]], 5, [[["x"]]] * 3, [[[0, {"total": 1.0}]]] * 3),
    "versions": (None, []),
}


@pytest.mark.parametrize(("fact", "value"), [(f, v) for f in BROKEN for v in BROKEN[f]])
def test_metadata_that_say_too_little(narrow, random, tmp_path, fact, value):
    program, path = make_program(SETTINGS, narrow), tmp_path / "x.safetensors"
    save_checkpoint(path, make_checkpoint(program, random), KEYS)
    change_facts(path, command="something new")
    assert load_checkpoint(path, program, SCALES, {KEYS[1]: 0}) is not None
    change_facts(path, **{fact: value})
    assert load_checkpoint(path, program, SCALES, {KEYS[1]: 0}) is None


def test_arrays_of_another_type(narrow, random, tmp_path):
    program, path = make_program(SETTINGS, narrow), tmp_path / "x.safetensors"
    save_checkpoint(path, make_checkpoint(program, random), KEYS)
    arrays, facts = load_file(path), facts_of(path)
    arrays[".image"] = np.zeros(arrays[".image"].shape, np.float16)
    save_file(arrays, path, {METADATA: json.dumps(facts)})
    assert load_checkpoint(path, program, SCALES, {KEYS[1]: 0}) is None


def test_files_that_are_none(program, saved, tmp_path):
    _, path = saved
    whole = path.read_bytes()
    files = {"torn": whole[:-1], "empty": b"", "letter": b"Dear Theo, " * 99}
    files |= {"head": whole[:100], "flipped": whole[:20] + b"\xff\xfe" + whole[22:]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    save_file({"conv1_1/bias": np.zeros(3, np.float32)}, tmp_path / "weights")
    save_file({"image": np.zeros(3, np.float32)}, tmp_path / "note", {METADATA: "no JSON"})
    save_file({"image": np.zeros(3, np.float32)}, tmp_path / "list", {METADATA: "[1, 2]"})
    (tmp_path / "folder").mkdir()
    for name in (*files, "weights", "note", "list", "folder", "missing"):
        assert load_checkpoint(tmp_path / name, program, SCALES, {KEYS[0]: 0}) is None, name


def test_full_disk(program, saved, random, monkeypatch):
    """The file that was there stays, and no other is left."""
    _, path = saved
    before = path.read_bytes()

    def save(arrays, temporary, _):
        temporary.write_bytes(b"half a checkpoint")
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", save)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(path, make_checkpoint(program, random), KEYS)
    assert path.read_bytes() == before and len(listing(path.parent)) == 1
