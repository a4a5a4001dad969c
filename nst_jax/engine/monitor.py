"""Reads the losses of lanes as their steps finish, keeps the histories, tells the callback."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np

from nst_jax.engine.checkpoint import Checkpoint
from nst_jax.engine.options import RunOptions
from nst_jax.engine.pyramid import numbered, scale_at, work_done
from nst_jax.engine.results import History, SweepProgress, losses_of_lane, why_not_finite
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses, PackedLosses

if TYPE_CHECKING:
    from nst_jax.engine.problem import Problem


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
        problem: "Problem",
        options: RunOptions,
        lanes: tuple[int, ...],
        together: int,
        done: int,
        resumed: Checkpoint | None = None,
    ):
        """Begin, or go on with lanes that were interrupted.

        Of the round are `lanes`, `together` and `done`, as `SweepProgress` has them.
        """
        self.stopped, self.watch = False, Stopwatch(resumed.seconds if resumed else 0.0)
        self._problem, self._options, self._lanes = problem, options, lanes
        self._together, self._done = together, done
        self._before: list[History] = [[] for _ in lanes]
        if resumed:
            self._before = [resumed.histories[position] for position in resumed.find(lanes)]
        self._firsts = {steps.start for _, steps in numbered(problem.scales)}
        self._entries: list[tuple[int, Losses]] = []
        self._last: tuple[int, Losses] | None = None

    def report(
        self, step: int, packed: PackedLosses, images: Callable[[], np.ndarray] | None = None
    ) -> bool:
        """Take the losses of a step, waiting for it; return whether to go on.

        Args:
            step: its number.
            packed: losses of the lanes, each () or (lanes,); those beyond this round's only
                fill it up.
            images: gives the lanes' outcomes (lanes, H, W, 3), where the callback is to see them.

        Raises:
            SettingsError: the loss of an initial image is not finite, and must be.
        """
        count, options = len(self._lanes), self._options
        known = jax.device_get(packed).unpack()
        losses = jax.tree.map(lambda each: each.reshape(-1)[:count], known)
        if options.must_be_finite and step in self._firsts and not math.isfinite(losses.total[0]):
            raise SettingsError(why_not_finite(losses_of_lane(losses, 0)))
        self._last = (step, losses)
        if self._is_kept(step):
            self._entries.append(self._last)
        if options.callback and not self.stopped:
            try:
                options.callback(self._progress(step, losses, images))
            except StopIteration:
                self.stopped = True
        return not self.stopped

    def _progress(
        self, step: int, losses: Losses, images: Callable[[], np.ndarray] | None
    ) -> SweepProgress:
        problem, shown = self._problem, None
        if images is not None:
            pairs = zip(self._lanes, images(), strict=False)  # what fills the round up is left out
            finished = [problem.finish(lane, image) for lane, image in pairs]
            shown = finished[0][None] if len(finished) == 1 else np.stack(finished)
        return SweepProgress(
            lanes=self._lanes,
            together=self._together,
            done=self._done,
            total=len(problem.settings),
            step=step,
            steps=sum(scale.steps for scale in problem.scales),
            losses=losses,
            seconds=self.watch.seconds(),
            size=scale_at(problem.scales, step).size,
            work=work_done(problem.scales, step),
            images=shown,
        )

    def look(
        self, images: Callable[[], np.ndarray], at_most: int
    ) -> tuple[SweepProgress, list[History]]:
        """The last step that was read, and the histories, thinned to nearly so many entries.

        Args:
            images: as `report` takes them.
            at_most: how many entries.
        """
        assert self._last is not None
        progress = self._progress(*self._last, images)
        return progress, [self.history_of(place, at_most) for place in range(len(self._lanes))]

    def _is_kept(self, step: int) -> bool:
        """Whether a step has an entry in the history, though it may not be the last."""
        return step in self._firsts or step % self._options.report_every == 0

    def history_of(self, position: int, at_most: int | None = None) -> History:
        """Of one lane of the round, with the last step that was read at its end.

        Args:
            position: of the lane in the round.
            at_most: how many entries, nearly; the others between are left out.
        """
        entries = self._entries
        if self._last and (not entries or entries[-1][0] != self._last[0]):
            entries = [*entries, self._last]
        # But not where it was interrupted in between.
        before = [entry for entry in self._before[position] if self._is_kept(entry[0])]
        entries = _thinned(entries, at_most)
        return _thinned(before, at_most) + [
            (step, losses_of_lane(losses, position)) for step, losses in entries
        ]


def _thinned(entries: list[tuple[int, Losses]], at_most: int | None) -> list[tuple[int, Losses]]:
    """Every so-manieth entry, and the last."""
    stride = 1 if at_most is None else max(1, len(entries) // at_most)
    return entries[:-1:stride] + entries[-1:]
