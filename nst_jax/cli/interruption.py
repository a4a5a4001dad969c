"""Ctrl-C, SIGTERM, SIGHUP: once ends a run after its step and saves, twice ends at once.

SIGTERM is how Slurm, systemd and clouds end a job, SIGHUP how a terminal that closes does.
"""

import contextlib
import math
import signal
import time
from collections.abc import Iterator

from nst_jax.cli.messages import say

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# Seconds; some launchers pass on the signal that the terminal has sent already.
SAME_PRESS = 0.5

_last = signal.SIGINT


def exit_code() -> int:
    """Of a command that a signal has ended, as shells have it: 130, 143 or 129."""
    return 128 + _last


@contextlib.contextmanager
def ctrl_c_at_once() -> Iterator[None]:
    """Ctrl-C ends the process here and now, without a traceback.

    For what is not Python's: it would answer only once that is over.
    """
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Interruption:
    """A signal ends a run after the step; a second one, or one before the first step, at once.

    An exception in the middle of a step would lose the image: its memory belongs to the step.
    What was ignored before, as Ctrl-C is in a script's background jobs and SIGHUP under `nohup`,
    still is.

    Attributes:
        requested: whether a signal has come.
        stoppable: whether there is an image worth saving; `reach_step` sets it.
        saving: to be set while it is saved; signals do nothing any more.
    """

    def __init__(self):
        self.requested = self.stoppable = self.saving = False
        self._pressed = -math.inf

    def __enter__(self) -> "Interruption":
        global _last
        _last = signal.SIGINT
        self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        for number, previous in self._previous.items():
            if previous != signal.SIG_IGN:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def reach_step(self) -> None:
        """Say that a step has ended: there is an image worth saving.

        Raises:
            KeyboardInterrupt: a signal had come before, and its exception was lost, as it is where
                Python is in a callback of its own, such as the garbage collector's.
        """
        if self.requested and not self.stoppable:
            raise KeyboardInterrupt
        self.stoppable = True

    def _handle(self, number: int, _: object) -> None:
        global _last
        if self.saving or time.monotonic() - self._pressed < SAME_PRESS:
            return
        _last = signal.Signals(number)
        again, self.requested = self.requested, True
        if again or not self.stoppable:
            raise KeyboardInterrupt
        self._pressed = time.monotonic()
        with contextlib.suppress(RuntimeError):  # the signal came in the middle of another line
            asked = "" if number == signal.SIGINT else f"{_last.name}: "
            say(
                f"{asked}stopping after this step, and saving the best image so far; "
                f"{asked.rstrip(': ') or 'Ctrl-C'} again stops at once and saves nothing"
            )
