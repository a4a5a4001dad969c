"""One image whose rows several devices share, against the same on one device, in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from on_devices import CASES

from nst_jax import Settings, SettingsError, stylize
from nst_jax.engine.sharing import read_devices

# What sums in another order differ by; L-BFGS multiplies it from step to step.
ROUNDING = 1e-11
DEFAULT = ("lbfgs",)  # the others are slow


RUNS = """
import json
import jax, numpy as np
from nst_jax import Settings, SettingsError, load_image, stylize, sweep
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
print(json.dumps(found))
"""


def run(arguments, folder=None):
    """What a script prints, in a process that has eight devices."""
    tests = str(Path(__file__).parents[1])
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
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
    return json.loads(ended.stdout)


def check(names):
    found = run([str(Path(__file__).with_name("on_devices.py")), *names])
    assert set(found) == set(names)
    for name, differences in found.items():
        assert max(differences.values()) < ROUNDING, (name, differences)


def test_devices_that_share_an_image_compute_what_one_does():
    check(DEFAULT)


@pytest.mark.slow
def test_every_control_is_exact_over_devices():
    """Odd heights at each pooling, both networks, every padding, bands, regions, optimizers."""
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
