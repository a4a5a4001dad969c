"""How much of the machine's memory this process may still take."""

import contextlib
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

MEMINFO, STATUS, CGROUP = "/proc/meminfo", "/proc/self/status", "/proc/self/cgroup"
# Where control groups are: of version 2, the same beside version 1 (systemd), and of version 1.
CGROUPS_2, CGROUPS_1 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), ("/sys/fs/cgroup/memory",)
# What a group may use (beyond "high" it is held back until it stands still), and what it does.
LIMITS_2, USAGE_2 = ("memory.max", "memory.high"), "memory.current"
LIMITS_1, USAGE_1 = ("memory.limit_in_bytes",), "memory.usage_in_bytes"
# What `ulimit -v` and `-d` limit, by the names that /proc/self/status has for it, and what of that
# LLVM and its threads take for good while they compile: at 512 px 0.8 and 0.6 GB (jaxlib 0.10.2).
RLIMITS = {"RLIMIT_AS": ("VmSize", 8 * 10**8), "RLIMIT_DATA": ("VmData", 6 * 10**8)}


def free_on_host(swap: bool = False) -> int | None:
    """What this process may still take of the machine's memory, in bytes; None: nothing tells.

    Args:
        swap: whether what the machine would swap to counts, too.
    """
    free = [*_free_memory(swap), *_free_in_groups(), *_free_of_process()]
    return max(0, min(free)) if free else None


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
