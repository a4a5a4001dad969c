"""Runs repeated bit for bit: alone, as a lane among copies, and where they were interrupted."""

import numpy as np
import pytest

from nst_jax import Settings, stylize, sweep
from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.results import told_of_first_lane
from nst_jax.engine.runner import Runner

LAYERS = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}
SETTINGS = Settings(size=32, steps=5, lbfgs_memory=4, init="noise", **LAYERS)


@pytest.fixture
def images(random):
    """A content and a style image of small and unlike shapes."""
    content, style = (random.random(shape, np.float32) for shape in ((24, 32, 3), (20, 28, 3)))
    return content, style


def repeat(images, settings, weights, callback, lanes=0, **options):
    copies = max(lanes, 1)
    problem = prepare_problem(*images, [settings] * copies, weights)
    options = RunOptions(told_of_first_lane(callback), lanes_at_once=copies, **options)
    return next(Runner(problem, options).run()).results[0]


def ignore(progress):
    pass


def losses_of(result):
    return [(step, losses.total) for step, losses in result.history]


def test_alone(images, normalized):
    first = stylize(*images, SETTINGS, weights=normalized)
    again = repeat(images, SETTINGS, normalized, ignore)
    assert np.array_equal(first.image, again.image) and first.losses == again.losses
    assert losses_of(first) == losses_of(again) and again.completed


@pytest.mark.parametrize("number", [0, 2])
def test_a_lane_among_copies(images, normalized, number):
    """Each lane is what three of it make, whatever the others were."""
    lanes = [Settings(**(vars(SETTINGS) | {"seed": n, "ratio": 10.0**-n})) for n in (1, 2, 3)]
    first = sweep(*images, lanes, weights=normalized)[number]
    again = repeat(images, lanes[number], normalized, ignore, lanes=3)
    assert np.array_equal(first.image, again.image) and first.losses == again.losses
    assert first.compiled_lanes == again.compiled_lanes == 3 and again.settings == lanes[number]
    assert losses_of(first) == losses_of(again)


@pytest.mark.parametrize("lanes", [0, 2])
@pytest.mark.parametrize(("stop", "save_every"), [(0, None), (0, 2), (1, None), (3, 2), (4, 3)])
def test_where_it_stops(images, normalized, lanes, stop, save_every):
    """After the same evaluations; images come at the steps asked for, and at no other."""
    shown = []

    def callback(progress):
        shown.append((progress.step, progress.image is not None))

    run = {"lanes": lanes, "report_every": 1}
    whole = repeat(images, SETTINGS, normalized, ignore, **run)
    part = repeat(images, SETTINGS, normalized, callback, stop=stop, save_every=save_every, **run)
    assert part.evaluations == stop + 1 and not part.completed
    assert losses_of(part) == losses_of(whole)[: stop + 1]
    assert part.losses.total == min(loss for _, loss in losses_of(part))
    steps = range(stop + 1)
    assert shown == [(n, save_every is not None and n % save_every == 0) for n in steps]
