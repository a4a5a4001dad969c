"""Masks: from pictures that people paint to the regions of an image.

A mask is float32 in [0, 1], (H, W): 1 inside the region, 0 outside. The masks of one image are
(R, H, W). They come from gray pictures, one for each region, or from one picture in which each
region has a color; what is transparent is in no region. Everything here is pure; `engine.regions`
reads the files.
"""

import numpy as np

from nst_jax.errors import ImageError
from nst_jax.images.color_management import take_off_white
from nst_jax.images.resize import interpolate

# Of 255. What JPEG does to a flat color is less; what it does at edges is more, and goes to the
# nearest color.
COLOR_NOISE = 32
GRAY_NOISE = 8
COLORED = 0.001  # share of pixels that must be colored, for a picture not to count as gray
SOLID = 5  # px: a color is a region where it fills a square of this side; blends at edges do not
ASPECT = 0.01  # by how much the sides' ratio may differ, besides what rounding a side does
MAX_REGIONS = 16  # more colors than that are a photograph's, not a mask's
SEARCHED = 1024  # px: in larger pictures colors are looked for in every second, third, … pixel
COVERED = 0.25  # by how much masks may miss 1, or exceed it, where their soft edges meet


def decode(
    picture: np.ndarray, alpha: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Make the masks that a picture is, whether gray or color-coded.

    Args:
        picture: (H, W, 3), in [0, 1], on white.
        alpha: (H, W), in [0, 1], how opaque it is; None: all of it.

    Returns:
        (R, H, W) float32, and the regions' colors, (R, 3) integers, 0 to 255; of a gray picture
        one mask and None.

    Raises:
        ImageError: it has colors, but none that fills an area, or too many.
    """
    if alpha is None:
        alpha = np.ones(picture.shape[:2], np.float32)
    on_black = picture - (1 - alpha[..., None])
    if not is_colored(on_black):
        return from_gray(on_black)[None], None
    colored, opaque = take_off_white(picture, alpha), alpha >= 0.5
    colors = find_colors(colored, opaque)
    return split_colors(colored, colors) * opaque, colors


def is_colored(picture: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) in [0, 1] has colors, beyond noise."""
    chroma = picture.max(axis=-1) - picture.min(axis=-1)
    return bool(np.mean(chroma > COLOR_NOISE / 255) > COLORED)


def from_gray(picture: np.ndarray) -> np.ndarray:
    """Make the mask that a gray picture is: white inside, black outside.

    What is within `GRAY_NOISE` of black or white becomes exactly 0 or 1, as JPEG had it.

    Args:
        picture: (H, W, 3), in [0, 1].

    Returns:
        (H, W) float32, in [0, 1].
    """
    noise = GRAY_NOISE / 255
    return ((picture.mean(axis=-1) - noise) / (1 - 2 * noise)).clip(0, 1).astype(np.float32)


def find_colors(picture: np.ndarray, opaque: np.ndarray | None = None) -> np.ndarray:
    """Find the colors of a picture's regions, in the order in which rows from the top meet them.

    The most frequent color first takes all that are within `COLOR_NOISE` of it, then the most
    frequent of the rest, and so on; a color counts that fills a square of `SOLID` px somewhere.

    Args:
        picture: (H, W, 3), in [0, 1].
        opaque: (H, W) bool, where to look; None: everywhere.

    Returns:
        (R, 3) integers, 0 to 255.

    Raises:
        ImageError: there is none, or there are more than `MAX_REGIONS`.
    """
    from scipy import ndimage  # a tenth of a second that only masks want

    step = -(-max(picture.shape) // SEARCHED)
    pixels = _as_bytes(picture[::step, ::step])
    packed = pixels @ (1 << 16, 1 << 8, 1)
    left = np.ones(packed.shape, bool) if opaque is None else opaque[::step, ::step].copy()
    found: list[tuple[int, np.ndarray]] = []
    while np.count_nonzero(left) >= SOLID**2 and len(found) <= MAX_REGIONS:
        values, counts = np.unique(packed[left], return_counts=True)
        color = pixels[packed == values[counts.argmax()]][0]
        near = left & (np.abs(pixels - color).max(axis=-1) <= COLOR_NOISE)
        left &= ~near
        if ndimage.binary_erosion(near, np.ones((SOLID, SOLID))).any():
            found.append((int(np.argmax(near)), color))
    if not 1 <= len(found) <= MAX_REGIONS:
        many = f"more than {MAX_REGIONS} colors" if found else "no color that fills an area"
        raise ImageError(f"has {many}; a color-coded mask has one flat color for each region")
    found.sort(key=lambda entry: entry[0])
    return np.array([color for _, color in found]).reshape(-1, 3)


def split_colors(picture: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Make one mask for each color; every pixel goes to the nearest.

    Args:
        picture: (H, W, 3), in [0, 1].
        colors: (R, 3), 0 to 255.

    Returns:
        (R, H, W) float32, of 0 and 1.
    """
    pixels = _as_bytes(picture)
    distances = np.stack([np.square(pixels - color).sum(axis=-1) for color in colors])
    nearest = distances.argmin(axis=0)
    return np.stack([nearest == region for region in range(len(colors))]).astype(np.float32)


def match_color(colors: np.ndarray, color: np.ndarray) -> int | None:
    """The number of the color that is this one, within `COLOR_NOISE`; None where none is."""
    distances = np.abs(colors - color).max(axis=-1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] <= COLOR_NOISE else None


def fit(masks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize masks bilinearly: so none oversteps [0, 1], and what adds up to 1 still does.

    Args:
        masks: (R, H, W), in [0, 1].
        shape: (height, width) wanted.

    Returns:
        (R, height, width) float32, in [0, 1].

    Raises:
        ImageError: the masks' sides have another ratio.
    """
    (height, width), (rows, columns) = masks.shape[1:], shape
    tolerance = ASPECT + 1 / min(height, width, rows, columns)
    if abs(height * columns / (width * rows) - 1) > tolerance:
        raise ImageError(
            f"a mask of {width} x {height} pixels has another aspect than its image of "
            f"{columns} x {rows}; crop or paint it to the image's own"
        )
    return np.stack([interpolate(mask, shape) for mask in masks])


def share_out(masks: np.ndarray) -> np.ndarray:
    """Scale masks (R, H, W) down where they overlap, so that their sum is 1 at most."""
    return masks / np.maximum(masks.sum(axis=0), 1)


def measure_coverage(masks: np.ndarray) -> tuple[float, float]:
    """Measure the shares of the pixels in no region, and in more than one, of masks (R, H, W)."""
    total = masks.sum(axis=0)
    return float(np.mean(total < 1 - COVERED)), float(np.mean(total > 1 + COVERED))


def to_hexadecimal(color: np.ndarray) -> str:
    """Write a color, three bytes, as people do: ff8000."""
    return bytes(color.tolist()).hex()


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(picture * 255).astype(np.int32)
