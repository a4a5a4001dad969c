"""What the benchmark must know of the machine: cores, memory, versions, the environment it sets."""

import contextlib
import ctypes
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    # glibc gives large blocks back to the system at every free, and takes them page by page again.
    "tuned": {
        "MALLOC_MMAP_THRESHOLD_": "8000000000",
        "MALLOC_TRIM_THRESHOLD_": "8000000000",
        "MALLOC_TOP_PAD_": "268435456",
    },
}
# Two processes share the GPU, and JAX by itself takes three quarters of it at once.
GPU_SHARE = "0.45"


def pin(threads: int | None) -> list[int]:
    """Keep this process, and all that it starts, on so many cores; None keeps those it has."""
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return list(range(threads or os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def worker_environment(threads: int, device: str, allocator: str) -> dict[str, str]:
    """The environment of every process that is measured: the same for both sides."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        **dict.fromkeys(counts, str(threads)),  # NPROC: how many threads XLA:CPU starts
        **ALLOCATORS[allocator],
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": GPU_SHARE,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
    }


def resident(field: str = "VmRSS") -> int | None:
    """Bytes of this process: VmRSS now, VmHWM at most so far; None where /proc does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    return None


def reset_peak() -> bool:
    """Set VmHWM back to VmRSS; whether that could be done."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def trim() -> None:
    """Give back to the system what glibc keeps free."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def machine_facts(device: str) -> dict[str, str | int | None]:
    """Processor, cores, memory, system and, where one is used, the GPU."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": None if device == "cpu" else gpu_name(),
    }


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide the numbers."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def commit() -> str:
    """The checkout's commit; with a + where files that are measured differ from it."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "nst_jax", "scripts")
    return (head or "unknown") + "+" * bool(changed)


def now() -> str:
    """The date and time, with the zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def gpu_name() -> str | None:
    """As the driver calls it."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines()[0].strip() if names else None


def _cpu_name() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _memory_gb() -> int | None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    return None


def _output(*command: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return None
