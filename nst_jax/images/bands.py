"""Bands of rows: what is done to a large image band by band takes memory for one of them."""

from collections.abc import Iterator

PIXELS = 2**20  # of a band, about


def bands(height: int, width: int) -> Iterator[slice]:
    """The rows of an image, from the top; each band has at least one."""
    count = max(1, PIXELS // max(1, width))
    return (slice(top, min(top + count, height)) for top in range(0, height, count))
