"""EXIF data as a camera writes it, made with struct alone: orientation, thumbnail, notes, place."""

import struct

THUMBNAIL = b"\xff\xd8 a small picture of the photograph \xff\xd9"
NOTES = b"secret notes of the maker, with a preview" * 4
ORDERS = {"<": b"II*\0", ">": b"MM\0*"}


def _field(order, tag, kind, value):
    """(tag, type, count, bytes)."""
    if isinstance(value, bytes):
        return tag, kind, len(value), value
    code = {3: "H", 4: "I", 5: "I", 10: "i"}[kind]
    data = struct.pack(f"{order}{len(value)}{code}", *value)
    return tag, kind, len(value) // (2 if kind in (5, 10) else 1), data


def _directory(order, at, fields, following=0):
    table, values = struct.pack(order + "H", len(fields)), b""
    end = at + 2 + 12 * len(fields) + 4
    for tag, kind, count, data in sorted(fields):
        inline = data.ljust(4, b"\0")
        if len(data) > 4:
            inline = struct.pack(order + "I", end + len(values))
            values += data + b"\0" * (len(data) % 2)
        table += struct.pack(order + "HHI4s", tag, kind, count, inline)
    return table + struct.pack(order + "I", following) + values


def camera_exif(order="<", orientation=6, extra=()):
    """Without the prefix; `extra` are more fields (tag, type, value) of the exposure."""

    def pointers(photo, gps):
        return [_field(order, 0x8769, 4, [photo]), _field(order, 0x8825, 4, [gps])]

    image = [
        _field(order, 270, 2, b"A street in Arles\0"),
        _field(order, 271, 2, b"Canon\0"),
        _field(order, 272, 2, b"EOS 5\0"),
        _field(order, 274, 3, [orientation]),
        _field(order, 282, 5, [72, 1]),
        _field(order, 305, 2, b"Firmware 1.0\0"),
        _field(order, 306, 2, b"2026:05:01 10:20:30\0"),
        _field(order, 315, 2, "Zoë\0".encode()),
        _field(order, 33432, 2, b"CC BY\0"),
    ]
    photo = [
        _field(order, 0x829A, 5, [1, 50]),
        _field(order, 0x9000, 7, b"0230"),
        _field(order, 0x9003, 2, b"2026:05:01 10:20:30\0"),
        _field(order, 0x9201, 10, [-5, 2]),
        _field(order, 0x9214, 3, [100, 200]),
        _field(order, 0x927C, 7, NOTES),
        _field(order, 0xA001, 3, [65535]),
        _field(order, 0xA002, 4, [6000]),
        _field(order, 0xA003, 4, [4000]),
        *(_field(order, *each) for each in extra),
    ]
    gps = [_field(order, 1, 2, b"N\0"), _field(order, 2, 5, [43, 1, 40, 1, 36, 1])]
    at = {"photo": 8 + len(_directory(order, 8, image + pointers(0, 0)))}
    at["gps"] = at["photo"] + len(_directory(order, at["photo"], photo))
    at["small"] = at["gps"] + len(_directory(order, at["gps"], gps))
    small = [_field(order, 513, 4, [0]), _field(order, 514, 4, [len(THUMBNAIL)])]
    end = at["small"] + len(_directory(order, at["small"], small))
    small[0] = _field(order, 513, 4, [end])
    return (
        ORDERS[order]
        + struct.pack(order + "I", 8)
        + _directory(order, 8, image + pointers(at["photo"], at["gps"]), at["small"])
        + _directory(order, at["photo"], photo)
        + _directory(order, at["gps"], gps)
        + _directory(order, at["small"], small)
        + THUMBNAIL
    )
