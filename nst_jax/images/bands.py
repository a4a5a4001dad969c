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


def by_bands(function: Callable[..., np.ndarray], *images: np.ndarray) -> np.ndarray:
    """What a function makes of images of one size, (H, W, …) each: (H, W, 3) float32.

    Args:
        function: of the same rows of each image; gives (h, W, 3), or (h, W, 1) for all channels.
        images: as many as it takes.
    """
    made = np.empty((*images[0].shape[:2], 3), np.float32)
    for rows in bands(*made.shape[:2]):
        made[rows] = function(*(image[rows] for image in images))
    return made


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
