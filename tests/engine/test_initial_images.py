"""The images with which scales begin, against Pillow's resizing."""

import jax
import numpy as np
import pytest
from reference import SAMPLES

from nst_jax import Settings
from nst_jax.engine.initial_images import InitialImages
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.pyramid import Scale
from nst_jax.engine.regions import Regions
from nst_jax.images.resize import resample, resize

COARSE, FULL = Scale((32, 48), 5, 2), Scale((64, 96), 5, 1)
SAME = 1e-6  # float32, of numbers up to 1


@pytest.fixture
def starts(photograph, painting):
    def make(regions=None, **settings):
        return InitialImages(Settings(**settings), photograph, painting, regions)

    return make


def test_what_the_coarse_steps_left_alone_is_as_sharp_as_ever(starts, photograph):
    ours = starts()
    untouched = ours.refine(ours.coarsest_image(COARSE), FULL)
    assert np.abs(untouched - photograph).max() < SAME
    blurred = resample(ours.coarsest_image(COARSE), FULL.shape)
    assert np.abs(blurred - photograph).max() > 0.2


@pytest.mark.parametrize(("settings", "share"), [({}, 1.0), ({"init_noise": 0.25}, 0.75)])
def test_what_they_changed_is_enlarged(starts, photograph, random, settings, share):
    coarse = random.uniform(-0.5, 1.5, (32, 48, 3)).astype(np.float32)
    detail = photograph - resample(resize(photograph, (32, 48)), FULL.shape)
    wanted = resample(coarse, FULL.shape) + share * detail
    assert np.abs(starts(**settings).refine(coarse, FULL) - wanted).max() < SAME


@pytest.mark.parametrize("amplitude", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("init", ["noise", "content"])
def test_the_amplitude_of_noise(starts, photograph, init, amplitude):
    """Uniform over 0.5 ± a/2; all of the range is JAX's own numbers, as version 0.2 had them."""
    whole = np.asarray(jax.random.uniform(jax.random.key(5), photograph.shape))
    weak = 0.5 + amplitude * (whole - 0.5)
    ours = starts(init=init, init_noise=0.5, seed=5, noise_amplitude=amplitude)
    wanted = weak if init == "noise" else 0.5 * photograph + 0.5 * weak
    got = ours.coarsest_image(FULL)
    assert np.abs(got - wanted).max() < SAME
    if amplitude == 1 and init == "noise":
        assert np.array_equal(got, whole)


@pytest.mark.parametrize("settings", [{}, {"init_noise": 0.25}, {"init": "style"}])
def test_what_is_given_stays_as_it_is(starts, photograph, painting, random, settings):
    """No image that a user has given is computed in."""
    coarse = random.random((*COARSE.shape, 3), np.float32)
    given = [each.copy() for each in (photograph, painting, coarse)]
    ours = starts(**settings)
    for scale in (COARSE, FULL):
        ours.coarsest_image(scale)
    ours.refine(coarse, FULL)
    for before, after in zip(given, (photograph, painting, coarse), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("settings", [{"init": "noise"}, {"init_noise": 1.0}])
def test_noise_has_no_detail_that_is_wanted(starts, random, settings):
    coarse = random.random((32, 48, 3), np.float32)
    got = starts(**settings).refine(coarse, FULL)
    assert np.array_equal(got, resample(coarse, FULL.shape))


def test_where_no_style_goes_is_the_photograph(starts, photograph, random):
    masks = np.zeros((2, 64, 96), np.float32)
    masks[0, :, :40], masks[1, :, 40:] = 1, 1
    ours = starts(Regions(masks, (0, None), (None, None)), init="noise")
    for image in (
        ours.coarsest_image(FULL),
        ours.refine(random.random((32, 48, 3), np.float32), FULL),
    ):
        assert np.array_equal(image[:, 40:], photograph[:, 40:])
        assert np.abs(image[:, :40] - photograph[:, :40]).max() > 0.1


def test_a_content_image_that_is_the_start_as_well_is_read_at_both_sizes(painting, normalized):
    """At the size of the run, and as it is in its file."""
    file = str(SAMPLES / "china.jpg")
    settings = Settings(size=64, init=file)
    (lane,) = prepare_problem(file, painting, [settings], normalized).initial_images
    assert max(lane.content.shape) == 64 < max(lane.file.shape)
