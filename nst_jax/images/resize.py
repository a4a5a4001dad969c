"""Sizes and positions: how large an image is to be, resizing it, setting it upright."""

import numpy as np
from PIL import Image

from nst_jax.errors import ImageError

MIN_SIDE = 16  # four poolings leave one pixel for conv5_1
MAX_PIXELS = 178_000_000  # Pillow's own default limit against decompression bombs is 178.96e6
ORIENTATION = 0x0112  # EXIF 2.32, section 4.6.4


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Scale (height, width) so that the long side is `size`; halves round up, 0 becomes 1."""
    longest = max(height, width)
    rounded = [(2 * side * size + longest) // (2 * longest) for side in (height, width)]
    return max(1, rounded[0]), max(1, rounded[1])


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize by Lanczos-3 with antialiasing, in floats; the overshoot is clipped to [0, 1].

    Args:
        image: (H, W, C) float in [0, 1].
        shape: (height, width) wanted.

    Returns:
        (height, width, C) float32 in [0, 1].
    """
    return resample(image, shape).clip(0, 1)


def resample(
    image: np.ndarray,
    shape: tuple[int, int],
    method: Image.Resampling = Image.Resampling.LANCZOS,
) -> np.ndarray:
    """Resize as `resize` does, without clipping: (H, W, C) float to (height, width, C) float32."""
    planes = np.moveaxis(np.asarray(image, np.float32), -1, 0)
    if planes.shape[1:] != shape:
        images = (Image.fromarray(np.ascontiguousarray(plane)) for plane in planes)
        planes = np.stack([np.asarray(image.resize(shape[::-1], method)) for image in images])
    return np.moveaxis(planes, 0, -1)


def interpolate(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) bilinearly, with antialiasing: no value is beyond those that were there."""
    resized = resample(plane[..., None], shape, Image.Resampling.BILINEAR)[..., 0]
    return resized.clip(plane.min(), plane.max())


def cover(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Scale an image until it covers `shape`, and cut out its middle.

    Args:
        image: (H, W, C) float in [0, 1].
        shape: (height, width) wanted.

    Returns:
        (height, width, C) float32 in [0, 1].
    """
    scale = max(wanted / side for wanted, side in zip(shape, image.shape, strict=False))
    scaled = [max(w, round(scale * side)) for w, side in zip(shape, image.shape, strict=False)]
    image = resize(image, (scaled[0], scaled[1]))
    top, left = ((side - w) // 2 for side, w in zip(scaled, shape, strict=True))
    return image[top : top + shape[0], left : left + shape[1]]


def too_large(verb: str, pixels: int) -> str:
    """The complaint about an image, or the size it is to have, of so many pixels."""
    limit = MAX_PIXELS // 1_000_000
    return (
        f"{verb} {pixels / 1e6:.1f} megapixels, over the limit of {limit}; scale it down (a JPEG "
        f"may be as large as it is, if a smaller size is asked for)"
    )


def check_sides(height: int, width: int, size: int | None, decoded: int | None = None) -> None:
    """Refuse what is too large or too small as it is or at a long side of `size`.

    Args:
        height: in pixels, from the header.
        width: in pixels, from the header.
        size: wanted, in pixels; None keeps the file's.
        decoded: how many pixels are decoded of it; None: all.
    """
    shapes = {"has": (height, width, height * width if decoded is None else decoded)}
    if size is not None:
        rows, columns = fit_size(height, width, size)
        shapes[f"at size {size} would have"] = (rows, columns, rows * columns)
    for verb, (rows, columns, pixels) in shapes.items():
        if pixels > MAX_PIXELS:
            raise ImageError(too_large(verb, rows * columns))
        if min(rows, columns) < MIN_SIDE:
            raise ImageError(
                f"{verb} {columns} x {rows} pixels, and each side needs at least {MIN_SIDE}; "
                "give a larger image or size, or crop it"
            )


def upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Turn and mirror (H, W, C) as the EXIF data of the file's image ask.

    What is unknown or broken asks for nothing. `ImageOps.exif_transpose` takes no floats in color.
    """
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF data, on which Pillow raises nearly anything
        orientation = 1
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)
