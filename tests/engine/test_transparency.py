"""Photographs that are transparent in part: what is not to be seen is not painted, and stays so."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from nst_jax import ImageError, SaveOptions, Settings, load_image, save_image, stylize, sweep
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.style_images import StyleImage
from nst_jax.images.color_transfer import match_colors

LAYERS = ("conv1_1", "conv2_1")
BASE = Settings(
    style_layers=LAYERS, content_layers=("conv2_2",), ratio=1e-4, lbfgs_memory=3, steps=5
)
FIRST, LATER = 1e-5, 0.02  # one float32 program against another, at first and after some steps
LEVEL = 1 / 255


@pytest.fixture(scope="module")
def cutout(photograph):
    """(64, 96, 4): of the photograph the left half, a soft edge of 8 px, and nothing."""
    alpha = np.ones((64, 96, 1), np.float32)
    alpha[:, 48:56], alpha[:, 56:] = np.linspace(0.9, 0.1, 8)[:, None], 0
    return np.concatenate([photograph, alpha], axis=-1)


@pytest.fixture(scope="module")
def run(normalized, painting):
    def run(content, style=painting, **changed):
        settings = dataclasses.replace(BASE, **changed)
        return stylize(content, style, settings, weights=normalized, report_every=1)

    return run


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"init": "noise"},
        {"init": "style", "optimizer": "adam"},
        {"init_noise": 0.5, "colors": "luminance"},
        {"colors": "match"},
        {"average": 3},
        {"scales": 2, "steps": 8},
        {"low_memory": True},
        {"tv_weight": 1.0, "init": "noise"},
    ],
    ids=str,
)
def test_what_is_transparent_is_not_painted(run, cutout, changed):
    """Wherever a run begins, and whatever it does; the rest is."""
    content = cutout if "scales" in changed else cutout[:32, 24:72]
    result = run(content, **changed)
    colors, alpha = content[..., :3], content[..., 3:]
    np.testing.assert_array_equal(result.alpha, alpha[..., 0])
    assert np.all(result.image[alpha[..., 0] == 0] == 1)
    seen = colors * alpha + 1 - alpha
    assert np.abs(result.image - seen)[alpha[..., 0] == 1].mean() > LEVEL
    if not {"average", "scales"} & set(changed):
        assert result.losses.total < result.history[0][1].total


def test_style_is_measured_where_there_is_something(run, photograph, cutout):
    """The hidden half counts in no loss of style: it is as if of white or of anything."""
    other = cutout.copy()
    other[:, 56:, :3] = 0.3
    np.testing.assert_array_equal(run(cutout).image, run(other).image)
    half = cutout[:, :48].copy()
    alone, within = run(half[..., :3]), run(cutout)
    style, part = alone.history[0][1].style_layers, within.history[0][1].style_layers
    # At conv1_1 a neuron sees one pixel further, and the soft edge counts a little, too.
    assert part["conv1_1"] == pytest.approx(style["conv1_1"] / 2, rel=0.15)


def test_several_paintings_are_mixed_as_ever(run, painting, photograph):
    """What is opaque all over but in a corner has nearly the losses of one that is so wholly."""
    corner = np.ones((64, 96, 1), np.float32)
    corner[:4, :4] = 0
    content = np.concatenate([photograph, corner], axis=-1)
    pair = (painting, 1 - painting)
    for shares in ((1.0, 3.0), None):
        whole = run(photograph, pair, style_blend=shares).history[0][1]
        part = run(content, pair, style_blend=shares).history[0][1]
        assert part.style == pytest.approx(whole.style, rel=0.05)


def test_colors_are_matched_to_what_is_seen(normalized, cutout, painting):
    settings = dataclasses.replace(BASE, colors="match")
    (given,) = prepare_problem(cutout, painting, [settings], normalized).style_images[0]
    seen = cutout[:, :56, :3] * cutout[:, :56, 3:] + 1 - cutout[:, :56, 3:]
    wanted = match_colors(painting, seen, settings.color_map).clip(0, 1)
    np.testing.assert_allclose(given.image, wanted, rtol=0, atol=1e-5)


def test_with_regions(run, cutout, painting, tmp_path):
    """Regions have what is opaque of them; one where nothing is, is refused."""
    for name, columns in (("left.png", (0, 72)), ("right.png", (72, 96)), ("far.png", (80, 96))):
        mask = np.zeros((64, 96), np.uint8)
        mask[:, slice(*columns)] = 255
        Image.fromarray(mask).save(tmp_path / name)
    result = run(cutout, content_mask=(str(tmp_path / "left.png"),), init="noise")
    assert np.all(result.image[:, 56:] == 1) and not np.all(result.image[:, :48] == 1)
    for name in ("right.png", "far.png"):
        with pytest.raises(ImageError, match=f"{name}: has a region where all of the photograph"):
            run(cutout, content_mask=(str(tmp_path / name),))


def test_lanes_of_one_program(run, normalized, photograph, cutout, painting):
    """Opaque photographs, and transparent ones; each as alone."""
    contents, settings = [photograph, cutout, cutout], [BASE, BASE, BASE]
    settings[2] = dataclasses.replace(BASE, init="noise")
    lanes = sweep(contents, painting, settings, weights=normalized, report_every=1)
    for content, one, lane in zip(contents, settings, lanes, strict=True):
        alone = run(content, init=one.init)
        totals = [[losses.total for _, losses in each.history] for each in (lane, alone)]
        assert totals[0][0] == pytest.approx(totals[1][0], rel=FIRST)
        assert totals[0] == pytest.approx(totals[1], rel=LATER)
    assert lanes[0].alpha is None and np.all(lanes[1].image[:, 56:] == 1)


def test_a_photograph_without_style(run, cutout):
    settings = {"style_layers": (), "init": "noise", "ratio": None}
    result = run(cutout, None, **settings)
    assert np.all(result.image[:, 56:] == 1)


@pytest.mark.parametrize("bits", [8, 16])
def test_from_file_to_file(run, cutout, tmp_path, bits):
    """Smaller than it was, and saved: the same alpha, and on white the same picture."""
    Image.fromarray(np.uint8(cutout * 255 + 0.5)).save(tmp_path / "photo.png")
    result = run(tmp_path / "photo.png", size=64)
    assert result.image.shape == (43, 64, 3) and np.all(result.alpha[:, 40:] < 0.03)
    save_image(result.image, tmp_path / "a.png", None, SaveOptions(bits), result.alpha)
    shown = result.alpha > LEVEL
    difference = np.abs(load_image(tmp_path / "a.png") - result.image)
    assert difference[shown].max() < 1.01 / (2**bits - 1)


def test_arrays_with_alpha(run, cutout, painting):
    """The same as files; a painting goes on white."""
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(cutout * 255 + 0.5)).save(buffer, "PNG")
    file, array = run(buffer.getvalue(), size=96), run(cutout)
    assert file.losses.total == pytest.approx(array.losses.total, rel=LATER)
    half = np.concatenate([painting, np.full((*painting.shape[:2], 1), 0.5, "f4")], axis=-1)
    white = 0.5 * painting + 0.5
    on_white = StyleImage(white, (white,))
    assert run(cutout, half).losses == run(cutout, on_white).losses
    with pytest.raises(ImageError, match="content image is transparent throughout"):
        run(cutout * np.float32([1, 1, 1, 0]))
