"""A reader of PNG files in color, from the specification alone: chunks, filters, pixels.

Portable Network Graphics Specification (Third Edition); slow, and for small pictures.
"""

import struct
import zlib

import numpy as np


def read_chunks(data):
    """[(type, data)] of a whole PNG; every length and CRC is checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + length
    assert at == len(data) and chunks[-1] == (b"IEND", b"")
    return chunks


def read_pixels(data):
    """(H, W, C) uint8 or uint16 of a PNG in RGB or RGBA, and the set of the filters in it."""
    chunks = read_chunks(data)
    header = struct.unpack(">IIBBBBB", chunks[0][1])
    width, height, bits = header[:3]
    assert chunks[0][0] == b"IHDR" and header[4:] == (0, 0, 0) and bits in (8, 16)
    channels = {2: 3, 6: 4}[header[3]]
    stream = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    step, length = channels * bits // 8, width * channels * bits // 8
    assert len(stream) == height * (length + 1)
    above, rows, filters = [0] * length, [], set()
    for at in range(0, len(stream), length + 1):
        filters.add(stream[at])
        above = _unfilter(stream[at], stream[at + 1 : at + 1 + length], above, step)
        rows.append(bytes(above))
    kind = np.uint8 if bits == 8 else np.dtype(">u2")
    pixels = np.frombuffer(b"".join(rows), kind).reshape(height, width, channels)
    return pixels.astype(np.uint8 if bits == 8 else np.uint16), filters


def _unfilter(kind, row, above, step):
    result = []
    for n, byte in enumerate(row):
        a = result[n - step] if n >= step else 0
        c = above[n - step] if n >= step else 0
        result.append((byte + _predict(kind, a, above[n], c)) % 256)
    return result


def _predict(kind, a, b, c):
    if kind < 4:
        return (0, a, b, (a + b) // 2)[kind]
    p = a + b - c
    return min((a, b, c), key=lambda value: abs(p - value))  # the first of equals, in this order
