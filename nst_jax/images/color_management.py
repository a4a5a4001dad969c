"""From any of Pillow's modes, with or without an ICC profile, to sRGB in [0, 1].

Every function takes an image that is loaded. Errors carry no path: `io.load_image` adds it.
"""

import io
import sys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from nst_jax.errors import ImageError

DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})  # one gray channel
GRAY_MODES = frozenset({"1", "L", "LA", "La"})

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF 6.0, section 8
WHITE_IS_ZERO = 0  # PHOTOMETRIC's value for inverted gray

# Pillow's names of 16-bit colors in a file, and of the same in the other byte order.
OTHER_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in ("BL", "LB", "NB" if sys.byteorder == "little" else "NL")
}


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB that our files carry, the same bytes every time.

    Version 2, which every program that manages colors reads; made of the primaries in HP's profile
    of 1998 and 1024 points of the curve in IEC 61966-2-1.
    """
    return Path(__file__).with_name("srgb.icc").read_bytes()


def simplify(image: Image.Image) -> Image.Image:
    """Give an 8-bit image a mode that resizes well: L, LA, RGB, RGBA, CMYK or LAB.

    Palettes and 1-bit images must not be resized as they are; transparency kept outside the
    pixels (PNG's tRNS, a GIF's transparent entry) becomes an alpha channel.
    """
    if image.mode in ("CMYK", "LAB"):
        return image
    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def to_srgb(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Convert what `simplify` gives to sRGB, and lay it on white where it is transparent.

    Args:
        image: of mode L, LA, RGB, RGBA, CMYK or LAB.
        profile: the file's ICC profile; a broken one, or one for another color space, is ignored.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    if image.mode not in ("LA", "RGBA"):
        return _unit(_to_rgb(image, profile))
    colors = _unit(_to_rgb(image.convert(image.mode[:-1]), profile))
    return _on_white(colors, _unit(image.getchannel("A"))[..., None])


def read_deep(image: ImageFile, profile: bytes | None) -> np.ndarray | None:
    """Read an image of more than 8 bits at its full depth, on white where it is transparent.

    Colors with a profile that changes them are no such image: littleCMS gets 8 bits from Pillow.

    Args:
        image: from a file, of any mode.
        profile: the file's ICC profile.

    Returns:
        (H, W, 1) or (H, W, 3) float32 in [0, 1]; None if the image has 8 bits at most.

    Raises:
        ImageError: values are out of range or not finite.
    """
    if image.mode in DEEP_MODES:
        return _deep_gray(image, profile)[..., None]
    low = _lower_bytes(image, profile)
    if low is None:
        return None
    colors = np.array(image, np.float32)
    colors *= 256
    colors += np.asarray(low)
    colors /= 65535
    return colors if image.mode == "RGB" else _on_white(colors[..., :3], colors[..., 3:])


def _lower_bytes(image: ImageFile, profile: bytes | None) -> Image.Image | None:
    """The lower bytes of an image in 16-bit sRGB, with alpha or without; None if it is none.

    Of every two bytes Pillow decodes the upper one, so the file is decoded once more as if it were
    in the other byte order. (tifffile alone reads no LZW.)
    """
    if image.format not in ("PNG", "TIFF") or "transparency" in image.info:
        return None
    with Image.open(image.filename, formats=[image.format]) as again:
        for number, tile in enumerate(again.tile):
            mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
            if mode not in OTHER_ORDER:
                return None
            again.tile[number] = tile._replace(args=(OTHER_ORDER[mode], *rest))
        if not _is_srgb(profile):
            return None
        again.load()
        return again


def _is_srgb(profile: bytes | None) -> bool:
    """Whether the profile leaves colors as they are, to a level of 8 bits."""
    colors = (15 * np.indices((18, 18, 18)).T.reshape(1, -1, 3)).astype(np.uint8)
    return bool(np.abs(to_srgb(Image.fromarray(colors), profile) * 255 - colors).max() < 1.5)


def _deep_gray(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Read a gray image of one of `DEEP_MODES`: (H, W) float32.

    Floats count as sRGB values in [0, 1], 32-bit integers as 16-bit ones. With a profile the
    values follow its curve, known at 256 points and interpolated between them. White is where a
    PNG names the value transparent.
    """
    gray, tags = np.asarray(image).astype(np.float32), getattr(image, "tag_v2", {})
    white = 1.0 if image.mode == "F" else 65535.0
    if image.mode.startswith("I;16"):  # a TIFF may hold 12 bits in 16
        white = 2.0 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    low, high = gray.min(), gray.max()
    if not (low >= 0 and high <= white):  # not the other way round: NaN must fail
        raise ImageError(
            f"has gray values from {low:g} to {high:g} where 0 to {white:g} is wanted; "
            "rescale it, or save it with 8 or 16 bits"
        )
    transparent = gray == image.info.get("transparency", -1)
    gray /= white
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts only 8 bits
        gray = 1 - gray
    if profile is not None:
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        gray = np.interp(gray, np.linspace(0, 1, 256), to_srgb(ramp, profile)[0, :, 1])
    gray[transparent] = 1
    return gray.astype(np.float32, copy=False)


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image without alpha to RGB, by its profile if that can be used."""
    if profile is not None and profile != srgb_profile():  # of our own files: pixels stay
        try:
            return _apply_profile(image, profile)
        except (OSError, ImageCms.PyCMSError):
            pass  # a wrong profile is no reason to refuse an image; viewers ignore it too
    return image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB: relative colorimetric with black point compensation.

    The perceptual intent is left to each profile's maker and may shift colors that sRGB holds;
    this keeps them, and maps white to white and black to black, as image editors do by default.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if image.mode == "L" and source.profile.xcolor_space.strip() == "RGB":
        image = image.convert("RGB")
    elif image.mode == "L":
        flags |= ImageCms.Flags.NOOPTIMIZE  # lcms's 33-point table is 10/255 off in linear shadows
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=flags,
    )
    assert converted is not None  # None is for inPlace=True only
    return converted


def _on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay (H, W, 3) on white where (H, W, 1) is below 1."""
    return colors * alpha + (1 - alpha)


def _unit(image: Image.Image) -> np.ndarray:
    """The 8-bit values as float32 in [0, 1]."""
    values = np.array(image, np.float32)
    values /= 255
    return values
