"""The maps of colors against NumPy float64 and the formulas as they are printed."""

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import cholesky, sqrtm

from nst_jax.images.color_transfer import (
    MIN_SPREAD,
    find_color_map,
    finish_image,
    join_luminance,
    match_colors,
    match_luminance,
    recolor_content,
    recolor_style,
    to_gray,
)
from nst_jax.settings.settings import SETTINGS

EXACT = 1e-6  # of values about 1: float32
STATISTICS = 1e-6  # of means and covariances, in float64 of float32 images
CHROMA = 1e-6  # float32, too
MATRICES = 1e-9  # relative; float64 throughout, covariances with conditions of 100

# Y', I, Q of NTSC to three digits; and Cb, Cr of ITU-R BT.601.
YIQ = np.array([(0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
CBCR = np.array([(-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)])

COLOR_MAPS = SETTINGS["color_map"].value.names
every_method = pytest.mark.parametrize("method", COLOR_MAPS)


def statistics(image):
    colors = np.asarray(image, np.float64).reshape(-1, 3)
    return colors.mean(axis=0), np.cov(colors.T, bias=True)


def check_statistics(image, photograph):
    for got, wanted in zip(statistics(image), statistics(photograph), strict=True):
        assert np.abs(got - wanted).max() < STATISTICS


def gray(random, height=20, width=30):
    return np.repeat(random.random((height, width, 1), np.float32), 3, axis=-1)


def plain(color, height=20, width=30):
    return np.broadcast_to(np.float32(color), (height, width, 3)).copy()


def along(random, direction):
    """Colors on a line through gray."""
    values = random.uniform(-0.3, 0.3, (20, 30, 1))
    return (0.5 + values * np.array(direction)).astype(np.float32)


@every_method
def test_mean_and_covariance_become_those_of_the_photograph(painting, photograph, method):
    matched = match_colors(painting, photograph, method)
    assert matched.shape == painting.shape and matched.dtype == np.float32
    check_statistics(matched, photograph)


def covariances(random):
    """Two symmetric positive definite matrices, nothing alike."""
    factors = random.standard_normal((2, 3, 3)) * 0.3
    return factors @ factors.swapaxes(1, 2) + 0.01 * np.eye(3)


REFERENCES = {
    # Gatys et al. 2016: L_C L_S⁻¹ and Σ_C^½ Σ_S^−½.
    "cholesky": lambda s, c: cholesky(c, lower=True) @ np.linalg.inv(cholesky(s, lower=True)),
    "pca": lambda s, c: sqrtm(c) @ np.linalg.inv(sqrtm(s)),
    # Pitié & Kokaram 2007.
    "symmetric": lambda s, c: (
        np.linalg.inv(sqrtm(s)) @ sqrtm(sqrtm(s) @ c @ sqrtm(s)) @ np.linalg.inv(sqrtm(s))
    ),
}


@every_method
def test_maps_are_the_printed_ones(random, method):
    style, content = covariances(random)
    got, wanted = find_color_map(style, content, method), REFERENCES[method](style, content)
    np.testing.assert_allclose(got, wanted, rtol=MATRICES, atol=MATRICES)
    np.testing.assert_allclose(got @ style @ got.T, content, rtol=MATRICES, atol=MATRICES)


def test_what_tells_the_maps_apart(random):
    style, content = covariances(random)
    lower, _, symmetric = (find_color_map(style, content, method) for method in COLOR_MAPS)
    assert np.abs(np.triu(lower, 1)).max() < MATRICES and np.diag(lower).min() > 0
    np.testing.assert_allclose(symmetric, symmetric.T, atol=MATRICES)
    # The mean square distance that colors are moved, tr (A − 1) Σ (A − 1)ᵀ, is the least.
    moved = {}
    for method in COLOR_MAPS:
        change = find_color_map(style, content, method) - np.eye(3)
        moved[method] = np.trace(change @ style @ change.T)
    assert moved["symmetric"] < min(moved["cholesky"], moved["pca"])


@every_method
def test_the_same_colors_stay_as_they_are(painting, method):
    assert np.abs(match_colors(painting, painting, method) - painting).max() < EXACT


@every_method
def test_gray_photograph(random, painting, method):
    photograph = gray(random)
    matched = match_colors(painting, photograph, method)
    check_statistics(matched, photograph)
    assert np.ptp(matched, axis=-1).max() < EXACT


@every_method
def test_gray_painting(random, photograph, method):
    """Finite, of the photograph's mean, on a line: more cannot be made of one channel."""
    matched = match_colors(gray(random), photograph, method)
    mean, covariance = statistics(matched)
    wanted_mean, wanted_covariance = statistics(photograph)
    assert np.abs(mean - wanted_mean).max() < STATISTICS
    variances = np.linalg.eigvalsh(covariance)
    assert variances[1] < STATISTICS < variances[2]
    assert np.trace(covariance) <= np.trace(wanted_covariance) + STATISTICS


@every_method
@pytest.mark.parametrize(
    ("painted", "photographed"),
    [((1, 1, 1), (1, 1, 1)), ((1, 1, 1), (1.0, 0.8, 0.6)), ((1, 0, 0), (0, 0.5, 1))],
    ids=["gray, gray", "gray, sepia", "red, blue"],
)
def test_colors_on_a_line_both(random, method, painted, photographed):
    photograph = along(random, photographed)
    check_statistics(match_colors(along(random, painted), photograph, method), photograph)


@every_method
def test_a_photograph_of_two_dimensions(random, painting, method):
    photograph = random.random((20, 30, 3), np.float32)
    photograph[..., 2] = photograph[..., 1]
    check_statistics(match_colors(painting, photograph, method), photograph)


@every_method
def test_single_colors(painting, photograph, method):
    mean = statistics(photograph)[0]
    green = np.float32((0.1, 0.9, 0.4))
    assert np.abs(match_colors(plain(green), photograph, method) - mean).max() < EXACT
    assert np.abs(match_colors(painting, plain(green), method) - green).max() < EXACT
    assert np.abs(match_colors(plain(0.2), plain(0.7), method) - 0.7).max() < EXACT


@every_method
def test_rounding_is_not_stretched_into_colors(random, photograph, method):
    """A gray painting whose channels differ by less than a level of 8 bits."""
    clean = gray(random)
    noisy = clean + random.normal(0, MIN_SPREAD / 4, clean.shape).astype(np.float32)
    difference = match_colors(noisy, photograph, method) - match_colors(clean, photograph, method)
    assert difference.std() < 2 * MIN_SPREAD


def test_to_gray(photograph):
    got = to_gray(photograph)
    wanted = photograph.astype(np.float64) @ YIQ[0]
    assert got.dtype == np.float32 and got.shape == photograph.shape
    assert np.abs(got - wanted[..., None]).max() < EXACT
    assert np.abs(to_gray(got) - got).max() < EXACT


def test_luminance_gets_the_mean_and_the_spread_of_the_photograph(painting, photograph):
    matched = match_luminance(painting, photograph)
    wanted = photograph.astype(np.float64) @ YIQ[0]
    got = matched.astype(np.float64)[..., 0]
    assert matched.dtype == np.float32 and np.ptp(matched, axis=-1).max() == 0
    assert abs(got.mean() - wanted.mean()) < EXACT and abs(got.std() - wanted.std()) < EXACT
    # A straight line, that rises.
    own = painting.astype(np.float64) @ YIQ[0]
    slope, offset = np.polyfit(own.ravel(), got.ravel(), 1)
    assert slope > 0 and np.abs(slope * own + offset - got).max() < EXACT


def test_luminance_of_single_colors(painting, photograph):
    mean = (photograph.astype(np.float64) @ YIQ[0]).mean()
    assert np.abs(match_luminance(plain((0.1, 0.9, 0.4)), photograph) - mean).max() < EXACT
    assert np.abs(match_luminance(painting, plain(0.3)) - 0.3).max() < EXACT


@pytest.mark.parametrize("chroma", [YIQ[1:], CBCR], ids=["I, Q", "Cb, Cr"])
def test_joining_keeps_the_chroma(random, photograph, chroma):
    image = random.normal(0.5, 0.5, photograph.shape)  # far out of the range, too
    joined = join_luminance(image, photograph)
    assert joined.dtype == np.float32 and joined.min() >= 0 and joined.max() <= 1
    difference = (joined.astype(np.float64) - photograph) @ chroma.T
    assert np.abs(difference).max() < CHROMA


def test_joining_takes_the_luminance_where_the_chroma_permits(random, photograph):
    image = random.normal(0.5, 0.5, photograph.shape)
    joined = join_luminance(image, photograph).astype(np.float64)
    got, wanted = joined @ YIQ[0], image @ YIQ[0]
    dark, bright = joined.min(axis=-1) < EXACT, joined.max(axis=-1) > 1 - EXACT
    inside = ~dark & ~bright
    assert inside.any() and dark.any() and bright.any()
    assert np.abs(got - wanted)[inside].max() < EXACT
    assert (got >= wanted - EXACT)[dark & ~bright].all()
    assert (got <= wanted + EXACT)[bright & ~dark].all()


def test_joining_its_own_luminance_changes_nothing(photograph):
    assert np.abs(join_luminance(to_gray(photograph), photograph) - photograph).max() < EXACT


def test_joining_with_a_gray_photograph_is_gray(random, painting):
    joined = join_luminance(painting, gray(random, *painting.shape[:2]))
    assert np.abs(joined - to_gray(painting)).max() < EXACT


def chroma_of(image):
    """R − Y', G − Y', B − Y'."""
    return image - (image.astype(np.float64) @ YIQ[0])[..., None]


def test_the_style_s_colors_come_as_they_are(photograph, painting, random):
    assert recolor_content(photograph, "style") is photograph
    assert recolor_style(painting, photograph, "style", "pca") is painting
    image = random.normal(0.5, 1, photograph.shape)
    assert np.array_equal(finish_image(image, photograph, "style"), image.clip(0, 1))


@every_method
def test_matched_colors_are_clipped(photograph, painting, random, method):
    assert recolor_content(photograph, "match") is photograph
    moved = match_colors(painting, photograph, method)
    shown = recolor_style(painting, photograph, "match", method)
    assert moved.min() < 0 and moved.max() > 1
    assert shown.dtype == np.float32 and np.array_equal(shown, moved.clip(0, 1))
    image = random.normal(0.5, 1, photograph.shape)
    assert np.array_equal(finish_image(image, photograph, "match"), image.clip(0, 1))


def test_luminance_is_shown_in_gray(photograph, painting):
    content = recolor_content(photograph, "luminance")
    style = recolor_style(painting, photograph, "luminance", "pca")
    for image in (content, style):
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
        assert np.ptp(image, axis=-1).max() == 0
    assert np.abs(content[..., 0] - photograph @ YIQ[0]).max() < EXACT


@pytest.mark.parametrize("shape", [(64, 96), (32, 48), (21, 31)])
def test_luminance_is_joined_with_the_chroma_at_any_size(photograph, random, shape):
    image = random.normal(0.5, 1, (*shape, 3))
    finished = finish_image(image, photograph, "luminance")
    planes = [Image.fromarray(np.ascontiguousarray(photograph[..., c])) for c in range(3)]
    resized = [plane.resize(shape[::-1], Image.Resampling.LANCZOS) for plane in planes]
    wanted = np.stack([np.asarray(plane) for plane in resized], axis=-1).clip(0, 1)
    assert finished.shape == (*shape, 3) and finished.dtype == np.float32
    assert finished.min() >= 0 and finished.max() <= 1
    assert np.abs(chroma_of(finished) - chroma_of(wanted)).max() < EXACT


@pytest.mark.parametrize("colors", SETTINGS["colors"].value.names)
@every_method
def test_bands_do_not_show(monkeypatch, painting, photograph, colors, method):
    """A large image is computed band by band, and no array that is given changes."""
    wild = painting * 2 - 0.5
    given = [each.copy() for each in (painting, photograph, wild)]

    def all_of_it():
        return (
            recolor_style(painting, photograph, colors, method),
            recolor_content(photograph, colors),
            finish_image(wild, photograph, colors),
        )

    whole = all_of_it()
    monkeypatch.setattr("nst_jax.images.bands.PIXELS", 1000)
    for one, other in zip(whole, all_of_it(), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=EXACT)
    for before, after in zip(given, (painting, photograph, wild), strict=True):
        np.testing.assert_array_equal(after, before)
