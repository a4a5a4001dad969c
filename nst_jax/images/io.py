"""The only reader and writer of image files; the formats written are in `encoders`.

In memory an image is float32 sRGB in [0, 1], (H, W, 3). A file without an ICC profile counts as
sRGB; PNG's gAMA and cHRM chunks are ignored, as image editors do.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from nst_jax.errors import ImageError
from nst_jax.files import replacing
from nst_jax.images import color_management, deep_color
from nst_jax.images.encoders import (
    OPAQUE,
    PLAIN,
    Pixels,
    SaveOptions,
    encoder_of,
)
from nst_jax.images.exif import DESCRIPTION, copy_exif
from nst_jax.images.opening import ImageSource, PathLike, explain, opened, readable_formats
from nst_jax.images.resize import (
    MAX_PIXELS,
    check_memory,
    check_sides,
    empty_upright,
    fit_size,
    resampled_planes,
    too_large,
)

# A JPEG may be decoded at 1/2, 1/4 or 1/8 if that leaves at least this many times the wanted size;
# at 3 or more it cannot be told from a full decode (Pillow's documentation of `reducing_gap`).
DRAFT_GAP = 3
MAX_NAMED = 5  # files that one line names


def load_image(source: ImageSource, size: int | None = None) -> np.ndarray:
    """Read an image: the first frame, upright, in sRGB, on white where it is transparent.

    Args:
        source: the path of a file of one of `opening.READ_FORMATS`, or of a pipe, which is read
            once in a process, "-" for standard input; such a file's bytes, the file opened with
            "rb" (which is read to its end), or an image of Pillow's.
        size: the long side wanted, in pixels (Lanczos, up or down); None keeps the file's size.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        ImageError: the file is missing, no image, damaged, cut short, too large or too small, or
            transparent throughout.
    """
    return load_with_alpha(source, size)[0]


def load_with_alpha(
    source: ImageSource, size: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read an image as `load_image` does, and how opaque it is.

    Returns:
        (H, W, 3) float32 in [0, 1], on white; and (H, W) float32 in [0, 1], 0 where nothing is to
        be seen, or None where all is opaque.
    """
    with opened(source) as image:
        colors, alpha = _read(image, size)
    if alpha is None or alpha.min() == 1:
        return colors, None
    # Where resizing has overshot: no color so opaque is darker on white.
    return np.maximum(colors, 1 - alpha[..., None], out=colors), alpha


def load_text(source: ImageSource) -> dict[str, str]:
    """Read back what `save_image` wrote into an image as text; empty where it wrote none.

    Raises:
        ImageError: the file is missing, no image, or damaged.
    """
    with opened(source) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(too_large("has", image.width * image.height))
        check_memory(image.width * image.height, 0)
        image.load()  # a PNG's may follow the pixels
        info, kind, exif = dict(image.info), image.format, image.getexif()
    comment = info.get("comment")
    if kind in ("TIFF", "WEBP"):
        comment = str(exif.get(DESCRIPTION, "")).encode("latin-1", "replace")
    if isinstance(comment, bytes):
        lines = comment.decode("utf-8", "replace").splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)
    return {str(key): str(value) for key, value in info.items() if isinstance(value, str)}


def long_side(path: PathLike) -> int:
    """The long side of an image that `load_image` can read, in pixels, from its header."""
    with opened(path) as image:
        return max(image.size)


def shape_of(path: PathLike) -> tuple[int, int, int]:
    """(H, W, channels) of an image that lies upright in its file, from its header."""
    with opened(path) as image:
        return image.height, image.width, len(image.getbands())


def images_in(folder: PathLike) -> list[Path]:
    """The files in a folder whose suffix is that of an image, by name; not those that are hidden.

    Raises:
        ImageError: there are none, or the folder cannot be read.
    """
    found, _ = _sorted_out(folder)
    if not found:
        raise ImageError(f"{folder}: is a folder without images; give an image file")
    return found


def describe_left_out(folder: PathLike) -> str | None:
    """One line on what `images_in` leaves out of a folder but hidden files; None if it is nothing.

    Raises:
        ImageError: the folder cannot be read.
    """
    _, others = _sorted_out(folder)
    names = [f"{path.name}/" if path.is_dir() else path.name for path in others]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{folder}: no images, left out: {', '.join(names[:MAX_NAMED])}{more}" if names else None


def _sorted_out(folder: PathLike) -> tuple[list[Path], list[Path]]:
    """The images in a folder, and all else but what is hidden, by name."""
    formats = readable_formats()
    known = {s for s, name in Image.registered_extensions().items() if name in formats}
    try:
        shown = [path for path in sorted(Path(folder).iterdir()) if not path.name.startswith(".")]
        images = [path for path in shown if path.suffix.lower() in known and path.is_file()]
    except OSError as error:
        raise ImageError(f"{folder}: {explain(error)}") from error
    found = set(images)
    return images, [path for path in shown if path not in found]


def read_exif(source: ImageSource) -> bytes | None:
    """What can be copied of a photograph's EXIF data; None where there is nothing.

    Args:
        source: that `load_image` can read.

    Returns:
        all that tells of the scene, the camera, the exposure, the author and the place; not the
        orientation, the thumbnail, the maker's notes and what describes the file.

    Raises:
        ImageError: the file is missing, or no image.
    """
    with opened(source) as image:
        if image.format == "TIFF":
            image.fp.seek(0)  # type: ignore[attr-defined]
            return copy_exif(image.fp.read())  # type: ignore[attr-defined]
        if image.format == "PNG":  # its EXIF data may follow the pixels
            image.load()
        return copy_exif(image.info.get("exif", b""))


def check_writable(
    path: PathLike, overwrite: bool, options: SaveOptions = PLAIN, side: int = 0
) -> None:
    """Make sure, before any work is done, that `save_image` will be able to write `path`.

    Args:
        path: to be written.
        overwrite: whether a file that exists may be replaced.
        options: of the image.
        side: the long one, in pixels, as far as it is known.

    Raises:
        ImageError: the suffix is unknown or has no such options or sides, the path is a folder, its
            folder (or, where that is missing, the one that it would be made in) is none or cannot
            be written, or the file exists and `overwrite` is false.
    """
    path = Path(path)
    encoder_of(path, options, side)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; add a file name such as result.png")
    folder = next(each for each in path.parents if os.path.lexists(each))
    if not folder.is_dir():
        raise ImageError(f"{path}: {folder} is no folder; choose another name")
    if os.path.lexists(path) and not overwrite:
        raise ImageError(f"{path}: exists already; choose another name or add --overwrite")
    try:  # as `replacing` will: permission bits say little to root
        prefix = f".{path.stem}-"
        tempfile.NamedTemporaryFile(prefix=prefix, suffix=path.suffix, dir=folder).close()
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from error


def save_image(
    image: np.ndarray,
    path: PathLike,
    text: dict[str, str] | None = None,
    options: SaveOptions = PLAIN,
    alpha: np.ndarray | None = None,
) -> None:
    """Write an image whole or not at all; one that exists is replaced.

    The same arguments give the same bytes. Every file carries the ICC profile of sRGB.

    Args:
        image: (H, W, 3) float sRGB; clipped to [0, 1] and rounded to 8 or 16 bits, halves to even.
        path: .png; .tif or .tiff (not compressed); .webp (without loss, 8 bits); .jpg or .jpeg
            (quality 95, colors at full resolution, 8 bits).
        text: goes into a PNG as one iTXt chunk for each key; into a TIFF or WebP as its description
            and into a JPEG as its comment, one "key: value" a line, the comment cut at 60000 bytes
            less the EXIF data's. All UTF-8.
        options: bits, resolution, EXIF data, whether there is text.
        alpha: (H, W) in [0, 1], how opaque it is to be, as `Result.alpha`: laid on white the file
            looks like the image. None: wholly, as a JPEG always is.

    Raises:
        ImageError: the image is not (H, W, 3) or not finite, alpha is not (H, W), the format has
            no such options or sides, or the file cannot be written.
    """
    path = Path(path)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"{path}: cannot write an array of shape {image.shape}; give (H, W, 3)")
    write = encoder_of(path, options, max(image.shape))
    if not np.isfinite([image.min(), image.max()]).all():  # NaN is the least and the greatest
        raise ImageError(
            f"{path}: not written, because the image has values that are not finite; "
            "lower the weights or the learning rate, or compute in float32"
        )
    if alpha is not None and np.shape(alpha) != image.shape[:2]:
        raise ImageError(f"{path}: alpha is {np.shape(alpha)}; wanted {image.shape[:2]}")
    is_opaque = alpha is None or path.suffix.lower() in OPAQUE
    pixels = Pixels(image, options.bits, None if is_opaque else np.asarray(alpha))
    try:
        with replacing(path) as temporary, open(temporary, "wb") as stream:
            write(stream, pixels, (text or {}) if options.text else {}, options)
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from error
    except ImageError as error:  # of what the format has no room for
        raise ImageError(f"{path}: {error}") from error


def _read(image: Image.Image, size: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode, resize to a long side of `size`, turn upright: as `load_with_alpha` gives it, nearly.

    Images of 8 bits are resized in 8 bits: four times smaller and faster than floats. Beside what
    is decoded there is nothing in the end but what is returned.
    """
    (width, height), draft = image.size, None
    if size is not None:
        gap = DRAFT_GAP if width * height <= MAX_PIXELS else 1
        draft = image.draft(None, fit_size(height, width, gap * size)[::-1])
    decoded = _pixels_decoded(image, width * height)
    check_sides(height, width, size, decoded)
    rows, columns = (height, width) if size is None else fit_size(height, width, size)
    check_memory(decoded, rows * columns)
    again = deep_color.reopener(image)
    image.load()  # which turns a TIFF upright
    if draft is None:
        width, height = image.size
    box = draft[1] if draft else (0, 0, width, height)  # which the image fills in the decoded one
    shape = (height, width) if size is None else fit_size(height, width, size)
    profile = image.info.get("icc_profile")
    if (deep := deep_color.read_deep(image, profile, again)) is not None:
        channels = deep.shape[-1]
        planes = deep.planes() if deep.shape[:2] == shape else resampled_planes(deep, shape)
    else:
        simple = color_management.simplify(image)
        if (box, shape) != ((0, 0, *simple.size), simple.size[::-1]):
            simple = simple.resize(shape[::-1], Image.Resampling.LANCZOS, box=box)
        pixels = color_management.to_srgb(simple, profile)
        channels, planes = pixels.shape[-1], pixels.planes()
    colors, stored = empty_upright((*shape, 3), image)
    alpha, opacity = empty_upright(shape, image) if channels in (2, 4) else (None, None)
    for band, channel, plane in planes:
        if opacity is not None and channel == channels - 1:
            places = [opacity[band]]
        else:  # gray goes into all three
            places = [stored[band, :, c] for c in ((channel,) if channels > 2 else range(3))]
        for place in places:
            np.clip(plane, 0, 1, out=place)
    if alpha is not None and not alpha.any():
        raise ImageError("is transparent throughout; show a layer, or remove its transparency")
    return colors, alpha


def _pixels_decoded(image: Image.Image, pixels: int) -> int:
    """How many pixels of memory decoding takes, of an image with so many in its header.

    Of a progressive JPEG libjpeg keeps all coefficients, at whatever size it is decoded: two bytes
    for each sample, half of what the pixels take until they are resized.
    """
    decoded = image.width * image.height
    return max(decoded, pixels // 2) if image.info.get("progressive") else decoded


def _unwritable(path: Path, error: OSError) -> str:
    """The complaint about a file that the system does not let us write."""
    reason = error.strerror or error
    return f"{path}: cannot be written ({reason}); free space or choose another folder or name"
