"""Rounding, options, and the files of each format: pixels, profile, resolution, text, EXIF.

Read by programs that are not ours: png_reader.py, tifffile, Pillow, littleCMS.
"""

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from command import picture
from exif_maker import THUMBNAIL, camera_exif
from PIL import Image, ImageCms, TiffImagePlugin
from png_reader import read_chunks, read_pixels

from nst_jax import ImageError, SaveOptions, SettingsError, load_image, read_exif, save_image
from nst_jax.images.encoders import BAND, STRIP, Pixels, quantize
from nst_jax.images.exif import MAX_BYTES, copy_exif
from nst_jax.images.io import check_writable

HALF_LEVEL = 0.5 / 65535 + 1e-9  # rounding to 16 bits, and of the quotient in float64
JPEG_TOLERANCE = 10 / 255  # quality 95, waves of ten pixels
ORIENTATION = 274
FILES = [("a.png", 8), ("a.png", 16), ("a.tif", 8), ("a.tif", 16), ("a.webp", 8), ("a.jpg", 8)]
PHOTOGRAPH = copy_exif(camera_exif())
TEXT = {"settings": '{"ratio": 1e-3}', "command": "nst-jax stylize Zürich.jpg 星月夜.jpg"}


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_rounding(bits, kind):
    """The full range, halves to even, and nothing beyond."""
    top = 2**bits - 1
    values = np.array([-7, -1e-9, 0, 0.4999, 0.5, 1.5, 2.5, 2.5001, top - 0.5, top, top + 9])
    expected = [0, 0, 0, 0, 0, 2, 2, 3, top - 1, top, top]
    image = np.tile(values[:, None, None] / top, (1, 2, 3))
    rounded = quantize(image, bits)
    assert rounded.dtype == kind and rounded.shape == (len(values), 2, 3)
    np.testing.assert_array_equal(rounded[:, 1, 2], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_survives(bits):
    """Rounded from float32, as images are."""
    levels = np.arange(2**bits).reshape(-1, 2**4, 1).repeat(3, axis=2)
    image = (levels / (2**bits - 1)).astype(np.float32)
    np.testing.assert_array_equal(quantize(image, bits), levels)


def test_half_a_level_and_no_more():
    image = np.random.default_rng(0).random((64, 64, 3), np.float32)
    error = quantize(image, 16) - image.astype(np.float64) * 65535
    assert np.abs(error).max() <= 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bits": 12}, "bits is 12; wanted 8 or 16"),
        ({"bits": 0}, "bits is 0"),
        ({"dpi": 0}, "dpi is 0; wanted a whole number, 1 to 65535"),
        ({"dpi": -300}, "dpi is -300"),
        ({"dpi": 65536}, "dpi is 65536"),
        ({"dpi": 0.5}, "dpi is 0.5"),
        ({"dpi": float("nan")}, "dpi is nan"),
    ],
)
def test_refused_options(wrong, words):
    with pytest.raises(SettingsError, match=words):
        SaveOptions(**wrong)


def test_metadata():
    plain = {"bits": 8, "dpi": None, "copy_exif": False, "text": True}
    assert SaveOptions().metadata() == plain
    options = SaveOptions(bits=16, dpi=300, exif=PHOTOGRAPH, text=False)
    assert options.metadata() == {"bits": 16, "dpi": 300, "copy_exif": True, "text": False}


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_no_text(tmp_path, name, bits):
    """The bytes are those of an image that comes with none."""
    written = []
    for text, options in ((TEXT, SaveOptions(bits, text=False)), ({}, SaveOptions(bits))):
        save_image(np.zeros((20, 30, 3)), tmp_path / name, text, options)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1] and b"ratio" not in written[0]


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_same_bytes_every_time(tmp_path, name, bits):
    image, options = picture(20, 30) / 255, SaveOptions(bits, 300, PHOTOGRAPH)
    save_image(image, tmp_path / name, TEXT, options)
    first = (tmp_path / name).read_bytes()
    save_image(image, tmp_path / name, TEXT, options)
    assert (tmp_path / name).read_bytes() == first


def read_deep(path):
    """The pixels at their full depth, by a reader that is not Pillow."""
    if path.suffix == ".png":
        return read_pixels(path.read_bytes())[0]
    return tifffile.imread(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("shape", [(33, 47), (48, 20)])
def test_16_bits_survive(tmp_path, name, shape):
    image = np.random.default_rng(0).random((*shape, 3), np.float32)
    save_image(image, tmp_path / name, TEXT, SaveOptions(bits=16, dpi=300))
    decoded = read_deep(tmp_path / name)
    assert decoded.dtype == np.uint16
    np.testing.assert_allclose(decoded / 65535, image, rtol=0, atol=HALF_LEVEL)
    again = decoded / 65535
    save_image(again, tmp_path / name, options=SaveOptions(bits=16))
    np.testing.assert_array_equal(read_deep(tmp_path / name), decoded)
    np.testing.assert_allclose(load_image(tmp_path / name), again, rtol=0, atol=1e-6)
    with Image.open(tmp_path / name) as opened:  # as others see it: of 16 bits the upper 8
        np.testing.assert_array_equal(np.asarray(opened), decoded >> 8)


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_every_format_is_tagged_as_srgb(tmp_path, name, bits):
    """The profile is there; a program that ignores it shows the same colors."""
    pixels = picture(40, 64)
    save_image(pixels / 255, tmp_path / name, options=SaveOptions(bits))
    with Image.open(tmp_path / name) as saved:
        ignored = np.asarray(saved.convert("RGB"))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(saved.info["icc_profile"]))
        screen = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        managed = np.asarray(ImageCms.profileToProfile(saved, profile, screen, outputMode="RGB"))
    assert np.abs(managed.astype(int) - ignored).max() <= 1
    tolerance = JPEG_TOLERANCE if name == "a.jpg" else 1e-6
    np.testing.assert_allclose(ignored / 255, pixels / 255, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_resolution(tmp_path, name, bits):
    save_image(np.zeros((20, 30, 3)), tmp_path / name, options=SaveOptions(bits, dpi=300))
    with Image.open(tmp_path / name) as saved:
        exif = saved.getexif()
        known = (exif[282], exif[283]) if name == "a.webp" else saved.info["dpi"]
        assert known == pytest.approx((300, 300), abs=0.0254 / 2)
    save_image(np.zeros((20, 30, 3)), tmp_path / name, options=SaveOptions(bits))
    with Image.open(tmp_path / name) as saved:
        # A TIFF has 1 of no unit, and for EXIF's silence in a JPEG Pillow says the standard's 72.
        assert saved.info.get("dpi", (1, 1)) == ((72, 72) if name == "a.jpg" else (1, 1))


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_exif_is_copied(tmp_path, name, bits):
    """From the file of the photograph to that of the picture; read by Pillow."""
    photo = Image.fromarray(picture(40, 64))
    photo.save(tmp_path / "photo.jpg", exif=b"Exif\0\0" + camera_exif(">", orientation=6))
    exif = read_exif(tmp_path / "photo.jpg")
    save_image(np.zeros((24, 36, 3)), tmp_path / name, TEXT, SaveOptions(bits, 300, exif))
    with Image.open(tmp_path / name) as saved:
        assert saved.size == (36, 24)
        copied = saved.getexif()
        exposure, place = copied.get_ifd(0x8769), copied.get_ifd(0x8825)
    assert copied[271] == "Canon" and copied.get(ORIENTATION, 1) == 1
    assert float(exposure[0x829A]) == 1 / 50 and place[1] == "N"
    assert (exposure[0xA001], exposure[0xA002], exposure[0xA003]) == (1, 36, 24)
    assert THUMBNAIL not in (tmp_path / name).read_bytes()
    assert load_image(tmp_path / name).shape == (24, 36, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_is_read_from(tmp_path, name):
    data = b"Exif\0\0" + camera_exif("<")
    Image.fromarray(picture(40, 64)).save(tmp_path / name, exif=data)
    copied = Image.Exif()
    copied.load(read_exif(tmp_path / name))
    assert copied[271] == "Canon" and copied.get_ifd(0x8769)[0x9003] == "2026:05:01 10:20:30"
    assert not {ORIENTATION, 256, 273, 282} & set(copied)  # a TIFF's layout is not copied


def test_exif_after_the_pixels(tmp_path):
    save_image(np.zeros((20, 20, 3)), tmp_path / "a.png")
    data, exif = (tmp_path / "a.png").read_bytes(), b"eXIf" + camera_exif()
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "a.png").write_bytes(data[:-12] + chunk + data[-12:])
    assert read_exif(tmp_path / "a.png") == PHOTOGRAPH


@pytest.mark.parametrize(("name", "bits"), FILES)
def test_as_much_exif_and_text_as_goes_in(tmp_path, name, bits):
    fields = [(0x9999, 7, b"y" * (MAX_BYTES - 400)), (0x9286, 7, b"x" * MAX_BYTES)]
    exif = copy_exif(camera_exif(extra=fields))
    save_image(
        np.zeros((20, 20, 3)), tmp_path / name, {"t": "ü" * 70_000}, SaveOptions(bits, 300, exif)
    )
    with Image.open(tmp_path / name) as saved:
        saved.load()
        photo = saved.getexif().get_ifd(0x8769)
    assert len(photo[0x9999]) == MAX_BYTES - 400 and 0x9286 not in photo


def test_photograph_without_exif(tmp_path):
    for name in ("a.jpg", "a.png", "a.webp", "a.tif", "a.gif"):
        Image.fromarray(picture(40, 64)).save(tmp_path / name)
        assert read_exif(tmp_path / name) is None
    with pytest.raises(ImageError, match=r"no\.jpg: there is no such file; check the path"):
        read_exif(tmp_path / "no.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_8_bits_only(tmp_path, name):
    deep = SaveOptions(bits=16)
    for attempt in (
        lambda: save_image(np.zeros((20, 20, 3)), tmp_path / name, options=deep),
        lambda: check_writable(tmp_path / name, False, deep),
    ):
        with pytest.raises(ImageError, match=f"{name}: a (JPEG|WebP) has 8 bits, not 16; use .png"):
            attempt()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on processes")
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("name", "bits"), FILES)
def test_full_disk(tmp_path, name, bits, there):
    """The system really refuses to write more than the beginning."""
    import resource

    if there:
        (tmp_path / name).write_bytes(b"old")
    image = np.random.default_rng(0).random((200, 200, 3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(ImageError, match=f"{name}: cannot be written .*; free space"):
            save_image(image, tmp_path / name, options=SaveOptions(bits))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"] * there


@pytest.mark.parametrize(("name", "bits"), FILES)
@pytest.mark.parametrize("shape", [(40, 30), (BAND + 3, 17)])
def test_alpha_is_written(tmp_path, name, bits, shape):
    """On white the file is the image, wherever it is seen; a JPEG is on white."""
    random = np.random.default_rng(0)
    alpha = random.random(shape, np.float32)
    alpha[:10], alpha[10:20] = 0, 1
    colors = random.random((*shape, 3), np.float32)
    if name == "a.jpg":
        colors = picture(*shape) / np.float32(255)
    image = colors * alpha[..., None] + 1 - alpha[..., None]
    save_image(image, tmp_path / name, TEXT, SaveOptions(bits), alpha=alpha)
    tolerance = 2 * JPEG_TOLERANCE if name == "a.jpg" else 1.01 / (2**bits - 1)
    got = load_image(tmp_path / name)
    assert np.abs(got - image)[10:].max() <= tolerance and np.abs(1 - got[:10]).max() <= tolerance
    with Image.open(tmp_path / name) as saved:
        assert saved.mode == ("RGB" if name == "a.jpg" else "RGBA")
        if name != "a.jpg":
            seen = np.asarray(saved.getchannel("A")) / 255
            np.testing.assert_allclose(seen, alpha, rtol=0, atol=1.01 / 255)
    if name in ("a.png", "a.tif"):
        pixels = read_deep(tmp_path / name)
        assert pixels.dtype.itemsize == bits // 8 and np.all(pixels[:10, :, 3] == 0)
        np.testing.assert_array_equal(pixels[..., 3], np.rint(alpha * np.float64(2**bits - 1)))


def test_alpha_of_another_shape(tmp_path):
    with pytest.raises(ImageError, match=r"a\.png: alpha is \(3, 3\); wanted \(20, 30\)"):
        save_image(np.zeros((20, 30, 3)), tmp_path / "a.png", alpha=np.ones((3, 3)))


def test_a_webp_has_short_sides_and_no_losses(tmp_path):
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    save_image(image, tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as saved:
        np.testing.assert_array_equal(np.asarray(saved), quantize(image, 8))


@pytest.mark.parametrize(
    ("name", "kind", "longest"),
    [("a.webp", "WebP", 16383), ("a.jpg", "JPEG", 65500), ("a.jpeg", "JPEG", 65500)],
)
@pytest.mark.parametrize("across", [True, False])
def test_sides_that_a_format_has_no_room_for(tmp_path, name, kind, longest, across):
    """Said before a run, and where an image is written; what the limit leaves is written."""
    words = f"{name}: a side of {longest + 1} px is longer than a {kind}'s {longest}; use .png"
    shape = (1, longest + 1, 3) if across else (longest + 1, 1, 3)
    with pytest.raises(ImageError, match=words):
        save_image(np.zeros(shape), tmp_path / name)
    with pytest.raises(ImageError, match=words):
        check_writable(tmp_path / name, False, side=longest + 1)
    assert os.listdir(tmp_path) == []
    check_writable(tmp_path / name, False, side=longest)
    save_image(np.zeros(shape)[:longest, :longest], tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert max(saved.size) == longest


def test_a_tiff_has_four_gigabytes(tmp_path, monkeypatch):
    image = np.zeros((40, 30, 3))
    monkeypatch.setattr("nst_jax.images.encoders.MAX_TIFF", image.size)
    save_image(image, tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"b\.tif: has more bytes than the 4 GB of a TIFF; use"):
        save_image(image, tmp_path / "b.tif", options=SaveOptions(16))
    assert os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.parametrize(("name", "bits"), FILES)
@pytest.mark.parametrize("transparent", [False, True])
def test_bands_do_not_show(tmp_path, monkeypatch, name, bits, transparent):
    """A file that is written band by band has the bytes of one that is written at once."""
    random = np.random.default_rng(0)
    image, alpha = draw("waves", 200, 37), random.random((200, 37)) if transparent else None
    written = []
    for pixels in (10**6, 37 * 7, 1):
        monkeypatch.setattr("nst_jax.images.bands.PIXELS", pixels)
        save_image(image, tmp_path / name, TEXT, SaveOptions(bits, 300, PHOTOGRAPH), alpha)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1] == written[2]


def test_a_large_image_has_no_other_beside_it(tmp_path, monkeypatch):
    """PNG and TIFF are rounded as they are written: band by band."""
    monkeypatch.setattr("nst_jax.images.bands.PIXELS", 1000)
    image, largest = draw("noise", 300, 100), []
    rounded = Pixels.rows

    def rows(self, rows):
        largest.append(rounded(self, rows).nbytes)
        return rounded(self, rows)

    monkeypatch.setattr(Pixels, "rows", rows)
    for name in ("a.png", "a.tif"):
        save_image(image, tmp_path / name)
        assert max(largest) <= BAND * 100 * 3


def png_chunks(path):
    return read_chunks(path.read_bytes())


def draw(kind, height, width):
    """Pictures that suit one filter of a PNG or another; (H, W, 3) in [0, 1]."""
    y, x = np.mgrid[:height, :width, :3][:2]
    noise = np.random.default_rng(0).random((height, width, 3))
    return {
        "noise": noise,
        "black": 0 * noise,
        "along": x / width,
        "down": y / height,
        "waves": 0.5 + 0.4 * np.sin(x / 7 + y / 5) + 0.05 * noise,
    }[kind]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 333), (50, 1), (BAND, 17), (BAND + 1, 18)])
@pytest.mark.parametrize("kind", ["noise", "black", "along", "down", "waves"])
def test_pixels_survive(tmp_path, name, bits, shape, kind):
    """In one band of a PNG or strip of a TIFF, and in several; of an odd number of bytes."""
    image = draw(kind, *shape)
    save_image(image, tmp_path / name, options=SaveOptions(bits))
    decoded = read_deep(tmp_path / name).reshape(image.shape)
    assert decoded.dtype.itemsize == bits // 8
    np.testing.assert_array_equal(decoded, np.rint(np.float32(image) * np.float64(2**bits - 1)))


def test_png_extremes(tmp_path):
    """The full range, and the byte order: 0x0102 is not 0x0201."""
    pixels = np.array([[[0, 65535, 0x0102], [0x0201, 255, 256]]])
    save_image(pixels / 65535, tmp_path / "a.png", options=SaveOptions(16))
    np.testing.assert_array_equal(read_deep(tmp_path / "a.png"), pixels)


def test_png_is_about_as_small_as_pillow_s(tmp_path):
    image = np.concatenate([draw("along", 40, 90), draw("waves", 80, 90), draw("down", 40, 90)])
    save_image(image, tmp_path / "a.png")
    Image.fromarray(quantize(image, 8)).save(tmp_path / "b.png", compress_level=6)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.png", "b.png")]
    assert sizes[0] < 1.1 * sizes[1] + 3000  # the profile


def test_chunks_of_a_png_and_their_order(tmp_path):
    """What must come before IDAT does; one chunk of each kind."""
    options = SaveOptions(16, 300, PHOTOGRAPH)
    save_image(draw("noise", 200, 60), tmp_path / "a.png", TEXT, options)
    chunks = png_chunks(tmp_path / "a.png")
    kinds = [kind for kind, _ in chunks]
    first = [b"IHDR", b"iCCP", b"pHYs", b"iTXt", b"iTXt", b"eXIf"]
    assert len(kinds) > 8 and all(len(data) for _, data in chunks[:-1])
    assert kinds[:6] == first and set(kinds[6:-1]) == {b"IDAT"} and kinds[-1] == b"IEND"
    found = dict(chunks)
    assert found[b"iCCP"].startswith(b"sRGB\0\0")
    assert zlib.decompress(found[b"iCCP"][6:])[36:40] == b"acsp"
    assert found[b"iTXt"] == b"command\0\0\0\0\0" + TEXT["command"].encode()


@pytest.mark.parametrize("bits", [8, 16])
def test_nothing_is_said_of_what_is_unknown(tmp_path, bits):
    save_image(np.zeros((9, 9, 3)), tmp_path / "a.png", options=SaveOptions(bits))
    kinds = {kind for kind, _ in png_chunks(tmp_path / "a.png")}
    assert kinds == {b"IHDR", b"iCCP", b"IDAT", b"IEND"}
    save_image(np.zeros((9, 9, 3)), tmp_path / "a.tif", options=SaveOptions(bits))
    tags = tiff_tags(tmp_path / "a.tif")
    assert not {"ImageDescription", "Software", "DateTime", "ExifTag", "GPSTag"} & set(tags)


@pytest.mark.parametrize("dpi", [1, 72, 300, 65535])
def test_resolution_of_a_png_is_in_whole_pixels_per_meter(tmp_path, dpi):
    save_image(np.zeros((9, 9, 3)), tmp_path / "a.png", options=SaveOptions(dpi=dpi))
    across, down, unit = struct.unpack(">IIB", dict(png_chunks(tmp_path / "a.png"))[b"pHYs"])
    assert across == down and unit == 1
    assert abs(across * 0.0254 - dpi) <= 0.5 * 0.0254


def test_keywords_are_latin_and_short(tmp_path):
    save_image(np.zeros((9, 9, 3)), tmp_path / "a.png", {"星" + "k" * 99: "\udcff"})
    data = dict(png_chunks(tmp_path / "a.png"))[b"iTXt"]
    assert data == b"?" + b"k" * 78 + b"\0\0\0\0\0" + rb"\udcff"


def tiff_tags(path):
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
        return {tag.name: tag.value for tag in file.pages[0].tags}


def exif_in(order):
    return copy_exif(camera_exif(order))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_libtiff_reads_the_same(tmp_path, monkeypatch, order, bits):
    image = draw("noise", 300, 211)
    save_image(image, tmp_path / "a.tif", TEXT, SaveOptions(bits, exif=exif_in(order)))
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", True)
    pixels = tifffile.imread(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.tile[0][0] == "libtiff"
        np.testing.assert_array_equal(np.asarray(opened), pixels >> (bits - 8))


def test_strips_are_small(tmp_path):
    save_image(draw("noise", 300, 211), tmp_path / "a.tif", options=SaveOptions(16))
    sizes = tiff_tags(tmp_path / "a.tif")["StripByteCounts"]
    assert len(sizes) > 3 and max(sizes) <= STRIP and sum(sizes) == 300 * 211 * 6
    save_image(draw("noise", 2, STRIP // 3), tmp_path / "a.tif", options=SaveOptions(16))
    assert tiff_tags(tmp_path / "a.tif")["RowsPerStrip"] == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_mandatory_fields_of_a_tiff(tmp_path, bits):
    """TIFF 6.0, section 6: what an RGB image must have."""
    save_image(draw("noise", 20, 30), tmp_path / "a.tif", options=SaveOptions(bits))
    tags = tiff_tags(tmp_path / "a.tif")
    assert (tags["ImageWidth"], tags["ImageLength"]) == (30, 20)
    assert tags["BitsPerSample"] == (bits, bits, bits) and tags["SamplesPerPixel"] == 3
    assert tags["Compression"] == 1 and tags["PhotometricInterpretation"] == 2
    assert tags["PlanarConfiguration"] == 1
    assert tags["XResolution"] == tags["YResolution"] == (1, 1) and tags["ResolutionUnit"] == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_exif_of_a_tiff(tmp_path, order, bits):
    """As tifffile reads it, beside our text and resolution."""
    save_image(
        draw("noise", 21, 31), tmp_path / "a.tif", TEXT, SaveOptions(bits, 240, exif_in(order))
    )
    tags = tiff_tags(tmp_path / "a.tif")
    assert tags["Make"] == "Canon" and tags["Artist"] == "Zoë" and tags["Copyright"] == "CC BY"
    assert tags["ImageDescription"] == "\n".join(f"{key}: {value}" for key, value in TEXT.items())
    assert tags["XResolution"] == (240, 1) and tags["ResolutionUnit"] == 2
    assert tags["ExifTag"]["ExposureTime"] == (1, 50) and tags["ExifTag"]["ColorSpace"] == 1
    assert tags["ExifTag"]["ShutterSpeedValue"] == (-5, 2)
    assert tags["GPSTag"]["GPSLatitude"] == (43, 1, 40, 1, 36, 1)
    assert "Orientation" not in tags


def test_the_photograph_s_description_stays_where_there_is_no_other(tmp_path):
    save_image(np.zeros((20, 30, 3)), tmp_path / "a.tif", options=SaveOptions(exif=PHOTOGRAPH))
    assert tiff_tags(tmp_path / "a.tif")["ImageDescription"] == "A street in Arles"
