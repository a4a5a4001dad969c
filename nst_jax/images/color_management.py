"""From any of Pillow's modes, with or without an ICC profile, to sRGB in [0, 1].

Every function takes an image that is loaded. Errors carry no path: `io.load_image` adds it.
"""

import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

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
    if (
        image.format == "BMP"
        and mode.endswith("A")
        and image.getchannel("A").getextrema() == (0, 0)
    ):
        mode = "RGB"  # many programs leave the fourth byte 0, and mean nothing by it
    return image if image.mode == mode else image.convert(mode)


def to_srgb(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """Convert what `simplify` gives to sRGB, and lay it on white where it is transparent.

    Args:
        image: of mode L, LA, RGB, RGBA, CMYK or LAB.
        profile: the file's ICC profile; a broken one, or one for another color space, is ignored.

    Returns:
        (H, W, 3) float32 in [0, 1]; with an alpha channel (H, W, 4), that last.
    """
    if image.mode not in ("LA", "RGBA"):
        return _unit(_to_rgb(image, profile))
    colors = _unit(_to_rgb(image.convert(image.mode[:-1]), profile))
    return lay_on_white(colors, _unit(image.getchannel("A"))[..., None])


def lay_on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colors (H, W, C) on white where alpha (H, W, 1) is below 1; (H, W, C + 1), alpha last."""
    return np.concatenate([colors * alpha + (1 - alpha), alpha], axis=-1)


def take_off_white(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colors (H, W, 3) in [0, 1] that, so opaque and on white, look like the image.

    Where alpha (H, W) is 0, any would: white.
    """
    alpha = alpha[..., None]
    return np.where(alpha > 0, 1 - (1 - image) / np.where(alpha > 0, alpha, 1), 1).clip(0, 1)


def reopener(image: Image.Image) -> Callable[[], ImageFile] | None:
    """What opens a PNG or TIFF anew once it is loaded; None of any other image."""
    if image.format not in ("PNG", "TIFF"):
        return None
    assert isinstance(image, ImageFile)
    source: Any = image.filename or image.fp
    kind = image.format

    def reopen() -> ImageFile:
        if not image.filename:
            source.seek(0)
        return Image.open(source, formats=[kind])

    return reopen


def read_deep(
    image: Image.Image, profile: bytes | None, reopen: Callable[[], ImageFile] | None
) -> np.ndarray | None:
    """Read an image of more than 8 bits at its full depth, on white where it is transparent.

    Colors with a profile that changes them are no such image: littleCMS gets 8 bits from Pillow.

    Args:
        image: loaded, of any mode.
        profile: the file's ICC profile.
        reopen: opens its file anew, from `reopener`.

    Returns:
        (H, W, 1) or (H, W, 3) float32 in [0, 1], where there is alpha with that last; None if the
        image has 8 bits at most.

    Raises:
        ImageError: values are out of range or not finite.
    """
    if image.mode in DEEP_MODES:
        values = _deep_gray(image)[..., None]
    else:
        found = reopen and _deep_color(image, reopen)
        if found is None or (found.shape[-1] > 2 and not _is_srgb(profile)):
            return None
        values = found
    key, alpha = image.info.get("transparency"), None
    if values.shape[-1] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1:]
    elif key is not None:
        alpha = np.any(values != np.float32(key) / 65535, axis=-1, keepdims=True).astype(np.float32)
    if values.shape[-1] == 1 and profile is not None:
        values = _through_curve(values, profile)
    return values if alpha is None else lay_on_white(values, alpha)


def _deep_color(image: Image.Image, reopen: Callable[[], ImageFile]) -> np.ndarray | None:
    """Color, or gray with alpha, of 16 bits: (H, W, 2 to 4) float32 in [0, 1]; None if it is none.

    Of every two bytes Pillow decodes the upper one, so the file is decoded once more as if it were
    in the other byte order. (tifffile alone reads no LZW.)
    """
    with reopen() as file:
        modes = {tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in file.tile}
    mode = str(modes.pop()) if len(modes) == 1 else ""
    if mode == "LA;16B":  # both bytes of both channels, as if they were four
        return _decode(reopen, "RGBA").view(">u2") / np.float32(65535)
    straight = mode.replace("RGBa", "RGBA")  # which Pillow would divide by alpha in 8 bits
    if straight not in OTHER_ORDER:
        return None
    values = np.array(image if mode == straight else _decode(reopen, straight), np.float32)
    values *= 256
    values += _decode(reopen, OTHER_ORDER[straight])
    values /= 65535
    if mode != straight:
        values[..., :3] /= np.maximum(values[..., 3:], 1 / 65535)
    return values


def _decode(reopen: Callable[[], ImageFile], mode: str) -> np.ndarray:
    """Decode a file as if its pixels were of another of Pillow's raw modes, bytes (H, W, C)."""
    with reopen() as file:
        for number, tile in enumerate(file.tile):
            rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
            file.tile[number] = tile._replace(args=(mode, *rest))
        file.load()
        return np.asarray(file)


def _is_srgb(profile: bytes | None) -> bool:
    """Whether the profile leaves colors as they are, to a level of 8 bits."""
    colors = (15 * np.indices((18, 18, 18)).T.reshape(1, -1, 3)).astype(np.uint8)
    return bool(np.abs(to_srgb(Image.fromarray(colors), profile) * 255 - colors).max() < 1.5)


def _deep_gray(image: Image.Image) -> np.ndarray:
    """Read a gray image of one of `DEEP_MODES`: (H, W) float32 in [0, 1].

    Floats count as values in [0, 1], 32-bit integers as 16-bit ones.
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
    gray /= white
    return (
        1 - gray if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else gray
    )  # Pillow inverts only 8 bits


def _through_curve(gray: np.ndarray, profile: bytes) -> np.ndarray:
    """Gray in [0, 1] in sRGB, by its profile's curve: known at 256 points, and interpolated."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    curve = to_srgb(ramp, profile)[0, :, 1]
    return np.interp(gray, np.linspace(0, 1, 256), curve).astype(np.float32)


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


def _unit(image: Image.Image) -> np.ndarray:
    """The 8-bit values as float32 in [0, 1]."""
    values = np.array(image, np.float32)
    values /= 255
    return values
