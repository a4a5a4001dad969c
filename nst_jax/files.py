"""Files appear whole or not at all: written to a temporary name beside them, then renamed.

And their checksum.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nst_jax.errors import NSTError


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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
