"""The formats that images are written in: PNG, TIFF, JPEG, WebP, all with the profile of sRGB.

`io.save_image` is the function to call; here is what goes into the file.
"""

import dataclasses
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image

from nst_jax.errors import ImageError, SettingsError
from nst_jax.images import exif
from nst_jax.images.bands import bands
from nst_jax.images.color_management import srgb_profile, take_off_white

Text = Mapping[str, str]

MAX_DPI = 65535  # a JPEG's resolution has 16 bits (JFIF 1.02)
JPEG_QUALITY = 95
MAX_JPEG_TEXT = 60_000  # bytes of EXIF data and comment; for more, Pillow 10's buffer is too small
MAX_JPEG_SIDE = 65500  # JPEG_MAX_DIMENSION of libjpeg; the format has 16 bits
MAX_WEBP_SIDE = 16383  # its sides have 14 bits
MAX_TIFF = 2**32 - 2**25  # bytes of pixels: its offsets have 32 bits
STRIP = 2**16  # bytes of a TIFF's strips, about
BAND = 64  # rows of a PNG that are filtered and compressed together


@dataclasses.dataclass(frozen=True)
class SaveOptions:
    """How an image is written, beyond what its pixels are.

    Attributes:
        bits: per channel, 8 or 16; a JPEG and a WebP have 8.
        dpi: resolution for printing, in pixels per inch, 1 to 65535; None says nothing of it.
        exif: a photograph's, from `io.read_exif`, to be written along; size, resolution and color
            space are the image's own.
        text: whether the text that comes with the image is written: command, settings, paths.

    Raises:
        SettingsError: bits or dpi is another.
    """

    bits: int = 8
    dpi: int | None = None
    exif: bytes | None = None
    text: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise SettingsError(f"bits is {self.bits}; wanted 8 or 16")
        if self.dpi is not None and not (isinstance(self.dpi, int) and 1 <= self.dpi <= MAX_DPI):
            raise SettingsError(f"dpi is {self.dpi}; wanted a whole number, 1 to {MAX_DPI}")

    def metadata(self) -> dict[str, Any]:
        """For the record."""
        copied = self.exif is not None
        return {"bits": self.bits, "dpi": self.dpi, "copy_exif": copied, "text": self.text}


PLAIN = SaveOptions()


@dataclasses.dataclass(frozen=True)
class Pixels:
    """An image that is rounded band by band while it is written: no second one lies beside it.

    Attributes:
        image: (H, W, 3) float, on white where there is alpha.
        bits: 8 or 16.
        alpha: (H, W) float, how opaque it is to be; None: wholly.
    """

    image: np.ndarray
    bits: int
    alpha: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), with alpha 4."""
        return *self.image.shape[:2], 3 if self.alpha is None else 4

    @property
    def dtype(self) -> np.dtype:
        """Of what is written."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def row_bytes(self) -> int:
        """Of one row, as it is written."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def rows(self, rows: slice) -> np.ndarray:
        """(h, W, 3 or 4) uint8 or uint16."""
        if self.alpha is None:
            return quantize(self.image[rows], self.bits)
        return quantize_with_alpha(self.image[rows], self.alpha[rows], self.bits)

    def whole(self) -> Image.Image:
        """For formats that are not written by bands; of 8 bits."""
        height, width, channels = self.shape
        whole = Image.new("RGB" if channels == 3 else "RGBA", (width, height))
        for rows in bands(height, width):
            whole.paste(Image.fromarray(self.rows(rows)), (0, rows.start))
        return whole


def quantize(image: np.ndarray, bits: int) -> np.ndarray:
    """Clip to [0, 1] and round to 2^bits levels, halves to even.

    Args:
        image: (H, W, C) float.
        bits: 8 or 16.

    Returns:
        (H, W, C) uint8 or uint16.
    """
    pixels = np.empty(image.shape, np.uint8 if bits == 8 else np.uint16)
    for row, rounded in zip(image, pixels, strict=True):
        # In float64, where products with 65535 are exact; by rows, as it takes twice the memory.
        rounded[...] = np.rint(row.clip(0, 1).astype(np.float64) * (2**bits - 1))
    return pixels


def quantize_with_alpha(image: np.ndarray, alpha: np.ndarray, bits: int) -> np.ndarray:
    """The pixels (H, W, 4) that, laid on white, look like the image (H, W, 3); as `quantize`.

    Args:
        image: (H, W, 3) float, on white.
        alpha: (H, W) float, how opaque it is.
        bits: 8 or 16.
    """
    opacity = quantize(alpha[..., None], bits)
    seen = (opacity[..., 0] / (2**bits - 1)).astype(np.float32)
    return np.concatenate([quantize(take_off_white(image, seen), bits), opacity], axis=-1)


def encoder_of(path: Path, options: SaveOptions, side: int = 0) -> Callable[..., None]:
    """The function that writes the format of the suffix: (stream, pixels, text, options).

    Args:
        path: whose suffix counts.
        options: that the format must have.
        side: the long one, in pixels, as far as it is known.

    Raises:
        ImageError: the suffix is unknown, or the format has no such options or sides.
    """
    suffix = path.suffix.lower()
    if suffix not in ENCODERS:
        wanted = ", ".join(ENCODERS)
        raise ImageError(f"{path}: cannot write the suffix '{path.suffix}'; use one of {wanted}")
    kind, longest = LIMITED.get(suffix, ("", side))
    if kind and options.bits != 8:
        raise ImageError(
            f"{path}: a {kind} has 8 bits, not {options.bits}; use .png or .tif, or 8 bits"
        )
    if side > longest:
        raise ImageError(
            f"{path}: a side of {side} px is longer than a {kind}'s {longest}; use .png or .tif, "
            f"or a smaller size"
        )
    return ENCODERS[suffix]


def _write_png(stream: BinaryIO, pixels: Pixels, text: Text, options: SaveOptions) -> None:
    """PNG of 8 or 16 bits; Pillow writes no 16 bits in color.

    Source: Portable Network Graphics Specification (Third Edition), W3C 2025.
    """
    height, width, channels = pixels.shape
    kind = {3: 2, 4: 6}[channels]  # RGB, RGBA
    header = struct.pack(">IIBBBBB", width, height, pixels.bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))]
    if options.dpi is not None:
        per_meter = round(options.dpi / 0.0254)
        chunks.append((b"pHYs", struct.pack(">IIB", per_meter, per_meter, 1)))  # 1: meters
    for keyword, value in text.items():
        word = keyword.encode("latin-1", "replace")[:79]  # then: not compressed, of no language
        chunks.append((b"iTXt", word + bytes(5) + value.encode("utf-8", "backslashreplace")))
    if options.exif:
        described = exif.describe(options.exif, pixels.shape, options.dpi)
        chunks.append((b"eXIf", exif.to_bytes(described)))
    stream.write(b"\x89PNG\r\n\x1a\n")
    compressed = ((b"IDAT", data) for data in _compress(pixels) if data)
    for name, data in itertools.chain(chunks, compressed, [(b"IEND", b"")]):
        stream.write(struct.pack(">I", len(data)) + name + data)
        stream.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _compress(pixels: Pixels) -> Iterator[bytes]:
    """The rows of a PNG, as one zlib stream in pieces; each with the filter "Average".

    Of the fixed filters it is the simplest that comes within 3 % of choosing one for each row.
    """
    compressor = zlib.compressobj(strategy=zlib.Z_FILTERED)
    height, width, channels = pixels.shape
    step = channels * pixels.dtype.itemsize  # bytes of a pixel
    above = np.zeros((1, width * step), np.uint16)
    for top in range(0, height, BAND):
        band = pixels.rows(slice(top, top + BAND)).astype(pixels.dtype.newbyteorder(">"))
        rows = band.view(np.uint8).reshape(len(band), -1).astype(np.uint16)
        left = np.pad(rows, ((0, 0), (step, 0)))[:, :-step]
        filtered = rows - (left + np.concatenate([above, rows[:-1]])) // 2  # modulo 256
        lines = np.insert(filtered.astype(np.uint8), 0, 3, axis=1)  # 3: "Average"
        above = rows[-1:]
        yield compressor.compress(lines.tobytes())
    yield compressor.flush()


def _write_tiff(stream: BinaryIO, pixels: Pixels, text: Text, options: SaveOptions) -> None:
    """TIFF without compression, which every program of a print shop reads.

    The directories of EXIF data come first, and then the image with its own.
    """
    image, photo, gps = exif.describe(options.exif, pixels.shape) if options.exif else exif.EMPTY
    fields = dict(image) | ({exif.DESCRIPTION: as_lines(text)} if text else {})
    tags: list[Any] = [
        (tag, image.tagtype.get(tag, 2), 1, value, True)  # 2: ASCII
        for tag, value in fields.items()
        if isinstance(value, bytes | int)  # anything else is damage
    ]
    height, width, channels = pixels.shape
    if height * pixels.row_bytes > MAX_TIFF:
        raise ImageError("has more bytes than the 4 GB of a TIFF; use .png")
    order: Any = "<" if image.prefix == b"II" else ">"
    kind = pixels.dtype.newbyteorder(order)
    with tifffile.TiffWriter(stream, byteorder=order) as file:
        for name, directory in (("ExifTag", photo), ("GPSTag", gps)):
            if directory:
                tags.append((name, 4, 1, stream.tell(), True))  # 4: LONG
                stream.write(directory.tobytes(stream.tell()))
        file.write(
            (pixels.rows(rows).astype(kind).tobytes() for rows in bands(height, width)),
            shape=pixels.shape,
            dtype=kind,
            photometric="rgb",
            extrasamples=["unassalpha"] if channels == 4 else None,
            rowsperstrip=max(1, STRIP // pixels.row_bytes),
            resolution=None if options.dpi is None else (options.dpi, options.dpi),
            iccprofile=srgb_profile(),
            software=False,
            metadata=None,
            extratags=tags,
        )


def _write_jpeg(stream: BinaryIO, pixels: Pixels, text: Text, options: SaveOptions) -> None:
    """Always with EXIF data: their color space is what some programs look at."""
    data = exif.PREFIX + exif.to_bytes(exif.describe(options.exif, pixels.shape, options.dpi))
    pixels.whole().save(
        stream,
        "JPEG",
        quality=JPEG_QUALITY,
        subsampling="4:4:4",
        icc_profile=srgb_profile(),
        exif=data,
        comment=as_lines(text)[: MAX_JPEG_TEXT - len(data)],
        dpi=(options.dpi or 0,) * 2,  # 0 says nothing
    )


def _write_webp(stream: BinaryIO, pixels: Pixels, text: Text, options: SaveOptions) -> None:
    """Without loss, which takes about two thirds of a PNG; text is the description in EXIF data."""
    described = exif.describe(options.exif, pixels.shape, options.dpi)
    if text:
        described[0][exif.DESCRIPTION] = as_lines(text)
    pixels.whole().save(
        stream,
        "WEBP",
        lossless=True,
        exact=True,
        icc_profile=srgb_profile(),
        exif=exif.PREFIX + exif.to_bytes(described),
    )


ENCODERS = {
    ".png": _write_png,
    ".jpg": _write_jpeg,
    ".jpeg": _write_jpeg,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".webp": _write_webp,
}
# What has 8 bits only: its name, and its longest side, in pixels.
LIMITED = {
    ".jpg": ("JPEG", MAX_JPEG_SIDE),
    ".jpeg": ("JPEG", MAX_JPEG_SIDE),
    ".webp": ("WebP", MAX_WEBP_SIDE),
}
OPAQUE = frozenset({".jpg", ".jpeg"})  # have no alpha


def as_lines(text: Text) -> bytes:
    """Text as one "key: value" a line, in UTF-8."""
    lines = "\n".join(f"{key}: {value}" for key, value in text.items())
    return lines.encode("utf-8", "backslashreplace")
