"""When a run keeps a checkpoint or is shown: by steps, seconds, or seldom enough to cost nothing.

What it takes is measured, and the next one is due when as much time has gone by as makes that 2 %
of it.
"""

import math
import re
import time
from typing import NamedTuple

from nst_jax.errors import SettingsError

SHARE = 0.02  # of the time, that checkpoints may take unless an interval is asked for
FIRST_SECONDS = 60.0  # in which nothing is kept then: short runs pay nothing
SLOW_DISK = 100e6  # bytes a second, until the first checkpoint tells how long it takes
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Interval(NamedTuple):
    """Between two checkpoints: steps, or seconds; neither leaves it to the time that they take."""

    steps: int | None = None
    seconds: float | None = None


AUTO = Interval()


def read_interval(text: str) -> Interval | None:
    """Read 50 (steps), 300s, 10m, 2h, auto; never is None.

    Raises:
        SettingsError: it is something else, or 0.
    """
    if text in ("auto", "never"):
        return AUTO if text == "auto" else None
    found = re.fullmatch(r"(\d+)()|(\d+\.?\d*)([smh])", text)
    number = float(found[1] or found[3]) if found else 0.0
    if not found or not number:
        raise SettingsError(
            f"checkpoint_every is {text!r}; wanted a number of steps (50), a time (300s, 10m, 2h), "
            f"auto or never"
        )
    return Interval(seconds=number * UNITS[found[4]]) if found[4] else Interval(int(number))


class Pace:
    """Says when the next one is due."""

    def __init__(self, interval: Interval, size: int, at_least: float = FIRST_SECONDS):
        """Take the interval, the bytes to write, and the fewest seconds where it says none."""
        self._interval, self._cost, self._at_least = interval, size / SLOW_DISK, at_least
        self._since: float | None = None

    def is_due(self, step: int) -> bool:
        """Whether one is due after this step; time counts from the first call on."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        steps, seconds = self._interval
        if steps is not None:
            return (step + 1) % steps == 0
        if seconds is None:
            seconds = max(self._at_least, self._cost / SHARE)
        return now - self._since >= seconds

    def next_step(self, step: int) -> float:
        """The next step after this one with one due by number; infinite where it goes by time."""
        steps = self._interval.steps
        return math.inf if steps is None else ((step + 1) // steps + 1) * steps - 1

    def spent(self, seconds: float) -> None:
        """Take note that one was made just now, in so many seconds."""
        self._since, self._cost = time.monotonic(), seconds
