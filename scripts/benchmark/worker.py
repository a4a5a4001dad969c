"""One side of the benchmark in a process of its own, told by lines of JSON what to do.

Started by `side.py`. Requests come on standard input, one a line, each with an answer on
standard output; what the libraries print goes to standard error.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from scripts.benchmark.machine import reset_peak, resident, trim
from scripts.benchmark.problem import Spec, make_problem


def make_side(options: dict[str, Any]) -> Any:
    """The library to be timed is imported here, and in no other process."""
    if options["side"] == "nst_jax":
        from scripts.benchmark.ours import Ours

        return Ours(options["device"], options)
    from scripts.benchmark.theirs import Theirs

    return Theirs(options["device"], options)


class Worker:
    """Answers requests: prepare, turn, run, drop, memory, facts."""

    def __init__(self, side: Any):
        self._side = side
        self._call: Callable[[], Any] | None = None

    def prepare(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Put everything on the device, and call once: that is where compilation happens."""
        self.drop()
        began = time.perf_counter()
        self._call = self._side.task(Spec(**spec))
        middle = time.perf_counter()
        self._side.wait(self._call())
        return {
            "setup_seconds": middle - began,
            "first_call_seconds": time.perf_counter() - middle,
        }

    def turn(self, calls: int) -> dict[str, Any]:
        """So many calls in a row, and the seconds of one."""
        assert self._call is not None
        began = time.perf_counter()
        for _ in range(calls):
            result = self._call()
        self._side.wait(result)
        return {"seconds": (time.perf_counter() - began) / calls}

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """A whole run."""
        self.drop()
        return self._side.run(Spec(**spec))

    def peak(self, spec: dict[str, Any], steps: int) -> dict[str, Any]:
        """Memory of a task: before it (inputs read), at most from then on, and in later steps."""
        make_problem(Spec(**spec))  # read now, so that only the task's own memory is counted
        before = resident()
        reset_peak()
        self.prepare(spec)
        first = resident("VmHWM")
        trim()
        can_reset = reset_peak()
        self.turn(steps)
        later = resident("VmHWM") if can_reset else None
        return {
            "before": before,
            "peak": max(filter(None, (first, later)), default=None),
            "peak_of_steps": later,
            "device_peak": self._side.device_peak(),
        }

    def drop(self) -> dict[str, Any]:
        """Let go of what was prepared."""
        self._call = None
        self._side.forget()
        gc.collect()
        return {}

    def facts(self) -> dict[str, Any]:
        """Of the device, and how many cores this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return {**self._side.facts(), "cores": cores}


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(make_side(json.loads(sys.argv[1])))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the benchmark notes it and goes on
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
