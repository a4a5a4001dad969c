"""TIFF files of our own, read by tifffile and by Pillow."""

import io

import numpy as np
import pytest
import tifffile
from exif_maker import camera_exif
from PIL import Image, TiffImagePlugin

from nst_jax.images.exif import EMPTY, describing, parse_exif
from nst_jax.images.tiff_file import STRIP, write_tiff

PROFILE = b"a profile" * 31  # of an odd length
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def encode(pixels, description="", dpi=None, exif=EMPTY):
    stream = io.BytesIO()
    write_tiff(stream, pixels, profile=PROFILE, description=description, dpi=dpi, exif=exif)
    return stream.getvalue()


def noise(height, width, bits):
    levels = np.random.default_rng(0).integers(0, 2**bits, (height, width, 3))
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


def tags_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert len(file.pages) == 1
        return {tag.name: tag.value for tag in file.pages[0].tags}


def copied(order):
    return describing(parse_exif(camera_exif(order)), 20, 30, None)


@ORDERS
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 333), (333, 1), (31, 47), (300, 211)])
def test_pixels_survive(order, bits, shape):
    """Of one strip and of several, and of an odd number of bytes."""
    pixels = noise(*shape, bits)
    data = encode(pixels, exif=EMPTY._replace(order=order))
    decoded = tifffile.imread(io.BytesIO(data))
    np.testing.assert_array_equal(decoded.reshape(pixels.shape), pixels)
    assert decoded.dtype.itemsize == bits // 8
    with Image.open(io.BytesIO(data)) as image:  # of 16 bits it gives the upper 8
        np.testing.assert_array_equal(np.asarray(image), pixels if bits == 8 else pixels >> 8)


@ORDERS
@pytest.mark.parametrize("bits", [8, 16])
def test_libtiff_reads_the_same(tmp_path, monkeypatch, order, bits):
    pixels = noise(300, 211, bits)
    (tmp_path / "a.tif").write_bytes(encode(pixels, exif=copied(order)))
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", True)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.tile[0][0] == "libtiff"
        np.testing.assert_array_equal(np.asarray(image), pixels if bits == 8 else pixels >> 8)


def test_strips_are_small():
    tags = tags_of(encode(noise(300, 211, 16)))
    sizes = tags["StripByteCounts"]
    assert len(sizes) > 3 and max(sizes) <= STRIP and sum(sizes) == 300 * 211 * 6
    wide = tags_of(encode(noise(2, STRIP // 3, 16)))
    assert wide["RowsPerStrip"] == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_mandatory_fields(bits):
    """TIFF 6.0, section 6: what an RGB image must have."""
    tags = tags_of(encode(noise(20, 30, bits)))
    assert (tags["ImageWidth"], tags["ImageLength"]) == (30, 20)
    assert tags["BitsPerSample"] == (bits, bits, bits) and tags["SamplesPerPixel"] == 3
    assert tags["Compression"] == 1 and tags["PhotometricInterpretation"] == 2
    assert tags["PlanarConfiguration"] == 1
    assert tags["XResolution"] == tags["YResolution"] == (1, 1) and tags["ResolutionUnit"] == 1
    assert tags["InterColorProfile"] == PROFILE and "ImageDescription" not in tags


@ORDERS
@pytest.mark.parametrize("dpi", [1, 300, 65535])
def test_resolution(order, dpi):
    data = encode(noise(20, 30, 16), dpi=dpi, exif=EMPTY._replace(order=order))
    tags = tags_of(data)
    assert tags["XResolution"] == tags["YResolution"] == (dpi, 1) and tags["ResolutionUnit"] == 2
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["dpi"] == (dpi, dpi) and image.info["icc_profile"] == PROFILE


def test_description():
    description = 'command: nst-jax stylize Zürich.jpg\nnst_jax: {"ratio": 1e-3}'
    assert tags_of(encode(noise(20, 30, 8), description))["ImageDescription"] == description


@ORDERS
@pytest.mark.parametrize("bits", [8, 16])
def test_exif_is_there_and_the_pixels_too(order, bits):
    pixels = noise(20, 30, bits)
    data = encode(pixels, "ours", dpi=240, exif=copied(order))
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), pixels)
    tags = tags_of(data)
    assert tags["Make"] == "Canon" and tags["Artist"] == "Zoë" and tags["Copyright"] == "CC BY"
    assert tags["ImageDescription"] == "ours" and tags["XResolution"] == (240, 1)
    assert tags["ExifTag"]["ExposureTime"] == (1, 50) and tags["ExifTag"]["ColorSpace"] == 1
    assert tags["ExifTag"]["ShutterSpeedValue"] == (-5, 2)
    assert tags["GPSTag"]["GPSLatitude"] == (43, 1, 40, 1, 36, 1)
    assert "Orientation" not in tags
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2026:05:01 10:20:30"


def test_the_photograph_s_description_stays_where_there_is_no_other():
    assert tags_of(encode(noise(20, 30, 8), exif=copied("<")))["ImageDescription"] == (
        "A street in Arles"
    )
