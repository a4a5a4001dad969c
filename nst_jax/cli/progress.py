"""The progress of steps on standard error: a bar on a terminal, lines elsewhere."""

import datetime
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from nst_jax.cli.messages import say

if TYPE_CHECKING:
    from nst_jax.engine import results

SECONDS_BETWEEN_LINES = 5.0  # where standard error is a file or a pipe


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
