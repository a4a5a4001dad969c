"""What the network is shown, and what becomes of its image, by the settings."""

import numpy as np
import pytest
from PIL import Image

from nst_jax import Settings
from nst_jax.engine.palette import Palette, finish_image, recolor_content, recolor_style
from nst_jax.engine.style_images import Painting
from nst_jax.images.color_transfer import match_colors

EXACT = 1e-6  # float32
LUMINANCE = np.array((0.299, 0.587, 0.114))


def chroma_of(image):
    """R − Y', G − Y', B − Y'."""
    return image - (image.astype(np.float64) @ LUMINANCE)[..., None]


def test_the_style_s_colours_come_as_they_are(photograph, painting, random):
    settings = Settings()
    assert recolor_content(settings, photograph) is photograph
    assert recolor_style(settings, photograph, painting) is painting
    assert recolor_style(settings, None, painting) is painting
    assert recolor_content(settings, None) is None
    image = random.normal(0.5, 1, photograph.shape)
    assert np.array_equal(finish_image(settings, photograph, image), image.clip(0, 1))
    assert np.array_equal(finish_image(settings, None, image), image.clip(0, 1))


@pytest.mark.parametrize("method", ["cholesky", "pca", "symmetric"])
def test_matched_colours_are_clipped(photograph, painting, random, method):
    settings = Settings(colors="match", color_map=method)
    assert recolor_content(settings, photograph) is photograph
    moved = match_colors(painting, photograph, method)
    shown = recolor_style(settings, photograph, painting)
    assert moved.min() < 0 and moved.max() > 1
    assert shown.dtype == np.float32 and np.array_equal(shown, moved.clip(0, 1))
    image = random.normal(0.5, 1, photograph.shape)
    assert np.array_equal(finish_image(settings, photograph, image), image.clip(0, 1))


def test_luminance_is_shown_in_grey(photograph, painting):
    settings = Settings(colors="luminance")
    content = recolor_content(settings, photograph)
    style = recolor_style(settings, photograph, painting)
    for image in (content, style):
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
        assert np.ptp(image, axis=-1).max() == 0
    assert np.abs(content[..., 0] - photograph @ LUMINANCE).max() < EXACT


@pytest.mark.parametrize("colors", ["style", "luminance", "match"])
def test_a_palette_recolours_every_image_once(photograph, painting, colors):
    settings, palette = Settings(colors=colors), Palette()
    small = painting[::2, ::2]
    paintings = (Painting(painting, (painting, small)), Painting(small, (small,)))
    content, (first, second) = palette.recolor(settings, photograph, paintings)
    assert first.scaled[0] is first.image and second.image is second.scaled[0] is first.scaled[1]
    assert np.array_equal(content, recolor_content(settings, photograph))
    assert np.array_equal(first.image, recolor_style(settings, photograph, painting))
    assert np.array_equal(second.image, recolor_style(settings, photograph, small))
    again, (lane,) = palette.recolor(settings, photograph, paintings[:1])
    assert again is content and lane.scaled[1] is first.scaled[1]
    assert (content is photograph) == (colors != "luminance")
    assert (first.image is painting) == (colors == "style")


def test_a_palette_without_a_photograph_or_a_painting(photograph, painting):
    alone = (Painting(painting, (painting,)),)
    content, (shown,) = Palette().recolor(Settings(), None, alone)
    assert content is None and shown.image is shown.scaled[0] is painting
    content, shown = Palette().recolor(Settings(), photograph, ())
    assert content is photograph and shown == ()


@pytest.mark.parametrize("shape", [(64, 96), (32, 48), (21, 31)])
def test_luminance_is_joined_with_the_chroma_at_any_size(photograph, random, shape):
    image = random.normal(0.5, 1, (*shape, 3))
    finished = finish_image(Settings(colors="luminance"), photograph, image)
    planes = [Image.fromarray(np.ascontiguousarray(photograph[..., c])) for c in range(3)]
    resized = [plane.resize(shape[::-1], Image.Resampling.LANCZOS) for plane in planes]
    wanted = np.stack([np.asarray(plane) for plane in resized], axis=-1).clip(0, 1)
    assert finished.shape == (*shape, 3) and finished.dtype == np.float32
    assert finished.min() >= 0 and finished.max() <= 1
    assert np.abs(chroma_of(finished) - chroma_of(wanted)).max() < EXACT
