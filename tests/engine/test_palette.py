"""What the network is shown: each image recolored once."""

import numpy as np
import pytest

from nst_jax import Settings
from nst_jax.engine.palette import Palette, finish_image
from nst_jax.engine.style_images import Painting
from nst_jax.images.color_transfer import recolor_content, recolor_style


@pytest.mark.parametrize("colors", ["style", "luminance", "match"])
def test_a_palette_recolors_every_image_once(photograph, painting, colors):
    settings, palette = Settings(colors=colors, color_map="pca"), Palette()
    small = painting[::2, ::2]
    paintings = (Painting(painting, (painting, small)), Painting(small, (small,)))
    content, (first, second) = palette.recolor(settings, photograph, paintings)
    assert first.scaled[0] is first.image and second.image is second.scaled[0] is first.scaled[1]
    assert np.array_equal(content, recolor_content(photograph, colors))
    assert np.array_equal(first.image, recolor_style(painting, photograph, colors, "pca"))
    assert np.array_equal(second.image, recolor_style(small, photograph, colors, "pca"))
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


def test_finished_without_a_photograph(random):
    image = random.normal(0.5, 1, (9, 8, 3))
    for colors in ("style", "luminance"):
        finished = finish_image(Settings(colors=colors), None, image)
        assert np.array_equal(finished, image.clip(0, 1))
