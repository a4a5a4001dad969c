"""How many devices share each image: as many as were asked for, or as few as it fits in.

They are of one process, or all devices of all processes.
"""

import dataclasses
from pathlib import Path

import jax

from nst_jax.engine import fitting
from nst_jax.engine.checkpoint import devices_in
from nst_jax.engine.problem import Problem
from nst_jax.errors import SettingsError

AUTO, ALL = "auto", "all"
Devices = int | str  # a number, or one of these


def read_devices(text: str) -> Devices:
    """Read "auto", "all" or a number of devices.

    Raises:
        SettingsError: it is none of them.
    """
    if text in (AUTO, ALL):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"devices is {text!r}; wanted a number, {ALL} or {AUTO}")
    return int(text)


def shared(
    problem: Problem, devices: Devices = AUTO, going_on: Path | None = None, flag: str = "--devices"
) -> Problem:
    """The problem, with each of its images shared by so many devices.

    Args:
        problem: of any number of lanes.
        devices: a number; "all", of all processes; "auto": as few as one lane fits in, by compiling
            its step, or else all; of several processes all.
        going_on: the checkpoint that the run may go on from, which so many devices have made.
        flag: how the number was given.

    Raises:
        SettingsError: there are not as many devices, or of several lanes they do not divide them.
    """
    there, everywhere = jax.local_device_count(), jax.device_count()
    if everywhere % there or everywhere // there != jax.process_count():
        raise SettingsError(f"processes have {everywhere} devices; wanted as many in each of them")
    if devices == AUTO and everywhere == there:
        return _as_few_as_fit(problem, there, going_on)
    count = everywhere if devices in (AUTO, ALL) else int(devices)
    divides = count > 0 and (len(problem.settings) == 1 or there % count == 0)
    if count != everywhere and (count > there or not divides):
        has = f"there {'is' if there == 1 else 'are'} {there} {jax.default_backend()} device"
        wanted = "at most as many" if divides else "a number that divides them"
        if everywhere > there:
            has = f"each process has {there}, and together they have {everywhere} device"
            wanted += f", or {ALL}"
        raise SettingsError(f"{flag} {devices}: {has}{'' if there == 1 else 's'}; wanted {wanted}")
    return problem.shared(count) if count > 1 else problem


def _as_few_as_fit(problem: Problem, there: int, going_on: Path | None) -> Problem:
    if there == 1 or len(problem.settings) > 1:
        return problem
    before = devices_in(going_on) if going_on else 1
    if 1 < before <= there:
        return problem.shared(before)
    if fitting.free_for_one(problem) is None:
        return problem
    for count in (count for count in range(1, there) if there % count == 0):
        tried = problem.shared(count) if count > 1 else problem
        limit = fitting.free_for_one(tried)  # trying has taken some
        if limit and (fits := fitting.step_that_fits(tried, limit)):
            return dataclasses.replace(tried, fits=fits)
    return problem.shared(there)
