"""The images that a run is given: files or arrays, one style image or several, at their sizes."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import jax
import numpy as np

from nst_jax.errors import ImageError
from nst_jax.images import io, resize

ImageLike = np.ndarray | jax.Array | str | Path

# What resizing in floats may add to [0, 1].
OVERSHOOT = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class StyleImage:
    """A style image, read.

    Attributes:
        image: (H, W, 3), float32, at the style size.
        scaled: at each of the settings' style scales; `image` itself where that is 1.
    """

    image: np.ndarray
    scaled: tuple[np.ndarray, ...]


StyleLike = ImageLike | StyleImage | Sequence[ImageLike | StyleImage]


@overload
def read_image(name: str, image: None, size: int) -> None: ...
@overload
def read_image(name: str, image: ImageLike, size: int) -> np.ndarray: ...
def read_image(name: str, image: ImageLike | None, size: int) -> np.ndarray | None:
    """Read a file at a long side of `size` pixels, or check an array.

    Returns:
        (H, W, 3), float32; None where there is no image.

    Raises:
        ImageError: it cannot be read, or is no image in [0, 1].
    """
    if image is None:
        return None
    if isinstance(image, str | Path):
        return io.load_image(image, size)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ImageError(f"the {name} image has shape {image.shape}; wanted (H, W, 3)")
    if not (image.min() >= -OVERSHOOT and image.max() <= 1 + OVERSHOOT):  # also where it is NaN
        raise ImageError(
            f"the {name} image has values from {image.min():g} to {image.max():g}; wanted sRGB in "
            f"[0, 1]: divide bytes by 255"
        )
    return image


def list_style_images(style: StyleLike | None) -> tuple[ImageLike | StyleImage, ...]:
    """The style images that were given: None is none of them, a folder is its images, sorted.

    Raises:
        ImageError: a folder has no images.
    """
    if style is None:
        return ()
    given = style if isinstance(style, list | tuple) else (style,)
    return tuple(image for each in given for image in _unfolded(each))


def list_files(names: Iterable[str]) -> list[str]:
    """Names of files and folders, each folder replaced by its images.

    Raises:
        ImageError: a folder has no images.
    """
    return [str(file) for name in names for file in _unfolded(name)]


def _unfolded(given: Any) -> Sequence:
    is_folder = isinstance(given, str | Path) and Path(given).is_dir()
    return io.images_in(given) if is_folder else (given,)


class StyleImageReader:
    """Reads style images; what it has read once, it need not read again."""

    def __init__(self, size: int):
        """Take the long side, in pixels, that files are read at where the scale is 1."""
        self._size = size
        self._read: dict[tuple[str | int, float], np.ndarray] = {}

    def read(
        self, given: Sequence[ImageLike | StyleImage], scales: Sequence[float]
    ) -> tuple[StyleImage, ...]:
        """Each style image at these scales. Files are read at every size, arrays resampled.

        Args:
            given: from `list_style_images`; kept alive by the caller while this reader is. What has
                been read already is taken as it is.
            scales: the settings' style_scale.

        Raises:
            ImageError: one cannot be read, is no image in [0, 1], or would be too small or large.
        """
        return tuple(
            image
            if isinstance(image, StyleImage)
            else StyleImage(self._at(image, 1.0), tuple(self._at(image, scale) for scale in scales))
            for image in given
        )

    def _at(self, given: ImageLike, scale: float) -> np.ndarray:
        key = (str(given) if isinstance(given, str | Path) else id(given), scale)
        if key not in self._read:
            self._read[key] = self._read_at(given, scale)
        return self._read[key]

    def _read_at(self, given: ImageLike, scale: float) -> np.ndarray:
        if isinstance(given, str | Path):
            return io.load_image(given, _scaled(self._size, scale))
        image = read_image("style", given, self._size)
        return image if scale == 1 else _resampled(image, scale)


def _resampled(image: np.ndarray, scale: float) -> np.ndarray:
    height, width, _ = image.shape
    size = _scaled(max(height, width), scale)
    try:
        resize.check_sides(height, width, size)
    except ImageError as error:
        raise ImageError(f"the style image {error}") from error
    return resize.resize(image, resize.fit_size(height, width, size))


def _scaled(size: int, scale: float) -> int:
    return max(1, round(scale * size))
