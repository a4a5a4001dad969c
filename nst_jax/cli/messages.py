"""What the command says: answers on standard output, all else on standard error."""

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

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


def answer(line: object) -> None:
    """Print one line of what was asked for, on standard output."""
    _print(line, sys.stdout)


def _print(line: object, stream: TextIO) -> None:
    try:
        print(line, file=stream, flush=True)
    except OSError as error:
        # What is left in the buffer would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):  # of `| head`: the files are what matters
            raise


def accept_any_text() -> None:
    """Let standard output carry every file name, and letters that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        unicode = sys.stdout.encoding.lower().startswith("utf")
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")
