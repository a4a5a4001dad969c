"""What the command says: answers on standard output; progress, all of it, on standard error."""

import contextlib
import datetime
import io
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from nst_jax.engine import results

SECONDS_BETWEEN_LINES = 5.0  # where standard error is a file or a pipe
# Seconds; some launchers pass on the signal that the terminal has sent already.
SAME_PRESS = 0.5


def say(message: str) -> None:
    """Print one line for the user, on standard error."""
    _print(message, sys.stderr)


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


def make_bar(*columns: ProgressColumn) -> Progress:
    """A bar on standard error; it is seen on a terminal only.

    Rich would send what is printed meanwhile to the bar's stream: right where both streams are the
    terminal, wrong where the answers go to a file or a pipe.
    """
    console = Console(stderr=True)
    return Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    )


class _Bar:
    """A bar on a terminal; elsewhere a plain line now and then."""

    def __init__(self, columns: Sequence[ProgressColumn], total: int | None):
        self._line_due = 0.0
        self._bar = make_bar(*columns)
        self._task = self._bar.add_task("compiling", total=total, numbers="")

    def __enter__(self) -> Self:
        self._bar.start()
        if self._bar.disable:
            say("compiling")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _say_if_due(self, line: str, last: bool) -> None:
        """Print the line where there is no bar and enough time has passed, or it is the last."""
        if self._bar.disable and (last or time.monotonic() >= self._line_due):
            self._line_due = time.monotonic() + SECONDS_BETWEEN_LINES
            say(line)


class StepsBar(_Bar):
    """A bar with loss, steps per second and time left; plain lines where there is no terminal."""

    def __init__(self, steps: int):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
        )
        super().__init__(columns, 1)
        self._steps = steps
        self._size: int | None = None
        self._last, self._since = (0, 0.0), (0, 0.0)  # step and seconds; those of this size

    def show(self, progress: "results.Progress") -> None:
        """Show a step that has finished."""
        step, seconds = progress.step, progress.seconds
        if progress.size != self._size:
            self._since = self._last
        self._size, self._last = progress.size, (step, seconds)
        numbers, left = f"step {step}/{self._steps}  loss {progress.losses.total:.4g}", ""
        if step:
            rate = (step - self._since[0]) / (seconds - self._since[1])
            numbers += f"  {rate:.2f} steps/s"
            left = f"  {seconds * (1 / progress.work - 1):.0f} s left"
        self._bar.update(
            self._task, description="painting", completed=progress.work, numbers=numbers
        )
        self._say_if_due(numbers + left, last=step == self._steps)


class LanesBar(_Bar):
    """A bar over all rounds of a sweep; plain lines where there is no terminal."""

    def __init__(self):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        super().__init__(columns, None)

    def show(self, progress: "results.SweepProgress") -> None:
        """Show a step that has finished."""
        running, step, steps = progress.together, progress.step, progress.steps
        lanes = f"lanes {progress.done + 1} to {progress.done + running} of {progress.total}"
        losses = progress.losses.total
        numbers = f"step {step}/{steps}  loss {losses.min():.3g} to {losses.max():.3g}"
        remaining = (progress.total - progress.done) / running - progress.work  # rounds
        if step:
            left = datetime.timedelta(seconds=round(progress.seconds / progress.work * remaining))
            numbers += f"  {step / progress.seconds:.2f} steps/s  {left} left"
        completed = progress.done + running * progress.work
        self._bar.update(
            self._task,
            description=lanes,
            total=progress.total,
            completed=completed,
            numbers=numbers,
        )
        self._say_if_due(f"{lanes}  {numbers}", last=step == steps)


class Interruption:
    """Ctrl-C ends a run after the step; pressed twice, or before the first step, it ends at once.

    An exception in the middle of a step would lose the image: its memory belongs to the step.
    Where Ctrl-C was ignored before, as it is in a script's background jobs, it still is.

    Attributes:
        requested: whether Ctrl-C was pressed.
        stoppable: to be set once there is an image worth saving.
        saving: to be set while it is saved; Ctrl-C does nothing any more.
    """

    def __init__(self):
        self.requested = self.stoppable = self.saving = False
        self._pressed = -math.inf

    def __enter__(self) -> "Interruption":
        self._previous = signal.getsignal(signal.SIGINT)
        if self._previous != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, *_: object) -> None:
        if self.saving or time.monotonic() - self._pressed < SAME_PRESS:
            return
        if self.requested or not self.stoppable:
            raise KeyboardInterrupt
        self.requested, self._pressed = True, time.monotonic()
        with contextlib.suppress(RuntimeError):  # the signal came in the middle of another line
            say(
                "stopping after this step, and saving the best image so far; "
                "Ctrl-C again stops at once and saves nothing"
            )
