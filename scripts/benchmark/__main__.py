r"""Time nst_jax against PyTorch: the same objective, images and weights, both sides in turn.

    python -m scripts.benchmark                    # everything; over an hour on two cores
    python -m scripts.benchmark --quick            # every case, tiny: is all in order?
    python -m scripts.benchmark --only lbfgs memory --sizes 512
    python -m scripts.benchmark --report docs/benchmark/amd-epyc/results.json

writes results.json, results.md (the table), speed.png and speed.svg into one folder, by itself that
of this processor in docs/benchmark, where machines.md has all of them side by side. Each case is
written as soon as it is measured; several runs on one machine fill one file, and Ctrl-C keeps what
is there (`--missing` goes on). Each side computes in a process of its own, on
the same cores with as many threads, one at a time: A B A B …. Needs the extra `benchmark`; without
PyTorch only our side is measured, without matplotlib there is no plot. Let nothing else run
meanwhile. What glibc is told by MALLOC_… in the environment holds for both sides.

A third party's program is timed beside, as a whole process with its peak memory:

    python -m scripts.benchmark --only files \
        --peer 'python3 other.py {content} {style} -o {output} --size {size} --steps {steps}'

Beside this there are `scripts.benchmark.gpu_check` and, for ways of our own, in the same folder
`compare_preconditioning`, `compare_scales` and `compare_sweep`.
"""

import argparse
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from scripts import DOCS, make_parser, say
from scripts.benchmark import machine
from scripts.benchmark.cases import PAUSES, Bench, Conditions, facts_of, measure_all
from scripts.benchmark.plan import CASES, NETWORKS, PRECISIONS, Plan, make_plan
from scripts.benchmark.plot import write_plot
from scripts.benchmark.report import markdown, side_by_side
from scripts.benchmark.results import ResultsError, errors, key_of, open_results, read_results
from scripts.benchmark.side import sides_here

MACHINES = DOCS / "benchmark"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, "python -m scripts.benchmark")
    parser.add_argument("--report", type=Path, metavar="RESULTS.json", help="measure nothing; "
                        "make results.md and the plot again from this file")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="of the results "
                        "(the processor's in docs/benchmark; benchmark-quick)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes, three minutes in all")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE",
                        help="some of these")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", help="instead of each case's")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--steps", type=int, help="of the whole runs, instead of each case's")
    parser.add_argument("--missing", action="store_true", help="only what the file has not yet")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--threads", type=int, help="of each side; all cores without it")
    parser.add_argument(
        "--torch-compile", action="store_true", help="torch.compile as a third side"
    )
    parser.add_argument("--rounds", type=int, help="turns of each side, at most (15)")
    parser.add_argument("--budget", type=float, help="seconds for the turns of a case (45); three "
                        "rounds are made in any case")  # fmt: skip
    parser.add_argument("--pause", type=float, help="seconds between turns (0.3 on CPU)")
    parser.add_argument("--scales", type=int, default=2, help="of our coarse-to-fine")
    parser.add_argument("--peer", metavar="COMMAND", help="timed beside in the case files")
    return parser.parse_args(arguments)


def conditions_of(options: argparse.Namespace, threads: int) -> Conditions:
    """Under which everything is measured."""
    return Conditions(
        device=options.device,
        threads=threads,
        environment=machine.worker_environment(threads, options.device),
        sides=sides_here(options.torch_compile),
        rounds=options.rounds or (3 if options.quick else 15),
        budget=options.budget or (1.0 if options.quick else 45.0),
        pause=PAUSES[options.device] if options.pause is None else options.pause,
        peer=options.peer,
        scales=options.scales,
    )


def not_yet(plan: Plan, results: dict) -> Plan:
    """Those of the plan that the results have not, or only with errors."""
    done = {key_of(case) for case in results["cases"].values() if not errors(case)}
    return [(case, spec) for case, spec in plan if key_of(facts_of(case, spec)) not in done]


def write_report(results: dict[str, Any], folder: Path) -> None:
    """Write results.md and the plot; and, of the documentation's, all machines side by side."""
    (folder / "results.md").write_text(markdown(results), encoding="utf-8")
    say(str(folder / "results.md"))
    write_plot(results, folder)
    if folder.resolve().parent == MACHINES:
        machines = [read_results(path) for path in sorted(MACHINES.glob("*/results.json"))]
        (MACHINES / "machines.md").write_text(side_by_side(machines), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write; or write again from a file."""
    options = parse(arguments)
    if options.report:
        write_report(read_results(options.report), options.report.parent)
        return 0
    cores = machine.pin(options.threads)
    setup = machine.setup(options.device, len(cores))
    own = Path("benchmark-quick") if options.quick else MACHINES / machine.folder_name(setup)
    folder = options.output or own
    try:
        results = open_results(folder / "results.json", setup)
    except ResultsError as error:
        say(str(error))
        return 2
    names = ("quick", "only", "sizes", "networks", "precision", "steps")
    asked = {name: getattr(options, name) for name in names}
    plan = make_plan(gpu=options.device == "gpu", **asked)
    if options.missing:
        plan = not_yet(plan, results)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with closing(Bench(conditions_of(options, len(cores)))) as bench:
        completed = measure_all(bench, plan, folder, results)
    if results["cases"]:
        write_report(results, folder)
    return 0 if completed else 130


if __name__ == "__main__":
    sys.exit(main())
