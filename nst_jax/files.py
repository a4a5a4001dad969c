"""Files appear whole or not at all: written to a temporary name beside them, then renamed.

And their checksum, and what comes through pipes.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from nst_jax.errors import NSTError

STDIN = ("-", "/dev/stdin")
MAX_PIPE = 2**30  # bytes
_piped: dict[str, bytes] = {}
RANDOM = "?" * 8  # what `mkstemp` puts into a name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to `path` at the end, if all went well.

    Raises:
        OSError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with suppress(OSError):  # some file systems have no such thing
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files private
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Remove what is left of writings of this file whose processes were killed.

    Nobody may be writing it: its name is reserved.
    """
    for left in path.parent.glob(f".{escape(path.stem)}-{RANDOM}{escape(path.suffix)}"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def made_folder(folder: Path) -> Iterator[bool]:
    """Make a folder, and those above it; say whether there was none.

    Those that are still empty in the end are removed.

    Raises:
        NSTError: it cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NSTError(
                f"{folder}: cannot be made ({error.strerror}); choose another folder"
            ) from error
        yield bool(missing)
    finally:
        for each in missing:
            with suppress(OSError):  # it is not empty
                each.rmdir()


@contextmanager
def reserved(path: Path) -> Iterator[bool]:
    """Keep this name for a result of this process; say whether no other process has it.

    The hidden file beside it is free again when the process ends, however it does. Where the file
    system knows no locks, nobody is kept out.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def _umask() -> int:
    """The process's umask; the only portable way to read it is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def user_cache() -> Path | None:
    """The user's cache folder for this package; None where the user has no home."""
    try:
        folder = platformdirs.user_cache_path("nst_jax", appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # "~/.cache": older versions raise nothing


def from_pipe(path: str | os.PathLike[str]) -> bytes | None:
    """What has come through a pipe, or standard input ("-"); None of a file.

    As it cannot be read twice, it is read once in a process, to its end, and remembered by name.

    Raises:
        OSError: it cannot be read.
        NSTError: standard input is a terminal, or it has more than `MAX_PIPE` bytes.
    """
    name = os.fspath(path)
    is_stdin = name in STDIN
    if not is_stdin and not stat.S_ISFIFO(os.stat(name).st_mode):
        return None
    if name not in _piped:
        with open(0 if is_stdin else name, "rb", closefd=not is_stdin) as stream:
            if stream.isatty():
                raise NSTError("is a terminal; pipe an image into it, or give a file")
            _piped[name] = stream.read(MAX_PIPE)
        if len(_piped[name]) == MAX_PIPE:
            raise NSTError("has more than a gigabyte; save the image to a file first")
    return _piped[name]


def stem_of(file: str) -> str:
    """What to call that which is made of a file: its name without the suffix."""
    if file in STDIN:
        return "stdin"
    return "pipe" if re.match(r"/(dev|proc/\w+)/fd/\d+$", file) else Path(file).stem


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of what came through a pipe, in hexadecimal."""
    if (content := from_pipe(path)) is not None:
        return hashlib.sha256(content).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
