"""One image whose rows several devices share, against the same on one device, in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from on_devices import CASES

from nst_jax import Settings, SettingsError, stylize
from nst_jax.engine import sharing
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.sharing import read_devices

# What sums in another order differ by; L-BFGS multiplies it from step to step.
ROUNDING = 1e-11
DEFAULT = ("lbfgs",)  # the others are slow


RUNS = """
import json
from functools import partial
import jax, numpy as np
from PIL import Image
from nst_jax.engine.executors import MeshExecutor
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.program import prepare_parameters
from nst_jax import Settings, SettingsError, stylize, sweep
from nst_jax.cli.main import main
assert len(jax.devices()) == 8
random = np.random.default_rng(0)
content, style = random.random((67, 96, 3), np.float32), random.random((50, 61, 3), np.float32)
layers = {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_2",)}
def stop(progress):
    if progress.step == 5:
        raise StopIteration
found = {}
settings = Settings(steps=8, scales=2, lbfgs_memory=3, **layers)
for devices in (1, 2):
    options = {"devices": devices, "report_every": 1}
    result = stylize(content, style, settings, **options)
    assert result.image.shape == content.shape and result.compiled_lanes == 0
    stylize(content, style, settings, checkpoint="kept", callback=stop, **options)
    resumed = stylize(content, style, settings, checkpoint="kept", **options)
    assert resumed.history == result.history and np.array_equal(resumed.image, result.image)
    found[devices] = [losses.total for _, losses in result.history]
stylize(content, style, settings, checkpoint="kept", callback=stop, devices=4)
try:
    stylize(content, style, settings, checkpoint="kept", devices=2)
except SettingsError as error:
    assert "devices for an image 4, not " in str(error), error
else:
    raise AssertionError("went on with a checkpoint of four devices on two")
resumed = stylize(content, style, settings, checkpoint="kept")  # auto takes as many as before
assert resumed.completed
many = [Settings(steps=3, lbfgs_memory=3, seed=seed, init="noise", **layers) for seed in (0, 1, 2)]
swept = sweep(content, style, many, rows=2, report_every=1)  # four lanes at once, on eight
for one, lane in zip(many, swept):
    alone = stylize(content, style, one, report_every=1, devices=1)
    assert lane.compiled_lanes == 4
    totals = [[losses.total for _, losses in each.history] for each in (alone, lane)]
    assert np.allclose(*totals, 1e-4)
    assert np.abs(alone.image - lane.image).max() < 1e-3
given = prepare_problem(content, style, many, None)
for rows, lanes, height in ((2, 4, 48), (1, 8, 67)):
    problem = given.shared(rows)
    prepare = partial(prepare_parameters, problem.program, problem.weights.params, problem.shape)
    executor = MeshExecutor(problem.program, prepare, lanes, tuple(jax.devices()))
    carry = executor.start([0.1 * number * content for number in range(lanes)])
    stored = jax.tree.map(np.asarray, executor.store(carry))
    assert [piece.shape for piece in stored.image] == [(lanes, height, 96, 3)] * rows
    restored = executor.restore(stored, content.shape[:2])
    for before, after in zip(jax.tree.leaves(carry), jax.tree.leaves(restored), strict=True):
        assert before.sharding == after.sharding and np.array_equal(before, after)
for name, image in (("content", content), ("style", style)):
    Image.fromarray(np.uint8(255 * image)).save(f"{name}.png")
flags = ["--size", "64", "--steps", "3", "--content-layers", "conv2_2", "--style-layers", "conv1_1"]
assert main(["stylize", "content.png", "style.png", "-o", "a.png", "--devices", "2", *flags]) == 0
assert json.load(open("a.json"))["device"]["shared_by"] == 2
assert main(["rerun", "a.json", "-o", "b.png"]) == 0
assert np.array_equal(Image.open("a.png"), Image.open("b.png"))
assert json.load(open("b.json"))["history"] == json.load(open("a.json"))["history"]
print(json.dumps(found))
"""


def run(arguments, folder=None):
    """What a script prints, in a process that has eight devices."""
    tests = str(Path(__file__).parents[1])
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    # Here running takes longer than compiling.
    optimized = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    environment = optimized | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join([tests, str(Path(tests).parent), *before])
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout[ended.stdout.index("{") :])


def check(names):
    found = run([str(Path(__file__).with_name("on_devices.py")), *names])
    assert set(found) == set(names)
    for name, differences in found.items():
        assert max(differences.values()) < ROUNDING, (name, differences)


def test_devices_that_share_an_image_compute_what_one_does():
    check(DEFAULT)


@pytest.mark.slow
def test_every_control_is_exact_over_devices():
    """Odd heights at each pooling, both networks, every padding, bands, tiles, optimizers."""
    check([name for name in CASES if name not in DEFAULT])


@pytest.mark.slow
def test_runs_over_devices(tmp_path):
    """Coarse to fine, ended and gone on with to the same bits, and a sweep; in float32."""
    found = run(["-c", RUNS], tmp_path)
    assert found["2"] == pytest.approx(found["1"], rel=1e-3)


@pytest.mark.parametrize(
    ("devices", "words"), [(2, "--devices 2: there is 1 cpu device; wanted at most as many")]
)
def test_more_devices_than_there_are(devices, words):
    image = np.full((32, 32, 3), 0.5, np.float32)
    with pytest.raises(SettingsError, match=words):
        stylize(image, image, Settings(steps=1), devices=devices)


@pytest.mark.parametrize("typed", ["0", "-1", "many", "1.5", ""])
def test_devices_that_are_no_number(typed):
    with pytest.raises(SettingsError, match="wanted a number, all or auto"):
        read_devices(typed)


@pytest.mark.parametrize(("needed", "taken"), [(1, 1), (2, 2), (3, 4), (4, 4), (9, 4)])
def test_auto_takes_as_few_as_it_fits_in(monkeypatch, needed, taken):
    """Of four devices numbers that divide them; all of them where not even those are enough."""
    tried = []

    def step_that_fits(problem, limit):
        tried.append(problem.program.rows.devices)
        return ("compiled", 1.0) if tried[-1] >= needed else None

    monkeypatch.setattr(sharing.fitting, "step_that_fits", step_that_fits)
    monkeypatch.setattr(sharing.fitting, "free_for_one", lambda problem: 10**9)
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    image = np.full((32, 32, 3), 0.5, np.float32)
    problem = prepare_problem(image, image, [Settings(steps=1)])
    found = sharing.shared(problem)
    assert found.program.rows.devices == taken
    assert tried == [count for count in (1, 2) if count <= max(needed, taken)][: len(tried)]
    assert (found.fits is not None) == (taken >= needed and taken < 4)
    two = prepare_problem(image, image, [Settings(steps=1)] * 2)
    assert sharing.shared(two) is two and sharing.shared(two, 2).program.rows.devices == 2
    with pytest.raises(SettingsError, match="--rows 3: .* wanted a number that divides them"):
        sharing.shared(two, 3, flag="--rows")
