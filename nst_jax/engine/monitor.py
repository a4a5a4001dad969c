"""Reads the losses of lanes as their steps finish, keeps the histories, tells the callback."""

import math
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from nst_jax.engine.pyramid import Scale, numbered, scale_at, work_done
from nst_jax.engine.results import (
    History,
    SweepCallback,
    SweepProgress,
    losses_of_lane,
    why_not_finite,
)
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses


class Stopwatch:
    """Counts the seconds spent in its `with` blocks: steps, but not the compilations between."""

    def __init__(self, seconds: float = 0.0):
        self._spent = seconds
        self._began: float | None = None

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent, self._began = self.seconds(), None

    def seconds(self) -> float:
        """Spent so far."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        return self._spent + running


class Monitor:
    """What is known of the lanes of one round, step by step.

    Attributes:
        stopped: whether the callback has ended the run.
        watch: of the round's steps.
    """

    def __init__(
        self,
        lanes: tuple[int, ...],
        scales: Sequence[Scale],
        finish: Callable[[int, np.ndarray], np.ndarray],
        *,
        together: int = 1,
        done: int = 0,
        total: int = 1,
        callback: SweepCallback | None = None,
        report_every: int = 10,
        must_be_finite: bool = False,
        histories: Sequence[History] = (),
        seconds: float = 0.0,
    ):
        """Begin, or go on with lanes that were interrupted.

        Args:
            lanes: their numbers.
            scales: that they go through.
            finish: a lane and an image (h, w, 3) that it has come to → what is shown of that.
            together: how many lanes run in this round, over all processes.
            done: how many were finished before.
            total: how many lanes the problem has.
            callback: told of every step.
            report_every: steps between entries of the histories.
            must_be_finite: whether an initial image without a finite loss is an error.
            histories: of each lane so far.
            seconds: spent on these lanes so far.
        """
        self.stopped, self.watch = False, Stopwatch(seconds)
        self._lanes, self._scales, self._finish, self._callback = lanes, scales, finish, callback
        self._together, self._done, self._total = together, done, total
        self._report_every, self._must_be_finite = report_every, must_be_finite
        self._before = histories or [[] for _ in lanes]
        self._firsts = {steps.start for _, steps in numbered(scales)}
        self._entries: list[tuple[int, Losses]] = []
        self._last: tuple[int, Losses] | None = None

    def report(
        self, step: int, losses: Losses, images: Callable[[], np.ndarray] | None = None
    ) -> bool:
        """Take the losses of a step, waiting for it; return whether to go on.

        Args:
            step: its number.
            losses: of the lanes, arrays () or (lanes,); those beyond this round's only fill it up.
            images: gives the lanes' outcomes (lanes, H, W, 3), where the callback is to see them.

        Raises:
            SettingsError: the loss of an initial image is not finite, and must be.
        """
        count = len(self._lanes)
        losses = jax.tree.map(lambda each: each.reshape(-1)[:count], jax.device_get(losses))
        if self._must_be_finite and step in self._firsts and not math.isfinite(losses.total[0]):
            raise SettingsError(why_not_finite(losses_of_lane(losses, 0)))
        self._last = (step, losses)
        if self._is_kept(step):
            self._entries.append(self._last)
        if self._callback and not self.stopped:
            try:
                self._callback(self._progress(step, losses, images))
            except StopIteration:
                self.stopped = True
        return not self.stopped

    def _progress(
        self, step: int, losses: Losses, images: Callable[[], np.ndarray] | None
    ) -> SweepProgress:
        return SweepProgress(
            lanes=self._lanes,
            together=self._together,
            done=self._done,
            total=self._total,
            step=step,
            steps=sum(scale.steps for scale in self._scales),
            losses=losses,
            seconds=self.watch.seconds(),
            size=scale_at(self._scales, step).size,
            work=work_done(self._scales, step),
            images=None if images is None else self._finished(images()),
        )

    def _finished(self, images: np.ndarray) -> np.ndarray:
        """Of the lanes of the round, without those that only fill it up."""
        pairs = zip(self._lanes, images, strict=False)
        return np.stack([self._finish(lane, image) for lane, image in pairs])

    def _is_kept(self, step: int) -> bool:
        """Whether a step has an entry in the history, though it may not be the last."""
        return step in self._firsts or step % self._report_every == 0

    def history_of(self, position: int) -> History:
        """Of one lane of the round, with the last step that was read at its end."""
        entries = self._entries
        if self._last and (not entries or entries[-1][0] != self._last[0]):
            entries = [*entries, self._last]
        # But not where it was interrupted in between.
        before = [entry for entry in self._before[position] if self._is_kept(entry[0])]
        return before + [(step, losses_of_lane(losses, position)) for step, losses in entries]
