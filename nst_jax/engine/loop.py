"""The loop of a run: steps on the device, their losses read by the host one step behind."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from nst_jax.engine.program import Carry
from nst_jax.errors import SettingsError
from nst_jax.losses.terms import Losses

# The device computes one step while the host reads the losses of the one before.
STEPS_IN_FLIGHT = 2

# Takes a step's number, its losses and, where an image is to be shown, the carry after it;
# returns whether to go on.
Report = Callable[[int, Losses, Carry | None], bool]


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


def with_arguments(
    step: Callable[..., tuple[Carry, Losses]], arguments: Sequence[Any]
) -> Callable[[Carry], tuple[Carry, Losses]]:
    """The step as `iterate` takes it: only the carry changes."""
    return lambda carry: step(carry, *arguments)


def iterate(
    step: Callable[[Carry], tuple[Carry, Losses]],
    carry: Carry,
    numbers: range,
    report: Report,
    save_every: int | None = None,
) -> tuple[Carry, int]:
    """Take steps until the last number, or until `report` says stop.

    Args:
        step: carry → (carry, losses of the image that came in); may return before it has finished.
        carry: to begin with; may be donated to `step`.
        numbers: of the steps.
        report: told of every step, in order.
        save_every: steps between reports that carry the carry.

    Returns:
        The last carry, and the number of the step after the last one taken.
    """
    in_flight: deque[tuple[int, Losses]] = deque()
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


def settle(
    step: Callable[[Carry], tuple[Carry, Losses]], carry: Carry
) -> tuple[np.ndarray, Losses]:
    """What a run has come to, on the host: the best image or the average, and its losses.

    The average has not been evaluated yet: its losses take one more step, and the carry with it.

    Args:
        step: as in `iterate`.
        carry: the last one.
    """
    image = jax.device_get(carry.outcome)
    if carry.average is None:
        return image, jax.device_get(carry.best.losses)
    _, losses = step(carry._replace(image=image))
    return image, jax.device_get(losses)


def check_intervals(**intervals: Any) -> None:
    """Refuse numbers of steps below 1; None means never.

    Raises:
        SettingsError: one of them is.
    """
    for name, value in intervals.items():
        if value is not None and value < 1:
            raise SettingsError(f"{name} is {value}; wanted at least 1")
