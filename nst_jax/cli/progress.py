"""The progress of steps on standard error: a bar on a terminal, lines elsewhere."""

import datetime
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

from nst_jax.cli.messages import Expendable, say

if TYPE_CHECKING:
    from nst_jax.engine.results import SweepProgress

SECONDS_BETWEEN_LINES = 5.0  # where standard error is a file or a pipe


def make_bar(*columns: ProgressColumn) -> Progress:
    """A bar on standard error; it is seen on a terminal only.

    Rich would send what is printed meanwhile to the bar's stream: right where both streams are the
    terminal, wrong where the answers go to a file or a pipe.
    """
    stream: Any = None if sys.stderr is None else Expendable(sys.stderr)
    console = Console(stderr=True, file=stream)
    return Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


class ProgressBar:
    """Loss, steps per second and time left: a bar on a terminal; elsewhere a line now and then."""

    def __init__(self, lanes: int, name: str = "lane"):
        """Take how many lanes there are, from the first on; what it is told of others is left out.

        The time left counts the rounds that have not begun. The name is what one lane is called.
        """
        self._lanes, self._name = lanes, name
        self._line_due = 0.0
        self._size: int | None = None
        self._last, self._since = (0, 0.0), (0, 0.0)  # step and seconds; those of this size
        texts = (TextColumn("{task.description}"), TextColumn("{task.fields[numbers]}"))
        self._bar = make_bar(texts[0], BarColumn(), texts[1])
        self._task = self._bar.add_task("compiling", total=lanes, numbers="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        if self._bar.disable:
            say("compiling")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: "SweepProgress") -> None:
        """Show a step that has finished."""
        step, running = progress.step, min(progress.together, self._lanes)
        losses = progress.losses.total[:running]
        numbers = f"step {step}/{progress.steps}  loss {losses.min():.4g}"
        what = "painting"
        if self._lanes > 1:
            numbers += f" to {losses.max():.4g}"
            these = f"s {progress.done + 1} to" if running > 1 else ""
            what = f"{self._name}{these} {progress.done + running} of {self._lanes}"
        rate = self._steps_per_second(progress)
        if step:
            left = datetime.timedelta(seconds=round(progress.seconds_left(self._lanes) or 0))
            numbers += f"  {rate:.2f} steps/s  {left} left"
        done = progress.done + running * progress.work
        self._bar.update(self._task, description=what, completed=done, numbers=numbers)
        if self._bar.disable and (step == progress.steps or time.monotonic() >= self._line_due):
            self._line_due = time.monotonic() + SECONDS_BETWEEN_LINES
            say(f"{what}  {numbers}" if self._lanes > 1 else numbers)

    def _steps_per_second(self, progress: "SweepProgress") -> float:
        """At the size of this step, in this round."""
        step, seconds = progress.step, progress.seconds
        last = self._last if step > self._last[0] else (0, 0.0)  # where a round begins
        if progress.size != self._size or last == (0, 0.0):
            self._since = last
        self._size, self._last = progress.size, (step, seconds)
        return (step - self._since[0]) / (seconds - self._since[1]) if step else 0.0
