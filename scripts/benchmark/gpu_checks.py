"""The checks of `gpu_check.py`: what is asked of the workers, and how large."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scripts.benchmark import machine
from scripts.benchmark.cases import Bench, file_commands
from scripts.benchmark.plan import LEAN
from scripts.benchmark.problem import Spec
from scripts.benchmark.results import add_case
from scripts.benchmark.side import OURS, PYTORCH_COMPILED, SideError, run_command, running

PRECISIONS = ("float32", "tf32", "bfloat16")
OF_ALL = "0.95"  # of the GPU's memory, where one process has it alone


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    parity: int = 256
    ceilings: int = 8192
    steps: tuple[int, ...] = (512, 1024)
    files: int = 512
    file_steps: int = 500
    sweep: int = 256
    sweep_steps: int = 50
    lanes: int = 20
    history: int = 100
    largest: int = 16384


QUICK = Sizes(64, 256, (64,), 48, 4, 48, 2, 2, 5, 96)


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing to be asked.

    Attributes:
        name: in the results.
        seconds: that it takes on a card of the year 2023, generously, compilation included.
        ask: does it; returns what the results hold.
    """

    name: str
    seconds: float
    ask: Callable[[], dict[str, Any]]


class GpuCheck:
    """The checks, with the workers, and the results that they share."""

    def __init__(self, bench: Bench, sizes: Sizes, network: str, results: dict[str, Any]):
        self._bench, self._sizes, self._network = bench, sizes, network
        self._results = results

    def checks(self) -> list[Check]:
        """In the order of their worth, as far as time may not suffice."""
        first, *larger = self._sizes.steps
        return [
            Check("ceilings", 30, self.ceilings),
            Check("parity", 60, self.parity),
            *self._steps("lbfgs", [first]),
            *[Check(f"cost {p}", 25, partial(self.cost, p)) for p in PRECISIONS],
            Check("files", 60, self.files),
            Check("sweep", 60, self.sweep),
            *self._steps("lbfgs", larger),
            Check("trace", 25, self.trace),
            Check("largest", 60, partial(self.largest, {})),
            Check("largest, lean", 60, partial(self.largest, LEAN)),
            *self._steps("evaluation", self._sizes.steps),
        ]

    def _steps(self, case: str, sizes: Iterable[int]) -> list[Check]:
        return [
            Check(f"{case} {size} {precision}", 60, partial(self.steps, case, size, precision))
            for size in sizes
            for precision in PRECISIONS
        ]

    def ceilings(self) -> dict[str, Any]:
        """A matrix product and a copy."""
        return self._ours(Spec("ceilings", size=self._sizes.ceilings))

    def parity(self) -> dict[str, Any]:
        """Each side in each precision, against float64 on CPU."""
        sizes, outcomes = self._sizes, {}
        conditions = self._bench.conditions
        on_cpu = machine.worker_environment(conditions.threads, "cpu", "default")
        with tempfile.TemporaryDirectory() as folder:
            spec = Spec("exact", size=sizes.parity, file=f"{folder}/exact.npz")
            with running(OURS, "cpu", conditions.threads, on_cpu) as worker:
                worker.ask("run", spec=dataclasses.asdict(spec))
            for precision in PRECISIONS:
                wanted = dataclasses.replace(spec, task="parity", precision=precision)
                for side in self._sides():
                    outcomes[f"{side.name} {precision}"] = self._bench.ask(
                        side, "run", spec=dataclasses.asdict(wanted)
                    )
        return outcomes

    def steps(self, case: str, size: int, precision: str) -> dict[str, Any]:
        """A case of the benchmark, which goes where the benchmark's go."""
        spec = Spec(case, self._network, size, self._sizes.history, precision=precision)
        return self._case(case, spec)

    def cost(self, precision: str) -> dict[str, Any]:
        """What a step at the first size has to do."""
        size, history = self._sizes.steps[0], self._sizes.history
        return self._ours(Spec("cost", self._network, size, history, precision=precision))

    def files(self) -> dict[str, Any]:
        """From file to file: the first time, and with what the first has left in the cache."""
        sizes, conditions = self._sizes, self._bench.conditions
        spec = Spec("files", "vgg16", sizes.files, sizes.history, sizes.file_steps)
        self._bench.close()
        outcomes: dict[str, Any] = {"steps": spec.steps, "size": spec.size}
        with tempfile.TemporaryDirectory() as folder:
            for turn in ("cold", "warm"):
                (Path(folder) / turn).mkdir()
                commands = file_commands(spec, str(Path(folder) / turn), conditions)
                for side in self._sides():
                    run = run_command(commands[side.name], conditions.environment)
                    outcomes[f"{side.name} {turn}"] = run
        return outcomes

    def sweep(self) -> dict[str, Any]:
        """Many settings at once, and one after another."""
        s = self._sizes
        spec = Spec("sweep", "vgg16", s.sweep, min(50, s.history), s.sweep_steps, lanes=s.lanes)
        return self._case("sweep", spec)

    def largest(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        """The largest image that fits, in a process that has the card alone."""
        s, c = self._sizes, self._bench.conditions
        spec = Spec("largest", self._network, s.steps[0], s.history, s.largest, ours=ours)
        self._bench.close()
        alone = {**c.environment, "XLA_PYTHON_CLIENT_MEM_FRACTION": OF_ALL}
        with running(OURS, c.device, c.threads, alone) as worker:
            return worker.ask("run", spec=dataclasses.asdict(spec))

    def trace(self) -> dict[str, Any]:
        """The kernels of a step."""
        return self._ours(Spec("trace", self._network, self._sizes.steps[0], self._sizes.history))

    def _case(self, case: str, spec: Spec) -> dict[str, Any]:
        facts = self._bench.measure(case, spec)
        facts |= {"date": machine.now(), "commit": machine.commit()}
        add_case(self._results, facts)
        errors = {n: o["error"] for n, o in facts["sides"].items() if "error" in o}
        if OURS.name in errors:
            raise SideError(errors[OURS.name])
        return {"errors": errors} if errors else {}

    def _ours(self, spec: Spec) -> dict[str, Any]:
        return self._bench.ask(OURS, "run", spec=dataclasses.asdict(spec))

    def _sides(self) -> list:
        return [side for side in self._bench.conditions.sides if side != PYTORCH_COMPILED]
