"""A writer of PNG files with 8 or 16 bits per channel, which Pillow has not for 16 in colour.

Source: Portable Network Graphics Specification (Third Edition), W3C 2025; sections by title.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB = 2  # colour type ("IHDR image header")
PER_METRE = 1  # unit ("pHYs physical pixel dimensions")
INCH = 0.0254  # metres
BAND = 64  # rows that are filtered and compressed together


def write_png(
    stream: BinaryIO,
    pixels: np.ndarray,
    *,
    profile: bytes,
    text: Mapping[str, str],
    dpi: int | None,
    exif: bytes | None,
) -> None:
    """Write a PNG.

    Args:
        stream: to write to.
        pixels: (H, W, 3) uint8 or uint16.
        profile: ICC; without an sRGB chunk beside it ("iCCP embedded ICC profile": at most one).
        text: {keyword: text}, each in an iTXt chunk.
        dpi: pixels per inch; None says nothing.
        exif: without a prefix; None says nothing.
    """
    stream.write(SIGNATURE)
    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, RGB, 0, 0, 0)
    _write_chunk(stream, b"IHDR", head)
    _write_chunk(stream, b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
    if dpi is not None:
        per_metre = round(dpi / INCH)
        _write_chunk(stream, b"pHYs", struct.pack(">IIB", per_metre, per_metre, PER_METRE))
    for keyword, value in text.items():
        _write_chunk(stream, b"iTXt", _international_text(keyword, value))
    if exif is not None:
        _write_chunk(stream, b"eXIf", exif)
    for data in _compressed(pixels):
        _write_chunk(stream, b"IDAT", data)
    _write_chunk(stream, b"IEND", b"")


def _write_chunk(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    """Length, type, data, CRC ("Chunk layout")."""
    stream.write(struct.pack(">I", len(data)) + kind + data)
    stream.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _international_text(keyword: str, value: str) -> bytes:
    """Not compressed, of no language ("iTXt international textual data")."""
    name = keyword.encode("latin-1", "replace")[:79]
    return name + b"\0\0\0\0\0" + value.encode("utf-8", "backslashreplace")


def _compressed(pixels: np.ndarray) -> Iterator[bytes]:
    """The filtered rows, as one zlib stream in pieces."""
    compressor = zlib.compressobj(strategy=zlib.Z_FILTERED)
    step = 3 * pixels.itemsize  # bytes of a pixel
    above = np.zeros((1, pixels.shape[1] * step), np.uint8)
    for top in range(0, len(pixels), BAND):
        band = pixels[top : top + BAND]
        rows = band.astype(band.dtype.newbyteorder(">")).view(np.uint8).reshape(len(band), -1)
        filtered = _filter(rows, np.concatenate([above, rows[:-1]]), step)
        above = rows[-1:]
        if data := compressor.compress(filtered.tobytes()):
            yield data
    yield compressor.flush()


def _filter(rows: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """Filter each row in the way that makes the least sum of differences ("Filter selection").

    Args:
        rows: (n, m) bytes.
        above: (n, m) bytes of the rows above.
        step: bytes of a pixel.

    Returns:
        (n, 1 + m): the number of the filter, and the filtered bytes.
    """
    left, corner = _shifted(rows, step), _shifted(above, step)
    average = ((left.astype(np.uint16) + above) // 2).astype(np.uint8)
    none = np.zeros_like(rows)
    predictions = [none, left, above, average, _paeth(left, above, corner)]
    results = np.stack([rows - prediction for prediction in predictions])  # modulo 256
    costs = np.abs(results.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
    best = costs.argmin(axis=0)
    chosen = results[best, np.arange(len(rows))]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1)


def _shifted(rows: np.ndarray, step: int) -> np.ndarray:
    """For each byte the corresponding one of the pixel to the left, 0 where there is none."""
    return np.pad(rows, ((0, 0), (step, 0)))[:, :-step]


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of the three bytes the nearest to left + above − corner ("Filter type 4: Paeth")."""
    to_left = np.abs(above.astype(np.int16) - corner)
    to_above = np.abs(left.astype(np.int16) - corner)
    to_corner = np.abs(left.astype(np.int16) + above - 2 * corner.astype(np.int16))
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
