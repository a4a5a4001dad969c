"""Directories of fields: read as Pillow writes them, written as Pillow and struct read them."""

import io
import struct

import pytest
from PIL import Image, TiffImagePlugin

from nst_jax.images import ifd
from nst_jax.images.ifd import LONG, RATIONAL, SHORT, UNDEFINED, Field, numbers

ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def read_back(data):
    """{tag: value} as Pillow reads the first directory of a TIFF."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    stream = io.BytesIO(data)
    stream.seek(directory.next)
    directory.load(stream)
    return dict(directory)


def whole(fields, children, order, at=8):
    return ifd.header(order, at) + b"\0" * (at - 8) + ifd.tree_bytes(fields, children, at, order)


@ORDERS
def test_what_pillow_reads(order):
    fields = {
        300: numbers(order, SHORT, 7),
        301: numbers(order, SHORT, 1, 2, 3),
        302: numbers(order, LONG, 2**32 - 1),
        303: numbers(order, RATIONAL, 300, 1, 1, 3),
        304: ifd.text("abc"),
        305: ifd.text("od and longer"),
        306: Field(UNDEFINED, 3, b"\1\2\3"),
    }
    values = read_back(whole(fields, {}, order, at=20))
    assert values[300] == 7 and values[301] == (1, 2, 3) and values[302] == 2**32 - 1
    assert [float(value) for value in values[303]] == pytest.approx([300, 1 / 3])
    assert values[304] == "abc" and values[305] == "od and longer"
    assert bytes(values[306]) == b"\1\2\3"


def test_what_pillow_writes():
    exif = Image.Exif()
    exif[271], exif[0x0112] = "Canon", 6
    exif[0x8769] = {0x829A: TiffImagePlugin.IFDRational(1, 50), 0x9003: "2026:05:01 10:20:30"}
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    order, first = ifd.read_header(data)
    main = ifd.read_directory(data, first, order)
    assert main[271] == Field(2, 6, b"Canon\0")
    assert main[0x0112] == Field(SHORT, 1, struct.pack(order + "H", 6))
    (at,) = struct.unpack(order + "I", main[0x8769].data)
    photo = ifd.read_directory(data, at, order)
    assert photo[0x829A] == Field(RATIONAL, 1, struct.pack(order + "II", 1, 50))
    assert photo[0x9003].data == b"2026:05:01 10:20:30\0"


@ORDERS
@pytest.mark.parametrize("at", [8, 1000])
def test_round_trip_of_a_tree(order, at):
    main = {300: ifd.text("main"), 10: numbers(order, LONG, *range(50))}
    children = {
        500: {1: ifd.text("a longer text"), 2: numbers(order, SHORT, 1)},
        400: {9: Field(129, 5, b"utf-8")},
        450: {},
    }
    data = whole(main, children, order, at)
    assert ifd.read_header(data) == (order, at)
    read = ifd.read_directory(data, at, order)
    assert {tag: read[tag] for tag in main} == main and set(read) == {10, 300, 400, 500}
    for tag in (400, 500):
        (place,) = struct.unpack(order + "I", read[tag].data)
        assert place % 2 == 0 and ifd.read_directory(data, place, order) == children[tag]


@ORDERS
def test_entries_are_sorted_and_words_even(order):
    data = ifd.directory_bytes({9: ifd.text("odd it is"), 3: ifd.text("even it isn't")}, 8, order)
    tags = [struct.unpack_from(order + "H", data, 2 + 12 * n)[0] for n in range(2)]
    places = [struct.unpack_from(order + "I", data, 10 + 12 * n)[0] for n in range(2)]
    assert tags == [3, 9] and all(place % 2 == 0 for place in places)
    assert data[2 + 24 : 2 + 28] == bytes(4)  # no next one


def test_any_text():
    assert ifd.text("Zoë").data == "Zoë\0".encode() and ifd.text("Zoë").number == 5
    assert ifd.text("\udcff").data == rb"\udcff" + b"\0"


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II+\0\0\0\0\0", b"JPEG....", b"II\0*\0\0\0\x08"])
def test_no_tiff(data):
    with pytest.raises(ValueError, match="beginning"):
        ifd.read_header(data)


@ORDERS
def test_damaged_directories_lose_fields_only(order):
    fields = {1: numbers(order, SHORT, 5), 2: ifd.text("a text of some lengths"), 3: ifd.text("x")}
    data = whole(fields, {}, order)
    assert ifd.read_directory(data, 8, order) == fields
    for length in range(len(data)):
        read = ifd.read_directory(data[:length], 8, order)
        assert read.items() <= fields.items()
    assert set(ifd.read_directory(data[:-1], 8, order)) == {1, 2, 3}  # the padding's byte
    assert set(ifd.read_directory(data[:-3], 8, order)) == {1, 3}
    unknown = data[:12] + b"\xff\xff" + data[14:]  # the type of the first
    assert ifd.read_directory(data, 2**31, order) == {} != ifd.read_directory(unknown, 8, order)
    huge = data[:26] + b"\xff" * 4 + data[30:]  # the count of the second
    assert set(ifd.read_directory(huge, 8, order)) == {1, 3}
