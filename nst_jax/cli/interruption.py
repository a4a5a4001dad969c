"""Ctrl-C: once ends a run after its step and saves, twice ends at once."""

import contextlib
import math
import signal
import time

from nst_jax.cli.messages import say

# Seconds; some launchers pass on the signal that the terminal has sent already.
SAME_PRESS = 0.5


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
