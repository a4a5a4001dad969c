"""Everything worth asking of a machine with a GPU, in one command under nine minutes.

    python -m scripts.benchmark.gpu_check -o docs/gpu-h200
    python -m scripts.benchmark.gpu_check --quick      # tiny, and on the CPU without a GPU

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
import importlib.util
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.benchmark import machine
from scripts.benchmark.cases import CACHE, Bench, Conditions
from scripts.benchmark.gpu_check_report import write_summary
from scripts.benchmark.gpu_checks import QUICK, Check, GpuCheck, Sizes
from scripts.benchmark.report import write_plot
from scripts.benchmark.results import write_results
from scripts.benchmark.side import OURS, PYTORCH, PYTORCH_COMPILED, end_all

ROUNDS, BUDGET = 10, 4.0  # of a case's turns, and their seconds


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
    threads = len(machine.pin(None))
    environment = machine.worker_environment(threads, device, "default")
    environment |= {**CACHE, "JAX_COMPILATION_CACHE_DIR": cache}
    sides = [OURS]
    if importlib.util.find_spec("torch"):
        sides += [PYTORCH] + [PYTORCH_COMPILED] * (not options.no_torch_compile)
    else:
        say("no PyTorch: its part is left out")
    rounds, budget = (3, 0.5) if options.quick else (ROUNDS, BUDGET)
    pause = 0.3 if device == "cpu" else 0.0
    return Conditions(device, threads, environment, tuple(sides), rounds, budget, pause)


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


def empty_results(device: str, threads: int) -> dict[str, Any]:
    """What is known before the first check."""
    return {
        "machine": machine.machine_facts(device),
        "device": device,
        "threads": threads,
        "allocator": "default",
        "versions": machine.versions(),
        "date": machine.now(),
        "commit": machine.commit(),
        "checks": {},
        "cases": {},
    }


def choose(options: argparse.Namespace, bench: Bench, results: dict[str, Any]) -> list[Check]:
    """The checks that are wanted; with small sizes each takes a tenth."""
    network = "vgg16" if options.quick else options.network
    asked = GpuCheck(bench, QUICK if options.quick else Sizes(), network, results)
    share = 0.1 if options.quick else 1.0
    return [
        dataclasses.replace(check, seconds=share * check.seconds)
        for check in asked.checks()
        if not options.only or check.name.startswith(tuple(options.only))
    ]


def main(arguments: list[str] | None = None) -> int:
    """Check, and write."""
    options = parse(arguments)
    clock = Clock(options.minutes)
    device = options.device or ("gpu" if machine.gpu_name() else "cpu")

    def write() -> None:
        write_results(options.output / "results.json", results)
        write_summary(results, options.output)

    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        bench = Bench(conditions_of(options, device, cache))
        stack.callback(bench.close)
        stack.callback(clock.stop)
        results = empty_results(device, bench.conditions.threads)
        try:
            results["sides"] = bench.facts()
            run_checks(choose(options, bench, results), clock, results, write)
        except KeyboardInterrupt:
            say("interrupted; what was measured is kept")
            return 130
    if results["cases"]:
        write_plot(results, options.output, say)
    failed = [name for name, outcome in results["checks"].items() if "error" in outcome]
    say(f"{options.output}: {len(results['checks'])} checks, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
