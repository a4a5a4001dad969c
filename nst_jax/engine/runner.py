"""Runs a problem: round by round, as many lanes at once as fit into memory, scale by scale."""

import dataclasses
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

from nst_jax.engine import device_memory, distributed
from nst_jax.engine.checkpoint import Checkpoint
from nst_jax.engine.executors import Arguments, BatchedExecutor, Executor, Step
from nst_jax.engine.monitor import Monitor
from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import Problem
from nst_jax.engine.program import Carry, prepare_parameters, start, take_lanes
from nst_jax.engine.pyramid import Scale, enlarge, numbered
from nst_jax.engine.results import Result, losses_of_lane
from nst_jax.losses.terms import Losses, PackedLosses

# The device computes one step while the host reads the losses of the one before.
STEPS_IN_FLIGHT = 2
# Of all lanes that a CPU takes at once. A lane's step, alone, with 4 and with 8 at once, in ms (2
# cores of an Intel Xeon, jaxlib 0.10.2, 2026-11-25): 64×43 px 31, 22, 22; 128×85 px 67, 61, 65;
# 256×171 px 188, 200, 210.
CPU_PIXELS = 48_000

# Takes a step's number, its losses and, where an image is to be shown, the carry after it;
# returns whether to go on.
Report = Callable[[int, PackedLosses, Carry | None], bool]


class Round(NamedTuple):
    """What a round of lanes has come to.

    Attributes:
        results: by the lane's number.
        stopped: whether the callback ended the run, in any process.
        checkpoint: where it ended the round, to go on from; in a run of one process.
    """

    results: dict[int, Result]
    stopped: bool = False
    checkpoint: Checkpoint | None = None


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
        self, problem: Problem, options: RunOptions | None = None, resumed: Checkpoint | None = None
    ):
        """Find out how many lanes fit at once, by compiling the step at full size.

        A single lane that may need any memory is compiled when its first scale begins. Of several
        processes all must give the same problem.

        Raises:
            SettingsError: one lane alone does not fit into the memory that may be used.
        """
        self._problem, self._options = problem, options or RunOptions()
        self._resumed, self._done = resumed, 0
        self._params = prepare_parameters(problem.program, problem.weights.params, problem.shape)
        self._devices = tuple(jax.local_devices())
        self._compiled: dict[tuple[int, Scale], jax.stages.Compiled] = {}
        self._compile_seconds = 0.0
        self.executor = self._choose_executor()

    @property
    def needed_bytes(self) -> int:
        """What the step at full size needs on each device, by XLA's own account."""
        return self._bytes_needed_by(self.executor)

    def rounds(self) -> list[tuple[int, ...]]:
        """The numbers of the lanes of each round, over all processes."""
        interrupted = self._resumed.lanes if self._resumed else ()
        fresh = [n for n in range(len(self._problem.settings)) if n not in interrupted]
        at_once = self.executor.lanes * jax.process_count()
        return [
            tuple(numbers[first : first + at_once])
            for numbers in (interrupted, fresh)
            for first in range(0, len(numbers), at_once)
        ]

    def run(self) -> Iterator[Round]:
        """What each round has come to; after one that the callback ended, nothing more."""
        for numbers in self.rounds():
            finished = self._run_round(numbers)
            yield finished
            if finished.stopped:
                return

    def _choose_executor(self) -> Executor:
        """As many lanes at once as fit in every process, evenly over the rounds."""
        count, options = len(self._problem.settings), self._options
        if count == 1 and not options.within_memory:
            return self._executor_of(1)
        interrupted = len(self._resumed.lanes) if self._resumed else 0
        wanted = math.ceil(max(count - interrupted, interrupted) / jax.process_count())
        devices = 1 if count == 1 else len(self._devices)
        image = jax.ShapeDtypeStruct(self._problem.shape, jnp.float32)
        carry = jax.eval_shape(partial(start, self._problem.program), image)
        budget = options.memory or device_memory.usable_bytes(self._devices)
        executor_of = cache(self._executor_of)  # each puts the parameters on all devices
        fitting = device_memory.plan_lanes(
            min(wanted, options.lanes_at_once or _useful_lanes(self._problem.shape, devices)),
            lambda lanes: self._bytes_needed_by(executor_of(lanes)),
            devices,
            lane_bytes=_bytes_of(carry),
            fixed_bytes=_bytes_of(self._params),
            budget=budget if options.within_memory else None,
        )
        everywhere = min(distributed.gather(fitting))
        executor = executor_of(device_memory.even_share(wanted, everywhere, devices))
        tried = self._compiled
        self._compiled = {key: tried[key] for key in tried if key[0] == executor.lanes}
        return executor

    def _executor_of(self, lanes: int) -> Executor:
        if lanes == 1:
            return Executor(self._problem.program, self._params)
        return BatchedExecutor(self._problem.program, self._params, lanes, self._devices)

    def _bytes_needed_by(self, executor: Executor) -> int:
        return device_memory.needed_bytes(self._step_at(self._problem.scales[-1], executor))

    def _step_at(self, scale: Scale, executor: Executor) -> jax.stages.Compiled:
        """Compiled once."""
        key = executor.lanes, scale
        if key not in self._compiled:
            one_lane = self._arguments_of(0, scale)  # computing its targets is not compiling
            began = time.perf_counter()
            self._compiled[key] = executor.compile(scale.shape, one_lane)
            self._compile_seconds += time.perf_counter() - began
        return self._compiled[key]

    def _arguments_of(self, lane: int, scale: Scale) -> Arguments:
        return self._problem.targets(lane, scale), self._problem.loss_weights(lane)

    def _run_round(self, numbers: tuple[int, ...]) -> Round:
        """Run one round, and gather what all processes have made of it."""
        begin = jax.process_index() * self.executor.lanes
        mine = numbers[begin : begin + self.executor.lanes]
        if self._resumed and numbers[0] not in self._resumed.lanes:
            self._resumed = None  # its history takes as much memory as that of a whole round
        finished = self._run_lanes(mine or numbers[:1], together=len(numbers))
        results = {n: r for n, r in finished.results.items() if n in mine}
        stopped = finished.stopped
        for others, other_stopped in distributed.gather((results, stopped)):
            results |= others
            stopped |= other_stopped
        self._done += len(numbers)
        return Round(results, stopped, finished.checkpoint)

    def _run_lanes(self, lanes: tuple[int, ...], together: int) -> Round:
        """Run this process's share of a round."""
        problem, options = self._problem, self._options
        monitor = Monitor(problem, options, lanes, together, self._done, self._resumed)
        carry, evaluations, step = self._take_steps(lanes, monitor)
        completed, kept = evaluations == problem.settings[0].steps + 1, None
        if not completed and options.resumable and jax.process_count() == 1:
            # Before the average's step takes the carry.
            kept = take_lanes(problem.program, self.executor.store(carry), range(len(lanes)))
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
                completed=completed,
                settings=problem.settings[lane],
                weights=dataclasses.replace(problem.weights, params={}, activation_means={}),
                lanes=len(lanes),
                scales=problem.scales,
                compiled_lanes=self.executor.compiled_lanes,
            )
            for position, lane in enumerate(lanes)
        }
        if kept is None:
            return Round(results, monitor.stopped)
        histories = [results[lane].history for lane in lanes]
        return Round(results, True, Checkpoint(lanes, evaluations, kept, histories, seconds))

    def _take_steps(self, lanes: tuple[int, ...], monitor: Monitor) -> tuple[Carry, int, Step]:
        """Go through the scales; the last carry, the next step's number, the last scale's step."""
        executor, problem, options = self.executor, self._problem, self._options
        end = (problem.settings[0].steps if options.stop is None else options.stop) + 1
        filled = lanes + lanes[:1] * (executor.lanes - len(lanes))
        following = self._resumed.step if self._resumed else 0
        carry: Any = None

        def report(number: int, losses: PackedLosses, shown: Carry | None) -> bool:
            images = None if shown is None else partial(executor.outcome, shown)
            return monitor.report(number, losses, images)

        for scale, numbers in numbered(problem.scales):
            if numbers.stop <= following:  # behind these lanes when they were interrupted
                continue
            compiled = self._step_at(scale, executor)  # before the first carry takes its memory
            carry = self._begin(filled) if carry is None else carry
            if numbers.start and numbers.start == following:
                carry = self._restart_at_next_scale(carry, filled, scale)
            arguments = [self._arguments_of(lane, scale) for lane in filled]
            step = executor.step(compiled, arguments)
            with monitor.watch:
                going_on = range(following, min(numbers.stop, end))
                carry, following = iterate(step, carry, going_on, report, options.save_every)
            if monitor.stopped or following == end:
                break
        return carry, following, step

    def _begin(self, lanes: tuple[int, ...]) -> Carry:
        """The first carry of a round: initial images, or where the lanes were interrupted."""
        if self._resumed:
            positions = self._resumed.find(lanes)
            carry = take_lanes(self._problem.program, self._resumed.carry, positions)
            return self.executor.restore(carry)
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
            mean = jax.device_get(carry.average.image)  # a buffer cannot be donated twice
            _, losses = step(carry._replace(image=mean))
        return images, jax.tree.map(lambda each: each.reshape(-1), jax.device_get(losses).unpack())


def iterate(
    step: Step, carry: Carry, numbers: range, report: Report, save_every: int | None = None
) -> tuple[Carry, int]:
    """Take the steps of these numbers, or until `report`, told of every one in order, says stop.

    Args:
        step: may return before it has finished.
        carry: to begin with; may be donated to `step`.
        numbers: of the steps.
        report: gets the carry, too, every `save_every` steps.
        save_every: None: never.

    Returns:
        The last carry, and the number of the step after the last one taken.
    """
    in_flight: deque[tuple[int, PackedLosses]] = deque()
    going, number = True, numbers.start
    while going and number < numbers.stop:
        carry, losses = step(carry)
        in_flight.append((number, losses))
        saving = save_every is not None and number % save_every == 0
        at_rest = saving or number == numbers.stop - 1
        while in_flight and (at_rest or len(in_flight) == STEPS_IN_FLIGHT):
            newest = len(in_flight) == 1
            going = report(*in_flight.popleft(), carry if saving and newest else None)
        number += 1
    for late in in_flight:
        report(*late, None)
    return carry, number


def _useful_lanes(shape: tuple[int, ...], devices: int) -> int:
    """Beyond how many lanes of images (H, W, 3) at once nothing is gained."""
    if jax.default_backend() != "cpu":
        return sys.maxsize
    return devices * max(1, CPU_PIXELS // (shape[0] * shape[1]))


def _bytes_of(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
