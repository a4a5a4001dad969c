"""The ICC profile of sRGB, the same bytes every time: Pillow's carries the time of its making.

Version 2, which every program that manages colours reads, with tables as in the usual profiles.
Source: ICC.1:2001-04; IEC 61966-2-1:1999.
"""

import struct
from collections.abc import Mapping

CURVE_POINTS = 1024  # as in HP's profile of 1998 and the ICC's sRGB2014
D50 = (0xF6D6, 0x10000, 0xD32D)  # in 65536ths, as all of these
# XYZ of the primaries, adapted to D50 by Bradford's transform; as in HP's profile.
PRIMARIES = {
    b"rXYZ": (0x6FA2, 0x38F5, 0x0390),
    b"gXYZ": (0x6299, 0xB785, 0x18DA),
    b"bXYZ": (0x24A0, 0x0F84, 0xB6CF),
}
CREATED = (1999, 10, 18, 0, 0, 0)  # of the standard
HEADER_BYTES, ENTRY_BYTES = 128, 12


def _decode(value: float) -> float:
    """From sRGB to linear light, both in [0, 1] (IEC 61966-2-1, section 5.2)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _curve() -> bytes:
    points = [round(65535 * _decode(n / (CURVE_POINTS - 1))) for n in range(CURVE_POINTS)]
    return b"curv" + struct.pack(f">4xI{CURVE_POINTS}H", CURVE_POINTS, *points)


def _xyz(values: tuple[int, int, int]) -> bytes:
    return b"XYZ " + struct.pack(">4x3I", *values)


def _description(name: bytes) -> bytes:
    """Of type textDescriptionType: ASCII, and neither Unicode nor Macintosh's script code."""
    return b"desc" + struct.pack(">4xI", len(name) + 1) + name + bytes(1 + 4 + 4 + 2 + 1 + 67)


def _assemble(tags: Mapping[bytes, bytes]) -> bytes:
    """Header, table and data; equal data are stored once."""
    at = HEADER_BYTES + 4 + len(tags) * ENTRY_BYTES
    table, data, places = struct.pack(">I", len(tags)), b"", {}
    for name, content in tags.items():
        if content not in places:
            places[content] = at + len(data)
            data += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    kinds = struct.pack(">I4s4s4s", 0x0210_0000, b"mntr", b"RGB ", b"XYZ ")
    head = struct.pack(">I4x", at + len(data)) + kinds + struct.pack(">6H", *CREATED) + b"acsp"
    head = (head + bytes(28)) + struct.pack(">3I", *D50)
    return head.ljust(HEADER_BYTES, b"\0") + table + data


SRGB_PROFILE = _assemble(
    {
        b"desc": _description(b"sRGB IEC61966-2.1"),
        b"cprt": b"text" + bytes(4) + b"No copyright, use freely\0",
        b"wtpt": _xyz(D50),
        **{name: _xyz(values) for name, values in PRIMARIES.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve()),
    }
)
