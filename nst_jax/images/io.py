"""The only reader and writer of image files; the formats written are in `encoders`.

In memory an image is float32 sRGB in [0, 1], (H, W, 3). A file without an ICC profile counts as
sRGB; PNG's gAMA and cHRM chunks are ignored, as image editors do.
"""

import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from nst_jax.errors import ImageError
from nst_jax.files import replacing
from nst_jax.images import color_management
from nst_jax.images.encoders import PLAIN, SaveOptions, encoder_of, quantize
from nst_jax.images.exif import copy_exif
from nst_jax.images.resize import check_sides, fit_size, resize, too_large, upright

# Pictures only: some of Pillow's other plugins run programs (EPS), accept nearly anything, or read
# files that are cut short (JPEG2000).
READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "PPM")

# A JPEG may be decoded at 1/2, 1/4 or 1/8 if that leaves at least this many times the wanted size;
# at 3 or more it cannot be told from a full decode (Pillow's documentation of `reducing_gap`).
DRAFT_GAP = 3

PathLike = str | os.PathLike[str]


def load_image(path: PathLike, size: int | None = None) -> np.ndarray:
    """Read an image: the first frame, upright, in sRGB, on white where it is transparent.

    Args:
        path: a file of one of `READ_FORMATS`.
        size: the long side wanted, in pixels (Lanczos, up or down); None keeps the file's size.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        ImageError: the file is missing, no image, damaged, cut short, too large or too small.
    """
    with _opened(path) as image:
        return _read(image, size)


def load_text(path: PathLike) -> dict[str, str]:
    """Read back what `save_image` wrote into an image as text; empty where it wrote none.

    Raises:
        ImageError: the file is missing, no image, or damaged.
    """
    with _opened(path) as image:
        image.load()
        info = dict(image.info)
    if isinstance(comment := info.get("comment"), bytes):
        lines = comment.decode("utf-8", "replace").splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)
    return {str(key): str(value) for key, value in info.items() if isinstance(value, str)}


def long_side(path: PathLike) -> int:
    """The long side of an image that `load_image` can read, in pixels, from its header."""
    with _opened(path) as image:
        return max(image.size)


def images_in(folder: PathLike) -> list[Path]:
    """The files in a folder whose suffix is that of an image, by name; not those that are hidden.

    Raises:
        ImageError: there are none, or the folder cannot be read.
    """
    known = [s for s, name in Image.registered_extensions().items() if name in READ_FORMATS]
    try:
        files = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
    except OSError as error:
        raise ImageError(f"{folder}: {_explain(error)}") from error
    found = [f for f in files if f.suffix.lower() in known and not f.name.startswith(".")]
    if not found:
        raise ImageError(f"{folder}: is a folder without images; give an image file")
    return found


def read_exif(path: PathLike) -> bytes | None:
    """What can be copied of a photograph's EXIF data; None where there is nothing.

    Args:
        path: a file that `load_image` can read.

    Returns:
        all that tells of the scene, the camera, the exposure, the author and the place; not the
        orientation, the thumbnail, the maker's notes and what describes the file.

    Raises:
        ImageError: the file is missing, or no image.
    """
    with _opened(path) as image:
        if image.format == "TIFF":
            return copy_exif(Path(path).read_bytes())
        if image.format == "PNG":  # its EXIF data may follow the pixels
            image.load()
        return copy_exif(image.info.get("exif", b""))


def check_writable(path: PathLike, overwrite: bool, options: SaveOptions = PLAIN) -> None:
    """Make sure, before any work is done, that `save_image` will be able to write `path`.

    Raises:
        ImageError: the suffix is unknown or has no such options, the path is a folder, its folder
            is missing or cannot be written, or the file exists and `overwrite` is false.
    """
    path = Path(path)
    encoder_of(path, options)
    if path.is_dir():
        raise ImageError(f"{path}: is a folder; add a file name such as result.png")
    if not path.parent.is_dir():
        raise ImageError(f"{path}: there is no folder {path.parent}; make it first")
    if os.path.lexists(path) and not overwrite:
        raise ImageError(f"{path}: exists already; choose another name or add --overwrite")
    try:  # as `replacing` will: permission bits say little to root
        prefix = f".{path.stem}-"
        tempfile.NamedTemporaryFile(prefix=prefix, suffix=path.suffix, dir=path.parent).close()
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from error


def save_image(
    image: np.ndarray,
    path: PathLike,
    text: dict[str, str] | None = None,
    options: SaveOptions = PLAIN,
) -> None:
    """Write an image whole or not at all; one that exists is replaced.

    The same arguments give the same bytes. Every file carries the ICC profile of sRGB.

    Args:
        image: (H, W, 3) float sRGB; clipped to [0, 1] and rounded to 8 or 16 bits, halves to even.
        path: .png; .tif or .tiff (not compressed); .jpg or .jpeg (quality 95, colors at full
            resolution, 8 bits).
        text: goes into a PNG as one iTXt chunk for each key; into a TIFF as its description and
            into a JPEG as its comment, one "key: value" a line, the comment cut at 60000 bytes
            less the EXIF data's. All UTF-8.
        options: bits, resolution, EXIF data.

    Raises:
        ImageError: the image is not (H, W, 3) or not finite, the format has no such options, or
            the file cannot be written.
    """
    path = Path(path)
    write = encoder_of(path, options)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"{path}: cannot write an array of shape {image.shape}; give (H, W, 3)")
    if not np.isfinite(image).all():
        raise ImageError(
            f"{path}: not written, because the image has values that are not finite; "
            "lower the weights or the learning rate, or compute in float32"
        )
    pixels = quantize(image, options.bits)
    try:
        with replacing(path) as temporary, open(temporary, "wb") as stream:
            write(stream, pixels, text or {}, options)
    except OSError as error:
        raise ImageError(_unwritable(path, error)) from error


@contextmanager
def _opened(path: PathLike) -> Iterator[ImageFile]:
    """Open an image file; whatever goes wrong until it is closed is an ImageError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # we decide what is an error, Pillow warns
            _check_file(Path(path))
            Image.init()  # this Pillow may be built without some: they would be a KeyError
            with Image.open(path, formats=[n for n in READ_FORMATS if n in Image.OPEN]) as image:
                yield image
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise ImageError(f"{path}: {_explain(error)}") from error


def _check_file(path: Path) -> None:
    """Refuse what is no file with bytes in it, before opening (which may wait on a pipe)."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a folder; give an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file; save the image to a file first")
    if status.st_size == 0:
        raise ImageError("is empty; copy or download it again")


def _explain(error: Exception) -> str:
    """Say what is wrong with a file that was to be read, and the remedy, in one line."""
    match error:
        case ImageError():
            return str(error)
        case FileNotFoundError() | NotADirectoryError():
            return "there is no such file; check the path"
        case Image.UnidentifiedImageError():
            return "is no image in a known format, or is damaged; give a JPEG, PNG, WebP or TIFF"
        case Image.DecompressionBombError():
            return too_large("has", int(re.findall(r"\d+", str(error))[0]))  # height times width
        case OSError(errno=int()):
            return f"cannot be read ({error.strerror}); check its permissions and the disk"
        case MemoryError():
            return "does not fit into memory; scale it down first"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"is damaged or incomplete ({reason}); copy or download it again"


def _read(image: ImageFile, size: int | None) -> np.ndarray:
    """Check the header, decode, resize to a long side of `size`, turn upright: (H, W, 3) in sRGB.

    Images of 8 bits are resized in 8 bits: four times smaller and faster than floats.
    """
    check_sides(image.height, image.width, size)
    (width, height), draft = image.size, None
    if size is not None:
        draft = image.draft(None, fit_size(height, width, DRAFT_GAP * size)[::-1])
    image.load()  # which turns a TIFF upright
    if draft is None:
        width, height = image.size
    box = draft[1] if draft else (0, 0, width, height)  # which the image fills in the decoded one
    shape = (height, width) if size is None else fit_size(height, width, size)
    profile = image.info.get("icc_profile")
    if (deep := color_management.read_deep(image, profile)) is not None:
        pixels = resize(deep, shape).repeat(3 // deep.shape[-1], axis=-1)
    else:
        simple = color_management.simplify(image)
        if (box, shape) != ((0, 0, *simple.size), simple.size[::-1]):
            simple = simple.resize(shape[::-1], Image.Resampling.LANCZOS, box=box)
        pixels = color_management.to_srgb(simple, profile)
    return upright(pixels, image)


def _unwritable(path: Path, error: OSError) -> str:
    """The complaint about a file that the system does not let us write."""
    reason = error.strerror or error
    return f"{path}: cannot be written ({reason}); free space or choose another folder or name"
