"""Files that are no images to be read here: each is named in one line, with the remedy."""

import contextlib
import io
import sys
import types

import numpy as np
import pytest
import tifffile
from PIL import Image

from nst_jax import ImageError, load_image
from nst_jax.images.file_kinds import RAW_SUFFIXES
from nst_jax.images.io import images_in

TIFF = b"II*\0\x08\0\0\0"


def brands(*names):
    return (
        (16 + 4 * len(names[1:])).to_bytes(4, "big")
        + b"ftyp"
        + names[0]
        + bytes(4)
        + b"".join(names[1:])
    )


KINDS = {
    "photo.cr2": (b"II*\0\x10\0\0\0CR\2\0", "raw file; develop it"),
    "renamed.tif": (b"II*\0\x10\0\0\0CR\2\0", "raw file; develop it"),
    "photo.NEF": (b"MM\0*\0\0\0\x08", "raw file; develop it"),
    "photo.arw": (TIFF, "raw file"),
    "photo.dng": (TIFF, "raw file"),
    "photo.raf": (b"FUJIFILMCCD-RAW 0201", "raw file"),
    "photo.orf": (b"IIRO\x08\0\0\0", "raw file"),
    "photo.rw2": (b"IIU\0\x18\0\0\0", "raw file"),
    "photo.cr3": (brands(b"crx ", b"isom"), "raw file"),
    "photo.heic": (brands(b"heic", b"mif1"), "is HEIF, which a plugin reads.*pillow-heif"),
    "photo.jpg": (brands(b"mif1", b"heic"), "is HEIF"),
    "a.jxl": (b"\xff\x0a\xfa\x1f", "JPEG XL; convert it"),
    "b.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    "c.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000; convert it"),
    "a.svg": (b"<?xml version='1.0'?>\n<!-- a -->\n<svg width='9'>", "SVG.*export it as a PNG"),
    "page.jpg": (b"\n<!DOCTYPE HTML><html><body><svg></svg>", "web page, not the image"),
    "old.jpg": (b"<HTML><HEAD>", "web page"),
    "paper.pdf": (b"%PDF-1.7", "document; export"),
    "a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "document"),
    "a.psd": (b"8BPS\0\1", "layers; export"),
    "a.xcf": (b"gimp xcf v011\0", "layers; export"),
    "a.exr": (b"\x76\x2f\x31\x01\2\0\0\0", "high dynamic range"),
    "a.hdr": (b"#?RADIANCE\n", "high dynamic range"),
    "lfs.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "run: git lfs pull"),
    "clip.mp4": (brands(b"isom", b"avc1"), "video.*ffmpeg"),
    "clip.mov": (b"\0\0\0\x14ftypqt  ", "video"),
    "old.mov": (b"\0\0\4\0moov", "video"),
    "clip.webm": (b"\x1a\x45\xdf\xa3", "video"),
    "clip.avi": (b"RIFF\0\0\0\0AVI LIST", "video"),
    "a.kra": (b"PK\x03\x04", "archive"),
    "a.ico": (b"\0\0\1\0\1\0", "icon"),
    "._photo.jpg": (b"\0\x05\x16\x07", "without ._"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_image_is_named(tmp_path, name):
    head, words = KINDS[name]
    (tmp_path / name).write_bytes(head.ljust(64, b"\0"))
    with pytest.raises(ImageError, match=words) as caught:
        load_image(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: is ") or name.startswith("._")
    assert "\n" not in message and ("; " in message or name == "clip.mp4")


def test_every_suffix_of_raw_files(tmp_path):
    for suffix in RAW_SUFFIXES:
        Image.new("RGB", (160, 120)).save(tmp_path / "thumbnail.tif")
        path = (tmp_path / "thumbnail.tif").rename(tmp_path / f"photo{suffix}")
        with pytest.raises(ImageError, match="is a camera's raw file"):
            load_image(path)


def test_a_jpeg_of_any_name_is_read(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.dng", "JPEG")
    assert load_image(tmp_path / "photo.dng").shape == (20, 20, 3)


@pytest.mark.parametrize("tag", [(50706, 1, 4, (1, 6, 0, 0), True), (254, 4, 1, 1, True)])
def test_a_raw_file_renamed(tmp_path, tag):
    """By its first directory: a DNG's version, or a preview before the image."""
    values = np.zeros((20, 20, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        options = {"subfiletype": 1} if tag[0] == 254 else {"extratags": [tag]}
        file.write(values, photometric="rgb", subifds=1, metadata=None, **options)
        file.write(values, photometric="rgb", metadata=None)
    with pytest.raises(ImageError, match="raw file"):
        load_image(tmp_path / "a.tif")


def test_a_pyramid_in_a_tiff_is_none(tmp_path):
    values = np.zeros((40, 40, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, photometric="rgb", subifds=1, metadata=None)
        file.write(values[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert load_image(tmp_path / "a.tif").shape == (40, 40, 3)


@pytest.fixture
def heif_plugin(monkeypatch):
    """What stands for pillow-heif: reads a PNG after the brands."""

    def open_heif(file, name):
        content = file.read()
        image = Image.open(io.BytesIO(content[content.index(b"\x89PNG") :]), formats=["PNG"])
        image.format = "HEIF"
        return image

    def register():
        Image.register_open("HEIF", open_heif, lambda head: head[4:8] == b"ftyp")
        Image.register_extension("HEIF", ".heic")

    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = register
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    yield
    Image.OPEN.pop("HEIF", None)
    Image.EXTENSION.pop(".heic", None)
    with contextlib.suppress(ValueError):
        Image.ID.remove("HEIF")


def test_heic_where_the_plugin_is(tmp_path, heif_plugin):
    buffer = io.BytesIO()
    Image.new("RGB", (24, 20), (255, 0, 0)).save(buffer, "PNG")
    (tmp_path / "photo.heic").write_bytes(brands(b"heic", b"mif1") + buffer.getvalue())
    assert np.all(load_image(tmp_path / "photo.heic") == [1, 0, 0])
    assert images_in(tmp_path) == [tmp_path / "photo.heic"]


def test_avif_is_read_where_pillow_has_it(tmp_path, monkeypatch):
    Image.init()
    if "AVIF" not in Image.OPEN:
        pytest.skip("a Pillow without AVIF")
    Image.new("RGB", (24, 20), (255, 0, 0)).save(tmp_path / "a.avif", quality=100)
    assert load_image(tmp_path / "a.avif").shape == (20, 24, 3)
    monkeypatch.delitem(Image.OPEN, "AVIF")
    with pytest.raises(ImageError, match="is AVIF, which a plugin reads .pip install pillow-avif"):
        load_image(tmp_path / "a.avif")
