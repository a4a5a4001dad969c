"""Fetch official weight files: resumed where they broke off, verified before they appear.

Nothing here is converted; the file lies as published, under its own name.
"""

import hashlib
import http.client
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from nst_jax.errors import WeightsError
from nst_jax.weights.sources import SOURCES, Source

TIMEOUT = 30.0  # seconds without an answer or a byte
CHUNK = 1 << 18  # bytes between two calls of `progress`

Progress = Callable[[int, int | None], None]
Opener = Callable[..., Any]


class _MirrorError(Exception):
    """One address failed; the next may not."""


def fetch(
    name: str,
    folder: str | Path,
    progress: Progress | None = None,
    opener: Opener = urlopen,
) -> Path:
    """Fetch one of `sources.SOURCES`, or find it already there.

    The bytes go to `<file>.part` in the folder, which stays when the fetch is interrupted and is
    resumed by the next; it is renamed once its checksum is right, and deleted where it is wrong.

    Args:
        name: a key of `sources.SOURCES`.
        folder: where to put the file; made where missing.
        progress: called as progress(bytes_done, bytes_total) after every chunk; the total is None
            where the server does not tell.
        opener: what opens a `urllib.request.Request`, as `urlopen(request, timeout=seconds)`.

    Returns:
        The path of the verified file.

    Raises:
        WeightsError: there is no such source; every address failed; the folder or disk cannot be
            written.
    """
    if name not in SOURCES:
        raise WeightsError(f"no weights to fetch called {name!r}; there are {', '.join(SOURCES)}")
    source, folder = SOURCES[name], Path(folder)
    target = folder / source.file_name
    part = folder / (source.file_name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_verified(target, source):
            _fill(part, source, progress or (lambda done, total: None), opener)
            os.replace(part, target)
    except _MirrorError as error:
        raise WeightsError(
            f"cannot fetch {name} ({error}); download {source.urls[0]} by hand into {folder}, "
            f"then run: nst-jax weights convert {target}"
        ) from error
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return target


def _fill(part: Path, source: Source, progress: Progress, opener: Opener) -> None:
    """Complete and verify the part from the first address that can."""
    failures = []
    for url in source.urls:
        try:
            if not _is_verified(part, source):
                _fill_from(url, part, source, progress, opener)
            return
        except _MirrorError as error:
            failures.append(f"{url.split('/')[2]}: {error}")
    raise _MirrorError("; ".join(failures))


def _fill_from(url: str, part: Path, source: Source, progress: Progress, opener: Opener) -> None:
    resumed = part.exists()
    _stream(url, part, progress, opener)
    if _is_verified(part, source):
        return
    got = _checksum(part, source.algorithm)
    part.unlink()
    if not resumed:
        raise _MirrorError(f"{source.algorithm} is {got}; wanted {source.digest}")
    _fill_from(url, part, source, progress, opener)  # the old part was of another file


def _stream(url: str, part: Path, progress: Progress, opener: Opener) -> None:
    """Append what the part lacks, or start over where the server cannot continue it."""
    response, done, total = _request(url, part, opener)
    with response, open(part, "ab" if done else "wb") as file:
        progress(done, total)
        while chunk := _read(response):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done != total:
        raise _MirrorError(f"broke off after {done} of {total} bytes; run again to resume")


def _request(url: str, part: Path, opener: Opener) -> tuple[Any, int, int | None]:
    """Ask for the part's rest.

    Returns:
        The response, where in the file it begins, and the file's size if the server tells it.
    """
    start = part.stat().st_size if part.exists() else 0
    response = _open(url, start, opener)
    if response is not None:
        extent = _extent(response, start)
        if extent is not None:
            return response, *extent
        response.close()
    if not start:
        raise _MirrorError("the server answers with another part of the file than asked for")
    part.unlink()
    return _request(url, part, opener)


def _extent(response: Any, start: int) -> tuple[int, int | None] | None:
    """Where the answer begins, and the file's size; None where it is not the part asked for."""
    if response.status == 200:  # the whole file, also where the server ignores Range
        length = response.headers.get("Content-Length") or ""
        return 0, int(length) if length.isdigit() else None
    given = re.match(rf"bytes {start}-\d+/(\d+)", response.headers.get("Content-Range") or "")
    return (start, int(given[1])) if given else None


def _open(url: str, start: int, opener: Opener) -> Any:
    """Open the address from byte `start` on; None where the file has no such byte."""
    headers = {"User-Agent": "nst-jax"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return opener(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # range not satisfiable: the part is as long or longer
            return None
        raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(_reason(error)) from error


def _read(response: Any) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(f"{_reason(error)}; run again to resume") from error


def _reason(error: Exception) -> str:
    """What went wrong, in one line; urllib wraps the system's error in another."""
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause or type(error).__name__)


def _is_verified(path: Path, source: Source) -> bool:
    """Whether the file is there and has the published checksum."""
    return path.is_file() and _checksum(path, source.algorithm).startswith(source.digest)


def _checksum(path: Path, algorithm: str) -> str:
    # Against a changed file, not an attacker: MD5 is all that Keras publishes.
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return digest.hexdigest()
