"""Masks: gray and color-coded pictures, as painted and as JPEG leaves them."""

import io

import numpy as np
import pytest
from PIL import Image

from nst_jax import ImageError
from nst_jax.images import masks

RED, BLUE, GREEN = (255, 0, 0), (20, 40, 250), (0, 200, 90)


def coded(height=60, width=90):
    """Blue above, red below, a green square in the red: (H, W, 3) bytes."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 3] = BLUE
    picture[height // 3 :] = RED
    picture[-20:-8, 30:44] = GREEN
    return picture


def through_jpeg(picture, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)) / np.float32(255)


def antialiased(picture):
    """Drawn at four times the size, and scaled down."""
    large = Image.fromarray(picture).resize((397, 263), Image.Resampling.NEAREST)
    return np.asarray(large.resize((101, 67), Image.Resampling.LANCZOS)) / np.float32(255)


def test_a_gray_picture_is_a_mask():
    picture = np.repeat(np.array([[0, 6, 128, 250, 255]]), 3, axis=0)[..., None] / 255
    got = masks.from_gray(np.repeat(picture, 3, axis=-1))
    assert got.shape == (3, 5) and got.dtype == np.float32
    assert got[0] == pytest.approx([0, 0, 120 / 239, 1, 1])


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_leaves_flat_black_and_white(quality):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 255
    got = masks.from_gray(through_jpeg(picture, quality))
    assert np.all(got[:, :24] == 0) and np.all(got[:, 40:] == 1)
    assert not masks.is_colored(through_jpeg(picture, quality))


@pytest.mark.parametrize("change", ["none", "jpeg", "rough jpeg", "antialiased"])
def test_each_color_is_a_region_in_reading_order(change):
    picture = {
        "none": lambda: coded() / np.float32(255),
        "jpeg": lambda: through_jpeg(coded()),
        "rough jpeg": lambda: through_jpeg(coded(), 40),
        "antialiased": lambda: antialiased(coded()),
    }[change]()
    assert masks.is_colored(picture)
    colors = masks.find_colors(picture)
    assert colors == pytest.approx(np.array([BLUE, RED, GREEN]), abs=12)
    got = masks.split_colors(picture, colors)
    assert np.all(got.sum(axis=0) == 1)
    if change != "antialiased":  # which has another size
        exact = masks.split_colors(coded() / 255, np.array([BLUE, RED, GREEN]))
        assert np.mean(got != exact) < 0.02
        assert np.array_equal(exact[2], np.all(coded() == GREEN, axis=-1))


def test_large_pictures_are_searched_coarsely():
    picture = np.repeat(np.repeat(coded(), 30, axis=0), 30, axis=1)
    colors = masks.find_colors(picture / np.float32(255))
    assert np.array_equal(colors, [BLUE, RED, GREEN])


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.random.default_rng(0).random((64, 64, 3)), "no color that fills an area"),
        (np.kron(np.random.default_rng(1).random((6, 6, 3)), np.ones((9, 9, 1))), "more than 16"),
    ],
)
def test_photographs_are_no_masks(picture, words):
    with pytest.raises(ImageError, match=words):
        masks.find_colors(picture)


def test_colors_are_matched_within_noise():
    colors = np.array([RED, BLUE])
    assert masks.match_color(colors, np.array([30, 50, 230])) == 1
    assert masks.match_color(colors, np.array(GREEN)) is None


def test_resized_masks_add_up(random):
    left = random.random((1, 40, 60))
    got = masks.fit(np.concatenate([left, 1 - left]), (100, 150))
    assert got.shape == (2, 100, 150) and got.min() >= 0 and got.max() <= 1
    assert got.sum(axis=0) == pytest.approx(np.ones((100, 150)), abs=1e-6)
    small = masks.fit(got, (21, 32))
    assert small.sum(axis=0) == pytest.approx(np.ones((21, 32)), abs=1e-6)


def test_a_mask_has_no_halo():
    """Lanczos would leave values above 0 where there is nothing."""
    mask = np.zeros((1, 64, 64), np.float32)
    mask[0, :, 32:] = 1
    assert np.all(masks.fit(mask, (256, 256))[0, :, :120] == 0)
    assert np.all(masks.fit(mask, (48, 48))[0, :, :22] == 0)


@pytest.mark.parametrize(
    ("size", "shape"), [((60, 90), (341, 512)), ((67, 100), (342, 512)), ((3000, 4000), (48, 64))]
)
def test_rounded_sides_are_no_other_aspect(size, shape):
    assert masks.fit(np.ones((1, *size), np.float32), shape).shape == (1, *shape)


@pytest.mark.parametrize("size", [(90, 60), (60, 60), (60, 95)])
def test_another_aspect(size):
    with pytest.raises(ImageError, match=f"{size[1]} x {size[0]} .*another aspect .*150 x 100"):
        masks.fit(np.ones((1, *size), np.float32), (100, 150))


def test_overlap_is_shared_out():
    given = np.array([[[1.0, 1.0, 0.0, 0.4]], [[0.0, 1.0, 0.0, 0.2]]])
    got = masks.share_out(given)
    assert got[:, 0] == pytest.approx(np.array([[1, 0.5, 0, 0.4], [0, 0.5, 0, 0.2]]))
    assert masks.measure_coverage(given) == (0.5, 0.25)


def test_colors_are_written_as_people_write_them():
    assert masks.to_hexadecimal(np.array(BLUE)) == "1428fa"
