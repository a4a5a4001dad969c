"""The rounds of a sweep: as many lanes at once as fit into memory, then the rest."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine import device_memory, distributed, lanes
from nst_jax.engine.initial_images import Starts
from nst_jax.engine.inputs import content_targets, guided_targets, style_targets
from nst_jax.engine.job import Job
from nst_jax.engine.loop import Stopwatch, check_intervals, iterate, settle, with_arguments
from nst_jax.engine.palette import finish_image
from nst_jax.engine.program import Carry, lane_axes, prepare, start
from nst_jax.engine.pyramid import (
    Scale,
    carry_up,
    enlarge,
    image_at,
    numbered,
    paintings_at,
    scale_at,
    work_done,
)
from nst_jax.engine.transfer import Result
from nst_jax.losses.terms import Losses, LossWeights, Targets


@dataclasses.dataclass(frozen=True)
class SweepProgress:
    """What a callback is told after each step of a round.

    Attributes:
        lanes: numbers of the lanes that this process computes now.
        together: how many lanes run in this round, over all processes.
        done: how many lanes were finished before.
        total: how many lanes there are.
        step: 0 is the initial images, before any update.
        steps: of each round.
        losses: of the images at this step, arrays (lanes,).
        seconds: since the round's first step began, compilation not counted.
        size: long side, in pixels, of the images at this step.
        work: how much of the round's work is done, 0 to 1: steps count as much as they have pixels.
        images: (lanes, H, W, 3) float32 in [0, 1], the best so far of those of this size, or the
            averages; None but every `save_every` steps.
    """

    lanes: tuple[int, ...]
    together: int
    done: int
    total: int
    step: int
    steps: int
    losses: Losses
    seconds: float
    size: int
    work: float
    images: np.ndarray | None = None


SweepCallback = Callable[[SweepProgress], object]
History = list[tuple[int, Losses]]


class Checkpoint(NamedTuple):
    """Lanes in the middle of their run, as they can go on from.

    Attributes:
        lanes: their numbers.
        step: the next.
        carry: on the host, with these lanes only; of the scale of the step before.
        histories: of each so far.
        seconds: spent so far.
    """

    lanes: tuple[int, ...]
    step: int
    carry: Carry
    histories: list[History]
    seconds: float


class Round(NamedTuple):
    """What a round of lanes has come to.

    Attributes:
        results: by the lane's number.
        stopped: whether the callback ended the sweep, in any process.
        checkpoint: where it ended the round, to go on from; in a run of one process.
    """

    results: dict[int, Result]
    stopped: bool = False
    checkpoint: Checkpoint | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How a sweep is run; nothing here changes its results.

    Attributes:
        callback: told of every step; may raise StopIteration to end the sweep there.
        report_every: steps between entries of the histories.
        save_every: steps between calls of the callback that carry the images.
        lanes_at_once: at most, in each process, rounded up to a multiple of its devices; None takes
            as many as fit into memory.
        memory: bytes that each device may use; None means nearly all that is free.
    """

    callback: SweepCallback | None = None
    report_every: int = 10
    save_every: int | None = None
    lanes_at_once: int | None = None
    memory: int | None = None

    def __post_init__(self):
        check_intervals(
            report_every=self.report_every,
            save_every=self.save_every,
            lanes_at_once=self.lanes_at_once,
        )


def run(job: Job, options: Options, resumed: Checkpoint | None = None) -> Iterator[Round]:
    """Run the lanes round by round, first those that were interrupted.

    Args:
        job: the lanes. In a run of several processes all must call this with the same.
        options: how.
        resumed: lanes to go on with.

    Yields:
        What each round has come to; after one that the callback ended, nothing more.
    """
    yield from Runner(job, options, resumed).run()


class Runner:
    """What the rounds of a sweep share: the compiled step, the parameters, the targets.

    Attributes:
        plan: how many lanes run at once, and what that needs, at the full size.
    """

    def __init__(self, job: Job, options: Options, resumed: Checkpoint | None = None):
        """Compile for as many lanes as fit; arguments and errors as of `run`."""
        self._job, self._options, self._resumed, self._done = job, options, resumed, 0
        interrupted = len(resumed.lanes) if resumed else 0
        devices = tuple(jax.local_devices())
        self._programs = lanes.jitted_lanes(job.program, devices)
        params = prepare(job.program, job.weights.params)
        self._params = jax.device_put(params, self._programs.whole)
        self._full = job.scales[-1]
        self._known: dict[tuple, Any] = {}
        self._targets_of(0, self._full)  # of which compiling needs the shapes
        began = time.perf_counter()
        wanted = max(len(job.settings) - interrupted, interrupted)
        self.plan = self._make_plan(math.ceil(wanted / jax.process_count()), devices)
        self._steps = {self._full: self.plan.step}
        self._compile_seconds = time.perf_counter() - began

    def _make_plan(self, wanted: int, devices: tuple[jax.Device, ...]) -> lanes.Plan:
        """As many lanes at once as fit in every process, evenly over the rounds."""
        image = jax.ShapeDtypeStruct(self._job.shape, jnp.float32)
        most = lanes.plan_lanes(
            min(wanted, self._options.lanes_at_once or wanted),
            self._compile,
            len(devices),
            lane_bytes=_bytes_of(jax.eval_shape(partial(start, self._job.program), image)),
            fixed_bytes=_bytes_of(self._params),
            budget=self._options.memory or device_memory.usable_bytes(devices),
        )
        least = min(distributed.gather(most.lanes))
        even = lanes.even_share(wanted, least, len(devices))
        if even == most.lanes:
            return most
        step = self._compile(even)
        return lanes.Plan(even, step, device_memory.needed_bytes(step))

    def _compile(self, count: int, scale: Scale | None = None) -> jax.stages.Compiled:
        """The step for so many lanes, from shapes alone; of the full size unless one is given."""
        scale = scale or self._full
        images = jax.ShapeDtypeStruct((count, *scale.shape, 3), jnp.float32)
        carry = jax.eval_shape(self._programs.start, images)
        one_lane = (self._targets_of(0, scale), LossWeights.from_settings(self._job.settings[0]))
        arguments = lanes.shape_of_lanes(count, one_lane)
        return device_memory.compile_for(self._programs.step, carry, self._params, *arguments)

    def _step_at(self, scale: Scale) -> jax.stages.Compiled:
        """Compiled once, when the first round comes to this scale."""
        if scale not in self._steps:
            began = time.perf_counter()
            self._steps[scale] = self._compile(self.plan.lanes, scale)
            self._compile_seconds += time.perf_counter() - began
        return self._steps[scale]

    def _targets_of(self, lane: int, scale: Scale) -> Targets:
        """Computed once for each photograph, and for each mixture of paintings, at a scale."""
        job = self._job
        content, paintings = job.contents[lane], job.styles[lane]
        shares = job.settings[lane].style_shares(len(paintings))
        mixture = (*shares.items(), *(tuple(map(id, each.scaled)) for each in paintings))
        network = job.program, job.weights.params
        regions = job.regions[lane]
        content_part = self._once(
            (scale, id(content)), lambda: content_targets(*network, image_at(scale, content))
        )
        if regions is None:
            style_part = self._once(
                (scale, mixture),
                lambda: style_targets(*network, paintings_at(scale, paintings), shares),
            )
            return Targets(content_part, style_part)
        guided: Targets = self._once(
            (scale, id(regions), mixture),
            lambda: guided_targets(
                *network,
                paintings_at(scale, paintings),
                regions.at(scale.shape),
                is_free=content is None,
            ),
        )
        return guided._replace(content=content_part)

    def _once(self, key: tuple, compute: Callable[[], Any]) -> Any:
        """What is computed under this key; kept on the host."""
        if key not in self._known:
            self._known[key] = jax.device_get(compute())
        return self._known[key]

    def run(self) -> Iterator[Round]:
        """What each round has come to; after one that the callback ended, nothing more."""
        for numbers in self.rounds():
            finished = self._run_round(numbers)
            yield finished
            if finished.stopped:
                return

    def rounds(self) -> list[tuple[int, ...]]:
        """The numbers of the lanes of each round, over all processes."""
        interrupted = self._resumed.lanes if self._resumed else ()
        fresh = [n for n in range(len(self._job.settings)) if n not in interrupted]
        at_once = self.plan.lanes * jax.process_count()
        return [
            tuple(numbers[first : first + at_once])
            for numbers in (interrupted, fresh)
            for first in range(0, len(numbers), at_once)
        ]

    def _run_round(self, numbers: tuple[int, ...]) -> Round:
        """Run one round, and gather what all processes have made of it."""
        begin = jax.process_index() * self.plan.lanes
        mine = numbers[begin : begin + self.plan.lanes]
        if self._resumed and numbers[0] not in self._resumed.lanes:
            self._resumed = None  # its history takes as much memory as that of a whole round
        tell = partial(
            SweepProgress,
            together=len(numbers),
            done=self._done,
            total=len(self._job.settings),
        )
        finished = self._run_mine(mine or numbers[:1], self._resumed, tell)
        results = {n: r for n, r in finished.results.items() if n in mine}
        stopped = finished.stopped
        for others, other_stopped in distributed.gather((results, stopped)):
            results |= others
            stopped |= other_stopped
        self._done += len(numbers)
        return Round(results, stopped, finished.checkpoint)

    def _run_mine(
        self,
        mine: tuple[int, ...],
        resumed: Checkpoint | None,
        tell: Callable[..., SweepProgress],
    ) -> Round:
        """Run this process's share of a round."""
        padded = mine + mine[:1] * (self.plan.lanes - len(mine))
        scales, steps = self._job.scales, self._job.settings[0].steps
        tell = partial(tell, lanes=mine, steps=steps)
        monitor = _Monitor(self._options, mine, scales, self._finish, tell)
        if resumed:
            monitor.go_on_from(resumed)
        first = resumed.step if resumed else 0
        carry, evaluations, step = self._take_steps(
            padded, self._begin(padded, resumed), first, monitor
        )
        finished = evaluations == steps + 1
        resumable = not finished and jax.process_count() == 1
        kept = self._keep(carry, len(mine)) if resumable else None  # `settle` may take the carry
        with monitor.watch:
            restarts = jax.device_get(carry.restarts)
            outcomes, losses = settle(step, carry)
        results = {
            number: Result(
                image=self._finish(number, enlarge(outcomes[lane], self._full.shape)),
                losses=_of_lane(losses, lane),
                history=monitor.history_of(lane),
                evaluations=evaluations,
                restarts=int(restarts[lane]),
                compile_seconds=self._compile_seconds,
                run_seconds=monitor.watch.seconds(),
                completed=finished,
                settings=self._job.settings[number],
                weights=dataclasses.replace(self._job.weights, params={}, activation_means=None),
                lanes=len(mine),
                scales=scales,
                compiled_lanes=self.plan.lanes,
            )
            for lane, number in enumerate(mine)
        }
        if kept is None:
            return Round(results, monitor.stopped)
        histories = [results[number].history for number in mine]
        checkpoint = Checkpoint(mine, evaluations, kept, histories, monitor.watch.seconds())
        return Round(results, True, checkpoint)

    def _take_steps(
        self, padded: tuple[int, ...], carry: Carry, following: int, monitor: "_Monitor"
    ) -> tuple[Carry, int, Callable[[Carry], tuple[Carry, Losses]]]:
        """Go through the scales, from the step `following` on.

        Returns:
            As `iterate`, and the step of the scale where it ended.
        """
        for scale, numbers in numbered(self._job.scales):
            if numbers.stop <= following:  # behind these lanes when they were interrupted
                continue
            if numbers.start and numbers.start == following:
                carry = carry_up(partial(self._go_on_at, scale, padded), carry)
            arguments = (self._params, *self._arguments_of(padded, scale))
            step = with_arguments(self._step_at(scale), arguments)
            with monitor.watch:
                carry, following = iterate(
                    step,
                    carry,
                    range(following, numbers.stop),
                    monitor.report,
                    self._options.save_every,
                )
            if monitor.stopped:
                break
        return carry, following, step

    def _keep(self, carry: Carry, count: int) -> Carry:
        """The first lanes of a carry, on the host, for a checkpoint."""
        return lanes.take_lanes(jax.device_get(carry), lane_axes(self._job.program), range(count))

    def _begin(self, padded: tuple[int, ...], resumed: Checkpoint | None) -> Carry:
        """The first carry of a round: initial images, or where the lanes were interrupted."""
        if resumed is not None:
            positions = [resumed.lanes.index(number) for number in padded]
            axes = lane_axes(self._job.program)
            kept = lanes.take_lanes(resumed.carry, axes, positions)
            return jax.device_put(kept, self._programs.carry)
        coarsest = self._job.scales[0]
        return self._start([self._starts_of(number).first(coarsest) for number in padded])

    def _go_on_at(self, scale: Scale, padded: tuple[int, ...], outcomes: np.ndarray) -> Carry:
        """The first carry of a scale, from what these lanes have come to at the one before."""
        pairs = zip(padded, outcomes, strict=True)
        return self._start([self._starts_of(n).following(out, scale) for n, out in pairs])

    def _start(self, images: Sequence[np.ndarray]) -> Carry:
        return self._programs.start(jax.device_put(np.stack(images), self._programs.spread))

    def _starts_of(self, lane: int) -> Starts:
        job = self._job
        return Starts(job.settings[lane], job.contents[lane], job.styles[lane], job.regions[lane])

    def _finish(self, lane: int, image: np.ndarray) -> np.ndarray:
        return finish_image(self._job.settings[lane], self._job.photographs[lane], image)

    def _arguments_of(self, padded: tuple[int, ...], scale: Scale) -> tuple[Targets, LossWeights]:
        """Targets and weights of these lanes, stacked."""
        each = [
            (self._targets_of(n, scale), LossWeights.from_settings(self._job.settings[n]))
            for n in padded
        ]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
        return jax.device_put(stacked, self._programs.spread)


class _Monitor:
    """Reads the losses of a round as its steps finish, and tells the callback."""

    def __init__(
        self,
        options: Options,
        numbers: tuple[int, ...],
        scales: Sequence[Scale],
        finish: Callable[[int, np.ndarray], np.ndarray],
        tell: Callable[..., SweepProgress],
    ):
        self._options, self._numbers, self._scales, self._tell = options, numbers, scales, tell
        self._finish = finish
        self._firsts = {steps.start for _, steps in numbered(scales)}
        self._before: list[History] = [[] for _ in numbers]
        self._history: History = []
        self._last: tuple[int, Losses] | None = None
        self.stopped = False
        self.watch = Stopwatch()

    def go_on_from(self, resumed: Checkpoint) -> None:
        """Count what these lanes have behind them already."""
        positions = [resumed.lanes.index(number) for number in self._numbers]
        self._before = [resumed.histories[position] for position in positions]
        self.watch = Stopwatch(resumed.seconds)

    def report(self, number: int, losses: Losses, carry: Carry | None) -> bool:
        """Take the losses of a step, waiting for it; `carry` where its images are to be shown."""
        count = len(self._numbers)
        losses = jax.tree.map(lambda each: np.asarray(each)[:count], losses)
        self._last = (number, losses)
        if self._is_kept(number):
            self._history.append(self._last)
        if self._options.callback and not self.stopped:
            images = None if carry is None else self._finished(np.asarray(carry.outcome))
            progress = self._tell(
                step=number,
                losses=losses,
                seconds=self.watch.seconds(),
                size=scale_at(self._scales, number).size,
                work=work_done(self._scales, number),
                images=images,
            )
            try:
                self._options.callback(progress)
            except StopIteration:
                self.stopped = True
        return not self.stopped

    def _finished(self, images: np.ndarray) -> np.ndarray:
        """Of the lanes of the round, without those that only fill it up."""
        pairs = zip(self._numbers, images, strict=False)
        return np.stack([self._finish(number, image) for number, image in pairs])

    def _is_kept(self, number: int) -> bool:
        """Whether a step has an entry in the history, though it may not be the last."""
        return number in self._firsts or number % self._options.report_every == 0

    def history_of(self, lane: int) -> History:
        """Of one lane of the round, with the last step that was read at its end."""
        history = self._history
        if self._last and (not history or history[-1][0] != self._last[0]):
            history = [*history, self._last]
        # But not where it was interrupted in between.
        before = [entry for entry in self._before[lane] if self._is_kept(entry[0])]
        return before + [(number, _of_lane(losses, lane)) for number, losses in history]


def _of_lane(losses: Losses, lane: int) -> Losses:
    return jax.tree.map(lambda each: float(each[lane]), losses)


def _bytes_of(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
