"""A run that is ended anywhere, and goes on: the same bits as one that was not."""

import dataclasses

import numpy as np
import pytest

from nst_jax import Settings, SettingsError, stylize
from nst_jax.engine.checkpoint import checkpoint_bytes
from nst_jax.engine.executors import Executor
from nst_jax.engine.problem import prepare_problem
from nst_jax.images.resize import resize

pytestmark = pytest.mark.usefixtures("equal_shares")

LAYERS = {"style_layers": ("conv1_1",), "content_layers": ("conv1_1",)}
BASE = Settings(steps=9, ratio=1e-4, lbfgs_memory=4, **LAYERS)
KINDS = {
    "lbfgs": {},
    "adam": {"optimizer": "adam"},
    "bfloat16": {"lbfgs_history": "bfloat16"},
    "scales": {"scales": 2},
    "average": {"average": 3, "scales": 2},
    "noise": {"init": "noise", "seed": 7},
    "restarts": {"learning_rate": 100.0, "precondition": False},
    "colors": {"colors": "luminance"},
    "normalized gradients": {"normalize_gradients": True, "ratio": 0.1},
}


class Killed(BaseException):
    """Nothing in the package catches it: what is in the file now is all that is left."""


def end_at(step, error):
    def callback(progress):
        if progress.step == step:
            raise error

    return callback


@pytest.fixture
def run(normalized, photograph, painting, tmp_path):
    def run(settings=BASE, content=photograph, style=painting, **options):
        options = {"checkpoint": tmp_path / "kept", "checkpoint_every": "2"} | options
        return stylize(content, style, settings, weights=normalized, report_every=2, **options)

    return run


def check_same(one, other):
    assert np.array_equal(one.image, other.image)
    for name in ("losses", "history", "evaluations", "restarts", "completed"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run(run, tmp_path, kind):
    """Killed in the first half and in the second."""
    settings = dataclasses.replace(BASE, **KINDS[kind])
    whole = run(settings, checkpoint=None)
    assert whole.completed and (whole.restarts > 0 or kind != "restarts")
    for step in (3, 7):
        with pytest.raises(Killed):
            run(settings, callback=end_at(step, Killed))
        assert (tmp_path / "kept").exists()
    check_same(run(settings), whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scales", [1, 2])
def test_killed_at_every_step(run, scales):
    """What is done again is what came after the last checkpoint, and no more."""
    settings, seen = dataclasses.replace(BASE, scales=scales), []
    whole = run(settings, checkpoint=None)
    for step in range(10):
        with pytest.raises(Killed):
            run(settings, callback=end_at(step, Killed))
        last = run(settings, callback=lambda progress: seen.append(progress.step))
        assert seen[0] == step - step % 2 and seen[-1] == 9
        seen.clear()
        check_same(last, whole)


def test_a_callback_that_ends_the_run(run, tmp_path):
    """Leaves a checkpoint of that step, whatever the interval; the same call goes on."""
    seen, options = [], {"checkpoint_every": "auto"}
    stopped = run(callback=end_at(4, StopIteration), **options)
    assert not stopped.completed and (tmp_path / "kept").exists()
    whole = run(callback=lambda progress: seen.append(progress.step), **options)
    assert seen == list(range(stopped.evaluations, 10))
    check_same(whole, run(checkpoint=None))
    assert run(callback=end_at(9, StopIteration), **options).completed
    assert list(tmp_path.iterdir()) == []


def test_never(run, tmp_path):
    """And what is there already is gone on with all the same."""
    run(callback=end_at(4, StopIteration), checkpoint_every="never")
    assert list(tmp_path.iterdir()) == []
    stopped, seen = run(callback=end_at(4, StopIteration)), []
    run(callback=lambda progress: seen.append(progress.step), checkpoint_every="never")
    assert seen[0] == stopped.evaluations and list(tmp_path.iterdir()) == []


def test_nothing_leaves_the_device_where_nothing_is_written(run, monkeypatch):
    """In the first minute, by default."""
    monkeypatch.setattr(Executor, "store", None)
    assert run(checkpoint_every="auto").completed


def test_a_checkpoint_that_cannot_be_written_is_one_warning(run, tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.warns(UserWarning) as warnings:
        result = run()
    told = [str(each.message) for each in warnings]
    assert result.completed and len(told) == 3
    assert "kept: is damaged, or no checkpoint" in told[0]
    assert "kept: no checkpoint can be written (" in told[1] and "the run goes on" in told[1]
    assert "kept: cannot be removed (" in told[2]


OTHERS = {
    "seed": ({"seed": 1}, "with seed 0, not 1;"),
    "steps": ({"steps": 10}, "with steps 9, not 10;"),
    "ratio": ({"ratio": 1e-3}, "with ratio 0.0001, not 0.001;"),
    "optimizer": ({"optimizer": "adam"}, "with optimizer lbfgs, not adam;"),
    "normalize": ({"normalize": False}, "with normalize True, not False;"),
}


@pytest.fixture
def stopped(run):
    assert not run(callback=end_at(4, StopIteration)).completed


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_told(run, stopped, name):
    changes, words = OTHERS[name]
    with pytest.raises(SettingsError, match=f"kept: is of a run {words} remove it to begin anew"):
        run(dataclasses.replace(BASE, **changes))


def test_other_inputs_are_told(run, stopped, photograph, painting, normalized, tmp_path):
    """By what they hold; another size of an array is another image."""
    for content in (photograph[::-1], resize(photograph, (48, 72))):
        with pytest.raises(SettingsError, match="with another content image;"):
            run(content=content)
    with pytest.raises(SettingsError, match="with another style image;"):
        run(style=painting[::-1])
    other = dataclasses.replace(normalized, sha256="0" * 64)
    with pytest.raises(SettingsError, match="with another network;"):
        stylize(photograph, painting, BASE, weights=other, checkpoint=tmp_path / "kept")
    assert run(content=photograph.copy()).completed


def test_its_size_is_known_before(run, stopped, normalized, photograph, painting, tmp_path):
    problem = prepare_problem(photograph, painting, [BASE], normalized)
    size = (tmp_path / "kept").stat().st_size
    assert 0 < size - checkpoint_bytes(problem, 1) < 10_000
