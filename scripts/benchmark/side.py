"""The benchmark's end of a worker process: starting it, asking it, ending it."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
from typing import Any

from scripts import ROOT


class SideError(Exception):
    """A side could not do what it was asked; the message says why."""


# Processes that were started and have not ended.
_alive: set[subprocess.Popen] = set()


@dataclasses.dataclass(frozen=True)
class Side:
    """A side of the comparison: its name in the results, and what its worker is told."""

    name: str
    module: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


OURS = Side("nst_jax", "ours")
PYTORCH = Side("pytorch", "theirs")
PYTORCH_COMPILED = Side("pytorch compiled", "theirs", {"compile": True})


def sides_here(compiled: bool) -> tuple[Side, ...]:
    """Ours, and PyTorch's where it is installed: eager, and compiled if it is wanted."""
    if not importlib.util.find_spec("torch"):
        return (OURS,)
    return (OURS, PYTORCH, PYTORCH_COMPILED) if compiled else (OURS, PYTORCH)


class Worker:
    """A process that computes for one side until it is closed."""

    def __init__(self, side: Side, device: str, threads: int, environment: dict[str, str]):
        options = {**side.options, "device": device, "threads": threads}
        arguments = ["-m", f"scripts.benchmark.{side.module}", json.dumps(options)]
        self._name, self._process = side.name, _start([sys.executable, *arguments], environment)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to a request, whose values may be dataclasses.

        Raises:
            SideError: the worker says that it failed, or has died.
        """
        with contextlib.suppress(BrokenPipeError):
            line = json.dumps({"do": do, **request}, default=dataclasses.asdict)
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SideError(f"{self._name}: the process ended with code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise SideError(f"{self._name}: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the process."""
        _end(self._process)


def run_command(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """A whole process: its seconds, and its peak memory in bytes.

    Raises:
        SideError: it failed; with the last line that it said.
    """
    launcher = [sys.executable, "-I", "-S", str(ROOT / "scripts/benchmark/launch.py")]
    process = _start(launcher + command, environment)
    try:
        answer = process.stdout.read()
    finally:
        _end(process)
    shown = " ".join(command[:3])
    if not answer:
        raise SideError(f"{shown}: the process ended with its launcher")
    facts = json.loads(answer)
    code, said = facts.pop("code"), facts.pop("said")
    if code:
        raise SideError(f"{shown}: code {code}, {said}")
    return facts


def end_all() -> None:
    """Kill every process that is computing; whoever waits for its answer gets a SideError."""
    for process in list(_alive):
        _kill(process)


def _start(command: list[str], environment: dict[str, str]) -> Any:
    """A process that leads a session: Ctrl-C is for us alone, and we end it."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes
    )
    _alive.add(process)
    return process


def _kill(process: Any) -> None:
    """With all that it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: Any) -> None:
    _kill(process)
    process.wait()
    _alive.discard(process)
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            stream.close()
