"""Reading and writing image files: sizes, orientation, what is refused, and nothing half-written.

Modes and profiles are in test_color_management.py, what is common to the formats written in
test_encoders.py. Errors must be one line with the path and the remedy.
"""

import errno
import os
import re
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin

from nst_jax.errors import ImageError
from nst_jax.images import encoders
from nst_jax.images.color_management import srgb_profile
from nst_jax.images.io import (
    check_writable,
    load_image,
    load_text,
    load_with_alpha,
    save_image,
)
from nst_jax.images.resize import fit_size, resize

HALF_STEP = 0.5 / 255 + 1e-6  # rounding to 8 bits
DRAFT_TOLERANCE = 2 / 255  # two roundings to 8 bits, and libjpeg's reduced DCT
JPEG_TOLERANCE = 6 / 255  # smooth pictures at quality 95

ORIENTATION = 0x0112


def random_bytes(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def smooth_picture(height, width):
    """A picture without sharp edges, which any decent resampling reproduces: (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = np.sin(7 * x + 3 * y), np.cos(5 * y - x), np.sin(9 * x * y)
    return np.rint(np.stack(planes, axis=-1) * 110 + 128).astype(np.uint8)


def refused(path, *words, **options):
    """The path cannot be loaded; the complaint is one line with the path and `words`."""
    with pytest.raises(ImageError) as caught:
        load_image(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in (*words, "; "):
        assert word in message
    return message


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (41, 67)])
@pytest.mark.parametrize("size", [16, 31, 60, 100])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "CMYK", "I;16", "F"])
def test_size_is_the_long_side(tmp_path, mode, size, shape):
    if min(fit_size(*shape, size)) < 16:
        size *= 2
    Image.new(mode, shape[::-1], (0, 0, 0, 255) if mode == "RGBA" else 0).save(tmp_path / "a.tif")
    loaded = load_image(tmp_path / "a.tif", size)
    assert loaded.shape == (*fit_size(*shape, size), 3)
    assert max(loaded.shape) == size


@pytest.mark.parametrize("size", [25, 83, 250])
def test_resized_picture_matches_floats(tmp_path, size):
    """8-bit resizing stays within a rounding for each of its two passes and the result."""
    pixels = smooth_picture(81, 123)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = resize(pixels / 255, fit_size(81, 123, size))
    loaded = load_image(tmp_path / "a.png", size)
    np.testing.assert_allclose(loaded, expected, rtol=0, atol=3 * HALF_STEP)


@pytest.mark.parametrize("shape", [(757, 1003), (1003, 757), (640, 960)])
@pytest.mark.parametrize("size", [30, 97, 200])
def test_reduced_jpeg_matches_a_full_decode(tmp_path, size, shape):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth_picture(*shape)).save(path, quality=95)
    expected = resize(load_image(path), fit_size(*shape, size))
    np.testing.assert_allclose(load_image(path, size), expected, rtol=0, atol=DRAFT_TOLERANCE)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "lzw.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, 32])
def test_exif_orientation(tmp_path, name, orientation, size):
    """`ImageOps.exif_transpose` is the reference; test_resize.py has the standard's text."""
    stored = Image.fromarray(smooth_picture(96, 64))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
    stored.save(tmp_path / name, exif=exif, **options)
    stored.getexif()[ORIENTATION] = orientation
    scene = np.asarray(ImageOps.exif_transpose(stored)) / 255
    expected = scene if size is None else resize(scene, fit_size(*scene.shape[:2], size))
    loaded = load_image(tmp_path / name, size)
    assert loaded.shape == expected.shape
    assert np.abs(loaded - expected).mean() < JPEG_TOLERANCE / 2


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0", b"Exif\0\0garbage" * 9, b"Exif\0\0"])
def test_broken_exif_is_ignored(tmp_path, exif):
    pixels = random_bytes(20, 30, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(load_image(tmp_path / "a.png"), pixels / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_first_frame(tmp_path, name):
    frames = [Image.new("RGB", (30, 20), color) for color in [(255, 0, 0), (0, 255, 0)]]
    options = {"lossless": True} if name == "a.webp" else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    expected = np.broadcast_to([1.0, 0, 0], (20, 30, 3))
    np.testing.assert_allclose(load_image(tmp_path / name), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["grüße zur stern nacht.png", "星月夜.PNG", "a'b;$(c).Jpeg"])
def test_any_file_name(tmp_path, name):
    image = np.full((16, 20, 3), 0.5, np.float32)
    check_writable(tmp_path / name, overwrite=False)
    save_image(image, str(tmp_path / name))
    assert os.listdir(tmp_path) == [name]
    np.testing.assert_allclose(load_image(tmp_path / name), image, rtol=0, atol=2 * HALF_STEP)


def test_missing_file(tmp_path):
    refused(tmp_path / "no.jpg", "no such file", "check the path")
    (tmp_path / "file.png").write_bytes(b"x")
    refused(tmp_path / "file.png" / "no.jpg", "no such file")


def test_folder_and_special_files(tmp_path):
    refused(tmp_path, "is a folder")
    refused(os.devnull, "not a regular file")


def test_name_too_long(tmp_path):
    refused(tmp_path / ("a" * 300 + ".png"), "cannot be read")


def test_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    refused(tmp_path / "a.jpg", "is empty")


@pytest.mark.parametrize(
    "data", [b"hello, this is text\n" * 50, b'{"message": "Not Found"}', b"\xff"]
)
def test_other_files_named_jpg(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    refused(tmp_path / "a.jpg", "is no image in a known format", "give a JPEG, PNG")


def test_permission_denied(tmp_path, monkeypatch):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")

    def deny(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", deny)  # root may read everything
    refused(tmp_path / "a.png", "Permission denied", "check its permissions")


def test_out_of_memory(tmp_path, monkeypatch):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    refused(tmp_path / "a.png", "memory", "scale it down")


@pytest.mark.parametrize("shape", [(1, 1), (15, 400), (400, 15)])
def test_tiny_image(tmp_path, shape):
    Image.new("RGB", shape[::-1]).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", f"{shape[1]} x {shape[0]} pixels", "at least 16", size=512)


def test_side_too_short_at_the_size(tmp_path):
    Image.new("RGB", (400, 20)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "at size 128 would have 128 x 6 pixels", size=128)


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    data += struct.pack(">I", zlib.crc32(header))
    pixels = b"IDAT" + zlib.compress(b"")
    return (
        data + struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))
    )


@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
@pytest.mark.parametrize(
    ("width", "height", "megapixels"), [(30000, 10000, "300.0"), (16384, 16385, "268.5")]
)
def test_decompression_bomb(tmp_path, monkeypatch, width, height, megapixels, limit):
    """Refused by the header, whether or not somebody lifted Pillow's own limit."""
    (tmp_path / "a.png").write_bytes(png_header(width, height))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    refused(tmp_path / "a.png", f"{megapixels} megapixels", "limit of 268", "scale it down")


def test_an_image_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    """Refused by the header, where the machine has not what decoding surely takes."""
    (tmp_path / "a.png").write_bytes(png_header(16000, 16000))
    monkeypatch.setattr("nst_jax.images.resize.free_on_host", lambda swap: 2 * 10**9)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    refused(tmp_path / "a.png", "takes 4.1 GB of memory", "2 GB are free", "a smaller size")
    monkeypatch.setattr("nst_jax.images.resize.free_on_host", lambda swap: 10**9)
    with pytest.raises(ImageError, match=r"a\.png: takes 1\.02 GB of memory"):
        load_text(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("size", [None, 31, 90])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F", "deep"])
def test_bands_do_not_show(tmp_path, monkeypatch, mode, size, orientation):
    """An image that is read band by band is that which is read at once."""
    path, exif = tmp_path / "a.tif", Image.Exif()
    exif[ORIENTATION] = orientation
    if mode == "deep":
        tags = [(ORIENTATION, 3, 1, orientation, True)]
        values = np.random.default_rng(0).integers(0, 65536, (40, 60, 4)).astype(np.uint16)
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"], "extratags": tags}
        tifffile.imwrite(path, values, **options)
    else:
        shown = {
            "I;16": Image.fromarray(random_bytes(40, 120).view(np.uint16)),
            "F": Image.fromarray(np.random.default_rng(0).random((40, 60), np.float32)),
        }.get(mode, Image.fromarray(random_bytes(40, 60, 4)).convert(mode))
        shown.save(path, exif=exif)
    whole = load_with_alpha(path, size)
    monkeypatch.setattr("nst_jax.images.bands.PIXELS", 130)
    for first, second in zip(whole, load_with_alpha(path, size), strict=True):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert second.flags.c_contiguous and second.dtype == np.float32
            np.testing.assert_array_equal(first, second)


def test_large_image_gives_no_warning(tmp_path, monkeypatch, recwarn):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns from here to twice as much
    with pytest.warns(Image.DecompressionBombWarning), Image.open(tmp_path / "a.png"):
        pass
    load_image(tmp_path / "a.png")
    assert not recwarn.list


def test_global_settings_stay(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    filters = list(warnings.filters)
    load_image(tmp_path / "a.png")
    assert warnings.filters == filters
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


TRUNCATABLE = {
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.png": {},
    "palette.png": {},
    "a.webp": {"lossless": True},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "a.gif": {},
    "a.bmp": {},
}


@pytest.mark.parametrize("size", [None, 24])  # at 24 a JPEG is decoded at half its size
@pytest.mark.parametrize("name", TRUNCATABLE)
def test_truncated_file_is_refused_or_complete(tmp_path, name, size):
    """However a file is cut, it is refused, unless all pixels had arrived before the cut."""
    image = Image.fromarray(random_bytes(160, 240, 3))
    if name in ("palette.png", "a.gif"):
        image = image.quantize(64)
    image.save(tmp_path / name, **TRUNCATABLE[name])
    data, whole = (tmp_path / name).read_bytes(), load_image(tmp_path / name, size)
    cut = tmp_path / f"cut {name}"
    accepted = 0
    for length in np.linspace(1, len(data) - 1, 120).astype(int):
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(load_image(cut, size), whole)
            accepted += 1
        except ImageError as error:
            assert re.match(r"[^\n]*cut [^\n]*: is [^\n]*; [^\n]*$", str(error))
    assert accepted <= 3


def test_truncated_jpeg_says_so(tmp_path):
    Image.fromarray(random_bytes(64, 96, 3)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "a.jpg", "damaged or incomplete", "truncated", "download it again")


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a.jpg", "a.JPEG", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("there", [False, True])
def test_check_writable_accepts(tmp_path, name, there):
    if there:
        (tmp_path / name).write_bytes(b"old")
    check_writable(tmp_path / name, overwrite=there)
    assert [path.name for path in tmp_path.iterdir()] == [name] * there


def test_check_writable_accepts_a_folder_that_can_be_made(tmp_path):
    check_writable(tmp_path / "new" / "inside" / "a.png", overwrite=False)
    assert os.listdir(tmp_path) == []


def test_check_writable_accepts_a_name_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable("result.png", overwrite=False)
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.gif", "suffix '.gif'; use one of .png, .jpg, .jpeg, .tif, .tiff, .webp"),
        ("a", "suffix ''; use one of .png"),
        ("folder.png", "is a folder"),
        ("old.png/a.png", "old.png is no folder; choose another name"),
        ("old.png/no/a.png", "old.png is no folder; choose another name"),
        ("old.png", "exists already; choose another name or add --overwrite"),
        ("dangling.png", "--overwrite"),
        ("a" * 249 + ".png", "cannot be written"),  # too long with the temporary file's additions
    ],
)
def test_check_writable_refuses(tmp_path, name, words):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.png").write_bytes(b"old")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ImageError) as caught:
        check_writable(tmp_path / name, overwrite=False)
    assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where even root cannot write")
def test_check_writable_really_tries():
    with pytest.raises(ImageError, match="/proc/a.png: cannot be written"):
        check_writable("/proc/a.png", overwrite=False)
    with pytest.raises(ImageError, match="/proc/new/a.png: cannot be written"):
        check_writable("/proc/new/a.png", overwrite=False)


def test_png_round_trip(tmp_path):
    image = np.random.default_rng(0).random((33, 47, 3), np.float32)
    save_image(image, tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png")
    np.testing.assert_allclose(loaded, image, rtol=0, atol=HALF_STEP)
    save_image(loaded, tmp_path / "b.png")
    np.testing.assert_array_equal(load_image(tmp_path / "b.png"), loaded)


def test_all_bytes_survive(tmp_path):
    levels = np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=-1)
    save_image(levels / 255, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), levels)


def test_saving_clips_once_and_rounds(tmp_path):
    values = np.array([-3.0, -0.001, 1.001, 7.0, 0.4 / 255, 0.6 / 255, 254.6 / 255])
    image = np.tile(values[:, None, None], (3, 20, 3))
    save_image(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved)[:7, 0, 0], [0, 0, 255, 255, 0, 1, 255])


def test_jpeg_has_full_color_resolution(tmp_path):
    image = smooth_picture(40, 64) / 255
    save_image(image, tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as saved:
        assert saved.format == "JPEG" and JpegImagePlugin.get_sampling(saved) == 0  # 4:4:4
        assert saved.getexif().get_ifd(0x8769)[0xA001] == 1  # sRGB
    np.testing.assert_allclose(load_image(tmp_path / "a.jpg"), image, rtol=0, atol=JPEG_TOLERANCE)


TEXT = {"settings": '{"ratio": 1e-3}', "command": "nst-jax stylize Zürich.jpg 星月夜.jpg\n"}


def test_png_text(tmp_path):
    save_image(np.zeros((20, 20, 3)), tmp_path / "a.png", TEXT)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.text == TEXT
        assert "srgb" not in saved.info and saved.info["icc_profile"] == srgb_profile()
    assert (tmp_path / "a.png").read_bytes().count(b"iTXt") == len(TEXT)


def test_jpeg_text(tmp_path):
    save_image(np.zeros((20, 20, 3)), tmp_path / "a.jpg", TEXT)
    with Image.open(tmp_path / "a.jpg") as saved:
        lines = saved.info["comment"].decode("utf-8")
    assert lines == "\n".join(f"{key}: {value}" for key, value in TEXT.items())


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.webp"])
def test_awkward_text_does_not_cost_the_picture(tmp_path, name):
    save_image(np.zeros((20, 20, 3)), tmp_path / name, {"path": "\udcff", "long": "ü" * 70_000})
    assert load_image(tmp_path / name).max() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_image_is_not_written(tmp_path, bad):
    image = np.zeros((20, 20, 3), np.float32)
    image[3, 4, 1] = bad
    with pytest.raises(ImageError, match="not finite"):
        save_image(image, tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 4), (1, 20, 20, 3), (0, 20, 3)])
def test_wrong_shape_is_not_written(tmp_path, shape):
    with pytest.raises(ImageError, match=re.escape(str(shape))):
        save_image(np.zeros(shape), tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("there", [False, True])
def test_failed_write_leaves_things_as_they_were(tmp_path, monkeypatch, error, there):
    if there:
        (tmp_path / "a.png").write_bytes(b"old")

    def write_a_little(stream, *_):
        stream.write(b"\x89PNG")
        raise error

    monkeypatch.setitem(encoders.ENCODERS, ".png", write_a_little)
    wanted = ImageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        save_image(np.zeros((20, 20, 3)), tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"] * there


def test_missing_folder_on_saving(tmp_path):
    with pytest.raises(ImageError, match=r"a\.png: cannot be written \(No such file"):
        save_image(np.zeros((20, 20, 3)), tmp_path / "no" / "a.png")


def test_unknown_suffix_on_saving(tmp_path):
    with pytest.raises(ImageError, match=r"use one of \.png, \.jpg, \.jpeg"):
        save_image(np.zeros((20, 20, 3)), tmp_path / "a.bmp")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_text_comes_back(tmp_path, name):
    """Line by line in all but a PNG, where a value may have colons, but no line ends."""
    text = {"Software": "nst_jax 1: the first", "nst_jax": '{"init": "schön 絵"}'}
    save_image(np.zeros((16, 16, 3), np.float32), tmp_path / name, text)
    assert load_text(tmp_path / name) == text


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif"])
def test_pictures_without_text(tmp_path, suffix):
    Image.new("RGB", (16, 16)).save(tmp_path / f"a.{suffix}")
    assert "nst_jax" not in load_text(tmp_path / f"a.{suffix}")


def test_text_of_what_is_no_picture(tmp_path):
    (tmp_path / "letter.png").write_text("Dear Theo")
    for name, words in (("none.png", "there is no such file"), ("letter.png", "is no image")):
        with pytest.raises(ImageError, match=f"{name}: {words}"):
            load_text(tmp_path / name)
