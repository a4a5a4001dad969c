"""What one lane needs against what is free: refused with flags that do fit, or these are taken."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from command import LAYERS as EARLY
from command import draw, nst, refused

from nst_jax import Settings, SettingsError, stylize, sweep
from nst_jax.engine import device_memory, fitting
from nst_jax.engine.device_memory import TooLargeError
from nst_jax.engine.executors import Executor
from nst_jax.engine.problem import Problem, prepare_problem
from nst_jax.engine.runner import Runner

LAYERS = {"style_layers": ("conv1_1",), "content_layers": ("conv1_1",)}
# A history so long that it is most of what is needed: at this size bands take more than they spare.
SETTINGS = Settings(size=64, steps=1, lbfgs_memory=400, **LAYERS)
LEAN = {"low_memory": True, "lbfgs_history": "bfloat16"}
TAKEN = "--low-memory --lbfgs-history bfloat16"


@pytest.fixture
def memory(monkeypatch):
    """Make so many bytes free."""

    def make(size):
        monkeypatch.setattr(device_memory, "free_bytes", lambda *_, **__: size)

    return make


@pytest.fixture(scope="module")
def problem_of(normalized, photograph, painting):
    def problem_of(count=1, **changed):
        one = dataclasses.replace(SETTINGS, **changed)
        return prepare_problem(photograph, painting, [one] * count, normalized)

    return problem_of


def needs(problem):
    return Runner(problem).needed_bytes


@pytest.mark.parametrize("count", [1, 3])
def test_refused_with_flags_that_fit(problem_of, memory, count):
    """Those that cost the picture least of those that do."""
    memory(needs(problem_of(**LEAN)))
    free = device_memory.as_text(device_memory.free_bytes())
    with pytest.raises(SettingsError) as caught:
        Runner(problem_of(count))
    assert f"of memory are needed at the least, and {free} are free" in str(caught.value)
    assert f"; it fits with {TAKEN}, or with --size " in str(caught.value)
    assert Runner(problem_of(count, **LEAN)).executor.lanes == 1


@pytest.mark.parametrize("spared", [100_000, 1_500_000])
def test_the_size_that_is_offeredfits(normalized, photograph, painting, memory, tmp_path, spared):
    draw(tmp_path / "photo.png", 96, 128)
    one = dataclasses.replace(SETTINGS, size=128, lbfgs_memory=40)
    problem = prepare_problem(str(tmp_path / "photo.png"), painting, [one], normalized)
    memory(needs(problem) - spared)
    with pytest.raises(SettingsError, match=r"--size \d+$") as caught:
        Runner(problem)
    size = int(re.search(r"\d+$", str(caught.value))[0])
    smaller = dataclasses.replace(one, size=size)
    Runner(prepare_problem(str(tmp_path / "photo.png"), painting, [smaller], normalized))
    assert size % 16 == 0 and size >= 64


def test_nothingfits(problem_of, memory):
    memory(1_000)
    with pytest.raises(SettingsError, match="the network alone takes .* MB: free some"):
        Runner(problem_of())


def test_what_is_far_too_large_is_known_before_anything_is_computed(
    problem_of, memory, monkeypatch
):
    memory(100_000)
    monkeypatch.setattr(Problem, "targets", None)
    with pytest.raises(SettingsError, match="of memory are needed"):
        Runner(problem_of())


@pytest.fixture
def modeled(monkeypatch):
    """A step needs 100, of which bands spare 30, a history in bfloat16 20 and a short one 10."""

    def fits(problem, limit):
        one = problem.settings[0]
        spared = 30 * (one.low_memory is True) + 20 * (one.lbfgs_history == "bfloat16")
        return 100 - spared - 10 * (one.lbfgs_memory == 10) <= limit

    monkeypatch.setattr(fitting, "step_that_fits", fits)


MODELED = [
    ({}, 70, "--low-memory"),
    ({}, 69, TAKEN),
    ({}, 40, f"{TAKEN} --lbfgs-memory 10"),
    ({}, 39, ""),
    ({"lbfgs_memory": 5}, 50, TAKEN),
    ({"lbfgs_memory": 5}, 49, ""),
    ({"lbfgs_history": "bfloat16"}, 50, "--low-memory"),
    ({"normalize_gradients": True}, 70, "--lbfgs-history bfloat16 --lbfgs-memory 10"),
    ({"optimizer": "adam"}, 70, "--low-memory"),
    ({"optimizer": "adam"}, 69, ""),
]


@pytest.mark.parametrize(("changed", "free", "taken"), MODELED)
def test_what_is_taken_and_offered(problem_of, memory, modeled, changed, free, taken):
    memory(free)
    given = problem_of(low_memory="auto", **changed)
    problem = fitting.fitted(given)
    assert fitting.what_was_taken(given, problem) == taken and bool(problem.fits) == bool(taken)
    assert problem.program.static.low_memory == ("--low-memory" in taken)
    offered = fitting.remedy(problem_of(**changed), TooLargeError(100, 50, free))
    assert offered.startswith(f"it fits with {taken}" if taken else "the network alone")


def test_auto_takes_nothing_where_allfits(problem_of, memory):
    given = problem_of(low_memory="auto")
    for size in (None, 10**12, 1_000):  # unknown; plenty; nothing would do
        memory(size)
        problem = fitting.fitted(given)
        assert problem.settings[0].low_memory is False
        assert fitting.what_was_taken(given, problem) == ""
    with pytest.raises(SettingsError, match="the network alone"):
        Runner(problem)


def test_what_was_taken_before_comes_first(problem_of, memory, modeled, monkeypatch):
    """Where a run goes on, and as long as it fits."""
    memory(70)
    before = fitting.fitted(problem_of(low_memory="auto"))
    monkeypatch.setattr(fitting, "identities_in", lambda path: [*before.identities])
    given = problem_of(low_memory="auto")
    for free, taken in ((70, "--low-memory"), (100, "--low-memory"), (69, TAKEN)):
        memory(free)
        problem = fitting.fitted(given, going_on=Path("kept"))
        assert fitting.what_was_taken(given, problem) == taken
    memory(100)
    assert fitting.what_was_taken(given, fitting.fitted(given)) == ""


def test_what_tells_that_it_fits_is_what_runs(problem_of, memory, monkeypatch):
    """Compiling takes memory, and time: it is done once."""
    compiled, compile_step = [], Executor.compile

    def counted(*given):
        compiled.append(compile_step(*given))
        return compiled[-1]

    memory(needs(problem_of()))
    monkeypatch.setattr(Executor, "compile", counted)
    problem = fitting.fitted(problem_of(low_memory="auto"))
    runner = Runner(problem)
    assert len(compiled) == 1 and runner.needed_bytes == device_memory.needed_bytes(compiled[0])
    assert runner._compile_seconds > 0 and problem.changed(low_memory=True).fits is None


def test_the_python_calls(problem_of, memory, normalized, photograph, painting):
    memory(needs(problem_of(**LEAN)))
    with pytest.raises(SettingsError, match="it fits with --low-memory"):
        stylize(photograph, painting, SETTINGS, weights=normalized)
    auto = dataclasses.replace(SETTINGS, low_memory="auto")
    result = stylize(photograph, painting, auto, weights=normalized)
    assert result.settings.low_memory is True and result.settings.lbfgs_history == "bfloat16"
    (lane,) = sweep(photograph, painting, [auto], weights=normalized)
    assert np.array_equal(lane.image, result.image) and lane.settings == result.settings


@pytest.mark.slow
def test_the_commands(memory, monkeypatch, tmp_path):
    """Refused before a picture, a folder or a record is made; `auto` says what it took."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "weights"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    images = ("photo.png", "painting.png", "--size", 64, "--steps", 1, *EARLY)
    assert nst("stylize", *images, "-o", "out.png").code == 0
    memory(40_000_000)
    for command in (
        ("stylize", *images, "-o", "new/"),
        ("sweep", *images, "-o", "new/sweep"),
        ("reconstruct", "style", "painting.png", "--size", 64, "-o", "new/style"),
        ("rerun", "out.json", "-o", "new/out.png"),
    ):
        refused(
            (*command, "--lbfgs-memory", 500),
            ("of memory are needed", "40 MB are free"),
            chatter=True,
        )
    code, out, err = nst("stylize", *images, "--low-memory", "auto", "--lbfgs-memory", 500)
    assert code == 0 and any(
        line.startswith("to fit into memory: --lo") for line in err.splitlines()
    )
