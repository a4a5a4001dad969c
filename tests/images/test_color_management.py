"""Every mode and profile that a file may have, read with `load_image` and compared with NumPy.

The color references are float64: matrices and curves of the ICC and sRGB specifications. PNGs and
profiles that Pillow cannot make are written here byte by byte.
"""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from nst_jax.errors import ImageError
from nst_jax.images.color_management import srgb_profile
from nst_jax.images.io import load_image

EXACT = 1e-6  # float32 rounding of n / 255
ONE_STEP = 1.01 / 255  # one rounding to 8 bits
ICC_TOLERANCE = 1.51 / 255  # lcms computes 8-bit images in 1.14 fixed point and rounds once
LAB_TOLERANCE = 1.0  # of L, a, b in 8 bits: a and b in steps of 1, L of 100 / 255
JPEG_TOLERANCE = 3 / 255  # flat colors at quality 100

# Columns are the D50-adapted XYZ of red, green, blue (Lindbloom, RGB/XYZ matrices).
SRGB_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
ADOBE_TO_XYZ = np.array(
    [
        [0.6097559, 0.2052401, 0.1492240],
        [0.3111242, 0.6256560, 0.0632197],
        [0.0194811, 0.0608902, 0.7448387],
    ]
)
D50 = (0.9642, 1.0, 0.8249)


def random_bytes(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def gray3(values):
    return np.repeat(np.asarray(values, np.float64)[..., None], 3, axis=-1)


def on_white(colors, alpha):
    return colors * alpha[..., None] + (1 - alpha[..., None])


def encode_srgb(linear):
    """IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def lab_to_srgb(lab):
    """CIE 1976 L*a*b* with a D50 white to sRGB."""
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return encode_srgb(xyz @ np.linalg.inv(SRGB_TO_XYZ).T)


def png(width, height, depth, color_type, rows, *chunks):
    """A PNG of packed rows (bytes each), with chunks (name, data) before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def deep_png(values, color_type, *chunks):
    """A 16-bit PNG of (H, W) or (H, W, C) integers."""
    rows = [row.astype(">u2").tobytes() for row in values]
    return png(values.shape[1], values.shape[0], 16, color_type, rows, *chunks)


def profile(kind, space, tags):
    """An ICC version 2 profile (ICC.1:2001-04): header, tag table, tags."""
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    pcs = b"Lab " if b"A2B0" in tags else b"XYZ "
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x", offset + len(body), 0x02100000, kind, space, pcs, b"acsp"
    )
    header += struct.pack(">3i", *(round(x * 65536) for x in D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz_tag(xyz):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(x * 65536) for x in xyz))


def gamma_tag(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(matrix, gamma):
    tags = {b"wtpt": xyz_tag(D50)}
    for name, xyz in zip("rgb", matrix.T, strict=True):
        tags[f"{name}XYZ".encode()] = xyz_tag(xyz)
        tags[f"{name}TRC".encode()] = gamma_tag(gamma)
    return profile(b"mntr", b"RGB ", tags)


def gray_profile(gamma):
    return profile(b"mntr", b"GRAY", {b"wtpt": xyz_tag(D50), b"kTRC": gamma_tag(gamma)})


def cmyk_profile(corners):
    """A CMYK profile whose 2x2x2x2 table gives (16, 3) Lab; black ink is the last bit."""
    lab8 = np.asarray(corners) * (255 / 100, 1, 1) + (0, 128, 128)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    table = np.rint(lab8).astype(np.uint8).tobytes()
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    return profile(b"prtr", b"CMYK", {b"wtpt": xyz_tag(D50), b"A2B0": lut})


def read(tmp_path, image, name="image.png", **options):
    """Save a Pillow image (or bytes) and read it with the library."""
    path = tmp_path / name
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        image.save(path, **options)
    loaded = load_image(path)
    assert loaded.dtype == np.float32 and loaded.flags.c_contiguous
    return loaded


def check(loaded, expected, tolerance=EXACT):
    assert loaded.shape == expected.shape
    np.testing.assert_allclose(loaded, expected, rtol=0, atol=tolerance)


LOSSLESS = [
    ("a.png", {}),
    ("a.tif", {}),
    ("a.webp", {"lossless": True}),
    ("a.bmp", {}),
    ("a.ppm", {}),
]


@pytest.mark.parametrize(("name", "options"), LOSSLESS)
def test_rgb(tmp_path, name, options):
    pixels = random_bytes(17, 33, 3)
    check(read(tmp_path, Image.fromarray(pixels), name, **options), pixels / 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif", "a.pgm"])
def test_gray(tmp_path, name):
    pixels = random_bytes(17, 33)
    check(read(tmp_path, Image.fromarray(pixels), name), gray3(pixels / 255))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pbm"])
def test_one_bit(tmp_path, name):
    bits = random_bytes(17, 33) > 127
    check(read(tmp_path, Image.fromarray(bits), name), gray3(bits))


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif"])
def test_palette(tmp_path, name):
    colors, indices = random_bytes(256, 3), random_bytes(17, 33, seed=1)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.tobytes())
    check(read(tmp_path, image, name), colors[indices] / 255)


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 2))])
def test_palette_with_transparency(tmp_path, transparency):
    colors, indices = random_bytes(256, 3), random_bytes(17, 33, seed=1)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.tobytes())
    alphas = np.full(256, 255)
    if isinstance(transparency, bytes):
        alphas[: len(transparency)] = list(transparency)
    else:
        alphas[transparency] = 0
    expected = on_white(colors[indices] / 255, alphas[indices] / 255)
    check(read(tmp_path, image, transparency=transparency), expected)


@pytest.mark.parametrize(
    ("pixels", "key"),
    [(random_bytes(17, 33) // 16, 7), (random_bytes(17, 33, 3) // 128, (1, 0, 1))],
    ids=["gray", "rgb"],
)
def test_one_transparent_color(tmp_path, pixels, key):
    colors = pixels / 255 if pixels.ndim == 3 else gray3(pixels / 255)
    hidden = (pixels == key).reshape(17, 33, -1).all(axis=-1)
    assert hidden.any()
    check(
        read(tmp_path, Image.fromarray(pixels), transparency=key),
        on_white(colors, 1 - 1.0 * hidden),
    )


@pytest.mark.parametrize(("name", "options"), [LOSSLESS[0], LOSSLESS[1], LOSSLESS[2]])
def test_rgba_is_laid_on_white(tmp_path, name, options):
    pixels = random_bytes(17, 33, 4)
    pixels[:4, :, 3] = 0
    expected = on_white(pixels[..., :3] / 255, pixels[..., 3] / 255)
    if name == "a.webp":
        options = {**options, "exact": True}
    check(read(tmp_path, Image.fromarray(pixels), name, **options), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_gray_with_alpha(tmp_path, name):
    pixels = random_bytes(17, 33, 2)
    expected = on_white(gray3(pixels[..., 0] / 255), pixels[..., 1] / 255)
    check(read(tmp_path, Image.frombytes("LA", (33, 17), pixels.tobytes()), name), expected)


def test_hidden_colors_do_not_bleed_when_resized(tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, 20:, 0] = 255  # red, and wholly transparent
    pixels[:, :20, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png", 23)
    np.testing.assert_allclose(loaded[..., 0], loaded[..., 1], rtol=0, atol=ONE_STEP)


def deep_colors(channels, *shape):
    return np.random.default_rng(0).integers(0, 65536, (*(shape or (17, 33)), channels))


def check_deep(loaded, values):
    """The image keeps all of its 16 bits."""
    colors = values[..., :3] / 65535
    if values.shape[-1] == 4:
        colors = on_white(colors, values[..., 3] / 65535)
    check(loaded, colors)


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_color_png(tmp_path, channels):
    values = deep_colors(channels)
    check_deep(read(tmp_path, deep_png(values, {3: 2, 4: 6}[channels])), values)


LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "predictor": {"compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_deep_color_tiff(tmp_path, layout, channels, order):
    values = deep_colors(channels).astype(np.uint16)
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb",
        byteorder=order,
        metadata=None,
        **LAYOUTS[layout],
        **extra,
    )
    check_deep(load_image(tmp_path / "a.tif"), values)


def test_deep_color_tiff_with_lzw(tmp_path):
    """A strip of Lempel-Ziv-Welch codes of nine bits, packed here: clear, bytes, …, end."""
    values = deep_colors(3)
    codes, since = [256], 0
    for byte in values.astype("<u2").tobytes():
        codes.append(byte)
        since += 1
        if since == 250:  # before codes of ten bits
            codes, since = [*codes, 256], 0
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    pixels = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    tags = {256: 33, 257: 17, 258: 8 + len(pixels), 259: 5, 262: 2, 273: 8, 277: 3, 278: 17}
    tags[279] = len(pixels)
    data = b"II*\0" + struct.pack("<I", 14 + len(pixels)) + pixels + struct.pack("<3H", 16, 16, 16)
    data += struct.pack("<H", len(tags))
    for tag, value in tags.items():
        kind, count = (3, 3) if tag == 258 else (4, 1)
        data += struct.pack("<HHII", tag, kind, count, value)
    check_deep(read(tmp_path, data + bytes(4), "a.tif"), values)


@pytest.mark.parametrize("layout", ["associated", "mono"])
def test_other_deep_tiffs_are_read_as_pillow_can(tmp_path, layout):
    """Gray with alpha of 16 bits is not."""
    values = deep_colors(4 if layout == "associated" else 2).astype(np.uint16)
    if layout == "associated":
        values[..., :3] = values[..., :3] * (values[..., 3:] / 65535)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["assocalpha"])
        expected = values[..., :3] / 65535 + 1 - values[..., 3:] / 65535
        check(load_image(tmp_path / "a.tif"), expected, 2 / 65535)
    else:
        tifffile.imwrite(
            tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig"
        )
        with pytest.raises(ImageError, match="no image in a known format"):
            load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [None, 31])
def test_deep_color_is_resized_in_floats_and_upright(tmp_path, orientation, size):
    values = np.full((40, 60, 3), 30001, np.uint16)
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=tags)
    shape = (40, 60) if size is None else (21, 31)
    expected = np.full((*shape[:: 1 if orientation == 1 else -1], 3), 30001 / 65535)
    check(load_image(tmp_path / "a.tif", size), expected)


def test_deep_color_with_a_transparent_color(tmp_path):
    values = deep_colors(3)
    chunk = (b"tRNS", struct.pack(">3H", *values[2, 3]))
    expected = values / 65535
    expected[2, 3] = 1
    check(read(tmp_path, deep_png(values, 2, chunk)), expected)


def icc_chunk(data):
    return b"iCCP", b"a\0\0" + zlib.compress(data)


def test_deep_color_with_a_profile(tmp_path):
    """One that is sRGB's, if not our own, or is useless, costs no bits; others are applied in 8."""
    values = deep_colors(3)
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (srgb_profile(), other, b"not a profile"):
        check_deep(read(tmp_path, deep_png(values, 2, icc_chunk(data))), values)
    matrix, gamma = PROFILES["adobe"]
    loaded = read(tmp_path, deep_png(values, 2, icc_chunk(rgb_profile(matrix, gamma))))
    check(loaded, convert(values / 65535, matrix, gamma), 6 / 255)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_deep_color_cut_short(tmp_path, kind):
    values = deep_colors(3, 64, 64)
    data = deep_png(values, 2)
    if kind == "tif":
        tifffile.imwrite(tmp_path / "whole.tif", values.astype(np.uint16), photometric="rgb")
        data = (tmp_path / "whole.tif").read_bytes()
    with pytest.raises(ImageError, match="is damaged or incomplete"):
        read(tmp_path, data[: len(data) // 2], f"a.{kind}")


def test_deep_gray_png_with_alpha(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (17, 33, 2))
    expected = on_white(gray3(values[..., 0] / 65535), values[..., 1] / 65535)
    check(read(tmp_path, deep_png(values, 4)), expected)
    matrix_free = icc_chunk(gray_profile(1.8))
    seen = on_white(gray3(encode_srgb((values[..., 0] / 65535) ** 1.8)), values[..., 1] / 65535)
    check(read(tmp_path, deep_png(values, 4, matrix_free)), seen, 2 * ICC_TOLERANCE)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_deep_gray_keeps_its_depth(tmp_path, name):
    values = np.random.default_rng(0).integers(0, 65536, (17, 33)).astype(np.uint16)
    image = Image.fromarray(values.astype(np.int32) if name == "a.pgm" else values)
    check(read(tmp_path, image, name), gray3(values / 65535))


def test_deep_gray_big_endian_tiff(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (17, 33)).astype(">u2")
    image = Image.frombytes("I;16B", (33, 17), values.tobytes())
    check(read(tmp_path, image, "a.tif"), gray3(values / 65535))


def test_deep_gray_is_resized_in_floats(tmp_path):
    Image.fromarray(np.full((40, 60), 30001, np.uint16)).save(tmp_path / "a.png")
    check(load_image(tmp_path / "a.png", 31), np.full((21, 31, 3), 30001 / 65535))


def test_deep_gray_with_a_transparent_value(tmp_path):
    values = np.full((17, 33), 700)
    values[:, 5] = 701
    expected = np.full((17, 33, 3), 700 / 65535)
    expected[:, 5] = 1
    check(read(tmp_path, deep_png(values, 0, (b"tRNS", struct.pack(">H", 701)))), expected)


def test_deep_gray_tiff_where_white_is_zero(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (17, 33)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "black.tif")
    photometric = struct.pack("<HHIH", 262, 3, 1, 1)
    data = (tmp_path / "black.tif").read_bytes()
    assert data.count(photometric) == 1
    inverted = data.replace(photometric, photometric[:-2] + b"\0\0")
    check(read(tmp_path, inverted, "white.tif"), gray3(1 - values / 65535))


def test_twelve_bit_tiff(tmp_path):
    """Two values in three bytes; only the nine tags that TIFF 6.0 asks of a gray image."""
    values = np.random.default_rng(0).integers(0, 4096, (16, 32))
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    pixels = packed.astype(np.uint8).tobytes()
    tags = {256: 32, 257: 16, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
    data += struct.pack("<H", len(tags)) + entries + bytes(4)
    check(read(tmp_path, data, "a.tif"), gray3(values / 4095))


def test_integer_tiff_counts_as_16_bit(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (17, 33)).astype(np.int32)
    check(read(tmp_path, Image.fromarray(values), "a.tif"), gray3(values / 65535))


def test_float_tiff(tmp_path):
    values = np.random.default_rng(0).random((17, 33), np.float32)
    check(read(tmp_path, Image.fromarray(values), "a.tif"), gray3(values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([-1, 70000], np.int32), "from -1 to 70000 where 0 to 65535"),
        (np.array([0, 1.5], np.float32), "from 0 to 1.5 where 0 to 1 is wanted; rescale"),
        (np.array([-0.1, 1], np.float32), "from -0.1 to 1"),
        (np.array([0, np.nan], np.float32), "nan"),
        (np.array([0, np.inf], np.float32), "inf"),
    ],
)
def test_gray_out_of_range_is_refused(tmp_path, values, words):
    Image.fromarray(np.tile(values, (20, 10))).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a\.tif: has gray values .*{words}"):
        load_image(tmp_path / "a.tif")


def test_cmyk_without_profile(tmp_path):
    inks = random_bytes(17, 33, 4)
    expected = (1 - inks[..., :3] / 255) * (1 - inks[..., 3:] / 255)
    check(
        read(tmp_path, Image.frombytes("CMYK", (33, 17), inks.tobytes()), "a.tif"),
        expected,
        ONE_STEP,
    )


@pytest.mark.parametrize("inks", [(0, 0, 0, 0), (255, 0, 0, 0), (20, 180, 90, 40), (0, 0, 0, 255)])
def test_cmyk_jpeg_is_not_inverted(tmp_path, inks):
    """Adobe's (and Pillow's) CMYK JPEGs store 255 minus the ink."""
    expected = np.full((17, 33, 3), (1 - np.array(inks[:3]) / 255) * (1 - inks[3] / 255))
    loaded = read(tmp_path, Image.new("CMYK", (33, 17), inks), "a.jpg", quality=100)
    check(loaded, expected, JPEG_TOLERANCE)


def test_cmyk_with_profile(tmp_path):
    bits = np.array([[i >> 3 & 1, i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(16)])
    lab = np.where(
        bits[:, 3:], 0, [[90, 0, 0]] - bits[:, :3] @ [[20, 8, 5], [25, -9, 3], [10, 1, -9]]
    )
    lab[0] = 100, 0, 0
    inks = np.repeat(bits * 255, 20, axis=0).astype(np.uint8).reshape(16, 20, 4)
    image = Image.frombytes("CMYK", (20, 16), inks.tobytes())
    expected = np.repeat(lab_to_srgb(lab), 20, axis=0).reshape(16, 20, 3)
    with_profile = read(tmp_path, image, "a.tif", icc_profile=cmyk_profile(lab))
    check(with_profile, expected, 3 / 255)  # the table itself holds L in steps of 100 / 255


def test_lab_tiff(tmp_path):
    lab = np.random.default_rng(0).uniform((50, -15, -15), (80, 15, 15), (17, 33, 3))
    stored = np.rint(lab * (255 / 100, 1, 1)).astype(np.int64)
    image = Image.frombytes("LAB", (33, 17), stored.astype(np.uint8).tobytes())  # a, b signed
    expected = lab_to_srgb(stored / (255 / 100, 1, 1))
    check(read(tmp_path, image, "a.tif"), expected, 2 / 255)


PROFILES = {
    "linear": (SRGB_TO_XYZ, 1.0),
    "swapped": (SRGB_TO_XYZ[:, [1, 2, 0]], 2.2),
    "adobe": (ADOBE_TO_XYZ, 563 / 256),
}


def convert(colors, matrix, gamma):
    """What a matrix profile means: linear, to XYZ, to linear sRGB, clipped, encoded."""
    gamma = round(gamma * 256) / 256
    return encode_srgb(colors**gamma @ matrix.T @ np.linalg.inv(SRGB_TO_XYZ).T)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("which", PROFILES)
def test_rgb_profile(tmp_path, which, name):
    matrix, gamma = PROFILES[which]
    pixels = random_bytes(17, 33, 3)
    options = {"lossless": True} if name == "a.webp" else {}
    options["icc_profile"] = rgb_profile(matrix, gamma)
    loaded = read(tmp_path, Image.fromarray(pixels), name, **options)
    check(loaded, convert(pixels / 255, matrix, gamma), ICC_TOLERANCE)


def test_jpeg_profile(tmp_path):
    matrix, gamma = PROFILES["swapped"]
    image = Image.new("RGB", (33, 17), (200, 100, 40))
    loaded = read(tmp_path, image, "a.jpg", quality=100, icc_profile=rgb_profile(matrix, gamma))
    expected = convert(np.full((17, 33, 3), [200, 100, 40]) / 255, matrix, gamma)
    check(loaded, expected, JPEG_TOLERANCE)


def test_profile_leaves_alpha_alone_and_the_paper_white(tmp_path):
    matrix, gamma = PROFILES["adobe"]
    pixels = random_bytes(17, 33, 4)
    loaded = read(tmp_path, Image.fromarray(pixels), icc_profile=rgb_profile(matrix, gamma))
    colors = convert(pixels[..., :3] / 255, matrix, gamma)
    check(loaded, on_white(colors, pixels[..., 3] / 255), ICC_TOLERANCE)


def test_palette_with_profile(tmp_path):
    matrix, gamma = PROFILES["swapped"]
    colors, indices = random_bytes(256, 3), random_bytes(17, 33, seed=1)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.tobytes())
    loaded = read(tmp_path, image, icc_profile=rgb_profile(matrix, gamma))
    check(loaded, convert(colors[indices] / 255, matrix, gamma), ICC_TOLERANCE)


@pytest.mark.parametrize("make", [gray_profile, lambda gamma: rgb_profile(SRGB_TO_XYZ, gamma)])
def test_gray_with_gray_or_rgb_profile(tmp_path, make):
    pixels = random_bytes(17, 33)
    loaded = read(tmp_path, Image.fromarray(pixels), icc_profile=make(1.0))
    check(loaded, gray3(encode_srgb(pixels / 255)), ICC_TOLERANCE)


def test_deep_gray_with_profile(tmp_path):
    values = np.random.default_rng(0).integers(4096, 65536, (17, 33)).astype(np.uint16)
    loaded = read(tmp_path, Image.fromarray(values), icc_profile=gray_profile(1.0))
    check(loaded, gray3(encode_srgb(values / 65535)), ICC_TOLERANCE)
    assert len(np.unique(loaded)) > 256


@pytest.mark.parametrize(
    "data",
    [b"", b"not a profile", rgb_profile(SRGB_TO_XYZ, 1.0)[:200], gray_profile(1.0), bytes(3000)],
    ids=["empty", "text", "cut", "of gray", "zeros"],
)
def test_useless_profile_is_ignored(tmp_path, data):
    pixels = random_bytes(17, 33, 3)
    check(read(tmp_path, Image.fromarray(pixels), "a.tif", icc_profile=data), pixels / 255)


def test_our_profile_is_srgb():
    """To littleCMS, and by the standard: Lab values from its primaries and its curve."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert profile.profile.profile_description == "sRGB IEC61966-2.1"
    colors = random_bytes(64, 64, 3)
    colors[:16] = np.repeat(np.arange(256).reshape(16, 16), 4, axis=1)[..., None]  # all grays
    own = ImageCms.createProfile("sRGB")
    same = ImageCms.profileToProfile(Image.fromarray(colors), profile, own, outputMode="RGB")
    assert np.abs(np.asarray(same).astype(int) - colors).max() <= 1
    flags = ImageCms.Flags.NOOPTIMIZE
    lab = ImageCms.profileToProfile(
        Image.fromarray(colors),
        profile,
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
        flags=flags,
    )
    stored = np.asarray(lab)
    values = np.concatenate([stored[..., :1] / 2.55, stored[..., 1:].view(np.int8)], axis=-1)
    unit = colors / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    ratios = linear @ SRGB_TO_XYZ.T / D50
    curved = np.where(ratios > 216 / 24389, np.cbrt(ratios), ratios * 841 / 108 + 4 / 29)
    x, y, z = np.moveaxis(curved, -1, 0)
    expected = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    np.testing.assert_allclose(values, expected, rtol=0, atol=LAB_TOLERANCE)
