"""Images of more than 8 bits per channel, at their full depth; Pillow alone decodes 8 of a color.

Errors carry no path: `io.load_image` adds it.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from nst_jax.errors import ImageError
from nst_jax.images.bands import Bands, bands, crop
from nst_jax.images.color_management import lay_on_white, to_srgb

DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})  # one gray channel

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF 6.0, section 8
WHITE_IS_ZERO = 0  # PHOTOMETRIC's value for inverted gray

# Pillow's names of 16-bit colors in a file, and of the same in the other byte order.
OTHER_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in ("BL", "LB", "NB" if sys.byteorder == "little" else "NL")
}


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
) -> Bands | None:
    """Read an image of more than 8 bits at its full depth, on white where it is transparent.

    Colors with a profile that changes them are no such image: littleCMS gets 8 bits from Pillow.

    Args:
        image: loaded, of any mode.
        profile: the file's ICC profile.
        reopen: opens its file anew, from `reopener`.

    Returns:
        (H, W, 1) or (H, W, 3) float32 in [0, 1], where there is alpha with that last (then rounding
        may leave [0, 1]); None if the image has 8 bits at most.

    Raises:
        ImageError: values are out of range or not finite.
    """
    if image.mode in DEEP_MODES:
        found: Bands | None = _deep_gray(image)
    else:
        found = reopen and _deep_color(image, reopen)
    if found is None or (found.shape[-1] > 2 and not _is_srgb(profile)):
        return None
    height, width, channels = found.shape
    key, has_alpha = image.info.get("transparency"), channels in (2, 4)
    colors = channels - has_alpha
    curve = _curve(profile) if colors == 1 and profile is not None else None

    def of_rows(rows: slice) -> np.ndarray:
        values = found.of_rows(rows)
        if has_alpha:
            values, alpha = values[..., :-1], values[..., -1]
        elif key is not None:
            alpha = np.any(values != np.float32(key) / 65535, axis=-1).astype(np.float32)
        if curve is not None:
            values = np.interp(values, np.linspace(0, 1, 256), curve).astype(np.float32)
        return lay_on_white(values, alpha) if has_alpha or key is not None else values

    return Bands((height, width, colors + (has_alpha or key is not None)), of_rows)


def _deep_color(image: Image.Image, reopen: Callable[[], ImageFile]) -> Bands | None:
    """Color, or gray with alpha, of 16 bits: (H, W, 2 to 4) float32 in [0, 1]; None if it is none.

    Of every two bytes Pillow decodes the upper one, so the file is decoded once more as if it were
    in the other byte order. (tifffile alone reads no LZW.)
    """
    with reopen() as file:
        modes = {tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in file.tile}
    mode = str(modes.pop()) if len(modes) == 1 else ""
    shape = image.height, image.width
    if mode == "LA;16B":  # both bytes of both channels, as if they were four
        both = _decode(reopen, "RGBA")
        return Bands(
            (*shape, 2),
            lambda rows: np.asarray(crop(both, rows)).view(">u2") / np.float32(65535),
        )
    straight = mode.replace("RGBa", "RGBA")  # which Pillow would divide by alpha in 8 bits
    if straight not in OTHER_ORDER:
        return None
    upper = image if mode == straight else _decode(reopen, straight)
    lower = _decode(reopen, OTHER_ORDER[straight])

    def of_rows(rows: slice) -> np.ndarray:
        values = np.array(crop(upper, rows), np.float32)
        values *= 256
        values += np.asarray(crop(lower, rows))
        values /= 65535
        if mode != straight:
            values[..., :3] /= np.maximum(values[..., 3:], 1 / 65535)
        return values

    return Bands((*shape, len(upper.getbands())), of_rows)


def _decode(reopen: Callable[[], ImageFile], mode: str) -> Image.Image:
    """Decode a file as if its pixels were of another of Pillow's raw modes."""
    with reopen() as file:
        for number, tile in enumerate(file.tile):
            rest = tile.args[1:] if isinstance(tile.args, tuple) else ()
            file.tile[number] = tile._replace(args=(mode, *rest))
        file.load()
        return file


def _is_srgb(profile: bytes | None) -> bool:
    """Whether the profile leaves colors as they are, to a level of 8 bits."""
    colors = (15 * np.indices((18, 18, 18)).T.reshape(1, -1, 3)).astype(np.uint8)
    seen = to_srgb(Image.fromarray(colors), profile).of_rows(slice(0, 1))
    return bool(np.abs(seen * 255 - colors).max() < 1.5)


def _deep_gray(image: Image.Image) -> Bands:
    """A gray image of one of `DEEP_MODES`: (H, W, 1) float32 in [0, 1].

    Floats count as values in [0, 1], 32-bit integers as 16-bit ones.
    """
    tags = getattr(image, "tag_v2", {})
    white = 1.0 if image.mode == "F" else 65535.0
    if image.mode.startswith("I;16"):  # a TIFF may hold 12 bits in 16
        white = 2.0 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO  # Pillow inverts only 8 bits

    def of_rows(rows: slice) -> np.ndarray:
        gray = np.asarray(crop(image, rows)).astype(np.float32)[..., None]
        gray /= white
        return 1 - gray if inverted else gray

    parts = (np.asarray(crop(image, rows), np.float32) for rows in bands(*image.size[::-1]))
    bounds = np.array([(part.min(), part.max()) for part in parts])
    low, high = bounds[:, 0].min(), bounds[:, 1].max()
    if not (low >= 0 and high <= white):  # not the other way round: NaN must fail
        raise ImageError(
            f"has gray values from {low:g} to {high:g} where 0 to {white:g} is wanted; "
            "rescale it, or save it with 8 or 16 bits"
        )
    return Bands((image.height, image.width, 1), of_rows)


def _curve(profile: bytes) -> np.ndarray:
    """What a profile of gray makes of 256 values, from 0 to 1, in sRGB."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return to_srgb(ramp, profile).of_rows(slice(0, 1))[0, :, 1]
