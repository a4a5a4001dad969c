"""What is copied of a photograph's EXIF data, and how other programs read the copy.

The photograph's is made with struct (exif_maker.py), and the copy is read by Pillow.
"""

import struct
import warnings

import numpy as np
import pytest
from exif_maker import NOTES, THUMBNAIL, camera_exif
from PIL import ExifTags, Image

from nst_jax import SaveOptions, save_image
from nst_jax.images import exif
from nst_jax.images.exif import MAX_BYTES

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
ORIENTATION, SOFTWARE, NOTES_TAG = 274, 305, 0x927C
PREFIX = b"Exif\0\0"


def read(data):
    """The directories as Pillow reads them: first, exposure, place, and that of the thumbnail."""
    read = Image.Exif()
    read.load(PREFIX + data)
    parts = (read.get_ifd(tag) for tag in (0x8769, 0x8825, ExifTags.IFD.IFD1))
    return dict(read), *map(dict, parts)


def types_of(data, tag):
    """{tag: (type, bytes)} of the directory that a tag of the first one points to; by struct."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]

    def entries(start):
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number, place = struct.unpack_from(order + "HHII", data, entry)
            size = number * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8}[kind]
            place = entry + 8 if size <= 4 else place
            yield tag, (kind, data[place : place + size])

    first = dict(entries(struct.unpack_from(order + "I", data, 4)[0]))
    return dict(entries(struct.unpack(order + "I", first[tag][1])[0])) if tag else first


def copied(data):
    with warnings.catch_warnings(action="ignore"):  # as `read_exif` does
        return exif.copy_exif(data)


def copy(data, height=20, width=30, dpi=None):
    """The EXIF data of an image of this size, from a photograph's."""
    return exif.to_bytes(exif.describe(copied(data), (height, width, 3), dpi))


@ORDERS
def test_the_maker_makes_what_pillow_reads(order):
    image, photo, gps, small = read(camera_exif(order))
    assert image[ORIENTATION] == 6 and photo[NOTES_TAG] == NOTES and gps[1] == "N"
    assert small[514] == len(THUMBNAIL) and photo[0xA002] == 6000


@ORDERS
def test_what_is_copied(order):
    image, photo, gps, _ = read(copy(camera_exif(order)))
    assert image[270] == "A street in Arles" and image[33432] == "CC BY"
    assert (image[271], image[272]) == ("Canon", "EOS 5")
    assert image[306] == photo[0x9003] == "2026:05:01 10:20:30"
    assert float(photo[0x829A]) == 1 / 50 and float(photo[0x9201]) == -2.5
    assert photo[0x9000] == b"0230"
    assert gps[1] == "N" and [float(number) for number in gps[2]] == [43, 40, 36]


@ORDERS
def test_fields_keep_their_types_and_text_its_letters(order):
    """Such as Pillow would guess otherwise."""
    extra = {
        0x9204: (10, [1, 3]),  # a signed rational that is positive
        0x9286: (7, b"ASCII\0\0\0a comment"),
        0xA301: (7, b"\1"),
        0xA430: (2, "Zoë\0".encode()),
        0xA432: (5, [24, 1, 70, 1, 0, 0, 28, 10]),
    }
    fields = [(tag, kind, value) for tag, (kind, value) in extra.items()]
    copies = types_of(copy(camera_exif(order, extra=fields)), 0x8769)
    wanted = types_of(camera_exif(order, extra=fields), 0x8769)
    assert {tag: copies[tag][0] for tag in extra} == {tag: kind for tag, (kind, _) in extra.items()}
    for tag in (0x9204, 0x9286, 0xA301, 0xA430):
        assert copies[tag] == wanted[tag]
    assert types_of(copy(camera_exif(order)), None)[315] == (2, "Zoë\0".encode())


@ORDERS
def test_what_is_not_copied(order):
    data = copy(camera_exif(order))
    image, photo, _, small = read(data)
    assert not {ORIENTATION, SOFTWARE, 282, 283} & set(image) and small == {}
    assert not {NOTES_TAG, 0x9214} & set(photo)
    assert THUMBNAIL not in data and NOTES not in data  # nor bytes that nothing points to
    assert len(data) < 600


@ORDERS
def test_what_is_set_anew(order):
    _, photo, *_ = read(copy(camera_exif(order), height=768, width=1024))
    assert (photo[0xA002], photo[0xA003], photo[0xA001]) == (1024, 768, 1)
    image, *_ = read(copy(camera_exif(order), dpi=300))
    assert (image[282], image[283], image[296]) == (300, 300, 2)


def test_of_nothing():
    image, photo, gps, _ = read(exif.to_bytes(exif.describe(None, (20, 30, 3))))
    assert image.keys() <= {0x8769} and gps == {}
    assert photo == {0x9000: b"0232", 0xA001: 1, 0xA002: 30, 0xA003: 20}


def test_copies_of_copies_are_the_same():
    once = copy(camera_exif(">"))
    assert copy(once) == once


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PREFIX,
        b"garbage" * 9,
        b"II*\0\x08\0\0",
        b"II+\0\x08\0\0\0" + bytes(16),
        b"MM\0*\0\0\0\x08\0\0" + bytes(4),
    ],
)
def test_nothing_to_copy(data):
    assert copied(data) is None


def test_only_an_orientation_is_nothing():
    orientation = Image.Exif()
    orientation[ORIENTATION] = 6
    assert copied(orientation.tobytes().removeprefix(PREFIX)) is None


@ORDERS
def test_data_cut_short(order):
    """However it is cut, what is left is a part of the whole, and can be written and read."""
    whole = camera_exif(order)
    wanted, found = read(copied(whole)), set()
    for length in range(0, len(whole), 7):
        cut = copied(whole[:length])
        if cut is not None:
            for got, all_of_it in zip(read(cut), wanted, strict=True):
                pointers = {0x8769: None, 0x8825: None}
                assert (got | pointers).items() <= (all_of_it | pointers).items()
                found |= got.keys()
            read(copy(cut))
    assert {271, 0x829A} <= found


@pytest.mark.parametrize(
    "pointer", [(3, 1, b"\xff\xff\0\0"), (5, 9, b"\x08\0\0\0"), (2, 4, b"abcd")]
)
def test_pointer_to_nowhere(pointer):
    kind, count, value = pointer
    data = camera_exif("<")
    at = data.index(b"\x69\x87\x04\0")
    broken = data[: at + 2] + struct.pack("<HI4s", kind, count, value) + data[at + 12 :]
    image, photo, *_ = read(copied(broken))
    assert image[271] == "Canon" and photo == {}


def test_large_fields_are_left_out():
    """A JPEG has room for less than 64 kB; the small fields are more to the point."""
    fields = [(0x9286, 7, b"x" * MAX_BYTES), (0x9999, 7, b"y" * 100)]
    data = copied(camera_exif(extra=fields))
    _, photo, *_ = read(data)
    assert 0x9286 not in photo and photo[0x9999] == b"y" * 100 and len(data) < 60_000


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
@pytest.mark.parametrize("kind", [1, 3, 5, 12])
def test_fields_of_other_types_do_not_cost_the_image(tmp_path, name, kind):
    """The maker and its name are of six numbers, where they should be text."""
    data = camera_exif("<")
    for tag in (271, 315):
        at = data.index(struct.pack("<HH", tag, 2))
        data = data[: at + 2] + struct.pack("<HI", kind, 6) + data[at + 8 :]
    exif = copied(data)
    save_image(np.zeros((20, 20, 3)), tmp_path / name, options=SaveOptions(exif=exif))
    with Image.open(tmp_path / name) as saved:
        assert saved.getexif()[272] == "EOS 5" and saved.getexif().get_ifd(0x8825)[1] == "N"
