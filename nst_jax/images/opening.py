"""Opening image files, bytes, open files and Pillow's images; what cannot be read is told why."""

import contextlib
import importlib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from nst_jax.errors import ImageError, NSTError
from nst_jax.files import from_pipe
from nst_jax.images import file_kinds

# Pictures only: some of Pillow's other plugins run programs (EPS), accept nearly anything, or read
# files that are cut short (JPEG2000). HEIF takes a plugin, AVIF in some builds of Pillow.
READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "PPM", "HEIF")

MAX_TEXT = 2**28  # bytes of a PNG's texts and profile, unpacked; Pillow's 2^20 are soon full of XMP
# `resize.check_sides` limits pixels, by what is decoded; Pillow would by the header.
LIFTED: tuple[tuple[Any, str, int | None], ...] = (
    (Image, "MAX_IMAGE_PIXELS", None),
    (PngImagePlugin, "MAX_TEXT_CHUNK", MAX_TEXT),
    (PngImagePlugin, "MAX_TEXT_MEMORY", MAX_TEXT),
)

URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # with one slash where it was a Path

PathLike = str | os.PathLike[str]
# A path, a file's content, a file opened with "rb", or an image of Pillow's.
ImageSource = PathLike | bytes | BinaryIO | Image.Image


def is_path(given: object) -> bool:
    """Whether this names a file."""
    return isinstance(given, str | os.PathLike)


def hold(given: Any) -> Any:
    """What can be read again and again: of an open file its bytes; anything else as it is.

    Raises:
        ImageError: the file cannot be read, or was opened as text.
    """
    if is_path(given) or not hasattr(given, "read"):
        return given
    try:
        content = given.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name_of(given)}: cannot be read ({error}); open it again") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{name_of(given)}: was opened as text; open it with mode 'rb'")
    return content


def name_of(source: ImageSource) -> str:
    """What errors call it."""
    if isinstance(source, bytes):
        return "image in memory"
    name = source if is_path(source) else getattr(source, "filename", getattr(source, "name", ""))
    return str(name or "image in memory")


@contextlib.contextmanager
def opened(source: ImageSource) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong until it is closed is an ImageError, with its name."""
    try:
        with warnings.catch_warnings(action="ignore"), _limits_lifted():  # we say what is an error
            if isinstance(source, Image.Image):
                yield source.copy()  # which a draft would change
            else:
                with _identified(source) as image:
                    yield image
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise ImageError(f"{name_of(source)}: {explain(error)}") from error


def _identified(source: PathLike | bytes | BinaryIO) -> Image.Image:
    """Look at the first bytes, then let Pillow open it."""
    named, source = source, _content_of(source)
    if is_path(source):
        check_file(Path(source))  # type: ignore[arg-type]
        with open(source, "rb") as file:  # type: ignore[arg-type]
            head = file.read(file_kinds.HEAD)
        given: Any = source
    else:
        content = hold(source)
        head, given = content[: file_kinds.HEAD], io.BytesIO(content)
        if not content:
            raise ImageError("is empty; copy or download it again")
    if refusal := file_kinds.refuse(head, Path(name_of(named)).suffix):
        raise ImageError(refusal)
    wanted = file_kinds.plugin_format(head)
    formats = readable_formats(() if wanted is None else (wanted,))
    if wanted is not None and wanted not in formats:
        how = file_kinds.PLUGINS[wanted][2]
        raise ImageError(f"is {wanted}, which a plugin reads ({how}); or save it as JPEG or PNG")
    image: Any = Image.open(given, formats=formats)
    if image.format == "TIFF" and (refusal := file_kinds.refuse_tiff(image.tag_v2)):
        image.close()
        raise ImageError(refusal)
    return image


def _content_of(source: Any) -> Any:
    """Of a pipe what has come through it; anything else as it is."""
    if not is_path(source):
        return source
    if URL.match(os.fspath(source)):
        raise ImageError("is a URL; download it first, and give the file")
    content = from_pipe(source)
    return source if content is None else content


def readable_formats(wanted: tuple[str, ...] = tuple(file_kinds.PLUGINS)) -> list[str]:
    """Those of `READ_FORMATS` that this Pillow reads, with the plugins of the formats wanted."""
    Image.init()
    for name in wanted:
        if name not in Image.OPEN:
            with contextlib.suppress(ImportError):
                plugin = importlib.import_module(file_kinds.PLUGINS[name][1])
                getattr(plugin, "register_heif_opener", lambda: None)()
    return [name for name in READ_FORMATS if name in Image.OPEN]


def check_file(path: Path) -> None:
    """Refuse what is no file with bytes in it, before opening (which may wait on a pipe)."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a folder; give an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file; save the image to a file first")
    if status.st_size == 0:
        raise ImageError("is empty; copy or download it again")


def explain(error: Exception) -> str:
    """Say what is wrong with a file that was to be read, and the remedy, in one line."""
    match error:
        case NSTError():
            return str(error)
        case FileNotFoundError() | NotADirectoryError():
            return "there is no such file; check the path"
        case Image.UnidentifiedImageError():
            return "is no image in a known format, or is damaged; give a JPEG, PNG, WebP or TIFF"
        case OSError(errno=int()):
            return f"cannot be read ({error.strerror}); check its permissions and the disk"
        case MemoryError():
            return "does not fit into memory; scale it down first"
    if "MAX_TEXT" in str(error):
        return f"has over {MAX_TEXT >> 20} MB of text or profile; save it without metadata"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"is damaged or incomplete ({reason}); copy or download it again"


class _Limits:
    """Pillow's limits are its modules' globals: lifted while any thread reads, then put back."""

    def __init__(self) -> None:
        self._lock, self._readers, self._before = threading.Lock(), 0, [0]

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._readers:
                self._before = [getattr(module, name) for module, name, _ in LIFTED]
                for module, name, value in LIFTED:
                    setattr(module, name, value)
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    for (module, name, _), value in zip(LIFTED, self._before, strict=True):
                        setattr(module, name, value)


_limits_lifted = _Limits()
