"""Which paintings are meant, and at which sizes they are read."""

from pathlib import Path

import numpy as np
import pytest
from command import draw
from PIL import Image

from nst_jax import ImageError
from nst_jax.engine.style_images import StyleImageReader, list_files, list_style_images
from nst_jax.images import io

ROUNDING = 1 / 255  # files are resized in 8 bits, arrays in floats


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The current folder, with a folder of paintings and other files."""
    monkeypatch.chdir(tmp_path)
    Path("museum").mkdir()
    for name in ("b.png", "a.JPG", "c.webp", ".hidden.png"):
        draw(Path("museum") / name, 40, 60)
    Path("museum/catalogue.txt").write_text("Dear Theo,")
    (Path("museum") / "cellar.png").mkdir()
    Path("empty").mkdir()
    draw("alone.png", 60, 40, seed=3)


def test_a_folder_counts_as_its_images():
    wanted = [Path("museum", name) for name in ("a.JPG", "b.png", "c.webp")]
    assert io.images_in("museum") == wanted
    assert list_files(["alone.png", "museum", "missing.png"]) == (
        ["alone.png", *map(str, wanted), "missing.png"]
    )
    with pytest.warns(UserWarning, match="museum: no images, left out: catalogue.txt, cellar.png/"):
        assert list_style_images("museum") == list_style_images(Path("museum")) == tuple(wanted)
        assert list_style_images(["alone.png", Path("museum")]) == ("alone.png", *wanted)


@pytest.mark.parametrize("name", ["empty", "museum/cellar.png"])
def test_a_folder_without_images(name):
    with pytest.raises(ImageError, match=f"{name}: is a folder without images; give an image"):
        list_files([name])


def test_one_or_several():
    image = np.zeros((20, 20, 3), np.float32)
    assert list_style_images(None) == ()
    assert list_style_images("alone.png") == ("alone.png",)
    assert [each is image for each in list_style_images([image, image])] == [True, True]
    (only,) = list_style_images(image)
    assert only is image


def test_files_are_read_at_every_size():
    """From the file: enlarging a small copy of it would show."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    reader = StyleImageReader(32)
    (painting,) = reader.read(("noise.png",), (1.0, 0.75, 4.0))
    assert painting.image.shape == (24, 32, 3)
    shapes = [image.shape for image in painting.scaled]
    assert shapes == [(24, 32, 3), (18, 24, 3), (96, 128, 3)]
    assert painting.scaled[0] is painting.image
    assert np.abs(painting.scaled[2] - noise / 255).max() < 1e-6


def test_arrays_are_resampled():
    image = io.load_image("alone.png")
    reader = StyleImageReader(512)
    (painting,) = reader.read((image,), (0.5, 1.5))
    assert painting.image is image
    assert [each.shape for each in painting.scaled] == [(30, 20, 3), (90, 60, 3)]
    for each, size in zip(painting.scaled, (30, 90), strict=True):
        assert np.abs(each - io.load_image("alone.png", size)).max() < 2 * ROUNDING


def test_what_lanes_share_is_read_once(monkeypatch):
    read = []
    load, array = io.load_with_alpha, io.load_image("alone.png")
    monkeypatch.setattr(io, "load_with_alpha", lambda path, size: read.append(size) or load(path))
    reader = StyleImageReader(64)
    first = reader.read(("alone.png", array), (0.5, 1.0))
    second = reader.read((Path("alone.png"), array), (2.0, 0.5))
    assert read == [64, 32, 128]
    for one, other in zip(first, second, strict=True):
        assert one.image is other.image and one.scaled[0] is other.scaled[1]
    assert reader.read(first, (7.0,)) == first


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(
    ("scale", "words"),
    [(0.2, "size 12 would have 8 x 12 pixels"), (100, "size 30000 would have 600.0 megapixels")],
)
def test_sizes_that_cannot_be(as_array, scale, words):
    size = 60 if scale < 1 else 300
    given = io.load_image("alone.png", size) if as_array else "alone.png"
    who = "the style image at" if as_array else "alone.png: at"
    with pytest.raises(ImageError, match=f"{who} {words}"):
        StyleImageReader(size).read((given,), (scale,))
