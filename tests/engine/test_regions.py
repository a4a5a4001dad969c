"""Regions from files to pictures: what is read and refused, the targets, runs, lanes, scales."""

import dataclasses

import numpy as np
import pytest
import reference
from PIL import Image

from nst_jax import ImageError, Settings, SettingsError, stylize, sweep
from nst_jax.engine import regions
from nst_jax.engine.program import make_program
from nst_jax.engine.style_images import StyleImage
from nst_jax.engine.targets import compute_targets

# The first blocks only, which compile sooner.
LAYERS = ("conv1_1", "conv2_1")
BASE = Settings(
    style_layers=LAYERS, content_layers=("conv2_2",), ratio=1e-4, lbfgs_memory=3, steps=5
)
# A float32 network against float64; of the largest entry.
SUMS = 2e-5
# One float32 program against another: their first losses, and what L-BFGS makes of that later.
FIRST, LATER = 1e-5, 0.02
LEVEL = 1 / 255
RED, BLUE = (255, 0, 0), (0, 0, 255)


def write(name, *columns, height=64, colors=False):
    """A mask with one value, grey or of three bytes, for each (width, value)."""
    parts = [np.tile(np.uint8(v), (height, w, 1 if colors else 3)) for w, v in columns]
    Image.fromarray(np.concatenate(parts, axis=1)).save(name)
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Masks for a photograph of 96×64 px, and for a painting of 64×80 px."""
    monkeypatch.chdir(tmp_path)
    write("whole.png", (96, 255))
    write("left.png", (48, 255), (48, 0))
    write("right.png", (48, 0), (48, 255))
    write("third.png", (64, 0), (32, 255))
    write("black.png", (96, 0))
    write("square.png", (64, 255))
    write("coded.png", (24, BLUE), (72, RED), colors=True)
    write("part.png", (32, 255), (32, 0), height=80)
    write("coded-part.png", (40, RED), (24, BLUE), height=80, colors=True)
    write("strange-part.png", (40, (0, 255, 0)), (24, BLUE), height=80, colors=True)


@pytest.fixture(scope="module")
def paintings(painting):
    return (StyleImage(painting, (painting,)), StyleImage(1 - painting, (1 - painting,)))


def of(settings, paintings):
    shapes = [each.image.shape for each in paintings]
    named = settings.content_mask, settings.style_mask, settings.region_styles
    return regions.read_regions(*named, (64, 96), shapes)


def with_masks(*content, **fields):
    return dataclasses.replace(BASE, content_mask=content, **fields)


def test_no_masks_are_no_regions(paintings):
    assert of(BASE, paintings) is None


def test_grey_masks_in_order(paintings):
    got = of(with_masks("third.png", "left.png"), paintings)
    assert got.styles == (0, 1) and got.style_masks == (None, None)
    assert np.all(got.masks[0, :, 64:] == 1) and np.all(got.masks[1, :, :48] == 1)
    assert got.masks.sum() == 64 * 80
    (fact,) = got.facts
    assert fact == (
        "regions: 1 third.png 33.3 %, 2 left.png 50.0 %; 16.7 % of the pixels are in none and "
        "stay as they are"
    )


def test_overlaps_are_shared_and_told(paintings):
    got = of(with_masks("whole.png", "left.png"), paintings)
    assert np.all(got.masks[:, :, :48] == 0.5) and np.all(got.masks[0, :, 48:] == 1)
    assert got.facts[0].endswith("50.0 % are in several, which share them")


def test_a_colour_coded_mask(paintings):
    got = of(with_masks("coded.png", region_styles=("2", "none")), paintings)
    assert np.all(got.masks[0, :, :24] == 1) and np.all(got.masks[1, :, 24:] == 1)
    assert got.styles == (1, None)
    assert got.facts == (
        "regions: 1 #0000ff 25.0 %, 2 #ff0000 75.0 %",
        "regions: no region takes painting 1",
    )


def test_style_masks(paintings):
    settings = with_masks("left.png", "right.png", style_mask=("none", "part.png"))
    nothing, part = of(settings, paintings).style_masks
    assert nothing is None and part.shape == (80, 64)
    assert np.all(part[:, :32] == 1) and np.all(part[:, 32:] == 0)


def test_colours_of_style_masks_are_those_of_the_regions(paintings):
    both = {"style_mask": ("coded-part.png",) * 2, "region_styles": (1, 1)}
    blue, red = of(with_masks("coded.png", **both), paintings).style_masks
    assert np.all(blue[:, 40:] == 1) and blue.sum() == 80 * 24
    assert np.all(red[:, :40] == 1) and red.sum() == 80 * 40


BAD = {
    "another aspect": ({"content_mask": ("square.png", "left.png")}, "square.png: .*another aspec"),
    "of a painting": (
        {"content_mask": ("left.png", "right.png"), "style_mask": ("left.png", "none")},
        "left.png: .* 96 x 64 .*another aspect .* 64 x 80",
    ),
    "black": (
        {"content_mask": ("left.png", "black.png")},
        "black.png: is black or transparent all over",
    ),
    "missing": ({"content_mask": ("left.png", "missing.png")}, "missing.png: there is no such"),
    "coded beside grey": (
        {"content_mask": ("left.png", "coded.png")},
        "coded.png: has colors, and is one of 2 content masks",
    ),
    "colour for grey": (
        {"content_mask": ("left.png", "right.png"), "style_mask": ("coded-part.png", "none")},
        "coded-part.png: has colors, and the content mask has none",
    ),
    "colour not there": (
        {"content_mask": "coded.png", "style_mask": ("none", "strange-part.png")},
        "strange-part.png: has no area of #ff0000",
    ),
}
WRONG_COUNTS = {
    "paintings": ({"content_mask": "left.png"}, "1 region for 2 paintings.*such as 1,none"),
    "region styles": (
        {"content_mask": "left.png", "region_styles": (1, 2)},
        "region_styles has 2 entries for 1 region;",
    ),
    "painting 3": (
        {"content_mask": "left.png", "region_styles": (3,)},
        "names painting 3, and there are 2",
    ),
    "style masks": (
        {"content_mask": ("left.png", "right.png"), "style_mask": "part.png"},
        "style_mask has 1 file for 2 regions",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_masks(paintings, case):
    fields, words = BAD[case]
    with pytest.raises(ImageError, match=words):
        of(dataclasses.replace(BASE, **fields), paintings)


@pytest.mark.parametrize("case", WRONG_COUNTS)
def test_wrong_counts(paintings, case):
    fields, words = WRONG_COUNTS[case]
    with pytest.raises(SettingsError, match=words):
        of(dataclasses.replace(BASE, **fields), paintings)


def on_a_layer(name, colors, alpha, mode="RGBA"):
    """A mask painted on a transparent layer: bytes (H, W, 3), and (H, W)."""
    pixels = np.dstack([np.broadcast_to(np.uint8(colors), (*alpha.shape, 3)), np.uint8(alpha)])
    Image.fromarray(pixels).convert(mode).save(name)
    return name


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("hidden", [0, 255])
def test_what_is_transparent_is_outside(paintings, mode, hidden):
    """Of content masks and style masks, whatever color is under it."""
    alpha, colors = np.zeros((64, 96)), np.full((64, 96, 3), hidden)
    alpha[:, :48], colors[:, :48] = 255, 255
    on_a_layer("layer.png", colors, alpha, mode)
    on_a_layer("part-layer.png", colors[0, :80, None].repeat(64, 1), alpha.T[:80, :64], mode)
    settings = with_masks("layer.png", "right.png", style_mask=("part-layer.png", "none"))
    got = of(settings, paintings)
    assert np.all(got.masks[0, :, :48] == 1) and not got.masks[0, :, 48:].any()
    assert np.all(got.style_masks[0][:48] == 1) and not got.style_masks[0][48:].any()


def test_soft_edges_of_a_layer(paintings):
    """White, half transparent, is gray."""
    alpha = np.full((64, 96), 128)
    alpha[:, :8] = 255
    layer = with_masks(on_a_layer("soft.png", 255, alpha), region_styles=(1,))
    gray = with_masks(write("gray.png", (8, 255), (88, 128)), region_styles=(1,))
    assert of(layer, paintings).masks == pytest.approx(of(gray, paintings).masks, abs=1e-6)


def test_colours_on_a_layer(paintings):
    """A blend with nothing at their edges has their colour still; nothing is no colour."""
    colors, alpha = np.zeros((64, 96, 3)), np.zeros((64, 96))
    colors[:, :24], colors[:, 24:60] = BLUE, RED
    alpha[:, :60] = 255
    alpha[:, 58], alpha[:, 59] = 140, 100
    got = of(with_masks(on_a_layer("layers.png", colors, alpha)), paintings)
    assert got.facts[0].startswith("regions: 1 #0000ff 25.0 %, 2 #ff0000 36.5 %; 38.5 % of the")
    assert np.all(got.masks[0, :, :24] == 1) and np.all(got.masks[1, :, 24:59] == 1)
    assert not got.masks[:, :, 59:].any()
    one = of(with_masks(on_a_layer("one.png", RED, alpha), region_styles=(1,)), paintings)
    assert one.masks.shape[0] == 1 and np.all(one.masks[0] == (alpha >= 128))


def test_a_layer_with_nothing_white(paintings):
    alpha = np.zeros((64, 96))
    alpha[:, :48] = 255
    for name, opacity in (("black-layer.png", alpha), ("empty.png", 0 * alpha)):
        settings = with_masks(on_a_layer(name, 0, opacity), "right.png")
        with pytest.raises(ImageError, match=f"{name}: is .*transparent (all over|throughout)"):
            of(settings, paintings)


def test_small_regions_are_told(paintings):
    settings = with_masks("third.png", "left.png", style_mask=("part.png", "none"))
    got = of(settings, paintings)
    assert regions.describe_regions(got, "vgg16", LAYERS) == [*got.facts]
    lines = regions.describe_regions(got, "vgg16", ("conv1_1", "conv4_1", "conv5_1"))
    assert lines[1:] == [
        "region 1 has no room for the receptive field of conv4_1 (60 px), conv5_1 (132 px): style "
        "crosses its edge there",
        "region 1's part of its painting has no room for the receptive field of conv4_1 (60 px), "
        "conv5_1 (132 px): style crosses its edge there",
        "region 2 has no room for the receptive field of conv5_1 (132 px): style crosses its edge "
        "there",
    ]


def test_targets_of_regions(normalized, photograph, paintings, painting):
    """Against float64: at conv1_1 a neuron of a part sees it alone one pixel from its edge."""
    settings = with_masks(
        "left.png", "right.png", "third.png", style_mask=("part.png", "none", "none")
    )
    settings = dataclasses.replace(settings, region_styles=(1, 2, 0))
    pictures = [list(each.scaled) for each in paintings]
    program = make_program(settings, normalized)
    here = of(settings, paintings)
    got = compute_targets(program, normalized.params, photograph, pictures, None, here)
    network, mean = reference.read_network()
    first, second = (
        reference.all_features(network, image, mean, last="conv1_1")["conv1_1"]
        for image in (painting, 1 - painting)
    )
    grams = np.asarray(got.style["conv1_1"])
    for region, features in enumerate((first[:, :31], second)):
        wanted = reference.gram(features)
        assert grams[0, region] == pytest.approx(wanted, abs=SUMS * np.abs(wanted).max())
    assert np.all(grams[0, 2] == 0)
    # Of 96 columns 47 see the left alone, 14 the right; 33 see what that shares with the third.
    assert np.asarray(got.region_weights["conv1_1"])[0] == pytest.approx(
        [47 / 96, (14 + 33 * 0.5**2) / 96, 0], rel=SUMS
    )


@pytest.fixture(scope="module")
def run(normalized, photograph, painting):
    def run(settings, content=photograph, style=(painting,)):
        return stylize(content, style, settings, weights=normalized, report_every=1)

    return run


def totals(result):
    return np.array([losses.total for _, losses in result.history])


def test_one_mask_of_ones_changes_no_loss(run):
    """In every term."""
    plain, masked = run(BASE), run(dataclasses.replace(BASE, content_mask="whole.png"))
    (_, one), (_, other) = plain.history[0], masked.history[0]
    assert other.total == pytest.approx(one.total, rel=FIRST)
    assert other.style == pytest.approx(one.style, rel=FIRST)
    assert dict(other.style_layers) == pytest.approx(dict(one.style_layers), rel=FIRST)
    assert totals(masked) == pytest.approx(totals(plain), rel=LATER)


@pytest.mark.parametrize("init", ["content", "noise", "style"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_region_without_style_stays(run, photograph, init, optimizer):
    """Wherever the run begins; and so does what is in no region. The painted one does not."""
    masked = with_masks("left.png", "third.png", region_styles=(1, 0), init=init)
    result = run(dataclasses.replace(masked, optimizer=optimizer))
    assert np.array_equal(result.image[:, 48:], photograph[:, 48:])
    assert np.abs(result.image - photograph)[:, :48].mean() > 2 * LEVEL


def test_each_region_gets_its_painting(run, painting):
    """From one grey image: the mean colours go where the paintings are."""
    dark, light = painting * 0.2, 0.8 + painting * 0.2
    settings = with_masks("left.png", "right.png", ratio=0.0, steps=20)
    result = run(settings, np.full((64, 96, 3), 0.5, np.float32), (dark, light))
    assert result.image[:, :40].mean() < 0.4 and result.image[:, 56:].mean() > 0.6


def test_from_coarse_to_fine(run, photograph):
    """Enlarging blurs; a region without style has the photograph's own detail all the same."""
    settings = with_masks("left.png", "right.png", region_styles=(1, 0), scales=2, steps=8)
    result = run(settings)
    assert [scale.size for scale in result.scales] == [48, 96]
    assert np.array_equal(result.image[:, 48:], photograph[:, 48:])
    assert np.abs(result.image - photograph)[:, :40].mean() > 5 * LEVEL


def test_a_texture_in_regions(normalized, painting):
    """Without a photograph all pixels are free, those of no region too."""
    Image.fromarray(np.tile(np.uint8([255] * 32 + [0] * 32), (80, 1))).save("half.png")
    settings = Settings(
        content_layers=(), style_layers=LAYERS, init="noise", steps=2, content_mask="half.png"
    )
    result = stylize(None, painting, settings, weights=normalized)
    assert result.losses.total < result.history[0][1].total


def test_lanes_may_have_other_masks(run, normalized, photograph, painting):
    settings = [
        with_masks("left.png", "right.png", region_styles=(1, 2)),
        with_masks("third.png", "left.png", region_styles=(2, 1)),
        with_masks("coded.png", region_styles=(0, 1)),
        with_masks("left.png", "right.png", region_styles=(1, 1), style_mask=("part.png", "none")),
    ]
    pair = (painting, 1 - painting)
    lanes = sweep(photograph, [pair] * 4, settings, weights=normalized, report_every=1)
    for one, lane in zip(settings, lanes, strict=True):
        alone = totals(run(one, style=pair))
        assert totals(lane)[0] == pytest.approx(alone[0], rel=FIRST)
        assert totals(lane) == pytest.approx(alone, rel=LATER)


@pytest.mark.parametrize("other", [BASE, with_masks("left.png", "right.png", region_styles=(1, 1))])
def test_lanes_have_as_many_regions(normalized, photograph, painting, other):
    with pytest.raises(SettingsError, match="lanes have [01] and [12] regions.*number may not"):
        sweep(photograph, painting, [with_masks("left.png"), other], weights=normalized)
