"""What a file is that is no image to be read here: said by its first bytes, with the remedy.

Raw files of cameras are TIFF files, too, whose first image is a thumbnail: Pillow would read that.
"""

import re
from collections.abc import Mapping
from typing import Any

HEAD = 4096  # bytes that `refuse` wants to see; a vector drawing may begin with a comment

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf"
    " .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
# TIFF 6.0, section 8; TIFF/EP; DNG 1.7.
SUBFILE_TYPE, REDUCED, SUB_IFDS, DNG_VERSION = 254, 1, 330, 50706

RAW = "is a camera's raw file; develop it to a JPEG, PNG or 16-bit TIFF first (darktable does)"
VIDEO = "is a video; take a frame out of it first: ffmpeg -i FILE -frames:v 1 frame.png"
JPEG_XL = "is JPEG XL; convert it to a PNG first (djxl FILE out.png)"
JPEG_2000 = "is JPEG 2000; convert it to a PNG first (opj_decompress -i FILE -o out.png)"
ARCHIVE = "is an archive, or a document in one; take the image out of it, or export it as a PNG"
LAYERED = "is a program's own file of layers; export it as a PNG or TIFF"
HDR = "is of high dynamic range; map its tones and save it as a PNG or 16-bit TIFF"
PRINTED = "is a document; export its page as a PNG first"

BEGINNINGS = {
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
    b"\xff\x0a": JPEG_XL,
    b"\0\0\0\x0cJXL ": JPEG_XL,
    b"\0\0\0\x0cjP  ": JPEG_2000,
    b"\xff\x4f\xff\x51": JPEG_2000,
    b"8BPS": LAYERED,
    b"gimp xcf": LAYERED,
    b"\x76\x2f\x31\x01": HDR,
    b"#?RADIANCE": HDR,
    b"#?RGBE": HDR,
    b"%PDF": PRINTED,
    b"%!PS": PRINTED,
    b"\x1a\x45\xdf\xa3": VIDEO,  # Matroska, WebM
    b"\0\0\x01\xba": VIDEO,
    b"\0\0\x01\xb3": VIDEO,
    b"FLV\x01": VIDEO,
    b"PK\x03\x04": ARCHIVE,
    b"\x1f\x8b": ARCHIVE,
    b"7z\xbc\xaf": ARCHIVE,
    b"Rar!": ARCHIVE,
    b"\0\0\x01\0": "is an icon; save its largest image as a PNG",
    b"\0\x05\x16\x07": "holds only what macOS notes of a file; the image is the one without ._",
    b"version https://git-lfs": "is a Git LFS pointer, not the image itself; run: git lfs pull",
}
# Texts begin with any of these after white space.
MARKUP = {
    rb"<svg\b": "is a vector drawing (SVG); export it as a PNG of the size you want",
    rb"<!doctype html|<html\b|<head\b|<body\b": (
        "is a web page, not the image; open the page, and save the image itself"
    ),
}
# Brands of ISO base media files, by what they are; what else has brands is a video.
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}
AVIF = {b"avif", b"avis"}

# Pillow's name of a format that plugins add: the brands, the plugin, how to get it.
PLUGINS = {
    "AVIF": (AVIF, "pillow_avif", "pip install pillow-avif-plugin"),
    "HEIF": (HEIF, "pillow_heif", "pip install pillow-heif"),
}


def refuse(head: bytes, suffix: str) -> str | None:
    """Why a file is no image to be read here, and the remedy; None where nothing is known of it.

    Args:
        head: the first `HEAD` bytes.
        suffix: of its name, such as ".jpg".
    """
    if head.startswith(TIFF) and (suffix.lower() in RAW_SUFFIXES or head[8:10] == b"CR"):
        return RAW
    for beginning, refusal in BEGINNINGS.items():
        if head.startswith(beginning):
            return refusal
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return VIDEO
    if (brands := _brands(head)) and plugin_format(head) is None:
        return RAW if b"crx " in brands else JPEG_XL if b"jxl " in brands else VIDEO
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        found = [text for pattern, text in MARKUP.items() if re.search(pattern, head, re.I)]
        return found[-1] if found else None  # a web page may hold drawings
    return None


def refuse_tiff(tags: Mapping[int, Any]) -> str | None:
    """The same of a TIFF file by its first directory, whatever its name."""
    is_preview = tags.get(SUBFILE_TYPE, 0) == REDUCED and SUB_IFDS in tags
    return RAW if is_preview or DNG_VERSION in tags else None


def plugin_format(head: bytes) -> str | None:
    """Which format of `PLUGINS` a file is, by its first bytes."""
    brands = _brands(head)
    return next((name for name, (known, *_) in PLUGINS.items() if known & brands), None)


def _brands(head: bytes) -> set[bytes]:
    """The brands of an ISO base media file, ISO/IEC 14496-12, section 4.3; else none."""
    if head[4:8] != b"ftyp":
        return {b"qt  "} if head[4:8] in (b"moov", b"mdat") else set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
