"""What is copied of a photograph's EXIF data, and how other programs read the copy.

The photograph's is made with struct (exif_maker.py), and the copy is read by Pillow.
"""

import pytest
from exif_maker import NOTES, THUMBNAIL, camera_exif
from PIL import ExifTags, Image

from nst_jax.images.exif import EMPTY, LARGEST, PREFIX, describing, exif_bytes, parse_exif

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
ORIENTATION, SOFTWARE, NOTES_TAG = 274, 305, 0x927C


def read(data):
    """The directories as Pillow reads them: first, exposure, place, and that of the thumbnail."""
    exif = Image.Exif()
    exif.load(PREFIX + data)
    parts = (exif.get_ifd(tag) for tag in (0x8769, 0x8825, ExifTags.IFD.IFD1))
    return dict(exif), *map(dict, parts)


def copy(data, height=20, width=30, dpi=None):
    return exif_bytes(describing(parse_exif(data), height, width, dpi))


@ORDERS
def test_the_maker_makes_what_pillow_reads(order):
    image, photo, gps, small = read(camera_exif(order))
    assert image[ORIENTATION] == 6 and photo[NOTES_TAG] == NOTES and gps[1] == "N"
    assert small[514] == len(THUMBNAIL) and photo[0xA002] == 6000


@ORDERS
@pytest.mark.parametrize("prefix", [b"", PREFIX])
def test_what_is_copied(order, prefix):
    image, photo, gps, _ = read(copy(prefix + camera_exif(order)))
    assert image[270] == "A street in Arles" and image[33432] == "CC BY"
    assert (image[271], image[272]) == ("Canon", "EOS 5")
    assert image[306] == photo[0x9003] == "2026:05:01 10:20:30"
    assert float(photo[0x829A]) == 1 / 50 and float(photo[0x9201]) == -2.5
    assert photo[0x9000] == b"0230"
    assert gps[1] == "N" and [float(number) for number in gps[2]] == [43, 40, 36]


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
    image, photo, gps, _ = read(exif_bytes(describing(EMPTY, 20, 30, None)))
    assert image.keys() <= {0x8769} and gps == {}
    assert photo == {0x9000: b"0232", 0xA001: 1, 0xA002: 30, 0xA003: 20}


def test_copies_of_copies_are_the_same():
    once = copy(camera_exif(">"))
    assert copy(once) == once


NOTHING = [
    b"",
    PREFIX,
    b"Exif\0\0garbage" * 9,
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08\0\0" + bytes(4),
]


@pytest.mark.parametrize("data", NOTHING)
def test_nothing_to_copy(data):
    assert parse_exif(data) is None


def test_only_an_orientation_is_nothing():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    assert parse_exif(exif.tobytes()) is None


@ORDERS
def test_data_cut_short(order):
    """However it is cut, what is left is a part of the whole, and can be written and read."""
    whole = camera_exif(order)
    _, image, photo, gps = parse_exif(whole)
    for length in range(0, len(whole), 7):
        cut = parse_exif(whole[:length])
        if cut is not None:
            assert cut.image.items() <= image.items() and cut.photo.items() <= photo.items()
            assert cut.gps.items() <= gps.items()
            read(exif_bytes(describing(cut, 20, 30, None)))


def test_pointer_of_another_type():
    data = camera_exif("<")
    at = data.index(b"\x69\x87\x04\0")
    broken = data[: at + 2] + b"\x03\0" + data[at + 4 :]  # a short, of two bytes
    assert parse_exif(broken).photo == {} and parse_exif(broken).image


def test_large_fields_are_left_out():
    """A JPEG has room for less than 64 kB; the small fields are more to the point."""
    fields = [(0x9286, 7, b"x" * LARGEST), (0x9999, 7, b"y" * 100)]
    exif = parse_exif(camera_exif(extra=fields))
    assert 0x9286 not in exif.photo and exif.photo[0x9999].data == b"y" * 100
    assert len(exif_bytes(exif)) < 60_000
