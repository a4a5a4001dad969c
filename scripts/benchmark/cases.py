"""How each case is measured: both sides in turn, from the parent's end."""

import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nst_jax.cli.settings_flags import flags_of
from nst_jax.settings.settings import Settings
from scripts.benchmark.plan import evaluations_of
from scripts.benchmark.problem import CONTENT, STYLE, Spec, content_shape, has_scales, weights_name
from scripts.benchmark.results import goals
from scripts.benchmark.side import OURS, PYTORCH, Side, SideError, Worker, run_command, running

# A turn of one side lasts no less: short calls are timed by the dozen, as a run makes them.
LEAST_TURN = 0.1
MOST_CALLS, LEAST_ROUNDS = 200, 3
STEPS_OF_MEMORY = 3
# How many more evaluations than PyTorch we may take to its loss before that counts as a miss.
PATIENCE = 1.5
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which everything is measured.

    Attributes:
        device: "cpu" or "gpu".
        threads: of each side.
        environment: of every process.
        sides: that are compared.
        rounds: turns of each side, at most.
        budget: seconds for the turns of one case; at least three rounds are made.
        pause: seconds between turns. PyTorch's OpenMP threads go on spinning for some milliseconds
            after a call, on the cores that are the other side's next.
        peer: a third party's command.
        scales: of our coarse-to-fine.
    """

    device: str
    threads: int
    environment: dict[str, str]
    sides: tuple[Side, ...]
    rounds: int = 15
    budget: float = 45.0
    pause: float = 0.3
    peer: str | None = None
    scales: int = 2


Outcomes = dict[str, dict[str, Any]]


def facts_of(case: str, spec: Spec) -> dict[str, Any]:
    """What is known of a case before it is measured."""
    facts: dict[str, Any] = {"case": case, "network": spec.network, "size": spec.size}
    facts |= {"precision": spec.precision, "weights": weights_name(spec.network)}
    facts["height"], facts["width"] = content_shape(spec.size)
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
    """Measures cases; keeps one worker of each side alive between them."""

    def __init__(self, conditions: Conditions):
        self.conditions = conditions
        self._workers: dict[str, Worker] = {}
        self._measures: dict[str, Callable[[Spec], Outcomes]] = {
            "evaluation": self.in_turn,
            "lbfgs": self.in_turn,
            "adam": self.in_turn,
            "memory": self.memory,
            "compile": self.compile,
            "files": self.files,
            "reach": self.reach,
            "sweep": self.sweep,
        }

    def measure(self, case: str, spec: Spec) -> dict[str, Any]:
        """One case, with all that is needed to understand it later."""
        facts = facts_of(case, spec)
        if hasattr(os, "getloadavg"):
            facts["load_before"] = os.getloadavg()[0]
        return {**facts, "sides": self._measures[case](spec)}

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def facts(self) -> dict[str, dict[str, Any]]:
        """Of each side's devices and threads."""
        return {side.name: self.ask(side, "facts") for side in self.conditions.sides}

    def in_turn(self, spec: Spec) -> Outcomes:
        """A B A B …: raw seconds of one call, per turn."""
        sides = [s for s in self.conditions.sides if spec.history > 1 or s.name == OURS.name]
        request = dataclasses.asdict(spec)
        outcomes = {side.name: self.ask(side, "prepare", spec=request) for side in sides}
        ready = [side for side in sides if "error" not in outcomes[side.name]]
        calls = {side.name: self._warm_up(side) for side in ready}
        turn = sum(calls[name][0] * calls[name][1] for name in calls)
        rounds = int(self.conditions.budget / max(turn, 1e-6))
        for _ in range(min(max(rounds, LEAST_ROUNDS), self.conditions.rounds)):
            for side in ready:
                time.sleep(self.conditions.pause)
                count = calls[side.name][0]
                seconds = self._worker(side).ask("turn", calls=count)["seconds"]
                outcomes[side.name].setdefault("seconds", []).append(seconds)
        for side in ready:
            outcomes[side.name]["calls_per_turn"] = calls[side.name][0]
            self._worker(side).ask("drop")
        return outcomes

    def _warm_up(self, side: Side) -> tuple[int, float]:
        """How many calls make a turn, and the seconds of one; these are not counted."""
        seconds = self._worker(side).ask("turn", calls=1)["seconds"]
        calls = min(MOST_CALLS, max(1, math.ceil(LEAST_TURN / seconds)))
        return calls, self._worker(side).ask("turn", calls=calls)["seconds"]

    def memory(self, spec: Spec) -> Outcomes:
        """Peak memory, each side in a process of its own."""
        request, steps = dataclasses.asdict(spec), STEPS_OF_MEMORY
        return {
            side.name: self._alone(side, "peak", spec=request, steps=steps)
            for side in self.conditions.sides
        }

    def compile(self, spec: Spec) -> Outcomes:
        """The first evaluation of a fresh process: ours without, then with a filled cache."""
        request: dict[str, Any] = dataclasses.asdict(dataclasses.replace(spec, task="first"))
        outcomes = {side.name: self._alone(side, "run", spec=request) for side in self._sides()}
        with tempfile.TemporaryDirectory() as folder:
            cached = {**CACHE, "JAX_COMPILATION_CACHE_DIR": folder}
            for name in ("nst_jax, cache empty", "nst_jax, cache filled"):
                outcomes[name] = self._alone(OURS, "run", cached, spec=request)
        return outcomes

    def sweep(self, spec: Spec) -> Outcomes:
        """All settings together on our side, one after another on PyTorch's."""
        request = dataclasses.asdict(spec)
        return {side.name: self.ask(side, "run", spec=request) for side in self._sides()}

    def reach(self, spec: Spec) -> Outcomes:
        """PyTorch's loss curve, and ours until it has come as low."""
        outcomes = {}
        if PYTORCH in self._sides():
            outcomes[PYTORCH.name] = self._curve(PYTORCH, spec)
        wanted: dict[int, float] = {}
        if "losses" in outcomes.get(PYTORCH.name, {}):
            wanted = goals(outcomes[PYTORCH.name], evaluations_of(spec.steps))
        goal, most = wanted.get(spec.steps), int(PATIENCE * spec.steps)
        plain = dataclasses.replace(spec, steps=most, goal=goal)
        outcomes[OURS.name] = self._curve(OURS, plain)
        scales = self.conditions.scales
        if has_scales() and scales > 1:
            for steps, goal in wanted.items():
                coarse = dataclasses.replace(spec, steps=steps, goal=goal, scales=scales)
                name = f"{OURS.name} --scales {scales} --steps {steps}"
                outcomes[name] = self._curve(OURS, coarse)
        return outcomes

    def _curve(self, side: Side, spec: Spec) -> dict[str, Any]:
        outcome = self.ask(side, "run", spec=dataclasses.asdict(spec))
        if "curve" in outcome:
            curve = outcome.pop("curve")
            outcome["seconds"] = [seconds for seconds, _ in curve]
            outcome["losses"] = [loss for _, loss in curve]
        return outcome

    def files(self, spec: Spec) -> Outcomes:
        """Whole commands, from two image files to a picture."""
        names = [side.name for side in self._sides()]
        with tempfile.TemporaryDirectory() as folder:
            commands = file_commands(spec, folder, self.conditions)
            return {
                name: _guard(run_command, commands[name], self.conditions.environment)
                for name in commands
                if name in names or name == "peer"
            }

    def _sides(self) -> list[Side]:
        """Those that do whole runs: compiled PyTorch does not pay there."""
        return [side for side in self.conditions.sides if side in (OURS, PYTORCH)]

    def _worker(self, side: Side) -> Worker:
        if side.name not in self._workers:
            c = self.conditions
            self._workers[side.name] = Worker(side, c.device, c.threads, c.environment)
        return self._workers[side.name]

    def ask(self, side: Side, do: str, **request: Any) -> dict[str, Any]:
        """What a side's worker answers, or its error."""
        outcome = _guard(self._worker(side).ask, do, **request)
        if "process ended" in outcome.get("error", ""):
            self._workers.pop(side.name).close()
        return outcome

    def _alone(
        self, side: Side, do: str, extra: dict[str, str] | None = None, **request: Any
    ) -> dict[str, Any]:
        """Ask a fresh process, while no other holds memory."""
        self.close()
        c = self.conditions
        with running(side, c.device, c.threads, {**c.environment, **(extra or {})}) as worker:
            return _guard(worker.ask, do, **request)


def _guard(function: Callable[..., dict[str, Any]], *arguments: Any, **named: Any) -> dict:
    """What the function returns, or its error."""
    try:
        return function(*arguments, **named)
    except (SideError, OSError) as error:
        return {"error": str(error)}


def file_commands(spec: Spec, folder: str, conditions: Conditions) -> dict[str, list[str]]:
    """The command of each side, with the same images, size, ratio and number of evaluations."""
    device = "cuda" if conditions.device == "gpu" else "cpu"
    ratio, size = "1e-5", str(spec.size)
    images = [str(CONTENT), str(STYLE)]
    ours = [sys.executable, "-m", "nst_jax", "stylize", *images, "-o", f"{folder}/ours.png"]
    ours += ["--size", size, "--steps", str(spec.steps - 1), "--ratio", ratio]
    ours += ["--lbfgs-memory", str(spec.history), "--precision", spec.precision]
    ours += flags_of(Settings(**spec.ours))
    module = "scripts.benchmark.pytorch_reference"
    theirs = [sys.executable, "-m", module, *images, "-o", f"{folder}/theirs.png", "--size", size]
    theirs += ["--evaluations", str(spec.steps), "--ratio", ratio, "--device", device]
    theirs += ["--history", str(spec.history), "--precision", spec.precision]
    commands = {OURS.name: ours, PYTORCH.name: theirs}
    if conditions.peer:
        words = {"content": images[0], "style": images[1], "size": size, "steps": spec.steps}
        filled = conditions.peer.format(**words, output=Path(folder) / "peer.png")
        commands["peer"] = ["sh", "-c", filled]
    return commands
