"""EXIF: what of a photograph's is true of the picture made from it, and what must be set anew.

Tags and their meaning: EXIF 2.32 (CIPA DC-008-2019), sections 4.6.4 to 4.6.6.
"""

import struct
from typing import NamedTuple

from nst_jax.images.ifd import (
    HEADER_BYTES,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Field,
    header,
    numbers,
    read_directory,
    read_header,
    tree_bytes,
)

PREFIX = b"Exif\0\0"  # in JPEG and WebP
PHOTO, GPS = 0x8769, 0x8825  # tags that point to the directories of the exposure and the place
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 282, 283, 296, 2
VERSION, COLOR_SPACE, SRGB, WIDTH, HEIGHT = 0x9000, 0xA001, 1, 0xA002, 0xA003

# Of the first directory, what tells of the scene, the camera and the author: description, make,
# model, date, artist, copyright, rating, and Windows' title, comment, author, keywords, subject.
# The rest tells of a file's layout (a TIFF has its strips there), its orientation, its resolution.
DESCRIPTIVE = frozenset({270, 271, 272, 306, 315, 33432, 18246, *range(40091, 40096)})
# Of the directory of the exposure, what is of the photograph's file only: how it is compressed
# (0x9101, 0x9102), positions in its pixels (0x9214, 0xA214), the maker's notes (0x927C: they point
# to places in the file, and may hold a preview), interoperability, gamma, a file of sound.
OF_THE_FILE = frozenset({0x9101, 0x9102, 0x9214, 0x927C, 0xA004, 0xA005, 0xA214, 0xA500})
LARGEST = 16_000  # bytes of a directory's values; all three go into a JPEG's marker of 65533


class Exif(NamedTuple):
    """What is copied, in the byte order `order` of the photograph.

    Attributes:
        order: "<" or ">".
        image: fields of the first directory.
        photo: of the exposure.
        gps: of the place.
    """

    order: str
    image: Directory
    photo: Directory
    gps: Directory


EMPTY = Exif("<", {}, {}, {})


def parse_exif(data: bytes) -> Exif | None:
    """What can be copied of EXIF data, or of a whole TIFF file; None where there is nothing.

    Orientation and thumbnail are left out: pictures are upright, and show something else.
    """
    data = data.removeprefix(PREFIX)
    try:
        order, first = read_header(data)
    except ValueError:
        return None
    main = read_directory(data, first, order)
    image = {tag: field for tag, field in main.items() if tag in DESCRIPTIVE}
    photo = _child(data, main, PHOTO, order)
    photo = {tag: field for tag, field in photo.items() if tag not in OF_THE_FILE}
    exif = Exif(order, _small(image), _small(photo), _small(_child(data, main, GPS, order)))
    return exif if any(exif[1:]) else None


def _child(data: bytes, main: Directory, tag: int, order: str) -> Directory:
    """The directory that a field points to; an empty one where there is none."""
    if tag not in main or len(main[tag].data) != 4:
        return {}
    (at,) = struct.unpack(f"{order}I", main[tag].data)
    return read_directory(data, at, order)


def _small(directory: Directory) -> Directory:
    """As much of it as every format has room for, the smallest fields first."""
    kept, total = {}, 0
    for tag, field in sorted(directory.items(), key=lambda item: len(item[1].data)):
        total += len(field.data)
        if total <= LARGEST:
            kept[tag] = field
    return kept


def describing(exif: Exif, height: int, width: int, dpi: int | None) -> Exif:
    """The same for a picture in sRGB of this size, in pixels, and resolution."""
    order = exif.order
    image, photo = dict(exif.image), dict(exif.photo)
    if dpi is not None:
        image[X_RESOLUTION] = image[Y_RESOLUTION] = numbers(order, RATIONAL, dpi, 1)
        image[RESOLUTION_UNIT] = numbers(order, SHORT, INCH)
    photo.setdefault(VERSION, Field(UNDEFINED, 4, b"0232"))
    photo[COLOR_SPACE] = numbers(order, SHORT, SRGB)
    photo[WIDTH], photo[HEIGHT] = numbers(order, LONG, width), numbers(order, LONG, height)
    return exif._replace(image=image, photo=photo)


def exif_bytes(exif: Exif) -> bytes:
    """EXIF data without the prefix, as PNG's eXIf chunk wants it."""
    order, image, photo, gps = exif
    children = {PHOTO: photo, GPS: gps}
    return header(order, HEADER_BYTES) + tree_bytes(image, children, HEADER_BYTES, order)
