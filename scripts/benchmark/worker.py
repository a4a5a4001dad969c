"""One side of the benchmark in a process of its own, told by lines of JSON what to do.

Started by `side.Worker`. Requests come on standard input, one a line, each with an answer on
standard output; what the libraries print goes to standard error. The library to be timed is
imported in no other process.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from scripts.benchmark.machine import reset_peak, resident
from scripts.benchmark.problem import Problem, Spec, make_problem


class Answers:
    """One method for each request; what differs between the libraries stands in a subclass."""

    # From a problem make a call, which may return before its result is there. All arrays are on the
    # device before it.
    tasks: dict[str, Callable[[Problem], Callable[[], Any]]]
    runs: dict[str, Callable[[Spec], dict[str, Any]]]  # whole ones, with the times that they took
    wait: Callable[[Any], None]  # until the device has finished a call
    device_facts: Callable[[], dict[str, Any]]  # of the device and the threads
    device_peak: Callable[[], int | None]  # bytes of its memory used at most; None on CPU
    forget: Callable[[], None]  # compiled programs and cached memory
    _call: Callable[[], Any] | None = None

    def prepare(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Put everything on the device, and call once: that is where compilation happens."""
        self.drop()
        began = time.perf_counter()
        self._call = self.tasks[spec["task"]](make_problem(Spec(**spec)))
        middle = time.perf_counter()
        self.wait(self._call())
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
        self.wait(result)
        return {"seconds": (time.perf_counter() - began) / calls}

    def run(self, spec: dict[str, Any]) -> dict[str, Any]:
        """A whole run."""
        self.drop()
        return self.runs[spec["task"]](Spec(**spec))

    def peak(self, spec: dict[str, Any], steps: int) -> dict[str, Any]:
        """Memory of a task: before it (inputs read), at most from then on, and in later steps."""
        make_problem(Spec(**spec))  # read now, so that only the task's own memory is counted
        reset_peak()
        before = resident()
        self.prepare(spec)
        first = resident("VmHWM")
        can_reset = reset_peak()
        self.turn(steps)
        later = resident("VmHWM") if can_reset else None
        return {
            "before": before,
            "peak": max(filter(None, (first, later)), default=None),
            "peak_of_steps": later,
            "device_peak": self.device_peak(),
        }

    def drop(self) -> dict[str, Any]:
        """Let go of what was prepared."""
        self._call = None
        self.forget()
        gc.collect()
        return {}

    def facts(self) -> dict[str, Any]:
        """Of the device, and how many cores this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return {**self.device_facts(), "cores": cores}


def serve(side: Callable[..., Answers]) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = side(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the benchmark notes it and goes on
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
