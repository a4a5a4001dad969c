"""The schedule, the sizes of a run's images, and what one scale hands to the next."""

import itertools

import numpy as np
import pytest
from PIL import Image

from nst_jax import Settings
from nst_jax.engine.pyramid import (
    MIN_SIDE,
    SHARES,
    Scale,
    enlarge,
    image_at,
    numbered,
    scale_at,
    schedule,
    work_done,
)

SAME = 1e-6  # both are Pillow's Lanczos in float32
SHAPES = [(64, 96), (512, 341), (333, 500), (2048, 2047), (96, 96)]


def resized(image, width, height):
    """By Pillow alone, plane by plane, without clipping."""
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(3)]
    lanczos = Image.Resampling.LANCZOS
    return np.stack([np.asarray(p.resize((width, height), lanczos)) for p in planes], axis=-1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("steps", [0, 1, 7, 100, 500, 10**7])
def test_every_schedule(shape, count, steps):
    found = schedule((*shape, 3), scales=count, steps=steps)
    assert sum(scale.steps for scale in found) == steps
    assert 1 <= len(found) <= count
    assert found[-1] == Scale(shape, found[-1].steps, 1)
    assert all(scale.steps > 0 and min(scale.shape) >= MIN_SIDE for scale in found[:-1])
    for coarse, fine in itertools.pairwise(found):
        assert fine.divisor == coarse.divisor / 2
        assert coarse.size == pytest.approx(fine.size / 2, abs=0.5)
    for scale in found:  # the final one's proportions, to half a pixel
        for side, whole in zip(scale.shape, shape, strict=True):
            assert side == pytest.approx(whole * scale.size / max(shape), abs=0.5)


def test_equal_shares_and_the_rest_to_the_full_size(monkeypatch):
    monkeypatch.setitem(SHARES, 3, (1, 1, 1))
    found = schedule((512, 384), scales=3, steps=100)
    assert found == (
        Scale((128, 96), 33, 4),
        Scale((256, 192), 33, 2),
        Scale((512, 384), 34, 1),
    )
    assert [scale.size for scale in found] == [128, 256, 512]


def test_other_shares(monkeypatch):
    monkeypatch.setitem(SHARES, 3, (0.5, 0.25, 0.25))
    found = schedule((512, 384), scales=3, steps=40)
    assert [scale.steps for scale in found] == [20, 10, 10]
    monkeypatch.setitem(SHARES, 3, (0, 1, 1))
    found = schedule((512, 384), scales=3, steps=40)
    assert [(scale.size, scale.steps) for scale in found] == [(256, 20), (512, 20)]


def test_there_are_shares_for_every_number_of_scales():
    for count in range(1, 7):
        assert len(SHARES[Settings(scales=count).scales]) == count
        assert min(SHARES[count]) >= 0 and SHARES[count][-1] > 0


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((64, 96), [48, 96]), ((63, 96), [48, 96]), ((62, 96), [96]), ((20, 300), [300])],
)
def test_scales_that_are_too_small_are_left_out(shape, sizes):
    """A half rounds up: 63 px become 32."""
    assert [scale.size for scale in schedule(shape, scales=6, steps=500)] == sizes


RUN = (Scale((2, 3), 3, 4), Scale((4, 6), 2, 2), Scale((8, 12), 5, 1))


def test_steps_number_on():
    assert [(scale.divisor, list(numbers)) for scale, numbers in numbered(RUN)] == [
        (4, [0, 1, 2]),
        (2, [3, 4]),
        (1, [5, 6, 7, 8, 9, 10]),
    ]
    divisors = [scale_at(RUN, step).divisor for step in range(11)]
    assert divisors == [4, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1]


def test_work_counts_pixels():
    work = [work_done(RUN, step) for step in (0, 1, 3, 4, 5, 6, 10)]
    whole = 3 * 6 + 2 * 24 + 5 * 96
    assert work == pytest.approx([done / whole for done in (0, 6, 18, 42, 66, 162, whole)])
    assert [work_done(RUN[2:], step) for step in (0, 2, 5)] == [0, 0.4, 1]
    assert work_done((Scale((8, 12), 0, 1),), 0) == 1


def test_images_of_a_scale(photograph, painting):
    """Both get smaller by the same factor."""
    half, full = schedule(photograph.shape, scales=2, steps=500)
    content, style = image_at(half, photograph), image_at(half, painting)
    assert np.abs(content - resized(photograph, 48, 32).clip(0, 1)).max() < SAME
    height, width = (side // 2 for side in painting.shape[:2])
    assert np.abs(style - resized(painting, width, height).clip(0, 1)).max() < SAME
    content, style = image_at(full, photograph), image_at(full, painting)
    assert content is photograph and style is painting


def test_a_narrow_painting_does_not_vanish():
    quarter = Scale((16, 24), 5, 4)
    styles = [np.full(shape, 0.5, np.float32) for shape in ((200, 100, 3), (300, 40, 3))]
    shapes = [image_at(quarter, style).shape for style in styles]
    assert shapes == [(100, 50, 3), (300, 40, 3)]  # 25 and 20 px would be too few


def test_enlarging_does_not_clip(random):
    """L-BFGS's images are not clipped inside the loop."""
    image = random.uniform(-0.5, 1.5, (8, 12, 3)).astype(np.float32)
    wanted = resized(image, 25, 17)
    assert wanted.min() < -0.2 and wanted.max() > 1.2
    assert np.abs(enlarge(image, (17, 25)) - wanted).max() < SAME
    lanes = enlarge(np.stack([image, -image]), (17, 25))
    assert np.abs(lanes - [wanted, -wanted]).max() < SAME
    assert enlarge(image, (8, 12)) is image
