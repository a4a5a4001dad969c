"""How much memory a compiled program needs, how much there is, and how many lanes fit."""

import contextlib
import ctypes
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from nst_jax.errors import SettingsError

# Of what is free now; the rest is for what other programs take meanwhile, and for fragmentation.
USABLE = 0.9
# Times the temporaries that XLA:CPU accounts for: beyond them a step of 1 to 20 lanes of 128 and
# 256 px took 5 to 30 % more, by the process's peak (jaxlib 0.10.2, `compare_sweep`).
CPU_SCRATCH = 1.25
MEMINFO = "/proc/meminfo"
# Files of control groups, which limit containers: version 2, then 1.
CGROUPS = "/sys/fs/cgroup"
CGROUP_LIMITS = (
    (f"{CGROUPS}/memory.max", f"{CGROUPS}/memory.current"),
    (f"{CGROUPS}/memory/memory.limit_in_bytes", f"{CGROUPS}/memory/memory.usage_in_bytes"),
)


def needed_bytes(compiled: jax.stages.Compiled) -> int:
    """What a compiled program holds on each device while it runs, by XLA's own account.

    Its arguments, results (those in the place of donated arguments count once) and temporaries; on
    CPU also what XLA's convolutions allocate for themselves.
    """
    sizes: Any = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    scratch = CPU_SCRATCH if jax.default_backend() == "cpu" else 1.0
    return kept + int(scratch * sizes.temp_size_in_bytes)


def usable_bytes(devices: tuple[jax.Device, ...]) -> int | None:
    """What each of these devices has left for us, in bytes; None where nothing tells.

    Devices without memory of their own (CPUs) share the machine's, within its container's limit.
    """
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(USABLE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    free = [size for size in (_free_memory(), _free_in_container()) if size is not None]
    return int(USABLE * min(free)) // len(devices) if free else None


def compile_for(function: jax.stages.Wrapped, *arguments: Any) -> jax.stages.Compiled:
    """Compile for these arguments, or their shapes.

    Of what compiling leaves, some 200 MB would count until the process ends: glibc gives it back.
    """
    compiled = function.lower(*arguments).compile()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    return compiled


def plan_lanes(
    wanted: int,
    needed_for: Callable[[int], int],
    devices: int,
    *,
    lane_bytes: int,
    fixed_bytes: int,
    budget: int | None,
) -> int:
    """How many lanes fit, a multiple of the devices: by compiling, and asking what that needs.

    Args:
        wanted: lanes, ≥ 1.
        needed_for: number of lanes in all → bytes that each device needs, by XLA's account.
        devices: of this process, which share the lanes.
        lane_bytes: what one lane needs at the least: its carry.
        fixed_bytes: what does not depend on the number of lanes: the parameters.
        budget: bytes per device; None takes all lanes at once.

    Raises:
        SettingsError: one lane per device does not fit.
    """
    each = math.ceil(wanted / devices)
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
            raise SettingsError(_too_small(needed, fixed_bytes, budget))
        fitting = (budget - fixed_bytes) * each // max(needed - fixed_bytes, 1)
        each = max(1, min(each - 1, fitting))


def even_share(wanted: int, at_once: int, devices: int) -> int:
    """The least number at once that needs no more rounds: 20 lanes, 12 at once, are 10 and 10."""
    rounds = math.ceil(wanted / at_once)
    return math.ceil(wanted / (rounds * devices)) * devices


def _too_small(needed: int, fixed: int, budget: int) -> str:
    scale = max(budget - fixed, 0) / max(needed - fixed, 1)
    remedy = f"the network alone takes {as_text(fixed)}: allow more with --memory"
    if scale > 0.01:
        remedy = (
            f"a --size of {math.sqrt(scale):.0%} of this one would fit, and --low-memory, "
            f"--lbfgs-memory 10 or --optimizer adam need less"
        )
    return (
        f"one lane needs {as_text(needed)} of memory, and {as_text(budget)} may be used; {remedy}"
    )


def as_text(size: float) -> str:
    """A number of bytes for people: 512 MB, 1.5 GB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def _free_memory() -> int | None:
    """Of the machine: what Linux would give without swapping; elsewhere half of all."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path(MEMINFO).read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _free_in_container() -> int | None:
    """What the control group allows beyond what it uses; None without a limit."""
    for limit, usage in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is "max"
            used = int(Path(usage).read_text()) - _file_cache(Path(usage).with_name("memory.stat"))
            return max(0, int(Path(limit).read_text()) - used)
    return None


def _file_cache(stat: Path) -> int:
    """What a control group counts as used and gives back at need: pages of files."""
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split() for line in stat.read_text().splitlines())
        names = ("inactive_file", "active_file")
        return sum(int(lines.get(f"total_{name}", lines.get(name, 0))) for name in names)
    return 0
