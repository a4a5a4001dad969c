"""Runs a problem: round by round, as many lanes at once as fit into memory, scale by scale."""

import contextlib
import dataclasses
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine import device_memory, distributed, fitting, peers
from nst_jax.engine.checkpoint import Checkpoint, Keep, checkpoint_bytes
from nst_jax.engine.device_memory import TooLargeError
from nst_jax.engine.executors import (
    Arguments,
    Executor,
    MeshExecutor,
    Step,
    devices_of,
    executor_of_one,
    remember_shapes,
)
from nst_jax.engine.monitor import Monitor
from nst_jax.engine.options import RunOptions
from nst_jax.engine.pace import Pace
from nst_jax.engine.problem import Problem
from nst_jax.engine.program import Carry, prepare_parameters, take_lanes
from nst_jax.engine.pyramid import Scale, enlarge, numbered, scale_at
from nst_jax.engine.results import Result, losses_of_lane
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses, PackedLosses

# Of processes that share an image: between two meetings, in which each step waits for the host.
MEETING_SECONDS = 0.5
# The device computes one step while the host reads the losses of the one before.
STEPS_IN_FLIGHT = 2
# Of all lanes that a CPU takes at once. A lane's step, alone, with 4 and with 8 at once, in ms (2
# cores of an Intel Xeon, jaxlib 0.10.2, 2026-11-25): 64×43 px 31, 22, 22; 128×85 px 67, 61, 65;
# 256×171 px 188, 200, 210.
CPU_PIXELS = 48_000

# Whether to go on, whether a checkpoint is kept, whether the run is shown.
Decided = tuple[bool, bool, bool]
# Takes a step's number, its losses and, where it is wanted, the carry after it; returns whether to
# go on.
Report = Callable[[int, PackedLosses, Carry | None], bool]


class Round(NamedTuple):
    """What a round of lanes has come to.

    Attributes:
        results: by the lane's number.
        stopped: whether the callback ended the run, in any process.
        checkpoint: where it ended this process's share of the round, to go on from, where
            checkpoints are kept.
        waiting: whether another round goes on from what was interrupted.
    """

    results: dict[int, Result]
    stopped: bool = False
    checkpoint: Checkpoint | None = None
    waiting: bool = False


class Runner:
    """Runs the lanes of a problem, first those that were interrupted.

    Every compiled program sums its floats in an order of its own: one of n lanes rounds otherwise
    than one of a single image, and after some steps of L-BFGS the pictures differ visibly. But no
    lane depends, in any bit, on what the others hold (measured on CPU): among n − 1 copies of
    itself a lane comes out as among n − 1 others.

    Attributes:
        executor: that takes the steps; says how many lanes run at once in this process.
    """

    def __init__(
        self,
        problem: Problem,
        options: RunOptions | None = None,
        resumed: Checkpoint | None = None,
        like: "Runner | None" = None,
    ):
        """Find out how many lanes fit at once, by compiling the step at full size.

        A runner of other images of that shape, with the same settings but for those of lanes, has
        found that out and compiled already: `like` it, as many run at once, of what it compiled.

        Of several processes all must give the same problem, and each the lanes that it goes on
        with. Where they share each image they run the same lanes, as one process would.

        Raises:
            SettingsError: one lane alone does not fit into the memory that may be used.
        """
        self._problem, self._options = problem, options or RunOptions()
        remember_shapes(problem.shapes)
        self._resumed: Checkpoint | None = None  # of the round that runs
        self._done = 0
        if self._options.watch:
            self._options.watch.begin(problem.settings)
        self._spread = distributed.spans_processes(problem.program.rows.devices)
        self._processes = 1 if self._spread else jax.process_count()
        self._process = 0 if self._spread else jax.process_index()
        groups = resumed.groups if resumed else []
        interrupted = [each.lanes for each in groups]
        every = [interrupted] if self._spread else distributed.gather(interrupted)
        self._interrupted = _dealt(every)
        mine = sum(self._interrupted[self._process], ())
        dealt = (each.only(mine, problem.program) for each in groups)
        self._waiting = [each for each in dealt if each]  # what no round has gone on from yet
        self._devices = devices_of(problem.program)
        free = device_memory.free_bytes(tuple(jax.local_devices()))
        limit = None if problem.fits else fitting.free_for_one(problem, self._options.memory)
        self._prepare = partial(
            prepare_parameters, problem.program, problem.weights.params, problem.shape
        )
        self._compiled: dict[tuple[int, Scale], jax.stages.Compiled]
        self._compiled = like._compiled if like else {}
        self._compile_seconds = 0.0
        if problem.fits:
            self._compiled[1, problem.scales[-1]], self._compile_seconds = problem.fits
        try:
            self.executor: Executor = like.executor if like else self._choose_executor(free, limit)
        except TooLargeError as error:
            raise SettingsError(f"{error}; {fitting.remedy(problem, error)}") from error
        self._pace = Pace(
            self._options.checkpoint_every, checkpoint_bytes(problem, self.executor.lanes)
        )

    @property
    def needed_bytes(self) -> int:
        """What the step at full size needs on each device, by XLA's own account."""
        return self._bytes_needed_by(self.executor)

    @property
    def lanes_at_once(self) -> int:
        """Of all processes."""
        return self.executor.lanes * self._processes

    def rounds(self) -> list[tuple[tuple[int, ...], ...]]:
        """The numbers of the lanes of each round: a tuple for each process with its own."""
        at_once, processes = self.executor.lanes, self._processes
        chunks = [
            [
                own[first : first + at_once]
                for own in groups
                for first in range(0, len(own), at_once)
            ]
            for groups in self._interrupted
        ]
        rounds = list(itertools.zip_longest(*chunks, fillvalue=()))
        begun = set().union(*(own for groups in self._interrupted for own in groups))
        fresh = [lane for lane in range(len(self._problem.settings)) if lane not in begun]
        for first in range(0, len(fresh), at_once * processes):
            begins = (first + process * at_once for process in range(processes))
            rounds.append(tuple(tuple(fresh[begin : begin + at_once]) for begin in begins))
        return rounds

    def run(self) -> Iterator[Round]:
        """What each round has come to; after one that the callback ended, nothing more."""
        for shares in self.rounds():
            finished = self._run_round(shares)
            yield finished
            if finished.stopped:
                return

    def _choose_executor(self, free: int | None, limit: int | None) -> Executor:
        """As many lanes at once as fit in every process, evenly over the rounds.

        Args:
            free: bytes on each device; None where nothing tells.
            limit: bytes that one lane may take; None: any number.
        """
        count, options = len(self._problem.settings), self._options
        interrupted = [len(own) for groups in self._interrupted for own in groups]
        fresh = math.ceil((count - sum(interrupted)) / self._processes)
        wanted = max([fresh, *interrupted])
        rows = self._problem.program.rows.devices
        groups = 1 if count == 1 else len(self._devices) // rows  # of devices, a lane for each
        usable = None if free is None else int(device_memory.USABLE * free)
        executor_of = cache(self._executor_of)
        planned = device_memory.plan_lanes(
            min(wanted, options.lanes_at_once or _useful_lanes(self._problem.shape, groups)),
            lambda lanes: self._bytes_needed_by(executor_of(lanes)),
            groups,
            lane_bytes=fitting.least_bytes(self._problem),
            fixed_bytes=fitting.bytes_of(jax.eval_shape(self._prepare)),
            budget=options.memory or usable,
            limit=sys.maxsize if limit is None else limit,
        )
        everywhere = min(distributed.gather(planned))
        executor = executor_of(device_memory.even_share(wanted, everywhere, groups))
        tried = self._compiled
        self._compiled = {key: tried[key] for key in tried if key[0] == executor.lanes}
        return executor

    def _executor_of(self, lanes: int) -> Executor:
        if lanes == 1:
            return executor_of_one(self._problem.program, self._prepare)
        return MeshExecutor(self._problem.program, self._prepare, lanes, self._devices)

    def _bytes_needed_by(self, executor: Executor) -> int:
        return device_memory.needed_bytes(self._step_at(self._problem.scales[-1], executor))

    def _step_at(self, scale: Scale, executor: Executor) -> jax.stages.Compiled:
        """Compiled once."""
        key = executor.lanes, scale
        if key not in self._compiled:
            if scale == self._problem.scales[-1]:  # before anything takes memory
                one_lane = self._problem.target_shapes(), self._problem.loss_weights(0)
            else:
                one_lane = self._arguments_of(0, scale)
            began = time.perf_counter()
            self._compiled[key] = executor.compile(scale.shape, one_lane)
            self._compile_seconds += time.perf_counter() - began
        return self._compiled[key]

    def _arguments_of(self, lane: int, scale: Scale) -> Arguments:
        return self._problem.targets(lane, scale), self._problem.loss_weights(lane)

    def _run_round(self, shares: tuple[tuple[int, ...], ...]) -> Round:
        """Run one round, and gather what all processes have made of it.

        A process without a share runs a lane of another's, and lets go of what comes of it.
        """
        mine, numbers = shares[self._process], sum(shares, ())
        lanes = mine or numbers[:1]
        self._take_up(lanes)
        with self._with_peers():
            finished = self._run_lanes(lanes, len(numbers), self._options.keep if mine else None)
        results = {n: r for n, r in finished.results.items() if n in mine}
        stopped = finished.stopped
        # What all have made together all have.
        for others, other_stopped in distributed.gather(({} if self._spread else results, stopped)):
            results |= others
            stopped |= other_stopped
        self._done += len(numbers)
        if self._options.watch:
            self._options.watch.take(results)
        return Round(results, stopped, finished.checkpoint, bool(self._waiting))

    @contextlib.contextmanager
    def _with_peers(self) -> Iterator[None]:
        if not self._spread:
            yield
            return
        with peers.together(), distributed.peers_needed():
            yield

    def _take_up(self, lanes: tuple[int, ...]) -> None:
        """Set what these lanes go on from, if anything; the others of it wait on."""
        program = self._problem.program
        others = set(range(len(self._problem.settings))) - set(lanes)
        taken = (each.only(lanes, program) for each in self._waiting)
        self._resumed = next((each for each in taken if each), None)
        left = (each.only(others, program) for each in self._waiting)
        self._waiting = [each for each in left if each]

    def _run_lanes(self, lanes: tuple[int, ...], together: int, keep: Keep | None) -> Round:
        """Run this process's share of a round."""
        problem, options = self._problem, self._options
        monitor = Monitor(problem, options, lanes, together, self._done, self._resumed)
        carry, evaluations, step = self._take_steps(lanes, monitor, keep)
        kept = None
        if keep and evaluations < self._end:  # before the average's step takes the carry
            kept = self._checkpoint(lanes, evaluations, carry, monitor)
            if carry.average is not None:
                kept = kept._replace(carry=jax.tree.map(np.asarray, kept.carry))
        with monitor.watch:
            restarts = np.reshape(jax.device_get(carry.restarts), -1)
            images, losses = self._settle(step, carry)
        full, seconds = problem.scales[-1], monitor.watch.seconds()
        results = {
            lane: Result(
                image=problem.finish(lane, enlarge(images[position], full.shape)),
                losses=losses_of_lane(losses, position),
                history=monitor.history_of(position),
                evaluations=evaluations,
                restarts=int(restarts[position]),
                compile_seconds=self._compile_seconds,
                run_seconds=seconds,
                completed=evaluations == problem.settings[0].steps + 1,
                settings=problem.settings[lane],
                weights=dataclasses.replace(problem.weights, params={}, activation_means={}),
                lanes=len(lanes),
                scales=problem.scales,
                compiled_lanes=self.executor.compiled_lanes,
                devices=problem.program.rows.devices,
                alpha=problem.alphas[lane],
            )
            for position, lane in enumerate(lanes)
        }
        return Round(results, monitor.stopped, kept)

    @property
    def _end(self) -> int:
        """The number after that of the last step."""
        stop = self._options.stop
        return (self._problem.settings[0].steps if stop is None else stop) + 1

    def _checkpoint(
        self, lanes: tuple[int, ...], step: int, carry: Carry, monitor: Monitor
    ) -> Checkpoint:
        """All that the lanes go on from; the carry's transfer to the host."""
        count = range(len(lanes))
        kept = take_lanes(self._problem.program, self.executor.store(carry), count)
        histories = [monitor.history_of(position) for position in count]
        seconds, waiting = monitor.watch.seconds(), tuple(self._waiting)
        return Checkpoint(lanes, step, kept, histories, seconds, waiting)

    def _take_steps(
        self, lanes: tuple[int, ...], monitor: Monitor, keep: Keep | None
    ) -> tuple[Carry, int, Step]:
        """Go through the scales; the last carry, the next step's number, the last scale's step."""
        executor, problem, end, watch = self.executor, self._problem, self._end, self._options.watch
        filled = lanes + lanes[:1] * (executor.lanes - len(lanes))
        following = self._resumed.step if self._resumed else 0
        self._meeting: float = following
        carry: Any = None

        def is_shown(number: int) -> bool:
            every = self._options.save_every
            return every is not None and number % every == 0

        def is_kept(number: int) -> bool:
            return keep is not None and number + 1 < end and self._pace.is_due(number)

        def is_watched(number: int) -> bool:
            return watch is not None and number + 1 < end and watch.is_due(number)

        def is_wanted(number: int) -> bool:
            if self._spread:
                return is_shown(number) or number >= self._meeting
            return is_shown(number) or is_kept(number) or is_watched(number)

        def outcome_of(at_rest: Carry) -> Callable[[], np.ndarray]:
            if not self._spread:
                return partial(executor.outcome, at_rest)
            images = executor.outcome(at_rest)  # in which all processes take part
            return lambda: images

        def report(number: int, losses: PackedLosses, at_rest: Carry | None) -> bool:
            seen = outcome_of(at_rest) if at_rest is not None and is_shown(number) else None
            going = monitor.report(number, losses, seen)
            if at_rest is None or (self._spread and number < self._meeting):
                return going or self._spread  # of which the others know nothing yet
            decided = going, is_kept(number), is_watched(number)
            if self._spread:
                decided = self._meet(number, decided, monitor.watch.seconds() / (number + 1))
            going, keeping, watching = decided
            if keep and going and keeping:
                began = time.perf_counter()
                keep(self._checkpoint(lanes, number + 1, at_rest, monitor))
                self._pace.spent(time.perf_counter() - began)
            if going and watching:
                outcome = outcome_of(at_rest)
                if watch:
                    watch.show(partial(monitor.look, outcome))
            return going

        for scale, numbers in numbered(problem.scales):
            if numbers.stop <= following:  # behind these lanes when they were interrupted
                continue
            # Compiling and targets take memory for a while: before the first carry takes its own.
            compiled = self._step_at(scale, executor)
            arguments = [self._arguments_of(lane, scale) for lane in filled]
            device_memory.give_back()
            carry = self._begin(filled) if carry is None else carry
            if numbers.start and numbers.start == following:
                carry = self._restart_at_next_scale(carry, filled, scale)
            step = executor.step(compiled, arguments)
            with monitor.watch:
                going_on = range(following, min(numbers.stop, end))
                carry, following = iterate(step, carry, going_on, report, is_wanted)
            if monitor.stopped or following == end:
                break
        return carry, following, step

    def _meet(self, number: int, mine: Decided, seconds: float) -> Decided:
        """What processes that share each image do after a step, and when they meet again.

        Any of them may end the run; the first says what is kept and shown.

        Args:
            number: of the step.
            mine: whether to go on, whether to keep a checkpoint, whether to show the run.
            seconds: that a step takes.
        """
        soon = number + max(1, int(MEETING_SECONDS / seconds))
        following = min(soon, self._pace.next_step(number))
        every = distributed.gather((mine, following))
        (_, keeping, watching), self._meeting = every[0]
        return all(going for (going, _, _), _ in every), keeping, watching

    def _begin(self, lanes: tuple[int, ...]) -> Carry:
        """The first carry of a round: initial images, or where the lanes were interrupted."""
        if self._resumed:
            at = scale_at(self._problem.scales, self._resumed.step - 1)
            positions = self._resumed.find(lanes)
            carry = take_lanes(self._problem.program, self._resumed.carry, positions)
            # It takes as much memory as the round.
            self._resumed = self._resumed._replace(carry=None)  # type: ignore[arg-type]
            return self.executor.restore(carry, at.shape)
        initial, coarsest = self._problem.initial_images, self._problem.scales[0]
        return self.executor.start([initial[lane].coarsest_image(coarsest) for lane in lanes])

    def _restart_at_next_scale(self, carry: Carry, lanes: tuple[int, ...], scale: Scale) -> Carry:
        """The first carry of a scale, from the outcomes of the scale before; a new optimizer."""
        pairs = zip(lanes, self.executor.outcome(carry), strict=True)
        initial = self._problem.initial_images
        images = [initial[lane].refine(coarse, scale) for lane, coarse in pairs]
        return self.executor.start(images)._replace(restarts=carry.restarts)

    def _settle(self, step: Step, carry: Carry) -> tuple[np.ndarray, Losses]:
        """What the lanes have come to: images (lanes, H, W, 3), and their losses (lanes,).

        An average has not been evaluated yet: that takes one more step, and the carry with it.
        """
        images = self.executor.outcome(carry)
        losses = carry.best.losses
        if carry.average is not None:
            mean = jnp.copy(carry.average.image)  # a buffer cannot be donated twice
            _, losses = step(carry._replace(image=mean))
        return images, jax.tree.map(lambda each: each.reshape(-1), jax.device_get(losses).unpack())


def iterate(
    step: Step,
    carry: Carry,
    numbers: range,
    report: Report,
    is_wanted: Callable[[int], bool] = lambda number: False,
) -> tuple[Carry, int]:
    """Take the steps of these numbers, or until `report`, told of every one in order, says stop.

    Args:
        step: may return before it has finished.
        carry: to begin with; may be donated to `step`.
        numbers: of the steps.
        report: gets the carry, too, after the steps whose carry is wanted.
        is_wanted: whether that of a step is, by its number; no other step is under way then.

    Returns:
        The last carry, and the number of the step after the last one taken.
    """
    in_flight: deque[tuple[int, PackedLosses]] = deque()
    going, number = True, numbers.start
    while going and number < numbers.stop:
        carry, losses = step(carry)
        in_flight.append((number, losses))
        wanted = is_wanted(number)
        at_rest = wanted or number == numbers.stop - 1
        while in_flight and (at_rest or len(in_flight) == STEPS_IN_FLIGHT):
            newest = len(in_flight) == 1
            going = report(*in_flight.popleft(), carry if wanted and newest else None)
        number += 1
    for late in in_flight:
        report(*late, None)
    return carry, number


def _dealt(groups: list[list[tuple[int, ...]]]) -> list[list[tuple[int, ...]]]:
    """Of lanes that several processes have in groups of theirs, the first keeps them."""
    seen: set[int] = set()
    dealt = []
    for own in groups:
        dealt.append([tuple(lane for lane in group if lane not in seen) for group in own])
        seen.update(*own)
    return dealt


def _useful_lanes(shape: tuple[int, ...], devices: int) -> int:
    """Beyond how many lanes of images (H, W, 3) at once nothing is gained."""
    if jax.default_backend() != "cpu":
        return sys.maxsize
    return devices * max(1, CPU_PIXELS // (shape[0] * shape[1]))
