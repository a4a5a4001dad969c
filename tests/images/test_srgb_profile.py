"""The profile in every picture: well-formed, and truly sRGB.

littleCMS (ImageCms) opens it and computes with it; the numbers come from the standard, in NumPy.
"""

import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_jax.images.srgb_profile import SRGB_PROFILE

ROUNDING = 1 / 65536  # of the profile's fixed point
PRIMARIES_TOLERANCE = 3e-4  # HP's numbers of 1998 against Bradford's transform in float64
LEVEL = 1  # of 255, for two tables in littleCMS's fixed point
LAB_TOLERANCE = 1.0  # of L, a, b, which come in 8 bits: a and b in steps of 1, L of 100/255

D65, D50 = np.array([0.3127, 0.3290]), np.array([0.9642, 1.0, 0.8249])
CHROMATICITIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])  # IEC 61966-2-1, table 1
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def from_chromaticity(xy):
    x, y = np.moveaxis(np.asarray(xy), -1, 0)
    return np.stack([x / y, np.ones_like(x), (1 - x - y) / y], axis=-1)


def srgb_to_d50():
    """The matrix from linear sRGB to XYZ of D50, columns the primaries."""
    directions, white = from_chromaticity(CHROMATICITIES).T, from_chromaticity(D65)
    matrix = directions * np.linalg.solve(directions, white)
    gains = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD @ matrix


def linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def tags():
    """{signature: data}, by the table of ICC.1, section 6.2."""
    (count,) = struct.unpack_from(">I", SRGB_PROFILE, 128)
    entries = [struct.unpack_from(">4sII", SRGB_PROFILE, 132 + 12 * n) for n in range(count)]
    return {name: (at, SRGB_PROFILE[at : at + size]) for name, at, size in entries}


def opened():
    return ImageCms.ImageCmsProfile(io.BytesIO(SRGB_PROFILE))


def test_header():
    assert struct.unpack_from(">I", SRGB_PROFILE)[0] == len(SRGB_PROFILE)
    assert SRGB_PROFILE[8:12] == b"\x02\x10\0\0" and SRGB_PROFILE[36:40] == b"acsp"
    assert SRGB_PROFILE[12:24] == b"mntrRGB XYZ "
    illuminant = np.array(struct.unpack_from(">3i", SRGB_PROFILE, 68)) / 65536
    np.testing.assert_allclose(illuminant, D50, rtol=0, atol=ROUNDING)
    year, month, day, *time = struct.unpack_from(">6H", SRGB_PROFILE, 24)
    assert 1900 < year < 2100 and 1 <= month <= 12 and 1 <= day <= 31 and time == [0, 0, 0]


def test_every_tag_is_there_and_aligned():
    """Of ICC.1:2001-04, section 6.3.1.2: what a three-component matrix profile must have."""
    found = tags()
    wanted = {b"desc", b"cprt", b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"}
    assert set(found) == wanted
    assert all(at % 4 == 0 and at + len(data) <= len(SRGB_PROFILE) for at, data in found.values())
    assert {data[:4] for name, (_, data) in found.items() if name.endswith(b"TRC")} == {b"curv"}


def test_primaries_and_white():
    found = tags()
    stored = [struct.unpack(">8x3i", found[name][1]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    matrix = np.array(stored).T / 65536
    np.testing.assert_allclose(matrix, srgb_to_d50(), rtol=0, atol=PRIMARIES_TOLERANCE)
    white = np.array(struct.unpack(">8x3i", found[b"wtpt"][1])) / 65536
    np.testing.assert_allclose(white, D50, rtol=0, atol=ROUNDING)


def test_curve():
    data = tags()[b"gTRC"][1]
    (count,) = struct.unpack_from(">I", data, 8)
    points = np.array(struct.unpack_from(f">{count}H", data, 12)) / 65535
    expected = linear(np.linspace(0, 1, count))
    np.testing.assert_allclose(points, expected, rtol=0, atol=ROUNDING)


def test_always_the_same():
    """A checksum noted once: other bytes would make other files of the same picture."""
    assert hashlib.sha256(SRGB_PROFILE).hexdigest().startswith("95e0882a768215b9")


def test_littlecms_reads_it():
    profile = opened().profile
    assert profile.profile_description == "sRGB IEC61966-2.1"
    assert profile.xcolor_space.strip() == "RGB" and profile.version == pytest.approx(2.1)
    assert ImageCms.getProfileDescription(opened()).strip() == "sRGB IEC61966-2.1"


def test_colors_stay_what_they_are():
    """Converted to littleCMS's own sRGB, every colour is the same."""
    colors = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    colors[:16] = np.repeat(np.arange(256).reshape(16, 16), 4, axis=1)[..., None]  # all greys
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(Image.fromarray(colors), opened(), own, outputMode="RGB")
    difference = np.abs(np.asarray(converted).astype(int) - colors)
    assert difference.max() <= LEVEL


def test_colors_in_lab():
    """Against CIELAB computed from the standard's primaries and curve."""
    colors = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    flags = ImageCms.Flags.NOOPTIMIZE
    got = ImageCms.profileToProfile(
        Image.fromarray(colors), opened(), lab, outputMode="LAB", flags=flags
    )
    stored = np.asarray(got)
    values = np.stack([stored[..., 0] / 2.55, *np.moveaxis(stored[..., 1:].view(np.int8), -1, 0)])
    ratios = linear(colors / 255) @ srgb_to_d50().T / D50
    x, y, z = np.moveaxis(
        np.where(ratios > 216 / 24389, np.cbrt(ratios), ratios * 841 / 108 + 4 / 29), -1, 0
    )
    expected = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    np.testing.assert_allclose(values, expected, rtol=0, atol=LAB_TOLERANCE)
