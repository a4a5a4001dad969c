"""Sizes and positions: how large an image is to be, resizing it, setting it upright."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from nst_jax.errors import ImageError
from nst_jax.host_memory import as_text, free_on_host
from nst_jax.images.bands import Bands, bands, crop

MIN_SIDE = 16  # four poolings leave one pixel for conv5_1
# 16384 x 16384: that large a picture can be asked for. A decompression bomb of so many pixels takes
# 1.1 GB and seconds, where that is free. (Pillow's own default limit is 179 million.)
MAX_PIXELS = 2**28
DECODED, READ = 4, 12  # bytes of a pixel: as Pillow decodes colors, and as three floats
WORTH_ASKING = 10**9  # bytes; what takes less is read without looking for how much is free
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
    resized = resample(image, shape)
    return np.clip(resized, 0, 1, out=None if np.may_share_memory(resized, image) else resized)


def resample(
    image: np.ndarray,
    shape: tuple[int, int],
    method: Image.Resampling = Image.Resampling.LANCZOS,
) -> np.ndarray:
    """Resize as `resize` does, without clipping: (H, W, C) float to (height, width, C) float32.

    Of the same size it is the image itself.
    """
    image = np.asarray(image, np.float32)
    if image.shape[:2] == shape:
        return image
    height, width, channels = image.shape
    resampled = np.empty((*shape, channels), np.float32)
    for rows, channel, plane in resampled_planes(
        Bands((height, width, channels), image.__getitem__), shape, method
    ):
        resampled[rows, :, channel] = plane
    return resampled


def resampled_planes(
    image: Bands,
    shape: tuple[int, int],
    method: Image.Resampling = Image.Resampling.LANCZOS,
) -> Iterator[tuple[slice, int, np.ndarray]]:
    """Resize without clipping; in pieces, as `Bands.planes`, one channel after the other."""
    height, width, channels = image.shape
    for channel in range(channels):
        whole = Image.new("F", (width, height))
        for rows in bands(height, width):
            plane = np.ascontiguousarray(image.of_rows(rows)[..., channel])
            whole.paste(Image.fromarray(plane), (0, rows.start))
        resized = whole.resize(shape[::-1], method)
        del whole  # or the next one would lie beside it
        for rows in bands(*shape):
            yield rows, channel, np.asarray(crop(resized, rows))


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


def check_memory(decoded: int, pixels: int) -> None:
    """Refuse what surely does not fit into memory.

    Args:
        decoded: pixels that are decoded.
        pixels: of the image that comes of them.
    """
    needed, free = DECODED * decoded + READ * pixels, None
    if needed > WORTH_ASKING:
        free = free_on_host(swap=True)
    if free is not None and needed > free:
        raise ImageError(
            f"takes {as_text(needed)} of memory to be read, and {as_text(free)} are free; "
            "ask for a smaller size, or free some"
        )


def empty_upright(shape: tuple[int, ...], image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """An image to be filled, upright, and the same memory as it lies in its file.

    It is turned and mirrored as the EXIF data ask; what is unknown or broken asks for nothing.
    (`ImageOps.exif_transpose` takes no floats in color.)

    Args:
        shape: (H, W, …), in the file.
        image: the file's.

    Returns:
        float32: what is put into the second, which has that shape, is upright in the first.
    """
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF data, on which Pillow raises nearly anything
        orientation = 1
    is_on_its_side = orientation in (5, 6, 7, 8)
    height, width, *others = shape
    upright = np.empty((width, height, *others) if is_on_its_side else shape, np.float32)
    stored = upright.swapaxes(0, 1) if is_on_its_side else upright
    if orientation in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if orientation in (3, 4, 6, 7):
        stored = stored[::-1]
    return upright, stored
