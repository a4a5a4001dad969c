"""How much memory a compiled program needs, how much there is, and how many lanes fit."""

import contextlib
import ctypes
import math
from collections.abc import Callable
from typing import Any

import jax

from nst_jax.errors import SettingsError
from nst_jax.host_memory import as_text, free_on_host

# Of what is free now; the rest is for what other programs take meanwhile, and for fragmentation.
USABLE = 0.9
# Times the temporaries that XLA:CPU accounts for: beyond them a step of 1 to 20 lanes of 128 and
# 256 px took 5 to 30 % more, by the process's peak (jaxlib 0.10.2, `compare_sweep`).
CPU_SCRATCH = 1.25
# What compiled programs, and what glibc keeps of compiling them, take of the host's memory for
# good: of a run of 512 px 200 MB (jaxlib 0.10.2).
COMPILED = 2 * 10**8


class TooLargeError(SettingsError):
    """One lane does not fit into memory."""

    def __init__(self, needed: int, fixed: int, limit: int, words: str = "of memory are needed"):
        """Take what a device needs for it, what of that is the network, and what there is."""
        super().__init__(f"{as_text(needed)} {words}, and {as_text(limit)} are free")
        self.needed, self.fixed, self.limit = needed, fixed, limit


def needed_bytes(compiled: jax.stages.Compiled) -> int:
    """What a compiled program holds on each device while it runs, by XLA's own account.

    Its arguments, results (those in the place of donated arguments count once) and temporaries; on
    CPU also what XLA's convolutions allocate for themselves.
    """
    sizes: Any = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    scratch = CPU_SCRATCH if jax.default_backend() == "cpu" else 1.0
    return kept + int(scratch * sizes.temp_size_in_bytes)


def free_bytes(devices: tuple[jax.Device, ...], swap: bool = False) -> int | None:
    """What each of these devices has left, in bytes; None where nothing tells.

    Devices without memory of their own (CPUs) share the machine's, within what the control groups
    of this process, those above them, and its own limits leave.

    Args:
        devices: of this process.
        swap: whether what the machine would swap to counts, too.
    """
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = free_on_host(swap)
    return None if free is None else max(0, free - COMPILED) // len(devices)


def compile_for(function: jax.stages.Wrapped, *arguments: Any) -> jax.stages.Compiled:
    """Compile for these arguments, or their shapes.

    Of what compiling leaves, some 200 MB would count until the process ends: glibc gives it back.
    """
    compiled = function.lower(*arguments).compile()
    give_back()
    return compiled


def give_back() -> None:
    """Let glibc give back to the system what is not used."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def plan_lanes(
    wanted: int,
    needed_for: Callable[[int], int],
    devices: int,
    *,
    lane_bytes: int,
    fixed_bytes: int,
    budget: int | None,
    limit: int,
) -> int:
    """How many lanes fit, a multiple of the devices: by compiling, and asking what that needs.

    Args:
        wanted: lanes, ≥ 1.
        needed_for: number of lanes in all → bytes that each device needs, by XLA's account.
        devices: of this process, which share the lanes.
        lane_bytes: what one lane needs at the least: its carry.
        fixed_bytes: what does not depend on the number of lanes: the parameters.
        budget: bytes per device; None takes all lanes at once.
        limit: bytes that one lane per device may take.

    Raises:
        TooLargeError: one lane per device does not fit.
    """
    each = math.ceil(wanted / devices)
    if fixed_bytes + lane_bytes > limit:
        least = fixed_bytes + lane_bytes
        raise TooLargeError(least, fixed_bytes, limit, "of memory are needed at the least")
    if budget is not None:  # no compilation for what cannot fit: on a GPU it may fail by itself
        each = max(1, min(each, (budget - fixed_bytes) // lane_bytes))
    while True:
        try:
            needed = needed_for(each * devices)
        except jax.errors.JaxRuntimeError as error:  # XLA:TPU finds out while it compiles
            if each == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            each //= 2
            continue
        if budget is None or needed <= budget:
            return each * devices
        if each == 1:
            if needed <= limit:
                return devices
            raise TooLargeError(needed, fixed_bytes, limit)
        fitting = (budget - fixed_bytes) * each // max(needed - fixed_bytes, 1)
        each = max(1, min(each - 1, fitting))


def even_share(wanted: int, at_once: int, devices: int) -> int:
    """The least number at once that needs no more rounds: 20 lanes, 12 at once, are 10 and 10."""
    rounds = math.ceil(wanted / at_once)
    return math.ceil(wanted / (rounds * devices)) * devices
