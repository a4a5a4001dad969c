"""TIFF's directories of fields, which EXIF shares: from bytes, and to bytes.

Numbers stay in the byte order of the file they came from, so that nothing needs to be understood
that is only carried over. `order` is struct's and NumPy's: "<" or ">".
Source: TIFF Revision 6.0, section 2; EXIF 2.32, section 4.6.2.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
# Bytes of one value, by its type; 129 is UTF-8 (EXIF 3.0).
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
NUMBERS = {SHORT: "H", LONG: "I", RATIONAL: "I"}  # a rational is two: numerator, denominator

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
HEADER_BYTES, ENTRY_BYTES, INLINE_BYTES = 8, 12, 4


class Field(NamedTuple):
    """One value of a directory.

    Attributes:
        kind: its type, one of `SIZES`.
        number: of the values; of a text, of its bytes.
        data: all of them, in the file's byte order.
    """

    kind: int
    number: int
    data: bytes


Directory = dict[int, Field]


def numbers(order: str, kind: int, *values: int) -> Field:
    """A field of numbers: SHORT, LONG, or RATIONAL (each numerator, denominator)."""
    data = struct.pack(f"{order}{len(values)}{NUMBERS[kind]}", *values)
    return Field(kind, len(data) // SIZES[kind], data)


def text(value: str) -> Field:
    """A field of text, in UTF-8; where all is ASCII it is what the standard asks for."""
    data = value.encode("utf-8", "backslashreplace") + b"\0"
    return Field(ASCII, len(data), data)


def read_header(data: bytes) -> tuple[str, int]:
    """Byte order, and where the first directory is.

    Raises:
        ValueError: this is no TIFF, or a BigTIFF.
    """
    order = ORDERS.get(data[:4])
    if order is None or len(data) < HEADER_BYTES:
        raise ValueError("neither II*\\0 nor MM\\0* at the beginning")
    return order, struct.unpack_from(f"{order}I", data, 4)[0]


def header(order: str, first: int) -> bytes:
    """The eight bytes that a file begins with; `first` is where its first directory is."""
    magic = next(magic for magic, known in ORDERS.items() if known == order)
    return magic + struct.pack(f"{order}I", first)


def read_directory(data: bytes, at: int, order: str) -> Directory:
    """The fields of the directory at `at`; those that are not whole are left out."""
    directory = {}
    try:
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + entries * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, count, value = struct.unpack_from(f"{order}HHI4s", data, entry)
            size = SIZES.get(kind, 0) * count
            if size > INLINE_BYTES:
                (start,) = struct.unpack(f"{order}I", value)
                value = data[start : start + size]
            if 0 < size <= len(value):
                directory[tag] = Field(kind, count, bytes(value[:size]))
    except struct.error:  # the file ends within the directory
        pass
    return directory


def directory_bytes(directory: Directory, at: int, order: str) -> bytes:
    """The directory as it stands at `at`, an even number; longer values follow the entries."""
    table = struct.pack(f"{order}H", len(directory))
    end = at + len(table) + len(directory) * ENTRY_BYTES + 4
    values = b""
    for tag, (kind, count, data) in sorted(directory.items()):
        inline = data.ljust(INLINE_BYTES, b"\0")
        if len(data) > INLINE_BYTES:
            inline = struct.pack(f"{order}I", end + len(values))
            values += data + b"\0" * (len(data) % 2)
        table += struct.pack(f"{order}HHI4s", tag, kind, count, inline)
    return table + bytes(4) + values  # no next directory


def tree_bytes(main: Directory, children: Mapping[int, Directory], at: int, order: str) -> bytes:
    """A directory at `at`, followed by those that its fields point to.

    Args:
        main: without the pointers.
        children: {tag of the pointer: directory}; an empty one is left out.
        at: an even number.
        order: of the bytes.
    """
    children = {tag: child for tag, child in children.items() if child}
    pointers = {tag: numbers(order, LONG, 0) for tag in children}
    end, tail = at + len(directory_bytes(main | pointers, at, order)), b""
    for tag, child in children.items():
        pointers[tag] = numbers(order, LONG, end + len(tail))
        tail += directory_bytes(child, end + len(tail), order)
    return directory_bytes(main | pointers, at, order) + tail
