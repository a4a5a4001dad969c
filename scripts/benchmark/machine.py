"""The machine: its processor, memory and versions; the environment and memory of a process."""

import contextlib
import ctypes
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from scripts import ROOT

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
# Flags of /proc/cpuinfo, the widest first.
VECTOR_UNITS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "asimd": "NEON"}
# Two processes share the GPU, and JAX by itself takes three quarters of it at once.
GPU_SHARE = "0.45"
GPU_WHOLE = "0.95"  # where one process has it alone


def pin(threads: int | None) -> list[int]:
    """Keep this process, and all that it starts, on so many cores; None keeps those it has."""
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return list(range(threads or os.cpu_count() or 1))
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def worker_environment(threads: int, device: str) -> dict[str, str]:
    """The environment of every process that is measured: the same for both sides."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return {
        **os.environ,
        **dict.fromkeys(counts, str(threads)),  # NPROC: how many threads XLA:CPU starts
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": GPU_SHARE,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }


def setup(device: str, threads: int) -> dict[str, Any]:
    """What must be equal for the results of two runs to stand in one file."""
    # glibc gives large blocks back to the system at every free, unless MALLOC_… tell it otherwise.
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    flags = (_cpu("flags") or _cpu("Features") or "").split()
    tuned = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    return {
        "machine": {
            "cpu": _cpu("model name") or platform.processor() or platform.machine(),
            "vector_units": _vector_units(flags),
            "cores": os.cpu_count(),
            "memory_gb": _memory_gb(),
            "system": f"{platform.system()} {platform.machine()}",
            "gpu": None if device == "cpu" else gpu_name(),
        },
        "device": device,
        "threads": threads,
        "allocator": tuned or "default",
        "versions": versions,
    }


def _vector_units(flags: list[str]) -> str:
    """The widest that the processor has, and whether it multiplies matrices beside."""
    widest = next((VECTOR_UNITS[flag] for flag in VECTOR_UNITS if flag in flags), "unknown")
    return f"{widest}, AMX" if "amx_tile" in flags else widest


def folder_name(setup: dict[str, Any]) -> str:
    """A name for the results of this processor or GPU: "intel-xeon-avx-512-amx"."""
    facts = setup["machine"]
    words = facts["gpu"] or f"{facts['cpu']} {facts.get('vector_units', '')}"
    plain = re.sub(r"\((R|TM)\)|Processor|CPU|@ \S+", " ", words, flags=re.IGNORECASE)
    return "-".join(re.findall(r"[a-z0-9]+", plain.lower()))


def describe(setup: dict[str, Any]) -> tuple[str, str]:
    """The processors, and the libraries, in words; of a setup that may be an earlier one."""
    facts, found = setup["machine"], setup["versions"]
    units = f" ({facts['vector_units']})" if "vector_units" in facts else ""
    processors = f"{setup['threads']} cores of {facts['cpu']}{units}"
    if setup["device"] == "gpu":
        processors = f"{facts['gpu']}, with {processors}"
    named = {"jax": "jax", "torch": "PyTorch", "python": "Python"}
    libraries = [f"{name} {found[key]}" for key, name in named.items() if key in found]
    return processors, ", ".join(libraries)


def stamp() -> dict[str, str]:
    """When something was measured, and of which commit; with a + where files differ from it."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "nst_jax", "scripts")
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return {"date": now, "commit": (head or "unknown") + ("+" if changed else "")}


def gpu_name() -> str | None:
    """As the driver calls it; None where there is none."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines()[0].strip() if names else None


def resident(field: str = "VmRSS") -> int | None:
    """Bytes of this process: VmRSS now, VmHWM at most so far; None where /proc does not tell."""
    found = _field("/proc/self/status", field)
    return int(found.split()[0]) * 1024 if found else None


def reset_peak() -> bool:
    """Set VmHWM back to VmRSS, and give back to the system what glibc keeps free.

    Returns:
        Whether that could be done.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def _cpu(field: str) -> str | None:
    return _field("/proc/cpuinfo", field)


def _field(path: str, name: str) -> str | None:
    """The value of the first line "name: value" of a file."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(path).read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith(name))
    return None


def _memory_gb() -> int | None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # no sysconf on Windows
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    return None


def _output(*command: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return None
