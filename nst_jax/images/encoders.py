"""The formats that images are written in, all of them with the profile of sRGB.

`images.save_image` is the function to call; here is what goes into the file.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from nst_jax.errors import ImageError, SettingsError
from nst_jax.images.exif import EMPTY, PREFIX, Exif, describing, exif_bytes
from nst_jax.images.png_file import write_png
from nst_jax.images.srgb_profile import SRGB_PROFILE
from nst_jax.images.tiff_file import write_tiff

DEPTHS = (8, 16)
MOST_DPI = 65535  # a JPEG's resolution has 16 bits (JFIF 1.02)
JPEG_QUALITY = 95
JPEG_TEXT_BYTES = 60_000  # EXIF and comment; with more, Pillow 10's buffer is too small


@dataclasses.dataclass(frozen=True)
class SaveOptions:
    """How an image is written, beyond what its pixels are.

    Attributes:
        bits: per channel, 8 or 16; a JPEG has 8.
        dpi: resolution for printing, in pixels per inch, 1 to 65535; None says nothing of it.
        exif: a photograph's, from `images.read_exif`, to be written along; size, resolution and
            colour space are the picture's.

    Raises:
        SettingsError: bits or dpi is another.
    """

    bits: int = 8
    dpi: int | None = None
    exif: Exif | None = None

    def __post_init__(self) -> None:
        if self.bits not in DEPTHS:
            raise SettingsError(f"bits is {self.bits}; wanted 8 or 16")
        if self.dpi is not None and not (isinstance(self.dpi, int) and 1 <= self.dpi <= MOST_DPI):
            raise SettingsError(f"dpi is {self.dpi}; wanted a whole number, 1 to {MOST_DPI}")

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {"bits": self.bits, "dpi": self.dpi, "copy_exif": self.exif is not None}


PLAIN = SaveOptions()


def quantize(image: np.ndarray, bits: int) -> np.ndarray:
    """Clip to [0, 1] and round to 2^bits levels, halves to even.

    Args:
        image: (H, W, 3) float.
        bits: 8 or 16.

    Returns:
        (H, W, 3) uint8 or uint16.
    """
    pixels = np.empty(image.shape, np.uint8 if bits == 8 else np.uint16)
    for row, rounded in zip(image, pixels, strict=True):
        # In float64, where products with 65535 are exact; by rows, as it takes twice the memory.
        rounded[...] = np.rint(row.clip(0, 1).astype(np.float64) * (2**bits - 1))
    return pixels


def writer_of(path: Path, options: SaveOptions) -> Callable[..., None]:
    """The function that writes the format of the suffix: (stream, pixels, text, options).

    Raises:
        ImageError: the suffix is unknown, or the format has no such options.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        wanted = ", ".join(WRITERS)
        raise ImageError(f"{path}: cannot write the suffix '{path.suffix}'; use one of {wanted}")
    if WRITERS[suffix] is _write_jpeg and options.bits != 8:
        raise ImageError(
            f"{path}: a JPEG has 8 bits, not {options.bits}; use .png or .tif, or 8 bits"
        )
    return WRITERS[suffix]


def _write_png(
    stream: BinaryIO, pixels: np.ndarray, text: Mapping[str, str], options: SaveOptions
) -> None:
    exif = exif_bytes(_exif(pixels, options)) if options.exif else None
    write_png(stream, pixels, profile=SRGB_PROFILE, text=text, dpi=options.dpi, exif=exif)


def _write_tiff(
    stream: BinaryIO, pixels: np.ndarray, text: Mapping[str, str], options: SaveOptions
) -> None:
    exif = _exif(pixels, options) if options.exif else EMPTY
    description = _as_lines(text)
    write_tiff(
        stream, pixels, profile=SRGB_PROFILE, description=description, dpi=options.dpi, exif=exif
    )


def _write_jpeg(
    stream: BinaryIO, pixels: np.ndarray, text: Mapping[str, str], options: SaveOptions
) -> None:
    """Always with EXIF: its colour space is what some programs look at."""
    exif = PREFIX + exif_bytes(_exif(pixels, options))
    comment = _as_lines(text).encode("utf-8", "backslashreplace")
    Image.fromarray(pixels).save(
        stream,
        "JPEG",
        quality=JPEG_QUALITY,
        subsampling="4:4:4",
        icc_profile=SRGB_PROFILE,
        exif=exif,
        comment=comment[: JPEG_TEXT_BYTES - len(exif)],
        **({} if options.dpi is None else {"dpi": (options.dpi, options.dpi)}),
    )


WRITERS = {
    ".png": _write_png,
    ".jpg": _write_jpeg,
    ".jpeg": _write_jpeg,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
}


def _exif(pixels: np.ndarray, options: SaveOptions) -> Exif:
    height, width, _ = pixels.shape
    return describing(options.exif or EMPTY, height, width, options.dpi)


def _as_lines(text: Mapping[str, str]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in text.items())
