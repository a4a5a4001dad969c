"""Hold a 4 × 5 sweep against twenty single runs: losses, wall time, memory.

    python -m scripts.benchmark.check_sweep CONTENT STYLE

The lanes are those of the paper's Figure 3, from white noise. `losses` compares every lane with
`stylize` alone, for L-BFGS and Adam, and rounds of 1, 3 and 20 lanes with each other. `time` runs
the command `nst-jax` once as a sweep and twenty times as stylize, as separate processes. `memory`
compares what the compiled program says it needs with what the process came to hold (Linux only).
On two cores at 128 px all of it takes about half an hour; nothing else should run meanwhile.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np

from nst_jax import Settings, load_image, load_weights, normalize, stylize, sweep
from nst_jax.cli.settings_flags import flags_of
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.runner import Runner
from nst_jax.records.write import device_metadata, versions
from nst_jax.sweeps.grid import Source, cumulative, make_grid, setting_axis, style_layers_axis
from nst_jax.weights.locate import embedded_path

RATIOS = (1e-5, 1e-4, 1e-3, 1e-2)


def figure_3(base: Settings) -> list[Settings]:
    """Growing subsets of style layers, four ratios each."""
    layers = style_layers_axis(cumulative(base.style_layers), base)
    grid = make_grid(
        base, [Source("content", ""), Source("style", "")], [layers, setting_axis("ratio", RATIOS)]
    )
    return [lane.settings for lane in grid.lanes]


def read_images(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The photograph and the painting."""
    return load_image(options.content, options.size), load_image(options.style, options.size)


def trajectories(results: list) -> np.ndarray:
    """(lanes, steps + 1) losses."""
    return np.array([[losses.total for _, losses in result.history] for result in results])


def worst(these: np.ndarray, those: np.ndarray) -> str:
    """The largest relative difference at the first step and at the last, and of the best."""
    first, last = (np.abs(these / those - 1)[:, at].max() for at in (0, -1))
    best = np.abs(these.min(axis=1) / those.min(axis=1) - 1).max()
    return f"first loss {first:.1e}, last loss {last:.1e}, best loss {best:.1e}"


def check_losses(options: argparse.Namespace) -> None:
    """Lanes against single runs, and rounds of several sizes against each other."""
    weights = normalize(load_weights(embedded_path()))
    content, style = read_images(options)
    for optimizer, steps, sizes in (("lbfgs", 50, (20, 3, 1)), ("adam", 20, (20,))):
        base = Settings(size=options.size, steps=steps, init="noise", optimizer=optimizer)
        settings = figure_3(base)
        single = partial(stylize, content, style, weights=weights, report_every=1)
        alone = trajectories([single(one) for one in settings])
        together = partial(sweep, content, style, settings, weights=weights, report_every=1)
        for at_once in sizes:
            lanes = trajectories(together(lanes_at_once=at_once))
            print(f"{optimizer}, {at_once} at once, against single runs: {worst(lanes, alone)}")


def seconds_of(command: list[str]) -> float:
    """Wall time of a process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def check_time(options: argparse.Namespace) -> None:
    """The whole command once as a sweep, and as twenty runs in a row."""
    files = [str(options.content), str(options.style)]
    base = Settings(size=options.size, steps=options.steps, init="noise")
    python = [sys.executable, "-m", "nst_jax"]
    ratios = ",".join(map(str, RATIOS))
    with tempfile.TemporaryDirectory() as folder:
        axes = ["--style-layer-sets", "cumulative", "--ratios", ratios]
        together = seconds_of(
            [*python, "sweep", *files, "-o", f"{folder}/sweep", *axes, *flags_of(base)]
        )
        print(f"sweep of 20 lanes, {options.steps} steps: {together:.1f} s", flush=True)
        alone = 0.0
        for number, one in enumerate(figure_3(base)):
            alone += seconds_of(
                [*python, "stylize", *files, "-o", f"{folder}/{number}.png", *flags_of(one)]
            )
        print(f"20 runs of stylize: {alone:.1f} s; the sweep takes {together / alone:.3f} ×")
    weights = normalize(load_weights(embedded_path()))
    content, style = read_images(options)
    some = figure_3(base)[:: len(RATIOS)]
    results = [stylize(content, style, one, weights=weights) for one in some]
    steps = sum(result.run_seconds for result in results) * len(RATIOS)
    print(
        f"their steps alone (from 5 of them): {steps:.1f} s; the sweep takes "
        f"{together / steps:.3f} ×"
    )


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def check_memory(options: argparse.Namespace) -> None:
    """What XLA says of the compiled step, against the peak of this process beyond its start."""
    weights = normalize(load_weights(embedded_path()))
    content, style = read_images(options)
    settings = figure_3(Settings(size=options.size, steps=3, init="noise"))
    problem = prepare_problem(content, style, settings, weights)
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(weights.params))
    for _ in range(2):  # the first run compiles, which takes memory of its own
        runner = Runner(problem)
        ctypes.CDLL(None).malloc_trim(0)
        before = resident("VmRSS") - params  # they are there, and the prediction counts them
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        for _ in runner.run():
            pass
    measured = resident("VmHWM") - before
    predicted = runner.needed_bytes
    print(
        f"{runner.executor.lanes} lanes at once: predicted {predicted / 1e6:.0f} MB, measured "
        f"{measured / 1e6:.0f} MB ({measured / predicted:.3f} ×)"
    )


CHECKS: dict[str, Callable[[argparse.Namespace], None]] = {
    "memory": check_memory,
    "losses": check_losses,
    "time": check_time,
}


def main() -> None:
    """Do the checks asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("content", type=Path, metavar="CONTENT")
    parser.add_argument("style", type=Path, metavar="STYLE")
    parser.add_argument("--only", choices=CHECKS, nargs="+", default=list(CHECKS))
    parser.add_argument("--size", type=int, default=128, help="px (default: 128)")
    parser.add_argument("--steps", type=int, default=100, help="of `time` (default: 100)")
    options = parser.parse_args()
    print(versions(), device_metadata())
    for name in options.only:
        CHECKS[name](options)


if __name__ == "__main__":
    main()
