"""EXIF data: what of a photograph's is true of an image made from it, and what is set anew.

They are carried as bytes without a prefix. Pillow reads and writes the directories of fields; its
`Image.Exif` would guess the fields' types anew, and write ASCII only (Pillow 13).
Tags and their meaning: EXIF 2.32 (CIPA DC-008-2019), sections 4.6.4 to 4.6.6.
"""

import io
import struct
from collections.abc import Iterable

from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

PREFIX = b"Exif\0\0"  # in JPEG and WebP
HEADERS = {b"II": b"II*\0\x08\0\0\0", b"MM": b"MM\0*\0\0\0\x08"}  # by byte order
PHOTO, GPS = 0x8769, 0x8825  # tags that point to the directories of the exposure and the place
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 270, 282, 283, 296, 2
VERSION, COLOR_SPACE, SRGB, WIDTH, HEIGHT = 0x9000, 0xA001, 1, 0xA002, 0xA003

# Of the first directory, what tells of the scene, the camera and the author: description, make,
# model, date, artist, copyright, rating, and Windows' title, comment, author, keywords, subject.
# The rest tells of a file's layout (a TIFF has its strips there), its orientation, its resolution.
DESCRIPTIVE = frozenset({DESCRIPTION, 271, 272, 306, 315, 33432, 18246, *range(40091, 40096)})
# Of the directory of the exposure, what is of the original file only: how it is compressed
# (0x9101, 0x9102), positions in its pixels (0x9214, 0xA214), the maker's notes (0x927C: they point
# to places in the file, and may hold a preview), interoperability, gamma, a file of sound.
OF_THE_FILE = frozenset({0x9101, 0x9102, 0x9214, 0x927C, 0xA004, 0xA005, 0xA214, 0xA500})
SET_ANEW = frozenset({COLOR_SPACE, WIDTH, HEIGHT})
MAX_BYTES = 16_000  # of a directory; all three go into a JPEG's marker of 65533

Directories = tuple[Directory, Directory, Directory]  # of the image, the exposure, the place
EMPTY: Directories = (Directory(), Directory(), Directory())


def copy_exif(data: bytes) -> bytes | None:
    """What can be copied of EXIF data, or of a whole TIFF file; None where there is nothing.

    Orientation and thumbnail are left out: generated images are upright, and show something else.
    """
    try:
        directories = _read(data.removeprefix(PREFIX))
    except (SyntaxError, struct.error):  # neither II*\0 nor MM\0* at the beginning, or cut short
        return None
    return to_bytes(directories) if any(directories) else None


def describe(data: bytes | None, shape: tuple[int, ...], dpi: int | None = None) -> Directories:
    """What `copy_exif` gave, for an sRGB image of this shape, (H, W, 3), and resolution."""
    image, photo, gps = _read(data or HEADERS[b"II"] + bytes(6))  # of no fields
    if dpi is not None:
        image[X_RESOLUTION] = image[Y_RESOLUTION] = dpi
        image[RESOLUTION_UNIT] = INCH
    photo.setdefault(VERSION, b"0232")
    photo[COLOR_SPACE], photo[WIDTH], photo[HEIGHT] = SRGB, shape[1], shape[0]
    return image, photo, gps


def to_bytes(directories: Directories) -> bytes:
    """EXIF data without a prefix, as PNG's eXIf chunk wants them."""
    image, photo, gps = directories
    header, children = HEADERS[image.prefix], b""
    pointers = {tag: child for tag, child in ((PHOTO, photo), (GPS, gps)) if child}
    image.update(dict.fromkeys(pointers, 0))
    start = len(header) + len(image.tobytes())
    for tag, child in pointers.items():
        image[tag] = start + len(children)
        children += child.tobytes(start + len(children))
    return header + image.tobytes(len(header)) + children


def _read(data: bytes) -> Directories:
    """What can be copied; where directories are damaged, what comes before the damage."""
    image = _load(data, Directory(data[:8]).next)
    photo, gps = (_load(data, image.get(tag, 0), tag) for tag in (PHOTO, GPS))
    return (
        _copy(image, DESCRIPTIVE & set(image)),
        _copy(photo, set(photo) - OF_THE_FILE - SET_ANEW),
        _copy(gps, set(gps)),
    )


def _load(data: bytes, start: int, group: int | None = None) -> Directory:
    """The directory at `start`; an empty one where that is no place."""
    directory, stream = Directory(data[:8], group=group), io.BytesIO(data)
    if isinstance(start, int) and start > 0:
        stream.seek(start)
        directory.load(stream)
    return directory


def _copy(directory: Directory, tags: Iterable[int]) -> Directory:
    """The fields of these tags with their types, as many as all formats have room for.

    The shortest come first. Text becomes bytes, which Pillow writes as they are.
    """
    values = {tag: directory[tag] for tag in tags}
    lengths = {tag: len(v) if hasattr(v, "__len__") else 1 for tag, v in values.items()}
    copy = Directory(HEADERS[directory.prefix], group=directory.group)
    for tag in sorted(values, key=lengths.__getitem__):
        copy.tagtype[tag] = directory.tagtype[tag]
        copy[tag] = values[tag].encode("latin-1") if isinstance(values[tag], str) else values[tag]
        if len(copy.tobytes()) > MAX_BYTES:
            del copy[tag]
            break
    return copy
