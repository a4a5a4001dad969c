"""From any of Pillow's modes, with or without an ICC profile, to sRGB in [0, 1].

Every function takes an image that is loaded. Errors carry no path: `io.load_image` adds it.
"""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from nst_jax.images.bands import Bands, crop

GRAY_MODES = frozenset({"1", "L", "LA", "La"})


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
    if (
        image.format == "BMP"
        and mode.endswith("A")
        and image.getchannel("A").getextrema() == (0, 0)
    ):
        mode = "RGB"  # many programs leave the fourth byte 0, and mean nothing by it
    return image if image.mode == mode else image.convert(mode)


def to_srgb(image: Image.Image, profile: bytes | None) -> Bands:
    """Convert what `simplify` gives to sRGB, and lay it on white where it is transparent.

    Args:
        image: (H, W) of mode L, LA, RGB, RGBA, CMYK or LAB.
        profile: the file's ICC profile; a broken one, or one for another color space, is ignored.

    Returns:
        (H, W, 3) float32 in [0, 1]; with an alpha channel (H, W, 4), that last.
    """
    has_alpha = image.mode in ("LA", "RGBA")
    opaque = image.mode[:-1] if has_alpha else image.mode
    convert = _converter(opaque, profile)

    def of_rows(rows: slice) -> np.ndarray:
        band = crop(image, rows)
        if not has_alpha:
            return _unit(convert(band))
        return lay_on_white(_unit(convert(band.convert(opaque))), _unit(band.getchannel("A")))

    return Bands((image.height, image.width, 3 + has_alpha), of_rows)


def lay_on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colors (H, W, C) on white where alpha (H, W) is below 1; (H, W, C + 1), alpha last."""
    alpha = alpha[..., None]
    return np.concatenate([colors * alpha + (1 - alpha), alpha], axis=-1)


def take_off_white(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colors (H, W, 3) in [0, 1] that, so opaque and on white, look like the image.

    Where alpha (H, W) is 0, any would: white.
    """
    alpha = alpha[..., None]
    return np.where(alpha > 0, 1 - (1 - image) / np.where(alpha > 0, alpha, 1), 1).clip(0, 1)


def _converter(mode: str, profile: bytes | None) -> Callable[[Image.Image], Image.Image]:
    """What converts images of a mode without alpha to RGB, by a profile if that can be used."""
    if profile is not None and profile != srgb_profile():  # of our own files: pixels stay
        try:
            return _by_profile(mode, profile)
        except (OSError, ImageCms.PyCMSError):
            pass  # a wrong profile is no reason to refuse an image; viewers ignore it too
    return lambda image: image.convert("RGB")


def _by_profile(mode: str, profile: bytes) -> Callable[[Image.Image], Image.Image]:
    """Convert to sRGB: relative colorimetric with black point compensation.

    The perceptual intent is left to each profile's maker and may shift colors that sRGB holds;
    this keeps them, and maps white to white and black to black, as image editors do by default.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags, taken = ImageCms.Flags.BLACKPOINTCOMPENSATION, mode
    if mode == "L" and source.profile.xcolor_space.strip() == "RGB":
        taken = "RGB"
    elif mode == "L":
        flags |= ImageCms.Flags.NOOPTIMIZE  # lcms's 33-point table is 10/255 off in linear shadows
    transform = ImageCms.buildTransform(
        source,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        taken,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return lambda image: transform.apply(image if image.mode == taken else image.convert(taken))


def _unit(image: Image.Image) -> np.ndarray:
    """The 8-bit values as float32 in [0, 1]."""
    values = np.array(image, np.float32)
    values /= 255
    return values
