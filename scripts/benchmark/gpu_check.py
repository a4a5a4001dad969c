"""Everything worth asking of a machine with a GPU, in one command under nine minutes.

    python -m scripts.benchmark.gpu_check -o docs/gpu-h200
    python -m scripts.benchmark.gpu_check --quick      # tiny, and on the CPU without a GPU

Measured ceilings of the card; loss and gradient in float32, TF32 and bfloat16 against float64 on
CPU; steps at 512 and 1024 px in each precision against PyTorch, eager and compiled, on the same
card; the share of the roofline that a step reaches; 500 steps from file to file, cold and warm;
twenty settings at once against twenty PyTorch runs; the largest image that fits; the kernels that
take the time. results.json is written after every case. One that fails is noted,
and the others go on; what no longer fits into `--minutes` is left out, and said. Without PyTorch
its part is left out. Nothing is downloaded: without VGG-19 weights random ones are timed.
"""

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts import make_parser, say
from scripts.benchmark import machine
from scripts.benchmark.cases import CACHE, PAUSES, Bench, Conditions, measure_all
from scripts.benchmark.gpu_report import text_of
from scripts.benchmark.plan import LEAN, NETWORKS, PRECISIONS, Plan
from scripts.benchmark.plot import write_plot
from scripts.benchmark.problem import Spec
from scripts.benchmark.results import errors
from scripts.benchmark.side import Side, end_all, sides_here

OURS = Side("nst_jax", "gpu_tasks")


def make_plan(network: str, quick: bool = False) -> Plan:
    """The cases in the order of their worth, as time may not suffice."""
    small, large, history = (64, 96, 4) if quick else (512, 1024, 100)

    def each(case: str, size: int) -> Plan:
        spec = Spec(case, network, size, history)
        return [(case, replace(spec, precision=precision)) for precision in PRECISIONS]

    def one(task: str, **spec: Any) -> tuple[str, Spec]:
        usual: dict[str, Any] = {"network": network, "size": small, "history": history}
        return task, Spec(task, **usual | spec)

    sweep = {"size": 48, "steps": 2, "lanes": 2} if quick else {"size": 256, "steps": 50}
    longest = 96 if quick else 16384
    return [
        one("ceilings", size=256 if quick else 8192),
        *[one("parity", network="vgg16", size=small // 2, precision=p) for p in PRECISIONS],
        *each("lbfgs", small),
        *each("cost", small),
        one("files", network="vgg16", steps=4 if quick else 500),
        one("sweep", network="vgg16", **sweep, history=min(50, history)),
        *each("lbfgs", large),
        one("trace"),
        one("largest", steps=longest),
        one("largest", steps=longest, ours=LEAN),
        *each("evaluation", small),
        *each("evaluation", large),
    ]


def conditions_of(options: argparse.Namespace, cache: str) -> Conditions:
    """Under which everything is measured; compiled programs are kept from case to case."""
    device = options.device or ("gpu" if machine.gpu_name() else "cpu")
    threads = len(machine.pin(None))
    _, *pytorch = sides_here(not options.no_torch_compile)
    return Conditions(
        device=device,
        threads=threads,
        environment={
            **machine.worker_environment(threads, device),
            **CACHE,
            "JAX_COMPILATION_CACHE_DIR": cache,
        },
        sides=(OURS, *pytorch),
        rounds=3 if options.quick else 10,
        budget=0.5 if options.quick else 4.0,
        pause=PAUSES[device],
    )


def main(arguments: list[str] | None = None) -> int:
    """Check, and write."""
    parser = make_parser(__doc__)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=Path("gpu-check"))
    parser.add_argument("--minutes", type=float, default=8.5, help="that it may take")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="a GPU, if there is one")
    parser.add_argument("--network", choices=NETWORKS, default="vgg19", help="vgg16 if quick")
    parser.add_argument("--no-torch-compile", action="store_true", help="PyTorch eager only")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="such as ceilings parity lbfgs")
    options = parser.parse_args(arguments)
    plan = make_plan("vgg16" if options.quick else options.network, options.quick)
    plan = [one for one in plan if not options.only or one[0] in options.only]
    end = time.monotonic() + 60 * options.minutes
    timer = threading.Timer(60 * options.minutes, end_all)
    timer.daemon = True
    timer.start()
    with contextlib.ExitStack() as stack:
        stack.callback(timer.cancel)
        cache = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        bench = stack.enter_context(contextlib.closing(Bench(conditions_of(options, cache))))
        conditions = bench.conditions
        results = {**machine.setup(conditions.device, conditions.threads), "cases": {}}
        completed = measure_all(bench, plan, options.output, results, end)
    (options.output / "results.md").write_text(text_of(results), encoding="utf-8")
    write_plot(results, options.output)
    failed = [name for name, case in results["cases"].items() if errors(case)]
    say(f"{options.output}: {len(results['cases'])} cases, failed: {', '.join(failed) or 'none'}")
    return 130 if not completed else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
