"""PNG files of our own, read back by the reader in png_reader.py and by Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from png_reader import read_chunks, read_pixels

from nst_jax.images.png_file import BAND, write_png

PROFILE, EXIF = b"a profile" * 30, b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def encode(pixels, text=None, dpi=None, exif=None):
    stream = io.BytesIO()
    write_png(stream, pixels, profile=PROFILE, text=text or {}, dpi=dpi, exif=exif)
    return stream.getvalue()


def draw(kind, height, width, bits):
    """Pictures that suit one filter or another; (H, W, 3)."""
    y, x = np.mgrid[:height, :width, :3][:2]
    rng = np.random.default_rng(0)
    unit = {
        "noise": rng.random((height, width, 3)),
        "black": np.zeros((height, width, 3)),
        "along": x / width,
        "down": y / height,
        "waves": 0.5 + 0.4 * np.sin(x / 7 + y / 5) + 0.02 * rng.standard_normal((height, width, 3)),
    }[kind]
    return np.rint(unit.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (BAND, 17), (BAND + 1, 18)])
@pytest.mark.parametrize("kind", ["noise", "black", "along", "down", "waves"])
def test_pixels_survive(bits, shape, kind):
    pixels = draw(kind, *shape, bits)
    decoded, _ = read_pixels(encode(pixels))
    assert decoded.dtype == pixels.dtype
    np.testing.assert_array_equal(decoded, pixels)


def test_pillow_reads_the_same():
    pixels = draw("waves", 2 * BAND + 3, 71, 8)
    with Image.open(io.BytesIO(encode(pixels))) as image:
        assert image.mode == "RGB" and image.info["icc_profile"] == PROFILE
        np.testing.assert_array_equal(np.asarray(image), pixels)
    deep = draw("waves", BAND, 71, 16)
    with Image.open(io.BytesIO(encode(deep))) as image:  # of 16 bits it gives the upper 8
        np.testing.assert_array_equal(np.asarray(image), deep >> 8)


def test_extremes():
    """The full range, and the byte order: 0x0102 is not 0x0201."""
    pixels = np.array([[[0, 65535, 0x0102], [0x0201, 255, 256]]], np.uint16)
    np.testing.assert_array_equal(read_pixels(encode(pixels))[0], pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_in_any_byte_order(order):
    pixels = draw("waves", 5, 7, 16)
    turned = pixels.astype(pixels.dtype.newbyteorder(order))
    assert encode(turned) == encode(pixels)


def test_filters_are_chosen_by_row():
    """The standard's heuristic takes several filters, and makes the file smaller."""
    smooth = np.concatenate([draw("along", 20, 90, 8), draw("down", 20, 90, 8)])
    smooth = np.concatenate([smooth, draw("waves", 40, 90, 8), draw("black", 2, 90, 8)])
    encoded = encode(smooth)
    decoded, filters = read_pixels(encoded)
    assert len(filters) >= 4
    np.testing.assert_array_equal(decoded, smooth)
    unfiltered = b"".join(b"\0" + row.tobytes() for row in smooth)
    assert len(encoded) < 0.8 * len(zlib.compress(unfiltered))


def test_chunks_and_their_order():
    """What must come before IDAT does; one chunk of each kind."""
    text = {"Software": "nst_jax", "command": "nst-jax stylize Zürich.jpg 星月夜.jpg"}
    chunks = read_chunks(encode(draw("waves", 200, 60, 16), text, dpi=300, exif=EXIF))
    kinds = [kind for kind, _ in chunks]
    first = [b"IHDR", b"iCCP", b"pHYs", b"iTXt", b"iTXt", b"eXIf"]
    assert kinds[:6] == first and set(kinds[6:-1]) == {b"IDAT"} and len(kinds) > 8
    found = dict(chunks)
    name, method, compressed = found[b"iCCP"].split(b"\0", 1) + [b""]
    assert name == b"sRGB" and method[:1] == b"\0" and zlib.decompress(method[1:]) == PROFILE
    assert found[b"eXIf"] == EXIF
    assert found[b"iTXt"] == b"command\0\0\0\0\0" + text["command"].encode()


def test_nothing_is_said_of_what_is_unknown():
    kinds = {kind for kind, _ in read_chunks(encode(draw("noise", 9, 9, 8)))}
    assert kinds == {b"IHDR", b"iCCP", b"IDAT", b"IEND"}


@pytest.mark.parametrize("dpi", [1, 72, 300, 65535])
def test_resolution(dpi):
    data = dict(read_chunks(encode(draw("noise", 9, 9, 8), dpi=dpi)))[b"pHYs"]
    across, down, unit = struct.unpack(">IIB", data)
    assert across == down and unit == 1
    assert abs(across * 0.0254 - dpi) <= 0.5 * 0.0254  # whole pixels per metre


def test_keywords_are_latin_and_short():
    chunks = read_chunks(encode(draw("noise", 9, 9, 8), {"星" + "k" * 99: "\udcff"}))
    data = dict(chunks)[b"iTXt"]
    assert data == b"?" + b"k" * 78 + b"\0\0\0\0\0" + rb"\udcff"
