"""Lanes against the same settings run alone; rounds, resuming, poison, and what is refused."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
from reference import SAMPLES

from nst_jax import ImageError, Settings, SettingsError, load_image, stylize, sweep
from nst_jax.engine import problem as problem_module
from nst_jax.engine.device_memory import needed_bytes
from nst_jax.engine.executors import Executor, MeshExecutor
from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.program import prepare_parameters
from nst_jax.engine.runner import Runner

pytestmark = pytest.mark.usefixtures("equal_shares")

# Of lanes and single runs: the first loss is one float32 program against another; later ones
# differ by what L-BFGS, which is chaotic, makes of that rounding.
FIRST, LATER = 1e-5, 0.02
ADAM = 1e-4
# The loss of a step, for the history and for the best: XLA may sum it twice in one program.
TWICE = 2**-23
# The first block only, which compiles sooner.
LAYERS = {"style_layers": ("conv1_1", "conv1_2"), "content_layers": ("conv1_2",)}
BASE = Settings(steps=6, lbfgs_memory=5, **LAYERS)
SETTINGS = [
    dataclasses.replace(BASE, ratio=1e-4),
    dataclasses.replace(BASE, ratio=1e-3, init="noise", seed=3),
    dataclasses.replace(BASE, ratio=0.0, tv_weight=0.5, tv_l1_weight=0.1, init="style"),
    dataclasses.replace(BASE, ratio=1e-5, style_layer_weights=(1, 0)),
    dataclasses.replace(BASE, ratio=1e-2, content_layer_weights=(2.0,)),
]


@pytest.fixture(scope="module")
def photograph():
    """(32, 48, 3): smaller than the suite's, since there are many lanes."""
    return load_image(SAMPLES / "china.jpg", 48)


@pytest.fixture(scope="module")
def together(normalized, photograph, painting):
    """All the settings as lanes of one sweep."""

    def together(settings=SETTINGS, content=photograph, style=painting, **options):
        return sweep(content, style, settings, weights=normalized, **options)

    return together


@pytest.fixture(scope="module")
def whole(together):
    """Their results, all at once."""
    return together(report_every=1)


def losses_of(results):
    """(lanes, entries of the history)."""
    return np.array([[losses.total for _, losses in result.history] for result in results])


@pytest.mark.parametrize(("optimizer", "later"), [("lbfgs", LATER), ("adam", ADAM)])
def test_lanes_equal_single_runs(together, normalized, photograph, painting, optimizer, later):
    settings = [dataclasses.replace(one, optimizer=optimizer) for one in SETTINGS]
    if optimizer == "adam":
        # At the photograph the content's gradient is 0 but for rounding,
        # of which Adam makes whole steps.
        settings = [dataclasses.replace(one, init="noise") for one in settings]
    lanes = together(settings, report_every=1)
    for one, lane in zip(settings, lanes, strict=True):
        alone = stylize(photograph, painting, one, weights=normalized, report_every=1)
        expected, got = losses_of([alone])[0], losses_of([lane])[0]
        assert got[0] == pytest.approx(expected[0], rel=FIRST)
        assert got == pytest.approx(expected, rel=later)
        assert lane.losses.total == pytest.approx(min(got), rel=TWICE)
        assert [number for number, _ in lane.history] == list(range(7))
        assert lane.settings == one and lane.completed and lane.restarts == alone.restarts
        assert (lane.evaluations, lane.lanes) == (7, 5)
        assert lane.image.shape == photograph.shape
        assert np.abs(lane.image - alone.image).mean() < 0.01


@pytest.mark.parametrize("at_once", [1, 3])
def test_rounds_do_not_change_results(together, whole, at_once):
    expected = losses_of(whole)
    parts = losses_of(together(lanes_at_once=at_once, report_every=1))
    assert parts[:, 0] == pytest.approx(expected[:, 0], rel=FIRST)
    assert parts == pytest.approx(expected, rel=LATER)


def test_rounds_are_even(together):
    seen = []
    together(lanes_at_once=4, callback=lambda progress: seen.append(progress))
    assert {progress.lanes for progress in seen} == {(0, 1, 2), (3, 4)}
    assert {(p.lanes, p.done, p.together, p.total) for p in seen} == {
        ((0, 1, 2), 0, 3, 5),
        ((3, 4), 3, 2, 5),
    }
    assert [p.step for p in seen] == [*range(7), *range(7)]


def test_the_callback_sees_losses_and_images(together):
    seen = []
    results = together(callback=seen.append, save_every=3, report_every=3)
    assert [p.step for p in seen if p.images is not None] == [0, 3, 6]
    assert seen[-1].images.shape == (5, 32, 48, 3)
    assert 0 <= seen[-1].images.min() and seen[-1].images.max() <= 1
    assert np.array_equal(seen[-1].images, [result.image for result in results])
    assert [len(p.losses.total) for p in seen] == [5] * 7
    assert [p.losses.style_layers["conv1_2"].shape for p in seen] == [(5,)] * 7
    assert seen[6].losses.total.tolist() == losses_of(results)[:, -1].tolist()


@pytest.mark.parametrize("at_once", [None, 2])
def test_a_poisoned_lane_harms_no_other(together, whole, at_once):
    """Its ratio overflows: reported, with the initial image; the others as without it."""
    poisoned = dataclasses.replace(SETTINGS[1], ratio=1e38)
    settings = [*SETTINGS[:2], poisoned, *SETTINGS[2:]]
    results = together(settings, lanes_at_once=at_once, report_every=1)
    lost = results.pop(2)
    assert lost.losses.total == np.inf and lost.restarts == 7
    assert lost.history[0][1].total == np.inf and np.isfinite(lost.history[0][1].content)
    noise = together([dataclasses.replace(SETTINGS[1], steps=0)])[0].image
    assert np.array_equal(lost.image, noise)
    expected = losses_of(whole)
    assert losses_of(results)[:, 0] == pytest.approx(expected[:, 0], rel=FIRST)
    assert losses_of(results) == pytest.approx(expected, rel=LATER)


def test_contents_and_styles_of_their_own(together, normalized, photograph, painting):
    contents = [photograph, np.flip(photograph, 1).copy(), photograph]
    styles = [painting, photograph, painting[:48]]
    settings = [dataclasses.replace(BASE, ratio=1e-4)] * 3
    lanes = together(settings, contents, styles)
    for one, content, style, lane in zip(settings, contents, styles, lanes, strict=True):
        alone = stylize(content, style, one, weights=normalized)
        assert losses_of([lane])[0, 0] == pytest.approx(losses_of([alone])[0, 0], rel=FIRST)
        assert losses_of([lane]) == pytest.approx(losses_of([alone]), rel=LATER)


MIXED = dataclasses.replace(BASE, ratio=1e-4)
MIXTURES = [
    {"style_blend": (1, 0)},
    {"style_blend": (1, 3), "style_scale": (0.5, 1)},
    {"layers_per_style": (("conv1_1",), ("conv1_2",)), "style_scale": (2,)},
    {"init_noise": 0.5, "seed": 7},
    {"init": "style", "init_noise": 0.25},
]


def test_mixtures_are_lanes(together, normalized, photograph, painting):
    """Blends, scales, layers of each painting and noise in the start: each as it is alone."""
    settings = [dataclasses.replace(MIXED, **fields) for fields in MIXTURES]
    style = (painting, np.flip(painting, 1).copy()[:60])
    lanes = together(settings, style=[style] * len(settings))
    for one, lane in zip(settings, lanes, strict=True):
        alone = stylize(photograph, style, one, weights=normalized)
        assert losses_of([lane])[0, 0] == pytest.approx(losses_of([alone])[0, 0], rel=FIRST)
        assert losses_of([lane]) == pytest.approx(losses_of([alone]), rel=LATER)
    assert len({losses_of([lane])[0, 0] for lane in lanes}) == len(lanes)


def test_what_lanes_share_is_computed_once(normalized, photograph, painting, monkeypatch):
    counts = {"content_targets": 0, "style_targets": 0}

    def count(name):
        compute = getattr(problem_module, name)

        def counted(*arguments):
            counts[name] += 1
            return compute(*arguments)

        monkeypatch.setattr(problem_module, name, counted)

    for name in counts:
        count(name)
    blends = [(1, 0), (1, 1), (0, 1), (2, 2), (1, 1)]
    settings = [dataclasses.replace(MIXED, style_blend=blend, steps=0) for blend in blends]
    problem = prepare_problem(photograph, [(painting, photograph)] * 5, settings, normalized)
    list(Runner(problem, RunOptions(lanes_at_once=2)).run())
    assert counts == {"content_targets": 1, "style_targets": 3}


def test_mixtures_of_their_own(together, painting, photograph):
    """One painting, two and a folder, in one sweep."""
    with pytest.warns(UserWarning, match="left out: LICENSES.md"):
        results = together(
            [dataclasses.replace(MIXED, steps=0)] * 3,
            style=[painting, (painting, photograph), str(SAMPLES)],
            content=[photograph] * 3,
        )
    assert len({result.losses.style for result in results}) == 3


def test_mixtures_that_make_no_sense(together, painting):
    blended = dataclasses.replace(MIXED, style_blend=(1, 2))
    with pytest.raises(SettingsError, match="style_blend has 2 numbers for 1 painting"):
        together([blended])
    with pytest.raises(SettingsError, match="2 style images for 1 lanes.*a tuple of them"):
        together([blended], style=(painting, painting))
    with pytest.raises(ImageError, match="the style image at size 1 would have"):
        together([dataclasses.replace(MIXED, style_scale=(0.01,))])


@pytest.mark.parametrize("kind", ["content", "style"])
def test_reconstructions(normalized, photograph, kind):
    """Without a painting, or without a photograph, as `stylize` does it alone."""
    layers = ("conv1_1", "conv1_2")
    missing = {"content": "style_layers", "style": "content_layers"}[kind]
    base = dataclasses.replace(BASE, init="noise", **{f"{kind}_layers": layers, missing: ()})
    weights = [(1.0, 0.0), (0.0, 1.0)]
    settings = [dataclasses.replace(base, **{f"{kind}_layer_weights": each}) for each in weights]
    images = (photograph, None) if kind == "content" else (None, photograph)
    for one, lane in zip(settings, sweep(*images, settings, weights=normalized), strict=True):
        alone = stylize(*images, one, weights=normalized)
        assert losses_of([lane])[0, 0] == pytest.approx(losses_of([alone])[0, 0], rel=FIRST)
        assert losses_of([lane]) == pytest.approx(losses_of([alone]), rel=LATER)
        first = lane.history[0][1]
        terms = getattr(first, f"{kind}_layers")
        weight = dict(zip(layers, getattr(one, f"{kind}_layer_weights"), strict=True))
        expected = sum(weight[layer] * terms[layer] for layer in layers)
        assert first.total == pytest.approx(expected, rel=FIRST)


COLORS = [
    dataclasses.replace(SETTINGS[0], colors=colors, color_map=color_map)
    for colors, color_map in [
        ("style", "pca"),
        ("luminance", "pca"),
        ("match", "pca"),
        ("match", "cholesky"),
    ]
]


def test_colours_are_lanes(together, normalized, photograph, painting):
    """Beside each other, from noise and from the photograph; images on the way are finished."""
    settings = [*COLORS, dataclasses.replace(COLORS[1], init="noise", seed=3, ratio=1e-3)]
    seen = []
    lanes = together(settings, callback=seen.append, save_every=3)
    for one, lane in zip(settings, lanes, strict=True):
        alone = stylize(photograph, painting, one, weights=normalized)
        expected, got = losses_of([alone])[0], losses_of([lane])[0]
        assert got[0] == pytest.approx(expected[0], rel=FIRST)
        assert got == pytest.approx(expected, rel=LATER)
        assert np.abs(lane.image - alone.image).mean() < 0.01
    assert len({lane.history[0][1].total for lane in lanes}) == len(lanes)
    assert np.array_equal(seen[-1].images, [lane.image for lane in lanes])
    for image in (lanes[1].image, lanes[4].image, seen[3].images[1]):
        change = image - photograph  # the same in all channels: the chroma is the photograph's
        assert np.ptp(change, axis=-1).max() < 1e-6 < np.abs(change).max()


def test_lanes_of_the_same_colours_share_their_images(normalized, photograph, painting):
    problem = prepare_problem(photograph, painting, [*COLORS, *COLORS], normalized)
    assert len({id(lane.content) for lane in problem.initial_images}) == 2
    assert len({id(lane[0].image) for lane in problem.style_images}) == 4
    assert all(image is photograph for image in problem.originals)


def stop_at(step):
    def callback(progress):
        if progress.step == step:
            raise StopIteration

    return callback


def no_need(checkpoint):
    """Takes the checkpoints on the way; that of the end is the round's."""


def test_a_callback_can_end_the_sweep(together):
    """The lanes that ran are there, with their best images; the rest had not begun."""
    results = together(lanes_at_once=2, callback=stop_at(2), report_every=1)
    assert len(results) == 2
    assert all(not result.completed and result.evaluations in (3, 4) for result in results)
    assert all(r.losses.total == min(loss.total for _, loss in r.history) for r in results)


def test_ending_with_a_round(together):
    """At its last step: its lanes are complete, and no other round begins."""
    results = together(lanes_at_once=2, callback=stop_at(BASE.steps))
    assert [result.completed for result in results] == [True, True]


@pytest.mark.parametrize("at_once", [None, 2])
def test_going_on_is_as_if_nothing_had_been(normalized, photograph, painting, at_once):
    """The same programs on the same numbers: the same losses, bit for bit."""
    problem = prepare_problem(photograph, painting, SETTINGS, normalized)
    options = RunOptions(report_every=2, lanes_at_once=at_once, keep=no_need)

    def results_of(rounds):
        return {number: result for one in rounds for number, result in one.results.items()}

    whole = results_of(Runner(problem, options).run())
    *_, last = Runner(problem, dataclasses.replace(options, callback=stop_at(3))).run()
    assert last.checkpoint.lanes == ((0, 1, 2, 3, 4) if at_once is None else (0, 1))
    assert last.checkpoint.step in (4, 5)
    going_on = results_of(Runner(problem, options, last.checkpoint).run())
    assert sorted(going_on) == [0, 1, 2, 3, 4]
    for number, result in going_on.items():
        assert result.completed and result.evaluations == 7
        assert [step for step, _ in result.history] == [0, 2, 4, 6]
        if at_once is None:
            assert result.history == whole[number].history
            assert np.array_equal(result.image, whole[number].image)
        else:  # rounds of another size
            assert losses_of([result]) == pytest.approx(losses_of([whole[number]]), rel=LATER)


def test_zero_steps(together, photograph):
    results = together([dataclasses.replace(one, steps=0) for one in SETTINGS])
    assert all(result.evaluations == 1 and result.completed for result in results)
    assert np.array_equal(results[0].image, photograph)


def test_a_budget(normalized, photograph, painting):
    """In bytes; too little for one lane is refused with the numbers."""
    problem = prepare_problem(photograph, painting, SETTINGS, normalized)
    all_at_once = Runner(problem)
    assert all_at_once.executor.lanes == 5
    alone = Runner(problem, RunOptions(lanes_at_once=1))
    assert type(alone.executor) is Executor
    fewer = Runner(problem, RunOptions(memory=all_at_once.needed_bytes - 1))
    assert fewer.executor.lanes == 3  # in even rounds, of 3 and 2
    assert alone.needed_bytes < fewer.needed_bytes < all_at_once.needed_bytes
    with pytest.raises(SettingsError, match=r"MB of memory are needed, and .* MB are free; "):
        Runner(problem, RunOptions(memory=alone.needed_bytes - 1_000_000))


@pytest.mark.parametrize(
    ("field", "values"),
    [("steps", (1, 2)), ("size", (64, 96)), ("pooling", ("max", "average"))]
    + [("style_layers", (("conv1_1",), ("conv2_1",))), ("lbfgs_memory", (3, 4))]
    + [("padding", ("zero", "reflect")), ("average", (0, 3)), ("normalize_gradients", (0, 1))]
    + [("precondition", (0, 1)), ("low_memory", (0, 1))],
)
def test_what_lanes_may_not_differ_in(together, field, values):
    settings = [dataclasses.replace(BASE, **{field: value}) for value in values]
    with pytest.raises(SettingsError, match=f"lanes differ in {field} .*use one sweep for each"):
        together(settings)


def test_what_makes_no_sense(together, photograph, painting):
    with pytest.raises(SettingsError, match="at least one lane"):
        together([])
    with pytest.raises(SettingsError, match="2 style images for 5 lanes"):
        together(style=[painting, painting])
    with pytest.raises(ImageError, match="need one size"):
        together(SETTINGS[:2], content=[photograph, photograph[:24]])
    with pytest.raises(SettingsError, match="no style image, and the settings want one"):
        together(style=None)
    deep = [dataclasses.replace(BASE, style_layers=("conv3_1",))]
    with pytest.raises(ImageError, match="48×3 px is too small for conv3_1: each side needs 4"):
        together(deep, style=photograph[:3])
    broken = dataclasses.replace(BASE, init="missing.png")
    with pytest.raises(ImageError, match="missing.png: there is no such file"):
        together([BASE, broken], lanes_at_once=1, callback=pytest.fail)
    with pytest.raises(SettingsError, match="lanes_at_once is 0"):
        together(lanes_at_once=0)


@pytest.fixture(scope="module")
def wide():
    """(64, 96, 3): large enough for two scales."""
    return load_image(SAMPLES / "china.jpg", 96)


# ---- What is static, but the same in every lane

STATIC = {"padding": "reflect", "average": 3, "normalize_gradients": True}


def test_padding_average_and_normalized_gradients(together, normalized, photograph, painting):
    """Lanes as alone; by Adam from noise, which does not multiply rounding."""
    start = {"init": "noise", "optimizer": "adam", **STATIC}
    settings = [dataclasses.replace(one, **start, scales=1) for one in SETTINGS]
    for one, lane in zip(settings, together(settings, report_every=1), strict=True):
        alone = stylize(photograph, painting, one, weights=normalized, report_every=1)
        assert losses_of([lane]) == pytest.approx(losses_of([alone]), rel=ADAM)
        assert lane.losses.total == pytest.approx(alone.losses.total, rel=ADAM)
        assert np.abs(lane.image - alone.image).max() < 0.01
        assert lane.losses.total != lane.history[-1][1].total  # of the average


def test_going_on_with_an_average(normalized, wide, painting):
    """Bit for bit, from the coarse scale on; and what was interrupted has an average, too."""
    settings = [dataclasses.replace(one, scales=2, average=3) for one in SETTINGS[:2]]
    problem = prepare_problem(wide, painting, settings, normalized)
    (whole,) = Runner(problem, RunOptions(report_every=2)).run()
    (stopped,) = Runner(
        problem, RunOptions(report_every=2, callback=stop_at(1), keep=no_need)
    ).run()
    assert all(np.isfinite(result.losses.total) for result in stopped.results.values())
    (going_on,) = Runner(problem, RunOptions(report_every=2), stopped.checkpoint).run()
    for number, result in going_on.results.items():
        assert result.history == whole.results[number].history
        assert result.losses == whole.results[number].losses
        assert np.array_equal(result.image, whole.results[number].image)


# ---- From coarse to fine

SCALED = [dataclasses.replace(one, scales=2) for one in SETTINGS[:3]]  # 3 steps at 48 px, 3 at 96


def test_lanes_equal_single_runs_at_every_scale(together, normalized, wide, painting):
    seen = []
    lanes = together(SCALED, wide, callback=seen.append, save_every=2, report_every=1)
    assert [(p.step, p.size) for p in seen] == [*zip(range(7), [48] * 3 + [96] * 4, strict=True)]
    assert [p.work for p in seen] == pytest.approx([n / 15 for n in (0, 1, 2, 3, 7, 11, 15)])
    shapes = {p.step: p.images.shape[1:3] for p in seen if p.images is not None}
    assert shapes == {0: (32, 48), 2: (32, 48), 4: (64, 96), 6: (64, 96)}
    for one, lane in zip(SCALED, lanes, strict=True):
        alone = stylize(wide, painting, one, weights=normalized, report_every=1)
        expected, got = losses_of([alone])[0], losses_of([lane])[0]
        assert got[0] == pytest.approx(expected[0], rel=FIRST)
        assert got == pytest.approx(expected, rel=LATER)
        assert lane.losses.total == min(got[3:]) and lane.evaluations == 7
        assert lane.scales == alone.scales and lane.completed
        assert lane.image.shape == (64, 96, 3)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_going_on_at_any_scale(normalized, wide, painting, step):
    """Stopped in the midst of the coarse scale, at its end, at the first full step, later."""
    problem = prepare_problem(wide, painting, SCALED, normalized)
    options = RunOptions(report_every=2, keep=no_need)
    (whole,) = Runner(problem, options).run()
    (stopped,) = Runner(problem, dataclasses.replace(options, callback=stop_at(step))).run()
    following = stopped.checkpoint.step
    assert following in (step + 1, step + 2) and (step > 2 or following <= 3)
    coarse = following <= 3
    assert stopped.checkpoint.carry.image[0].shape[1:] == ((32, 48, 3) if coarse else (64, 96, 3))
    assert all(result.image.shape == (64, 96, 3) for result in stopped.results.values())
    (going_on,) = Runner(problem, options, stopped.checkpoint).run()
    for number, result in going_on.results.items():
        assert result.completed and result.evaluations == 7
        assert [step for step, _ in result.history] == [0, 2, 3, 4, 6]
        assert result.history == whole.results[number].history
        assert np.array_equal(result.image, whole.results[number].image)


def test_colours_where_a_coarse_scale_was_interrupted(together, wide):
    """The result has the full size's chroma."""
    (lane,) = together(
        [dataclasses.replace(SCALED[0], colors="luminance")], wide, callback=stop_at(1)
    )
    assert not lane.completed and lane.image.shape == wide.shape
    assert np.ptp(lane.image - wide, axis=-1).max() < 1e-6


def test_each_scale_is_compiled_once(normalized, wide, painting, monkeypatch):
    """For all the rounds; what is planned is the full size."""
    compiled = []

    def count(self, shape, one_lane):
        compiled.append(shape)
        return compile_step(self, shape, one_lane)

    compile_step = Executor.compile
    monkeypatch.setattr(Executor, "compile", count)
    problem = prepare_problem(wide, painting, SCALED, normalized)
    runner = Runner(problem, RunOptions(lanes_at_once=1))
    assert len(list(runner.run())) == 3
    assert compiled == [problem.scales[1].shape, problem.scales[0].shape]
    full_size_only = prepare_problem(wide, painting, SETTINGS[:3], normalized)
    alone = Runner(full_size_only, RunOptions(lanes_at_once=1))
    assert runner.needed_bytes == alone.needed_bytes


def test_a_poisoned_lane_at_every_scale(together, wide):
    poisoned = dataclasses.replace(SCALED[1], ratio=1e38)
    whole = together([SCALED[0]], wide)[0]
    fine, lost = together([SCALED[0], poisoned], wide)
    assert lost.losses.total == np.inf and lost.restarts == 7
    assert fine.losses.total == pytest.approx(whole.losses.total, rel=LATER)


ON_DEVICES = """
import json, sys
import jax
from nst_jax import Settings, load_image, sweep
assert len(jax.devices()) == int(sys.argv[1])
content, style = (load_image(path, 48) for path in sys.argv[2:4])
losses = {}
for optimizer, steps in (("lbfgs", 3), ("adam", 8)):
    base = {"steps": steps, "lbfgs_memory": 4, "init": "noise", "optimizer": optimizer}
    base |= {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_2",)}
    settings = [Settings(ratio=ratio, **base) for ratio in (1e-5, 1e-4, 1e-3)]
    results = sweep(content, style, settings, report_every=1)
    losses[optimizer] = [[each.total for _, each in result.history] for result in results]
print(json.dumps(losses))
"""


@pytest.mark.slow
def test_devices_share_the_lanes():
    """One, two and four of them: three lanes, which neither two nor four divides.

    Few steps: devices share the threads otherwise, hence round otherwise, and L-BFGS multiplies
    that (2e-4 after six steps).
    """
    files = [str(SAMPLES / "china.jpg"), str(SAMPLES / "van_gogh_cafe_terrace.jpg")]
    losses = {}
    for count in (1, 2, 4):
        flags = f"--xla_force_host_platform_device_count={count}"  # read when a process starts
        ended = subprocess.run(
            [sys.executable, "-c", ON_DEVICES, str(count), *files],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        losses[count] = json.loads(ended.stdout)
    for count, optimizer in itertools.product((2, 4), ("lbfgs", "adam")):
        expected = np.array(losses[1][optimizer])
        assert np.array(losses[count][optimizer]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("lanes_at_once", [None, 1])
def test_one_lane_needs_no_more_than_a_single_run(normalized, photograph, painting, lanes_at_once):
    """XLA's temporaries: under a `vmap` over one lane the history would be copied in each step."""
    settings = [dataclasses.replace(BASE, lbfgs_memory=50)]
    alone = Runner(
        prepare_problem(photograph, painting, settings, normalized),
    )
    several = settings * (1 if lanes_at_once is None else 2)
    swept = Runner(
        prepare_problem(photograph, painting, several, normalized),
        RunOptions(lanes_at_once=lanes_at_once),
    )
    assert swept.needed_bytes == alone.needed_bytes
    problem = prepare_problem(photograph, painting, settings, normalized)
    prepare = partial(prepare_parameters, problem.program, normalized.params, problem.shape)
    batched = MeshExecutor(problem.program, prepare, 1, (jax.devices()[0],))
    one_lane = problem.targets(0, problem.scales[0]), problem.loss_weights(0)
    step = batched.compile(problem.scales[0].shape, one_lane)
    history = 2 * 50 * photograph.size * 4
    assert needed_bytes(step) > alone.needed_bytes + history / 2
