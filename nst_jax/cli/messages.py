"""What the command says: answers on standard output, all else on standard error."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

NAMED = 5  # pictures that one line names


def say(message: str) -> None:
    """Print one line for the user, on standard error."""
    _print(message, sys.stderr)


def say_nothing_gained(pictures: Sequence[str]) -> None:
    """Say in one line which pictures, by name, are no better than their starts, and the remedy."""
    names, more = ", ".join(pictures[:NAMED]), len(pictures) - NAMED
    others = f" and {more} more" if more > 0 else ""
    say(
        f"nst-jax: nothing gained: the loss of {names}{others} is no lower than at the start; try "
        f"a smaller --learning-rate, more --steps, or another --init or --ratio"
    )


def say_where_to_watch(page: Path) -> None:
    """Say in one line what to open to see the run as it goes on."""
    say(f"watch it in a browser: {page.resolve().as_uri()}")


def say_new_folder(folder: Path) -> None:
    """Say that results lie in a folder that did not exist, as after a mistyped name."""
    say(f"made the folder {folder}")


def answer(line: object) -> None:
    """Print one line of what was asked for, on standard output."""
    _print(line, sys.stdout)


def _print(line: object, stream: TextIO) -> None:
    try:
        print(line, file=stream, flush=True)
    except OSError as error:
        _let_go(stream)
        # The files are what matters: nobody need listen. Answers that a full disk takes are lost.
        if stream is sys.stdout and error.errno not in (errno.EPIPE, errno.EIO):
            raise


def _let_go(stream: TextIO) -> None:
    """Send what is written from now on nowhere: what is left in the buffer would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Expendable:
    """A stream for what nobody need read: once it cannot be written, it is let go."""

    def __init__(self, stream: TextIO):
        """Take the stream that is written."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, if it can be written."""
        try:
            return self._stream.write(text)
        except OSError:
            _let_go(self._stream)
            return len(text)

    def flush(self) -> None:
        """Write what is in the buffer, if it can be written."""
        try:
            self._stream.flush()
        except OSError:
            _let_go(self._stream)


def accept_any_text() -> None:
    """Let standard output carry every file name, and letters that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        unicode = sys.stdout.encoding.lower().startswith("utf")
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")
