"""How each case is measured: both sides in turn, from the parent's end."""

import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from nst_jax import Settings
from nst_jax.cli.settings_flags import flags_of
from scripts import CONTENT, STYLE, say
from scripts.benchmark import machine
from scripts.benchmark.plan import Plan, evaluations_of
from scripts.benchmark.problem import Spec, content_shape, weights_name
from scripts.benchmark.results import add_case, errors, goals, write_results
from scripts.benchmark.side import OURS, PYTORCH, Side, SideError, Worker, run_command

# A turn of one side lasts no less: short calls are timed by the dozen, as a run makes them.
MIN_TURN = 0.1  # seconds
MAX_CALLS, MIN_ROUNDS = 200, 3
STEPS_OF_MEMORY = 3
# How many more evaluations than PyTorch we may take to its loss before that counts as a miss.
PATIENCE = 1.5
RATIO = 5e-5  # of the runs from file to file
# Seconds between turns: PyTorch's OpenMP threads go on spinning for some milliseconds after a call,
# on the cores that are the other side's next.
PAUSES = {"cpu": 0.3, "gpu": 0.0}
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
Outcomes = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which everything is measured."""

    device: str  # "cpu" or "gpu"
    threads: int  # of each side
    environment: dict[str, str]  # of every process
    sides: tuple[Side, ...]  # that are compared, ours first
    rounds: int = 15  # turns of each side, at most
    budget: float = 45.0  # seconds for the turns of one case; three rounds are made in any case
    pause: float = PAUSES["cpu"]  # seconds between turns
    peer: str | None = None  # a third party's command
    scales: int = 2  # of our coarse-to-fine


def facts_of(case: str, spec: Spec) -> dict[str, Any]:
    """What is known of a case before it is measured."""
    height, width = content_shape(spec.size)
    facts: dict[str, Any] = {"case": case, "network": spec.network, "size": spec.size}
    facts |= {"precision": spec.precision, "weights": weights_name(spec.network)}
    facts |= {"height": height, "width": width}
    if case in ("lbfgs", "memory", "reach", "sweep", "files"):
        facts["history"] = spec.history
    if spec.ours:
        facts["ours"] = dict(spec.ours)
    if case in ("reach", "files", "sweep"):
        facts["steps"] = spec.steps
    if case == "memory":
        facts["task"] = spec.task
    return facts


class Bench:
    """Measures cases, each by the method of its name; keeps workers alive between them."""

    def __init__(self, conditions: Conditions):
        self.conditions = conditions
        self._workers: dict[str, Worker] = {}
        # Those that do whole runs: compiled PyTorch does not pay there.
        self._ours = conditions.sides[0]
        self._runners = [side for side in conditions.sides if "compile" not in side.options]

    def measure(self, case: str, spec: Spec) -> dict[str, Any]:
        """One case, with all that is needed to understand it later."""
        facts, began = facts_of(case, spec), time.perf_counter()
        if hasattr(os, "getloadavg"):
            facts["load_before"] = os.getloadavg()[0]
        try:
            facts["sides"] = getattr(self, case)(spec)
        except SideError as error:
            facts["sides"] = {self._ours.name: {"error": str(error)}}
        return {**facts, **machine.stamp(), "wall_seconds": time.perf_counter() - began}

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def facts(self) -> Outcomes:
        """Of each side's devices and threads."""
        return {side.name: self.ask(side, "facts") for side in self.conditions.sides}

    def in_turn(self, spec: Spec) -> Outcomes:
        """A B A B …: raw seconds of one call, per turn."""
        # PyTorch's L-BFGS fails with a history of one pair.
        sides = self.conditions.sides if spec.history > 1 else (self._ours,)
        outcomes = {side.name: self.ask(side, "prepare", spec=spec) for side in sides}
        workers = {
            name: self._workers[name]
            for name, outcome in outcomes.items()
            if "error" not in outcome
        }
        calls = {name: _warm_up(worker) for name, worker in workers.items()}
        turn = sum(count * seconds for count, seconds in calls.values())
        rounds = int(self.conditions.budget / max(turn, 1e-6))
        for _ in range(min(max(rounds, MIN_ROUNDS), self.conditions.rounds)):
            for name, worker in workers.items():
                time.sleep(self.conditions.pause)
                seconds = worker.ask("turn", calls=calls[name][0])["seconds"]
                outcomes[name].setdefault("seconds", []).append(seconds)
        for name, worker in workers.items():
            outcomes[name]["calls_per_turn"] = calls[name][0]
            worker.ask("drop")
        return outcomes

    def memory(self, spec: Spec) -> Outcomes:
        """Peak memory, each side in a process of its own."""
        return {
            side.name: self.ask_alone(side, "peak", spec=spec, steps=STEPS_OF_MEMORY)
            for side in self.conditions.sides
        }

    def compile(self, spec: Spec) -> Outcomes:
        """The first evaluation of a fresh process: ours without, then with a filled cache."""
        spec = dataclasses.replace(spec, task="first")
        outcomes = {side.name: self.ask_alone(side, "run", spec=spec) for side in self._runners}
        with tempfile.TemporaryDirectory() as folder:
            cached = {**CACHE, "JAX_COMPILATION_CACHE_DIR": folder}
            for name in ("nst_jax, cache empty", "nst_jax, cache filled"):
                outcomes[name] = self.ask_alone(OURS, "run", cached, spec=spec)
        return outcomes

    def run_each(self, spec: Spec) -> Outcomes:
        """A whole run; of a sweep, all settings together here, one after another there."""
        return {side.name: self.ask(side, "run", spec=spec) for side in self._runners}

    def run_ours(self, spec: Spec) -> Outcomes:
        """A run of our side alone."""
        return {self._ours.name: self.ask(self._ours, "run", spec=spec)}

    def run_alone(self, spec: Spec) -> Outcomes:
        """A run of our side in a process that has the device's memory for itself."""
        extra = {"XLA_PYTHON_CLIENT_MEM_FRACTION": machine.GPU_WHOLE}
        return {self._ours.name: self.ask_alone(self._ours, "run", extra, spec=spec)}

    def parity(self, spec: Spec) -> Outcomes:
        """Each side against float64 on CPU."""
        threads = self.conditions.threads
        with tempfile.TemporaryDirectory() as folder:
            spec = dataclasses.replace(spec, file=f"{folder}/exact.npz")
            on_cpu = machine.worker_environment(threads, "cpu")
            with closing(Worker(self._ours, "cpu", threads, on_cpu)) as worker:
                worker.ask("run", spec=dataclasses.replace(spec, task="exact"))
            return self.run_each(spec)

    def reach(self, spec: Spec) -> Outcomes:
        """PyTorch's loss curve, and ours until it has come as low; ours coarse to fine, too."""
        outcomes, wanted = {}, {}
        if PYTORCH in self._runners:
            outcomes[PYTORCH.name] = self.ask(PYTORCH, "run", spec=spec)
            if "losses" in outcomes[PYTORCH.name]:
                wanted = goals(outcomes[PYTORCH.name], evaluations_of(spec.steps))
        goal, steps = wanted.get(spec.steps), int(PATIENCE * spec.steps)
        plain = dataclasses.replace(spec, steps=steps, goal=goal)
        outcomes[OURS.name] = self.ask(OURS, "run", spec=plain)
        scales = self.conditions.scales
        for steps, goal in wanted.items() if scales > 1 else ():
            coarse = dataclasses.replace(spec, steps=steps, goal=goal, scales=scales)
            name = f"{OURS.name} --scales {scales} --steps {steps}"
            outcomes[name] = self.ask(OURS, "run", spec=coarse)
        return outcomes

    def files(self, spec: Spec) -> Outcomes:
        """Whole commands, from two image files to a picture; where there is a cache, twice."""
        outcomes, environment = {}, self.conditions.environment
        with tempfile.TemporaryDirectory() as folder:
            for name, command in self._file_commands(spec, folder):
                outcomes[name] = _guard(run_command, command, environment)
                if "JAX_COMPILATION_CACHE_DIR" in environment and "error" not in outcomes[name]:
                    cold = outcomes[name]["seconds"]
                    warm = _guard(run_command, command, environment)
                    outcomes[name] = {**warm, "cold_seconds": cold}
        return outcomes

    def _file_commands(self, spec: Spec, folder: str) -> Iterator[tuple[str, list[str]]]:
        """Of each side: the same images, size, ratio and number of evaluations."""
        python, images = [sys.executable, "-m"], [str(CONTENT), str(STYLE)]
        same = ["--size", str(spec.size), "--ratio", str(RATIO), "--precision", spec.precision]
        ours = [*images, "-o", f"{folder}/ours.png", *same, "--steps", str(spec.steps - 1)]
        ours += ["--lbfgs-memory", str(spec.history), *flags_of(Settings(**spec.ours))]
        yield OURS.name, [*python, "nst_jax", "stylize", *ours, "--overwrite"]
        if PYTORCH in self._runners:
            theirs = [*images, "-o", f"{folder}/theirs.png", *same]
            theirs += ["--evaluations", str(spec.steps), "--history", str(spec.history)]
            theirs += ["--device", "cuda" if self.conditions.device == "gpu" else "cpu"]
            yield PYTORCH.name, [*python, "scripts.benchmark.pytorch_reference", *theirs]
        if self.conditions.peer:
            words = {"content": images[0], "style": images[1], "output": Path(folder) / "peer.png"}
            command = self.conditions.peer.format(**words, size=spec.size, steps=spec.steps)
            yield "peer", ["sh", "-c", command]

    # The names of the cases that are measured alike.
    evaluation = lbfgs = adam = in_turn
    sweep = run_each
    ceilings = cost = trace = run_ours
    largest = run_alone

    def start(self, side: Side, extra: dict[str, str] | None = None) -> Worker:
        """A fresh process of a side."""
        c = self.conditions
        return Worker(side, c.device, c.threads, {**c.environment, **(extra or {})})

    def ask(self, side: Side, do: str, **request: Any) -> dict[str, Any]:
        """What a side's worker answers, or its error."""
        if side.name not in self._workers:
            self._workers[side.name] = self.start(side)
        outcome = _guard(self._workers[side.name].ask, do, **request)
        if "process ended" in outcome.get("error", ""):
            self._workers.pop(side.name).close()
        return outcome

    def ask_alone(
        self, side: Side, do: str, extra: dict[str, str] | None = None, **request: Any
    ) -> dict[str, Any]:
        """Ask a fresh process, while no other holds memory."""
        self.close()
        with closing(self.start(side, extra)) as worker:
            return _guard(worker.ask, do, **request)


def measure_all(
    bench: Bench, plan: Plan, folder: Path, results: dict[str, Any], end: float = math.inf
) -> bool:
    """Measure case by case until the end (of `time.monotonic`); False after Ctrl-C.

    The cases are added to the results, and results.json is written into the folder after each.
    """
    try:
        results["sides"] = bench.facts()
        say(f"{bench.conditions.threads} threads each: {results['sides']}")
        for number, (case, spec) in enumerate(plan, 1):
            if time.monotonic() > end:
                say(f"no time is left: {len(plan) + 1 - number} cases were left out")
                break
            say(f"[{number}/{len(plan)}] {case}: {spec.task} {spec.network} {spec.size} px")
            facts = bench.measure(case, spec)
            add_case(results, facts)
            write_results(folder / "results.json", results)
            for name, error in errors(facts).items():
                say(f"    {name}: {error}")
    except KeyboardInterrupt:
        say("interrupted; what was measured is kept")
        return False
    return True


def _warm_up(worker: Worker) -> tuple[int, float]:
    """How many calls make a turn, and the seconds of one; these are not counted."""
    seconds = worker.ask("turn", calls=1)["seconds"]
    calls = min(MAX_CALLS, max(1, math.ceil(MIN_TURN / seconds)))
    return calls, worker.ask("turn", calls=calls)["seconds"]


def _guard(function: Callable[..., dict[str, Any]], *arguments: Any, **named: Any) -> dict:
    """What the function returns, or its error."""
    try:
        return function(*arguments, **named)
    except (SideError, OSError) as error:
        return {"error": str(error)}
