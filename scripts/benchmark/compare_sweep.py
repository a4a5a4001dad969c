"""A sweep of the paper's Figure 3 against twenty single runs: whole commands, and memory.

    python -m scripts.benchmark.compare_sweep

runs the command `nst-jax` once as a sweep of 4 × 5 lanes and twenty times as `stylize`, as separate
processes, from white noise, and prints the seconds and the peak memory of each; then what the
compiled sweep says it needs, over what a process came to hold (Linux only). At 128 px it takes some
ten minutes on two cores; nothing else should run meanwhile.
"""

import os
import sys
import tempfile

from nst_jax.cli.settings_flags import flags_of
from scripts.benchmark.curves import changed, comparison_parser, read_problem
from scripts.benchmark.problem import RATIOS, figure_3
from scripts.benchmark.side import run_command


def main() -> None:
    """Run the commands, then the sweep in this process; print what they took."""
    parser = comparison_parser(__doc__, size=128, steps=100)
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS, help="five lanes each")
    options = parser.parse_args()
    problem = read_problem(options, init="noise")
    alone = figure_3(problem.settings, options.ratios)

    def run(*words: str) -> dict[str, float]:
        command = [sys.executable, "-m", "nst_jax", words[0], options.content, options.style]
        return run_command([*command, *words[1:]], dict(os.environ))

    with tempfile.TemporaryDirectory() as folder:
        axes = ["--style-layer-sets", "cumulative", "--ratios", ",".join(map(str, options.ratios))]
        together = run("sweep", "-o", f"{folder}/sweep", *axes, *flags_of(problem.settings))
        print("a sweep: {seconds:.1f} s, {peak:.4g} bytes".format(**together), flush=True)
        runs = [
            run("stylize", "-o", f"{folder}/{number}.png", *flags_of(settings))
            for number, settings in enumerate(alone)
        ]
    seconds, peak = sum(one["seconds"] for one in runs), max(one["peak"] for one in runs)
    print(
        f"{len(runs)} single runs: {seconds:.1f} s, {peak:.4g} bytes at most; the sweep takes "
        f"{together['seconds'] / seconds:.3f} × their time",
        flush=True,
    )
    from scripts.benchmark.ours import sweep_memory

    predicted, measured = sweep_memory(changed(problem, steps=3), alone)
    print(
        f"{len(alone)} lanes: {predicted:.4g} bytes predicted, {measured:.4g} held: "
        f"{measured / predicted:.3f} ×"
    )


if __name__ == "__main__":
    main()
