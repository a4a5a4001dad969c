r"""Time nst_jax against PyTorch: the same objective, images and weights, both sides in turn.

    python -m scripts.benchmark                    # everything; over an hour on two cores
    python -m scripts.benchmark --quick            # every case, tiny: is all in order?
    python -m scripts.benchmark --only lbfgs memory --sizes 512
    python -m scripts.benchmark --report docs/benchmark/results.json

writes results.json, results.md (the README's table), speed.png and speed.svg into one folder. Each
case is written as soon as it is measured; several runs on one machine fill one file, and Ctrl-C
keeps what is there (`--missing` goes on). Each side computes in a process of its own, on the same
cores with as many threads, one at a time: A B A B …. Needs the extra `benchmark`; without PyTorch
only our side is measured, without matplotlib there is no plot. Let nothing else run meanwhile.

A third party's program is timed beside, as a whole process with its peak memory:

    python -m scripts.benchmark --only files \
        --peer 'python3 other.py {content} {style} -o {output} --size {size} --steps {steps}'
"""

import argparse
import importlib.util
import signal
import sys
import time
from pathlib import Path
from typing import Any

from scripts.benchmark import machine
from scripts.benchmark.cases import Bench, Conditions, facts_of
from scripts.benchmark.machine import ALLOCATORS, ROOT
from scripts.benchmark.plan import CASES, make_plan
from scripts.benchmark.problem import Spec
from scripts.benchmark.report import write_report
from scripts.benchmark.results import (
    ResultsError,
    add_case,
    key_of,
    open_results,
    read_results,
    write_results,
)
from scripts.benchmark.side import OURS, PYTORCH, PYTORCH_COMPILED, Side


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path, metavar="RESULTS.json", help="measure nothing; "
                        "make results.md and the plot again from this file")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the results "
                        "(default: docs/benchmark; with --quick: benchmark-quick)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes, three minutes in all")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE",
                        help=f"some of: {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", help="instead of each case's")
    parser.add_argument("--networks", nargs="+", choices=("vgg16", "vgg19"),
                        default=("vgg16", "vgg19"))  # fmt: skip
    parser.add_argument("--steps", type=int, help="of the whole runs, instead of each case's")
    parser.add_argument("--missing", action="store_true", help="only what the file has not yet")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, help="of each side (default: all cores)")
    parser.add_argument("--allocator", choices=ALLOCATORS, default="default", help="of both sides; "
                        "tuned: glibc keeps freed memory")  # fmt: skip
    parser.add_argument(
        "--torch-compile", action="store_true", help="torch.compile as a third side"
    )
    parser.add_argument("--rounds", type=int, help="turns of each side, at most (default: 15)")
    parser.add_argument("--budget", type=float, help="seconds for the turns of a case "
                        "(default: 45; three rounds are made in any case)")  # fmt: skip
    parser.add_argument("--pause", type=float, help="seconds between turns "
                        "(default: 0.3 on CPU, 0 on GPU)")  # fmt: skip
    parser.add_argument("--scales", type=int, default=2, help="of our coarse-to-fine (default: 2)")
    parser.add_argument("--peer", metavar="COMMAND", help="timed beside in the case files")
    return parser.parse_args(arguments)


def conditions_of(options: argparse.Namespace, threads: int) -> Conditions:
    """Under which everything is measured."""
    sides: tuple[Side, ...] = (OURS,)
    if importlib.util.find_spec("torch"):
        sides += (PYTORCH,) + (PYTORCH_COMPILED,) * options.torch_compile
    environment = machine.worker_environment(threads, options.device, options.allocator)
    pause = 0.3 if options.device == "cpu" else 0.0
    return Conditions(
        device=options.device,
        threads=threads,
        environment=environment,
        sides=sides,
        rounds=options.rounds or (3 if options.quick else 15),
        budget=options.budget or (1.0 if options.quick else 45.0),
        pause=pause if options.pause is None else options.pause,
        peer=options.peer,
        scales=options.scales,
    )


def setup_of(options: argparse.Namespace, threads: int) -> dict[str, Any]:
    """What all cases of one file have in common."""
    return {
        "machine": machine.machine_facts(options.device),
        "device": options.device,
        "threads": threads,
        "allocator": options.allocator,
        "versions": machine.versions(),
    }


def measure(bench: Bench, plan: list[tuple[str, Spec]], path: Path, results: dict) -> None:
    """Measure case by case; the file is written after each."""
    for number, (case, spec) in enumerate(plan, 1):
        say(f"[{number}/{len(plan)}] {case}: {spec.task} {spec.network} {spec.size} px")
        began = time.perf_counter()
        facts = bench.measure(case, spec)
        facts["date"] = machine.now()
        facts["commit"] = machine.commit()
        facts["wall_seconds"] = time.perf_counter() - began
        add_case(results, facts)
        write_results(path, results)
        for name, outcome in facts["sides"].items():
            if "error" in outcome:
                say(f"    {name}: {outcome['error']}")


def not_yet(plan: list[tuple[str, Spec]], results: dict) -> list[tuple[str, Spec]]:
    """Those of the plan that the results have not, or only with errors."""
    done = set()
    for case in results["cases"].values():
        if not any("error" in outcome for outcome in case["sides"].values()):
            done.add(key_of(case))
    return [(case, spec) for case, spec in plan if key_of(facts_of(case, spec)) not in done]


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write; or write again from a file."""
    options = parse(arguments)
    if options.report:
        write_report(read_results(options.report), options.report.parent, say)
        return 0
    folder = options.output or (
        Path("benchmark-quick") if options.quick else ROOT / "docs" / "benchmark"
    )
    cores = machine.pin(options.threads)
    conditions = conditions_of(options, len(cores))
    path = folder / "results.json"
    try:
        results = open_results(path, setup_of(options, len(cores)))
    except ResultsError as error:
        say(str(error))
        return 2
    plan = list(
        make_plan(
            options.quick,
            options.device == "gpu",
            options.only,
            options.sizes,
            options.networks,
            options.precision,
            options.steps,
        )  # fmt: skip
    )
    if options.missing:
        plan = not_yet(plan, results)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    bench, interrupted = Bench(conditions), False
    try:
        results["sides"] = bench.facts()
        say(f"cores {cores}, {len(cores)} threads each: {results['sides']}")
        measure(bench, plan, path, results)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; --missing goes on from here")
    finally:
        bench.close()
    if results["cases"]:
        write_report(results, folder, say)
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
