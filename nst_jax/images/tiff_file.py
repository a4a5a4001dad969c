"""A writer of TIFF files with 8 or 16 bits per channel, with a profile, a resolution and EXIF.

Plain RGB without compression, which every program of a print shop reads. Pillow cannot write 16
bits in colour, and tifffile no EXIF.
Source: TIFF Revision 6.0, sections 6 and 8; the profile's tag: ICC.1:2010, annex B.4.
"""

from typing import BinaryIO

import numpy as np

from nst_jax.images import ifd
from nst_jax.images.exif import GPS, INCH, PHOTO, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, Exif
from nst_jax.images.ifd import (
    HEADER_BYTES,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Field,
    numbers,
)

WIDTH, LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
DESCRIPTION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 270, 273, 277, 278, 279
PLANES, PROFILE = 284, 34675
NO_COMPRESSION, RGB, CHUNKY, NO_UNIT = 1, 2, 1, 1
STRIP = 2**16  # bytes, about


def write_tiff(
    stream: BinaryIO,
    pixels: np.ndarray,
    *,
    profile: bytes,
    description: str,
    dpi: int | None,
    exif: Exif,
) -> None:
    """Write a TIFF in the byte order of `exif`: the header, the pixels, the directories.

    Args:
        stream: to write to.
        pixels: (H, W, 3) uint8 or uint16.
        profile: ICC.
        description: UTF-8 in the tag ImageDescription, in the place of the photograph's.
        dpi: pixels per inch; None gives 1 of no unit, since the tags are mandatory.
        exif: fields to add; `EMPTY` for none.
    """
    order = exif.order
    rows = max(1, STRIP // pixels[0].nbytes)
    strips = [pixels[top : top + rows] for top in range(0, len(pixels), rows)]
    sizes = [strip.nbytes for strip in strips]
    end = HEADER_BYTES + sum(sizes)
    stream.write(ifd.header(order, end + end % 2))
    for strip in strips:
        stream.write(strip.astype(f"{order}u{strip.itemsize}").tobytes())
    stream.write(bytes(end % 2))
    fields = exif.image | _layout(pixels, rows, sizes, order) | _resolution(dpi, order)
    fields[PROFILE] = Field(UNDEFINED, len(profile), profile)
    if description:
        fields[DESCRIPTION] = ifd.text(description)
    children = {PHOTO: exif.photo, GPS: exif.gps}
    stream.write(ifd.tree_bytes(fields, children, end + end % 2, order))


def _layout(pixels: np.ndarray, rows: int, sizes: list[int], order: str) -> Directory:
    """The fields that say where the pixels are and what they mean."""
    height, width, channels = pixels.shape
    starts = HEADER_BYTES + np.cumsum([0, *sizes[:-1]], dtype=np.int64)
    shorts = {
        BITS_PER_SAMPLE: [8 * pixels.itemsize] * channels,
        COMPRESSION: [NO_COMPRESSION],
        PHOTOMETRIC: [RGB],
        SAMPLES: [channels],
        PLANES: [CHUNKY],
    }
    longs = {
        WIDTH: [width],
        LENGTH: [height],
        ROWS_PER_STRIP: [rows],
        STRIP_OFFSETS: starts.tolist(),
        STRIP_BYTES: sizes,
    }
    fields = {tag: numbers(order, SHORT, *values) for tag, values in shorts.items()}
    return fields | {tag: numbers(order, LONG, *values) for tag, values in longs.items()}


def _resolution(dpi: int | None, order: str) -> Directory:
    ratio = numbers(order, RATIONAL, dpi or 1, 1)
    unit = numbers(order, SHORT, NO_UNIT if dpi is None else INCH)
    return {X_RESOLUTION: ratio, Y_RESOLUTION: ratio, RESOLUTION_UNIT: unit}
