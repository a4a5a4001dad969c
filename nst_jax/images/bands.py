"""Bands of rows: what is done to a large image band by band takes memory for one of them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

PIXELS = 2**20  # of a band, about


def bands(height: int, width: int) -> Iterator[slice]:
    """The rows of an image, from the top; each band has at least one."""
    count = max(1, PIXELS // max(1, width))
    return (slice(top, min(top + count, height)) for top in range(0, height, count))


def crop(image: Image.Image, rows: slice) -> Image.Image:
    """A band of an image of Pillow's."""
    return image.crop((0, rows.start, image.width, rows.stop))


class Bands(NamedTuple):
    """An image that is made when it is asked for, band by band.

    Attributes:
        shape: (H, W, C).
        of_rows: gives these rows of it, (h, W, C) float32.
    """

    shape: tuple[int, int, int]
    of_rows: Callable[[slice], np.ndarray]

    def planes(self) -> Iterator[tuple[slice, int, np.ndarray]]:
        """All of it, in pieces: rows, channel, and what is there, (h, W)."""
        for rows in bands(*self.shape[:2]):
            for channel, plane in enumerate(np.moveaxis(self.of_rows(rows), -1, 0)):
                yield rows, channel, plane
