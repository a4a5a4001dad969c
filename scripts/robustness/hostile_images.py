"""Images of every mode, format and metadata, whole, cut short and damaged, drawn by hypothesis."""

import io
import struct
import warnings
import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

# Pillow's format: modes that it writes, and options of which one is drawn.
FORMATS = {
    "PNG": (("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ({}, {"compress_level": 0})),
    "JPEG": (("L", "RGB", "CMYK"), ({}, {"progressive": True}, {"quality": 5})),
    "WEBP": (("RGB", "RGBA"), ({"lossless": True}, {"quality": 30})),
    "TIFF": (
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
        ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}),
    ),
    "BMP": (("1", "L", "P", "RGB", "RGBA"), ({},)),
    "GIF": (("1", "L", "P", "RGB"), ({}, {"transparency": 0})),
    "PPM": (("1", "L", "RGB", "I;16"), ({},)),
}
SIDES = st.integers(1, 40)  # px
LARGE_ENOUGH = st.integers(16, 40)
PROFILE = (None, b"", b"not a profile", bytes(200))
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # orientation 6
EXIF = (b"", TURNED, TURNED[:-9], b"Exif\0\0II*\0\xff\xff\xff\xff")


@st.composite
def pictures(draw, sides=SIDES):
    """An image of Pillow's, of any mode, and its format's options."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    modes, options = FORMATS[kind]
    mode, width, height = draw(st.sampled_from(modes)), draw(sides), draw(sides)
    shape = width, height
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    opacity = draw(st.sampled_from(("as it comes", "none", "all")))
    image = Image.fromarray(generator.integers(0, 256, (*shape[::-1], 4)).astype(np.uint8))
    if opacity != "as it comes":
        image.putalpha(0 if opacity == "none" else 255)
    if mode == "I;16":
        image = Image.fromarray(generator.integers(0, 65536, shape[::-1]).astype(np.uint16))
    elif mode == "LAB":
        image = Image.frombytes("LAB", shape, generator.bytes(3 * shape[0] * shape[1]))
    else:
        image = image.convert("RGB" if mode in ("CMYK", "I", "F") else mode).convert(mode)
    return image, kind, dict(draw(st.sampled_from(options)))


@st.composite
def files(draw, sides=SIDES):
    """A sound file of one of the formats that are read, with metadata; bytes."""
    image, kind, options = draw(pictures(sides))
    if kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        if profile := draw(st.sampled_from(PROFILE)):
            options["icc_profile"] = profile
        if exif := draw(st.sampled_from(EXIF)):
            options["exif"] = exif
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        length = draw(st.sampled_from((0, 9, 2**21)))
        text.add_itxt("XML:com.adobe.xmp", "x" * length, zip=draw(st.booleans()))
        options["pnginfo"] = text
        if image.mode in ("L", "P", "RGB") and draw(st.booleans()):
            options["transparency"] = (0, 0, 0) if image.mode == "RGB" else 0
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # that EXIF data are broken
        try:
            image.save(buffer, kind, **options)
        except (OSError, ValueError, SyntaxError, struct.error):  # so broken that none are written
            options.pop("exif", None)
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
    return buffer.getvalue()


def damaged(sides=SIDES):
    """Images, spoiled."""
    return spoiled(files(sides))


@st.composite
def spoiled(draw, sound):
    """Files as they are; cut short; with bytes changed, left out, put in; of nothing but bytes."""
    data = draw(sound)
    how = draw(st.sampled_from(("whole", "cut", "changed", "left out", "put in", "start", "noise")))
    at = draw(st.integers(0, len(data) - 1))
    some = draw(st.binary(min_size=1, max_size=8))
    match how:
        case "cut":
            return data[:at]
        case "changed":
            return data[:at] + some + data[at + len(some) :]
        case "left out":
            return data[:at] + data[at + len(some) :]
        case "put in":
            return data[:at] + some + data[at:]
        case "start":  # where the headers are
            at %= 64
            return _checked(data[:at] + some + data[at + len(some) :])
        case "noise":
            return data[: at % 32] + draw(st.binary(max_size=300))
    return data


def _checked(data):
    """A PNG's checksum of its header mended, so that Pillow looks at what it says."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33:
        return data
    return data[:29] + zlib.crc32(data[12:29]).to_bytes(4, "big") + data[33:]
