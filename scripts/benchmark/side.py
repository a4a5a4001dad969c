"""The benchmark's end of a worker process: starting it, asking it, ending it."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

from scripts.benchmark.machine import ROOT


class SideError(Exception):
    """A side could not do what it was asked; the message says why."""


# Processes that were started and have not ended.
_alive: set[subprocess.Popen] = set()


@dataclasses.dataclass(frozen=True)
class Side:
    """A side of the comparison: its name in the results, and what its worker is told."""

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


OURS = Side("nst_jax", {"side": "nst_jax"})
PYTORCH = Side("pytorch", {"side": "pytorch"})
PYTORCH_COMPILED = Side("pytorch compiled", {"side": "pytorch", "compile": True})


class Worker:
    """A process that computes for one side."""

    def __init__(self, side: Side, device: str, threads: int, environment: dict[str, str]):
        options = {**side.options, "device": device, "threads": threads}
        module = "scripts.benchmark.worker"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us alone; we end it
        )
        _alive.add(self._process)
        self.name = side.name

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            SideError: the worker says that it failed, or has died.
        """
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps({"do": do, **request}) + "\n")
            _pipe(self._process.stdin).flush()
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise SideError(f"{self.name}: the process ended with code {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise SideError(f"{self.name}: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the process."""
        kill(self._process)


def _pipe(stream: IO | None) -> IO:
    assert stream is not None
    return stream


@contextlib.contextmanager
def running(*arguments: Any) -> Iterator[Worker]:
    """A worker that lives as long as the block."""
    worker = Worker(*arguments)
    try:
        yield worker
    finally:
        worker.close()


def kill(process: subprocess.Popen) -> None:
    """End a process that leads a session, with all that it started."""
    _kill_group(process)
    process.wait()
    _alive.discard(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(BrokenPipeError):
            if stream:
                stream.close()


def end_all() -> None:
    """Kill every process that is computing; whoever waits for its answer gets a SideError."""
    for process in list(_alive):
        _kill_group(process)


def _kill_group(process: subprocess.Popen) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def run_command(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """A whole process: its seconds, and its peak memory in bytes.

    Raises:
        SideError: it failed; with the last line that it said.
    """
    launcher = [sys.executable, "-I", "-S", str(ROOT / "scripts/benchmark/launch.py")]
    process = subprocess.Popen(
        launcher + command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    _alive.add(process)
    try:
        answer = _pipe(process.stdout).read()
    finally:
        kill(process)
    if not answer:
        raise SideError(f"{' '.join(command[:3])}: the process ended with its launcher")
    facts = json.loads(answer)
    if code := facts.pop("code"):
        raise SideError(f"{' '.join(command[:3])}: code {code}, {facts['said']}")
    facts.pop("said")
    return facts
