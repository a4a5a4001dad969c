"""Everything worth asking of a machine with a GPU, in one command under nine minutes.

    python scripts/gpu_check.py -o docs/gpu-h200
    python scripts/gpu_check.py --quick                # tiny, and on the CPU where there is no GPU

Measured ceilings of the card; loss and gradient in float32, TF32 and bfloat16 against float64 on
CPU; steps at 512 and 1024 px in each precision against PyTorch, eager and compiled, on the same
card; the share of the roofline that a step reaches; 500 steps from file to file, warm; twenty
settings at once against twenty PyTorch runs; the largest image that fits; the kernels that take the
time. results.json and results.md are written after every check. A check that fails is noted, and
the others go on; what no longer fits into `--minutes` is left out, and said. Where there is no
PyTorch its part is left out. Nothing is downloaded: without VGG-19 weights random ones are timed.
"""

import argparse
import contextlib
import dataclasses
import datetime
import importlib.util
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import benchmark_machine
from benchmark_cases import CACHE, Bench, Conditions, file_commands
from benchmark_problem import Spec
from benchmark_report import write_report
from benchmark_results import add_case, open_results, write_results
from benchmark_side import OURS, PYTORCH, PYTORCH_COMPILED, SideError, end_all, run_command, running
from gpu_check_report import write_summary

PRECISIONS = ("float32", "tf32", "bfloat16")
ROUNDS, BUDGET = 10, 4.0  # of a case's turns, and their seconds
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
    largest: int = 8192


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
    """The checks, with the workers, the results and the folder that they share."""

    def __init__(self, bench: Bench, sizes: Sizes, network: str, results: dict, folder: Path):
        self._bench, self._sizes, self._network = bench, sizes, network
        self._results, self._folder = results, folder

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
            Check("largest", 60, self.largest),
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
        on_cpu = benchmark_machine.worker_environment(conditions.threads, "cpu", "default")
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

    def largest(self) -> dict[str, Any]:
        """The largest image that fits, in a process that has the card alone."""
        s, c = self._sizes, self._bench.conditions
        spec = Spec("largest", self._network, s.steps[0], s.history, s.largest)
        self._bench.close()
        alone = {**c.environment, "XLA_PYTHON_CLIENT_MEM_FRACTION": OF_ALL}
        with running(OURS, c.device, c.threads, alone) as worker:
            return worker.ask("run", spec=dataclasses.asdict(spec))

    def trace(self) -> dict[str, Any]:
        """The kernels of a step."""
        return self._ours(Spec("trace", self._network, self._sizes.steps[0], self._sizes.history))

    def _case(self, case: str, spec: Spec) -> dict[str, Any]:
        facts = self._bench.measure(case, spec)
        facts |= {"date": now(), "commit": benchmark_machine.commit()}
        add_case(self._results, facts)
        errors = {n: o["error"] for n, o in facts["sides"].items() if "error" in o}
        if OURS.name in errors:
            raise SideError(errors[OURS.name])
        return {"errors": errors} if errors else {}

    def _ours(self, spec: Spec) -> dict[str, Any]:
        return self._bench.ask(OURS, "run", spec=dataclasses.asdict(spec))

    def _sides(self) -> list:
        return [side for side in self._bench.conditions.sides if side != PYTORCH_COMPILED]


class Clock:
    """The time that is left; at its end it kills what is computing."""

    def __init__(self, minutes: float):
        self._end = time.monotonic() + 60 * minutes
        self._timer = threading.Timer(60 * minutes, end_all)
        self._timer.daemon = True
        self._timer.start()

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def stop(self) -> None:
        """Let it not ring."""
        self._timer.cancel()


def run_checks(checks: list[Check], clock: Clock, results: dict, write: Callable[[], None]) -> None:
    """Ask one after another what still fits; keep every outcome, errors too."""
    for check in checks:
        say(f"{check.name} ({clock.left():.0f} s left)")
        began = time.perf_counter()
        if clock.left() < check.seconds:
            outcome: dict[str, Any] = {"skipped": f"{clock.left():.0f} s left"}
        else:
            try:
                outcome = check.ask()
            except Exception as error:  # one that fails does not keep the others from being asked
                outcome = {"error": f"{type(error).__name__}: {error}"}
        outcome["wall_seconds"] = round(time.perf_counter() - began, 1)
        for word in ("error", "skipped"):
            if word in outcome:
                say(f"    {word}: {outcome[word]}")
        results["checks"][check.name] = outcome
        write()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=Path("gpu-check"))
    parser.add_argument("--minutes", type=float, default=8.5, help="that it may take")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="default: a GPU, if there is one")
    parser.add_argument("--network", choices=("vgg16", "vgg19"), default="vgg19")
    parser.add_argument("--no-torch-compile", action="store_true", help="PyTorch eager only")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="checks that begin with a word")
    return parser.parse_args(arguments)


def conditions_of(options: argparse.Namespace, device: str, cache: str) -> Conditions:
    """Under which everything is measured; compiled programs are kept from check to check."""
    threads = len(benchmark_machine.pin(None))
    environment = benchmark_machine.worker_environment(threads, device, "default")
    environment |= {**CACHE, "JAX_COMPILATION_CACHE_DIR": cache}
    sides = [OURS]
    if importlib.util.find_spec("torch"):
        sides += [PYTORCH] + [PYTORCH_COMPILED] * (not options.no_torch_compile)
    else:
        say("no PyTorch: its part is left out")
    rounds, budget = (3, 0.5) if options.quick else (ROUNDS, BUDGET)
    pause = 0.3 if device == "cpu" else 0.0
    return Conditions(device, threads, environment, tuple(sides), rounds, budget, pause)


def now() -> str:
    """The date and time."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Check, and write."""
    options = parse(arguments)
    clock = Clock(options.minutes)
    device = options.device or ("gpu" if benchmark_machine.gpu_name() else "cpu")
    path = options.output / "results.json"
    path.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        conditions = conditions_of(options, device, cache)
        setup = {
            "machine": benchmark_machine.machine_facts(device),
            "device": device,
            "threads": conditions.threads,
            "allocator": "default",
            "versions": benchmark_machine.versions(),
        }
        results = open_results(path, setup) | {"date": now(), "checks": {}}
        results["commit"] = benchmark_machine.commit()
        bench = Bench(conditions)
        stack.callback(bench.close)
        stack.callback(clock.stop)
        network = "vgg16" if options.quick else options.network
        asked = GpuCheck(bench, QUICK if options.quick else Sizes(), network, results,
                         options.output)  # fmt: skip
        checks = [
            dataclasses.replace(
                check, seconds=check.seconds / 10 if options.quick else check.seconds
            )
            for check in asked.checks()
            if not options.only or check.name.startswith(tuple(options.only))
        ]

        def write() -> None:
            write_results(path, results)
            write_summary(results, options.output)

        try:
            results["sides"] = bench.facts()
            run_checks(checks, clock, results, write)
        except KeyboardInterrupt:
            say("interrupted; what was measured is kept")
            return 130
    write_report(results, options.output, say) if results["cases"] else None
    write_summary(results, options.output)
    failed = [name for name, outcome in results["checks"].items() if "error" in outcome]
    say(f"{options.output}: {len(results['checks'])} checks, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
