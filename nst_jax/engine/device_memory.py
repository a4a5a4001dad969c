"""How much memory a compiled program needs, how much there is, and how many lanes fit."""

import contextlib
import ctypes
import importlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from nst_jax.errors import SettingsError

# Of what is free now; the rest is for what other programs take meanwhile, and for fragmentation.
USABLE = 0.9
# Times the temporaries that XLA:CPU accounts for: beyond them a step of 1 to 20 lanes of 128 and
# 256 px took 5 to 30 % more, by the process's peak (jaxlib 0.10.2, `compare_sweep`).
CPU_SCRATCH = 1.25
# What compiled programs, and what glibc keeps of compiling them, take of the host's memory for
# good: of a run of 512 px 200 MB (jaxlib 0.10.2).
COMPILED = 2 * 10**8
MEMINFO, STATUS, CGROUP = "/proc/meminfo", "/proc/self/status", "/proc/self/cgroup"
# Where control groups are: of version 2, the same beside version 1 (systemd), and of version 1.
CGROUPS_2, CGROUPS_1 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), ("/sys/fs/cgroup/memory",)
# What a group may use (beyond "high" it is held back until it stands still), and what it does.
LIMITS_2, USAGE_2 = ("memory.max", "memory.high"), "memory.current"
LIMITS_1, USAGE_1 = ("memory.limit_in_bytes",), "memory.usage_in_bytes"
# What `ulimit -v` and `-d` limit, by the names that /proc/self/status has for it, and what of that
# LLVM and its threads take for good while they compile: at 512 px 0.8 and 0.6 GB (jaxlib 0.10.2).
RLIMITS = {"RLIMIT_AS": ("VmSize", 8 * 10**8), "RLIMIT_DATA": ("VmData", 6 * 10**8)}


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


def free_on_host(swap: bool = False) -> int | None:
    """What this process may still take of the machine's memory, in bytes; None: nothing tells.

    Args:
        swap: whether what the machine would swap to counts, too.
    """
    free = [*_free_memory(swap), *_free_in_groups(), *_free_of_process()]
    return max(0, min(free)) if free else None


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


def as_text(size: float) -> str:
    """A number of bytes for people: 512 MB, 1.5 GB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def _free_memory(swap: bool) -> Iterator[int]:
    """Of the machine: what Linux would give without swapping; elsewhere half of all."""
    if fields := _fields(MEMINFO):
        yield fields["MemAvailable"] + (fields.get("SwapFree", 0) if swap else 0)
        return
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_groups() -> Iterator[int]:
    """What each control group that this process is in leaves it, and each above that.

    A container may see them by other paths than its own /proc says: then only those above count.
    """
    for line in _lines(CGROUP):
        _, controllers, own = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        is_2 = not controllers
        limits, usage = (LIMITS_2, USAGE_2) if is_2 else (LIMITS_1, USAGE_1)
        parts = [part for part in own.split("/") if part not in ("", "..")]
        for root in CGROUPS_2 if is_2 else CGROUPS_1:
            for depth in range(len(parts) + 1):
                yield from _free_in_group(Path(root, *parts[:depth]), limits, usage)


def _free_in_group(group: Path, limits: Sequence[str], usage: str) -> Iterator[int]:
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is "max"
            used = int((group / usage).read_text()) - _file_cache(group / "memory.stat")
            yield int((group / limit).read_text()) - used


def _file_cache(stat: Path) -> int:
    """What a control group counts as used and gives back at need: pages of files."""
    with contextlib.suppress(ValueError):
        lines = dict(line.split() for line in _lines(stat))
        names = ("inactive_file", "active_file")
        return sum(int(lines.get(f"total_{name}", lines.get(name, 0))) for name in names)
    return 0


def _free_of_process() -> Iterator[int]:
    """What the limits of this process, as `ulimit` sets them, leave it."""
    fields = _fields(STATUS)
    for limit, (used, compiling) in RLIMITS.items():
        with contextlib.suppress(ImportError, AttributeError, KeyError):  # another system
            resource = importlib.import_module("resource")
            size, _ = resource.getrlimit(getattr(resource, limit))
            if size != resource.RLIM_INFINITY:
                yield size - fields[used] - compiling


def _fields(path: str) -> dict[str, int]:
    """The sizes that a file of /proc lists, in bytes."""
    found = (re.match(r"(\w+):\s*(\d+) kB$", line) for line in _lines(path))
    return {each[1]: 1024 * int(each[2]) for each in found if each}


def _lines(path: str | Path) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []
