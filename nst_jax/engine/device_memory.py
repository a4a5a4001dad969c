"""How much memory a compiled program needs, and how much there is."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any

import jax

# Of what is free now; the rest is for what other programs take meanwhile, and for fragmentation.
USABLE = 0.9
# Times the temporaries that XLA:CPU accounts for: beyond them a step of 1 to 20 lanes of 128 and
# 256 px took 5 to 30 % more, by the process's peak (jaxlib 0.10.2, `compare_sweep`).
CPU_SCRATCH = 1.25
MEMINFO = "/proc/meminfo"
# Files of control groups, which limit containers: version 2, then 1.
CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def needed_bytes(compiled: jax.stages.Compiled) -> int:
    """What a compiled program holds on each device while it runs, by XLA's own account.

    Its arguments, its results (what shares memory with an argument that was donated counts once)
    and its temporaries; on CPU also what XLA's convolutions allocate for themselves.
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
    """Compile for these arguments, or their shapes, and give back what compiling leaves."""
    compiled = function.lower(*arguments).compile()
    give_back()
    return compiled


def give_back() -> None:
    """Return to the system what this process has freed but kept, where the C library is glibc.

    Compiling leaves some 200 MB of that, which would count until the process ends.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


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
