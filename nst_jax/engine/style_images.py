"""The images that a run is given: files or arrays, one style image or several, at their sizes."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax.errors import ImageError
from nst_jax.images import io, resize
from nst_jax.images.opening import ImageSource, hold, is_path

ImageLike = np.ndarray | jax.Array | ImageSource

# What resizing in floats may add to [0, 1].
OVERSHOOT = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class StyleImage:
    """A style image, read: (H, W, 3) float32, at the style size and at each style scale."""

    image: np.ndarray
    scaled: tuple[np.ndarray, ...]


StyleLike = ImageLike | StyleImage | Sequence[ImageLike | StyleImage]


def read_image(name: str, image: ImageLike, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a file at a long side of `size` pixels, or check an array.

    Returns:
        (H, W, 3) float32, on white; and (H, W) float32 in [0, 1], how opaque it is, or None: all.

    Raises:
        ImageError: it cannot be read, or is no image in [0, 1].
    """
    if not isinstance(image, np.ndarray | jax.Array):
        return io.load_with_alpha(image, size)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] not in (3, 4) or not image.size:
        raise ImageError(f"the {name} image has shape {image.shape}; wanted (H, W, 3), or 4")
    if not (image.min() >= -OVERSHOOT and image.max() <= 1 + OVERSHOOT):  # also where it is NaN
        raise ImageError(
            f"the {name} image has values from {image.min():g} to {image.max():g}; wanted sRGB in "
            f"[0, 1]: divide bytes by 255"
        )
    if image.shape[-1] == 3:
        return image, None
    alpha = image[..., 3].clip(0, 1)
    if not alpha.any():
        raise ImageError(f"the {name} image is transparent throughout; give its colors alone")
    return image[..., :3] * alpha[..., None] + (1 - alpha[..., None]), alpha


def list_style_images(
    style: StyleLike | None, held: Callable[[Any], Any] = hold
) -> tuple[ImageLike | StyleImage, ...]:
    """The style images that were given: None is none of them, a folder is its images, sorted.

    A warning tells what a folder's other files are.

    Args:
        style: as `stylize` takes it.
        held: makes of an open file what can be read again.

    Raises:
        ImageError: a folder has no images.
    """
    if style is None:
        return ()
    given = style if isinstance(style, list | tuple) else (style,)
    return tuple(held(image) for each in given for image in _unfolded(each, _warn))


def list_files(names: Iterable[str], tell: Callable[[str], None] = lambda line: None) -> list[str]:
    """Names of files and folders, each folder replaced by its images.

    Args:
        names: of files and folders.
        tell: gets a line on the other files of a folder.

    Raises:
        ImageError: a folder has no images.
    """
    return [str(file) for name in names for file in _unfolded(name, tell)]


def _unfolded(given: Any, tell: Callable[[str], None]) -> Sequence:
    if not (is_path(given) and Path(given).is_dir()):
        return (given,)
    found = io.images_in(given)
    if left_out := io.describe_left_out(given):
        tell(left_out)
    return found


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=5)


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

        The caller keeps arrays alive while this reader is, which knows them by their `id`.

        Raises:
            ImageError: one cannot be read, is no image in [0, 1], or would be too small or large.
        """
        read: list[StyleImage] = []
        for image in given:
            if not isinstance(image, StyleImage):
                whole, *scaled = (self._at(image, scale) for scale in (1.0, *scales))
                image = StyleImage(whole, tuple(scaled))
            read.append(image)
        return tuple(read)

    def _at(self, given: ImageLike, scale: float) -> np.ndarray:
        key = (identity(given), scale)
        if key not in self._read:
            image, _ = read_image("style", given, _scaled(self._size, scale))
            is_array = isinstance(given, np.ndarray | jax.Array)
            self._read[key] = _resampled(image, scale) if is_array and scale != 1 else image
        return self._read[key]


def identity(given: Any) -> str | int:
    """Of an image that is given: the same for the same file or array."""
    return os.fspath(given) if is_path(given) else id(given)


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
