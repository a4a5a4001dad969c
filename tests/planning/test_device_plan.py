"""How many lanes and how large an image, with an account that is known beforehand."""

import importlib.util

import numpy as np
import pytest

from nst_jax.engine.problem import prepare_problem
from nst_jax.errors import SettingsError
from nst_jax.planning import compile_elsewhere, device_plan
from nst_jax.planning.account import Account
from nst_jax.planning.device_kinds import DEVICE_KINDS, find_device_kind
from nst_jax.settings.settings import MAX_SIZE, Settings

needs_cuda_compiler = pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins") is None
    or importlib.util.find_spec("jax_plugins.xla_cuda13") is None,
    reason="XLA's compiler for CUDA is the extra aot-cuda",
)
H100, V5E = DEVICE_KINDS["h100"], DEVICE_KINDS["v5e"]
FIXED = 10**8
EARLY = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}


def make_problem(lanes=1, **settings):
    random = np.random.default_rng(0)
    content, style = (random.random((48, 64, 3), np.float32) for _ in range(2))
    one = Settings(size=64, steps=99, **EARLY | settings)
    return prepare_problem(content, style, [one] * lanes)


@pytest.fixture
def compiled(monkeypatch):
    """A compiler whose programs need `per_pixel` bytes for each pixel; the jobs that it got."""
    jobs = []

    class Known:
        per_pixel = 10_000

        def __init__(self, kind):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def account(self, job):
            jobs.append(job)
            height, width = job.shape
            factor = 0.5 if job.program.static.low_memory else 1.0
            memory = FIXED + int(factor * self.per_pixel * height * width * max(job.lanes, 1))
            return Account(memory, 0, 7, 0, {}, 1e6, {"tf32": 1e9}, 0.01)

    monkeypatch.setattr(device_plan, "Compiler", Known)
    Known.jobs = jobs
    return Known


def test_one_lane_has_no_axis_of_lanes(compiled):
    made = device_plan.make_plan(make_problem(), H100)
    assert (made.lanes, made.rounds, made.problem) == (1, 1, "")
    assert made.least_seconds == pytest.approx(100 * 0.01)
    assert compiled.jobs[0].lanes == 0 and compiled.jobs[0].shape == (48, 64)


def test_a_job_is_of_the_devices_precision(compiled):
    for kind in (H100, V5E):
        device_plan.make_plan(make_problem(), kind)
        assert compiled.jobs[-1].program.static.precision in ("tf32", "bfloat16")
    assert (
        device_plan.job_of(make_problem(precision="float32"), "gpu", 0).program.static.precision
        == "float32"
    )


def test_as_many_lanes_as_fit_evenly_over_the_rounds(compiled):
    budget = device_plan.USABLE * V5E.memory
    compiled.per_pixel = int((budget - FIXED) / (48 * 64) / 12.5)  # 12 lanes at once
    made = device_plan.make_plan(make_problem(lanes=20), V5E)
    assert (made.lanes, made.rounds) == (10, 2)
    assert made.account.memory <= budget
    assert made.least_seconds == pytest.approx(2 * 100 * 0.01)
    assert device_plan.make_plan(make_problem(lanes=20), V5E, lanes_at_once=4).lanes == 4


def test_devices_share_one_image_and_the_lanes_of_a_sweep(compiled):
    eight = find_device_kind("8xv5e")
    for lanes, asked, rows, at_once in ((1, None, 8, 1), (20, None, 1, 24), (20, 2, 2, 20)):
        made = device_plan.make_plan(make_problem(lanes=lanes), eight, rows=asked)
        assert compiled.jobs[-1].program.rows.devices == made.rows == rows
        assert made.lanes == at_once
        assert (compiled.jobs[-1].lanes == 0) == (lanes == 1)  # one image has no axis of lanes
    for rows in (0, -2, 3, 16):
        with pytest.raises(SettingsError, match=f"--rows {rows}: wanted a number that divides 8"):
            device_plan.make_plan(make_problem(), eight, rows=rows)


def test_what_does_not_fit_is_told(compiled):
    compiled.per_pixel = 10**8
    made = device_plan.make_plan(make_problem(), V5E)
    assert made.account is None and "one lane needs" in made.problem


def test_the_largest_size_fits_and_the_next_does_not(compiled):
    made = device_plan.make_plan(make_problem(), H100)
    budget = device_plan.USABLE * H100.memory
    for flags, side in made.largest.items():
        factor = 0.5 if "--low-memory" in flags else 1.0
        needed = [FIXED + factor * 10_000 * (s * round(0.75 * s)) for s in (side, side + 32)]
        assert needed[0] <= budget < needed[1], flags
    assert list(made.largest)[0] == "with these flags"


def test_no_larger_size_is_looked_for_than_can_be_asked_for(compiled):
    compiled.per_pixel = 100
    made = device_plan.make_plan(make_problem(), H100)
    assert made.largest == {"with these flags": MAX_SIZE}
    assert [max(job.shape) for job in compiled.jobs[1:]] == [device_plan.PROBE_SIZE, MAX_SIZE]


def test_shapes_are_those_of_a_run():
    problem = make_problem()
    job = device_plan.job_of(problem, "gpu", 0, (96, 128))
    assert job.targets.content["conv2_1"].shape == (1, 48, 64, 128)
    assert job.targets.style["conv1_1"].shape == (1, 64, 64)
    assert job.params["conv1_1"]["kernel"].shape == (3, 3, 3, 64)


@pytest.mark.parametrize("kind", [H100, V5E])
def test_a_compiler_that_is_missing(kind, monkeypatch):
    monkeypatch.setattr(compile_elsewhere, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'nst-jax\[aot-"):
        compile_elsewhere.Compiler(kind)


@pytest.mark.slow
@needs_cuda_compiler
def test_an_image_on_eight_h100s():
    """No device gets all of an image, and what they send is little beside what each moves."""
    eight, problem, shape = find_device_kind("8xh100"), make_problem(), (2000, 2048)
    with compile_elsewhere.Compiler(H100) as compiler:
        alone = compiler.account(device_plan.job_of(problem, eight.backend, 0, shape))
    with compile_elsewhere.Compiler(eight) as compiler:
        found = compiler.account(device_plan.job_of(problem, eight.backend, 0, shape, 8))
    assert isinstance(found, Account) and isinstance(alone, Account), (found, alone)
    assert set(found.received) == {"collective-permute", "all-reduce", "all-to-all"}
    # The preconditioner's exchanges, there and back: a device's part of the image each, padded.
    assert found.received["all-to-all"] <= 2 * 4 * 3 * 256 * 2048
    assert sum(found.received.values()) < 0.05 * found.traffic
    assert found.memory < 0.2 * alone.memory


@pytest.mark.slow
@needs_cuda_compiler
def test_a_step_for_an_h100():
    with compile_elsewhere.Compiler(H100) as compiler:
        one = compiler.account(device_plan.job_of(make_problem(), H100.backend, 0))
        two = compiler.account(device_plan.job_of(make_problem(lanes=2), H100.backend, 2))
    assert isinstance(one, Account) and isinstance(two, Account)
    assert set(one.flops) == {"float32", "tf32"} and one.collectives == 0
    assert one.memory < two.memory < 2 * one.memory


def test_auto_takes_what_it_needs(compiled):
    compiled.per_pixel = 6_000_000
    assert device_plan.make_plan(make_problem(), V5E).account is None
    made = device_plan.make_plan(make_problem(low_memory="auto"), V5E)
    assert (made.lanes, made.problem) == (1, "to fit into memory: --low-memory")
    compiled.per_pixel = 60_000_000
    made = device_plan.make_plan(make_problem(low_memory="auto"), V5E)
    assert made.account is None and "one lane needs 92.3 GB" in made.problem
