"""What an image may be given as, transparency, and Pillow's limits lifted."""

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from test_color_management import deep_png, png

from nst_jax import ImageError, load_image, read_exif
from nst_jax.images import io as images
from nst_jax.images import opening, resize
from nst_jax.images.io import load_text, load_with_alpha

HALF_STEP = 0.5 / 255 + 1e-6


def random_bytes(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


class Elsewhere:
    """A path that is no `pathlib.Path`."""

    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return str(self._path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "deep.png", "deep.tif", "exif.jpg"])
@pytest.mark.parametrize("size", [None, 31])
def test_given_as_anything(tmp_path, name, size):
    path = tmp_path / name
    if name == "deep.png":
        path.write_bytes(deep_png(np.random.default_rng(0).integers(0, 65536, (40, 60, 3)), 2))
    elif name == "deep.tif":
        images.save_image(
            np.random.default_rng(0).random((40, 60, 3)), path, options=images.SaveOptions(16)
        )
    else:
        exif = Image.Exif()
        exif[resize.ORIENTATION] = 6 if name == "exif.jpg" else 1
        Image.fromarray(random_bytes(40, 60, 3)).save(path, exif=exif)
    expected = load_image(path, size)
    content = path.read_bytes()
    with open(path, "rb") as file:
        for given in (str(path), Elsewhere(path), content, file, io.BytesIO(content)):
            np.testing.assert_array_equal(load_image(given, size), expected)
    if not name.startswith("deep"):  # Pillow has decoded those to 8 bits
        with Image.open(path) as image:
            before = image.size
            tolerance = 0 if size is None else 2 / 255  # a JPEG may have been decoded smaller
            np.testing.assert_allclose(load_image(image, size), expected, rtol=0, atol=tolerance)
            assert image.size == before and image.load() is not None


def test_what_errors_call_it(tmp_path):
    (tmp_path / "a.png").write_bytes(b"letter")
    with open(tmp_path / "a.png", "rb") as file, pytest.raises(ImageError, match=r"a\.png: is no"):
        load_image(file)
    with open(tmp_path / "a.png") as text, pytest.raises(ImageError, match="mode 'rb'"):
        load_image(text)
    for nothing in (b"", io.BytesIO()):
        with pytest.raises(ImageError, match="image in memory: is empty"):
            load_image(nothing)
    with pytest.raises(ImageError, match="image in memory: has 3 x 3 pixels"):
        load_image(Image.new("RGB", (3, 3)))
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ImageError, match="cannot be read .*closed"):
        load_image(closed)


@pytest.mark.parametrize("size", [None, 24])
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "deep.png", "gray.png"])
def test_alpha(tmp_path, name, size):
    pixels = random_bytes(30, 40, 4)
    pixels[:10, :, 3], pixels[10:20, :, 3] = 0, 255
    if name == "deep.png":
        (tmp_path / name).write_bytes(deep_png(pixels.astype(int) * 257, 6))
    elif name == "gray.png":
        Image.fromarray(pixels).convert("LA").save(tmp_path / name)
    else:
        Image.fromarray(pixels).save(tmp_path / name, lossless=True, exact=True)
    colors, alpha = load_with_alpha(tmp_path / name, size)
    np.testing.assert_array_equal(load_image(tmp_path / name, size), colors)
    expected = resize.resize(pixels[..., 3:] / 255, colors.shape[:2])[..., 0]
    np.testing.assert_allclose(alpha, expected, rtol=0, atol=2 * HALF_STEP)
    assert alpha.dtype == colors.dtype == np.float32 and np.all(colors[alpha == 0] == 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "I;16"])
def test_opaque_images_have_no_alpha(tmp_path, mode):
    Image.new(mode, (20, 20), (9, 9, 9, 255)[: len(Image.new(mode, (1, 1)).getbands())]).save(
        tmp_path / "a.tif"
    ) if mode != "I;16" else Image.new(mode, (20, 20), 700).save(tmp_path / "a.tif")
    assert load_with_alpha(tmp_path / "a.tif")[1] is None


def test_a_transparent_entry_or_color_is_alpha(tmp_path):
    values = np.full((20, 20), 700)
    values[:, 5] = 701
    gray = deep_png(values, 0, (b"tRNS", struct.pack(">H", 701)))
    palette = png(
        20, 20, 8, 3, [bytes([0, 1] * 10)] * 20, (b"PLTE", bytes(6)), (b"tRNS", b"\xff\0")
    )
    assert np.all(load_with_alpha(gray)[1] == (values == 700))
    assert np.all(load_with_alpha(palette)[1] == [1, 0] * 10)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.gif"])
def test_transparent_throughout_is_told(tmp_path, name):
    image = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    image.save(tmp_path / name, **({"exact": True} if name == "a.webp" else {}))
    with pytest.raises(ImageError, match="is transparent throughout; show a layer"):
        load_image(tmp_path / name)


def bitmap(alpha):
    """A BMP of 20×20 red pixels in 32 bits, with a mask of its fourth byte (BITMAPV4HEADER)."""
    header = struct.pack("<IiiHHIIiiII", 108, 20, 20, 1, 32, 3, 1600, 0, 0, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    pixels = bytes([0, 0, 255, alpha]) * 400
    return b"BM" + struct.pack("<IHHI", 122 + 1600, 0, 0, 122) + header + pixels


def test_a_bmp_whose_alpha_is_all_zeros_is_opaque():
    colors, alpha = load_with_alpha(bitmap(0))
    assert alpha is None and np.all(colors == [1, 0, 0])
    colors, alpha = load_with_alpha(bitmap(51))
    assert alpha == pytest.approx(0.2) and colors[0, 0] == pytest.approx([1, 0.8, 0.8])


def text_chunk(kind, size):
    body = b"x" * size
    parts = {
        "iTXt": b"XML:com.adobe.xmp" + bytes(5) + body,
        "zTXt": b"note\0\0" + zlib.compress(body),
        "tEXt": b"note\0" + body,
        "iCCP": b"ICC\0\0" + zlib.compress(body),
    }
    return kind.encode(), parts[kind]


@pytest.mark.parametrize("kind", ["iTXt", "zTXt", "tEXt", "iCCP"])
def test_a_png_with_megabytes_of_metadata(kind):
    pixels = random_bytes(20, 30, 3)
    data = png(30, 20, 8, 2, [row.tobytes() for row in pixels], text_chunk(kind, 3 * 2**20))
    np.testing.assert_allclose(load_image(data), pixels / 255, rtol=0, atol=HALF_STEP)
    assert read_exif(data) is None
    if kind != "iCCP":
        assert len(*load_text(data).values()) == 3 * 2**20


def test_more_than_that_is_refused(monkeypatch):
    """A few bytes may unpack to any number; they are not kept."""
    monkeypatch.setattr(opening, "LIFTED", ((PngImagePlugin, "MAX_TEXT_CHUNK", 10_000),))
    data = png(20, 20, 8, 0, [bytes(20)] * 20, text_chunk("zTXt", 2**20))
    with pytest.raises(ImageError, match="MB of text or profile; save it without metadata"):
        load_image(data)


def test_pillow_s_limits_are_put_back():
    """Whoever reads last, in whichever thread."""
    data = png(20, 20, 8, 0, [bytes(20)] * 20)
    before = [getattr(module, name) for module, name, _ in opening.LIFTED]
    entered, leave = threading.Event(), threading.Event()

    def read_slowly():
        with opening.opened(data):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=read_slowly)
    thread.start()
    assert entered.wait(10)
    load_image(data)
    assert Image.MAX_IMAGE_PIXELS is None
    leave.set()
    thread.join()
    assert [getattr(module, name) for module, name, _ in opening.LIFTED] == before
    with pytest.raises(ImageError):
        load_image(b"letter")
    assert [getattr(module, name) for module, name, _ in opening.LIFTED] == before


@pytest.fixture
def small_limit(monkeypatch):
    """Images of more than 5000 pixels are too large."""
    for module in (resize, images):
        monkeypatch.setattr(module, "MAX_PIXELS", 5000)


def large_jpeg(**options):
    y, x = np.mgrid[:120, :160] / 160
    pixels = np.rint(np.stack([x, y, x * y], axis=-1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue(), pixels / 255


def test_jpegs_are_limited_by_what_is_decoded(small_limit):
    """19200 pixels; at a long side of 40 one in sixteen is decoded, at 80 one in four."""
    data, pixels = large_jpeg()
    for size in (40, 80):
        expected = resize.resize(pixels, resize.fit_size(120, 160, size))
        np.testing.assert_allclose(load_image(data, size), expected, rtol=0, atol=6 / 255)
    for size in (None, 81):
        with pytest.raises(ImageError, match="megapixels, over the limit"):
            load_image(data, size)
    assert images.long_side(io.BytesIO(data)) == 160


def test_progressive_jpegs_take_memory_at_any_size(small_limit):
    with pytest.raises(ImageError, match="over the limit"):
        load_image(large_jpeg(progressive=True)[0], 40)


def test_other_formats_are_limited_by_the_header(small_limit):
    with pytest.raises(ImageError, match="over the limit"):
        load_image(png(160, 120, 8, 0, [bytes(160)] * 120), 40)


def test_a_path_of_any_kind(tmp_path):
    with pytest.raises(ImageError, match="there is no such file"):
        load_image(Elsewhere(Path(tmp_path) / "none.png"))
