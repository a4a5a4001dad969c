"""A run from coarse to fine: where each scale begins, what is told of it, and where it may end."""

import dataclasses

import numpy as np
import pytest
from reference import enlarged
from run_from import run_from

from nst_jax import Settings, SettingsError, stylize

pytestmark = pytest.mark.usefixtures("equal_shares")

LAYERS = {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_1",)}
QUICK = Settings(steps=12, ratio=1e-4, lbfgs_memory=5, **LAYERS)
SCALED = dataclasses.replace(QUICK, scales=2)  # 6 steps at 48 px, 6 at 96 px
# One float32 program against another on the same numbers.
SAME = 1e-5
CHROMA = 1e-6  # float32


@pytest.fixture(scope="module")
def run(normalized, photograph, painting):
    def run(settings, content=photograph, style=painting, **options):
        return stylize(content, style, settings, weights=normalized, **options)

    return run


def chroma_of(image):
    """I and Q of YIQ, in float64."""
    return image.astype(np.float64) @ np.array([(0.596, -0.274, -0.322), (0.211, -0.523, 0.312)]).T


@pytest.mark.parametrize("init", ["content", "noise"])
def test_two_scales_are_two_runs(run, normalized, photograph, painting, init):
    """The second starts from the first's best image, with the photograph's own detail.

    Of Adam, whose images are in [0, 1].
    """
    settings = dataclasses.replace(SCALED, init=init, optimizer="adam")
    result = run(settings, report_every=4)
    small = [
        enlarged(photograph, 48, 32),
        enlarged(painting, *np.array(painting.shape[1::-1]) // 2),
    ]
    small = [image.clip(0, 1) for image in small]
    coarse = run(dataclasses.replace(settings, scales=1, steps=5), *small, report_every=4)
    start = enlarged(coarse.image, 96, 64)
    if init == "content":
        start = start + photograph - enlarged(small[0], 96, 64)
    settings = dataclasses.replace(settings, steps=6)
    fine = run_from(start, photograph, painting, settings, normalized, report_every=4)
    steps = [step for step, _ in result.history]
    assert steps == [0, 4, 6, 8, 12]  # the first at each scale, every fourth, the last
    totals = [losses.total for _, losses in result.history]
    expected = [losses.total for _, losses in coarse.history]
    assert totals[:2] == pytest.approx(expected[:2], rel=SAME)
    expected = {6 + step: losses.total for step, losses in fine.history}
    assert [totals[2], totals[4]] == pytest.approx([expected[6], expected[12]], rel=1e-3)
    assert result.losses.total == pytest.approx(fine.losses.total, rel=1e-3)
    assert np.abs(result.image - fine.image).mean() < 1e-3
    assert result.evaluations == 13 and result.completed
    assert [(scale.size, scale.steps) for scale in result.scales] == [(48, 6), (96, 6)]


def test_the_result_is_the_best_of_the_full_size(run):
    result = run(SCALED, report_every=1)
    totals = [losses.total for _, losses in result.history]
    assert [step for step, _ in result.history] == list(range(13))
    assert result.losses.total == min(totals[6:])
    assert result.image.shape == (64, 96, 3) and result.compile_seconds > 0


def test_callback_sees_images_at_their_size(run):
    seen = []
    result = run(SCALED, callback=seen.append, save_every=3)
    assert [p.step for p in seen] == list(range(13))
    assert [p.size for p in seen] == [48] * 6 + [96] * 7
    shapes = {p.step: p.image.shape[:2] for p in seen if p.image is not None}
    assert shapes == {0: (32, 48), 3: (32, 48), 6: (64, 96), 9: (64, 96), 12: (64, 96)}
    assert [p.work for p in seen] == pytest.approx([n / 30 for n in (*range(6), *range(6, 31, 4))])
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
    assert seen[-1].seconds <= result.run_seconds


@pytest.mark.parametrize("step", [1, 5])
def test_stopping_at_a_coarse_scale(run, step):
    """Its last step included: the best image, enlarged, and no step at the full size."""
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.step == step:
            raise StopIteration

    result = run(SCALED, callback=stop, save_every=1, report_every=1)
    assert not result.completed and result.evaluations in (step + 1, min(step + 2, 6))
    best = enlarged(seen[-1].image, 96, 64)
    assert result.image.shape == (64, 96, 3)
    if result.evaluations == step + 1:
        assert np.abs(result.image - best.clip(0, 1)).mean() < 0.01  # that of before clipping
    assert result.losses.total == min(losses.total for _, losses in result.history)


@pytest.mark.parametrize("init", ["content", "noise"])
def test_a_coarse_scale_is_a_good_start(run, init):
    """As many steps at the full size, and some at a quarter of the cost before them."""
    settings = dataclasses.replace(QUICK, init=init)
    alone, scaled = run(settings), run(dataclasses.replace(settings, steps=24, scales=2))
    assert [scale.steps for scale in scaled.scales] == [12, 12]
    assert scaled.losses.total < 0.95 * alone.losses.total


@pytest.mark.slow
def test_an_overflow_at_the_full_size_is_refused(run, monkeypatch):
    """Content, as printed in the paper, is a sum, which has more terms there."""
    settings = dataclasses.replace(SCALED, init="noise", convention="equations", ratio=1e30)
    coarse = run(settings, callback=stop_at_once)
    ratio = 2e38 / coarse.history[0][1].content
    with pytest.raises(SettingsError, match="smaller ratio"):
        run(dataclasses.replace(settings, ratio=ratio, optimizer="adam", learning_rate=1e-9))


def stop_at_once(_):
    raise StopIteration


def test_luminance_at_a_coarse_size(run, photograph):
    """The chroma is that of the photograph at this size; a result's, that of the full size."""
    settings = dataclasses.replace(SCALED, colors="luminance", steps=3, precondition=False)
    seen = []

    def callback(progress):
        seen.append(progress)
        if progress.step == 1:
            raise StopIteration

    result = run(settings, callback=callback, save_every=1)
    assert not result.completed and seen[0].image.shape == (32, 48, 3)
    small = enlarged(photograph, 48, 32).clip(0, 1)
    assert np.abs(chroma_of(seen[0].image) - chroma_of(small)).max() < CHROMA
    assert np.abs(chroma_of(result.image) - chroma_of(photograph)).max() < CHROMA


def test_the_next_scale_begins_with_the_average(run, normalized, photograph, painting):
    """Its first losses are those of the average of the scale before, enlarged."""
    settings = dataclasses.replace(QUICK, scales=2, average=4, optimizer="adam", init="noise")
    result = run(settings, report_every=1)
    small = [enlarged(photograph, 48, 32), enlarged(painting, 32, 40)]
    coarse = dataclasses.replace(settings, scales=1, steps=5)  # the sixth update is not used
    before = run(coarse, *[image.clip(0, 1) for image in small])
    first = dict(result.history)[6]
    still = dataclasses.replace(settings, scales=1, steps=0)
    alone = run_from(enlarged(before.image, 96, 64), photograph, painting, still, normalized)
    assert first.total == pytest.approx(alone.losses.total, rel=1e-3)
