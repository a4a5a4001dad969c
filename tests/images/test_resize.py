"""Sizes, resizing and orientation, against NumPy and the text of the EXIF standard."""

import numpy as np
import pytest
from PIL import Image

from nst_jax.errors import ImageError
from nst_jax.images.resize import (
    MAX_PIXELS,
    ORIENTATION,
    check_memory,
    check_sides,
    empty_upright,
    fit_size,
    resample,
    resize,
)

RESIZE_TOLERANCE = 2e-6  # Pillow sums in float64 and rounds each of two passes to float32

# EXIF 2.32, section 4.6.4: what the stored image's row 0 and column 0 are in the scene.
EXIF_SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(scene, orientation):
    """The array that a camera stores for `scene`, word by word from the standard."""
    row_zero, column_zero = EXIF_SIDES[orientation]
    if row_zero in ("left", "right"):
        scene = scene.swapaxes(0, 1)
    if row_zero in ("right", "bottom"):
        scene = scene[::-1]
    if column_zero in ("right", "bottom"):
        scene = scene[:, ::-1]
    return scene


def lanczos_matrix(old, new):
    """Weights (new, old) of Lanczos-3, stretched when shrinking, in float64."""
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale
    x = (np.arange(old) + 0.5 - centers[:, None]) / max(scale, 1)
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (100, 200, 50, (25, 50)),
        (200, 100, 50, (50, 25)),
        (100, 100, 512, (512, 512)),
        (30, 40, 2, (2, 2)),  # 1.5 rounds up
        (50, 200, 2, (1, 2)),  # 0.5 rounds up
        (10, 1000, 20, (1, 20)),  # 0.2 becomes 1
        (4000, 6000, 512, (341, 512)),
    ],
)
def test_fit_size(height, width, size, expected):
    assert fit_size(height, width, size) == expected


def test_fit_size_gives_exactly_the_long_side():
    for longest in range(1, 400, 7):
        for size in (1, 3, 49, 512, 12347):
            assert max(fit_size(longest, (longest + 1) // 2, size)) == size


@pytest.mark.parametrize("shape", [(9, 7), (40, 51), (23, 31), (1, 1), (23, 5), (64, 31)])
def test_resize_matches_numpy(shape):
    image = np.random.default_rng(0).uniform(0.3, 0.7, (23, 31, 3)).astype(np.float32)
    rows, columns = lanczos_matrix(23, shape[0]), lanczos_matrix(31, shape[1])
    expected = np.einsum("ah,hwc,bw->abc", rows, image.astype(np.float64), columns)
    resized = resize(image, shape)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, rtol=0, atol=RESIZE_TOLERANCE)


def test_resize_clips_the_overshoot():
    step = np.zeros((20, 20, 3), np.float32)
    step[:, 10:] = 1
    resized = resize(step, (20, 73))
    assert resized.min() == 0 and resized.max() == 1


def test_resample_keeps_the_overshoot():
    step = np.zeros((8, 40, 3), np.float32)
    step[:, 20:] = 1
    resampled = resample(step, (20, 73))
    assert resampled.min() < -0.02 and resampled.max() > 1.02
    np.testing.assert_array_equal(resampled.clip(0, 1), resize(step, (20, 73)))


@pytest.mark.parametrize("shape", [(17, 19), (9, 30)])
def test_what_is_given_stays_as_it_is(shape):
    """Clipped is what comes of it, also where that has the same size."""
    image = np.random.default_rng(0).uniform(-0.2, 1.2, (17, 19, 1)).astype(np.float32)
    before = image.copy()
    resized = resize(image, shape)
    assert resized.min() == 0 and resized.max() == 1
    np.testing.assert_array_equal(image, before)
    if shape == image.shape[:2]:
        np.testing.assert_array_equal(resized, image.clip(0, 1))


@pytest.mark.parametrize("shape", [(9, 7), (40, 51)])
def test_bands_do_not_show(monkeypatch, shape):
    image = np.random.default_rng(0).random((23, 31, 3), np.float32)
    whole = resample(image, shape)
    monkeypatch.setattr("nst_jax.images.bands.PIXELS", 70)
    np.testing.assert_array_equal(resample(image, shape), whole)


def upright_as(stored, orientation):
    """Set upright what a file with this orientation in its EXIF data holds."""
    image = Image.new("RGB", (6, 4))
    image.getexif()[ORIENTATION] = orientation
    upright, as_stored = empty_upright(stored.shape, image)
    assert as_stored.shape == stored.shape and upright.flags.c_contiguous
    as_stored[:] = stored
    return upright


@pytest.mark.parametrize("orientation", EXIF_SIDES)
def test_upright_undoes_what_the_camera_did(orientation):
    scene = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
    got = upright_as(stored_as(scene, orientation), orientation)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, scene)


@pytest.mark.parametrize("orientation", [0, 9, 65535, (6,), "6", b"6"])
def test_upright_ignores_unknown_orientations(orientation):
    scene = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
    np.testing.assert_array_equal(upright_as(scene, orientation), scene)


@pytest.mark.parametrize(
    ("height", "width", "size", "words"),
    [
        (1, 1, None, "has 1 x 1 pixels"),
        (15, 400, None, "has 400 x 15 pixels"),
        (400, 15, 512, "has 15 x 400 pixels"),
        (20, 4000, 512, "at size 512 would have 512 x 3 pixels"),
        (300, 400, 0, "at size 0 would have 1 x 1 pixels"),
        (300, 400, -5, "at size -5 would have 1 x 1 pixels"),
        (10_000, 30_000, None, "has 300.0 megapixels, over the limit of 268"),
        (300, 300, 20_000, "at size 20000 would have 400.0 megapixels"),
        (1, MAX_PIXELS + 1, None, "megapixels"),
    ],
)
def test_check_sides_refuses(height, width, size, words):
    with pytest.raises(ImageError, match=words):
        check_sides(height, width, size)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(16, 16, None), (16, 400, 400), (16384, 16384, None), (400, 400, 16384)],
)
def test_check_sides_accepts_the_limits(height, width, size):
    check_sides(height, width, size)


def test_what_does_not_fit_into_memory(monkeypatch):
    """Four bytes of a pixel that is decoded, twelve of one that comes of it; less is not asked."""
    monkeypatch.setattr("nst_jax.images.resize.free_on_host", lambda swap: 4_290_000_000)
    check_memory(2**28, 2**28 - 10**6)
    check_memory(2**28, 0)
    with pytest.raises(ImageError, match=r"takes 4\.29 GB of memory to be read, and 4\.29 GB are"):
        check_memory(2**28, 2**28)
    monkeypatch.setattr("nst_jax.images.resize.free_on_host", lambda swap: 0)
    check_memory(10**7, 10**7)
    monkeypatch.setattr("nst_jax.images.resize.free_on_host", lambda swap: None)
    check_memory(2**28, 2**28)
