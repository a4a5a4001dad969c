"""Our L-BFGS against PyTorch's: the same objective, start and number of evaluations.

    python -m scripts.benchmark.compare_lbfgs CONTENT STYLE

prints the least loss of each, their quotient, and what the machine was.
"""

import argparse
import time

import torch

from nst_jax import Settings, find_weights, load_image, load_weights, normalize, stylize
from nst_jax.records.write import device_metadata, versions
from scripts.benchmark.pytorch_reference import Objective, run_lbfgs


def main() -> None:
    """Run both and print the losses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=250)
    parser.add_argument("--ratio", type=float, default=1e-6)
    parser.add_argument("--memory", type=int, nargs="+", default=[50, 100])
    options = parser.parse_args()

    settings = Settings(size=options.size, ratio=options.ratio, steps=options.evaluations - 1)
    weights = normalize(load_weights(find_weights(settings.weights)))
    content = load_image(options.content, settings.size)
    style = load_image(options.style, settings.size)
    print(f"{weights.name}, {content.shape[1]}×{content.shape[0]} px, ratio {options.ratio:g}, ")
    print(f"{options.evaluations} evaluations; {device_metadata()}, {versions()}")

    began = time.perf_counter()
    torch_outcome = run_lbfgs(
        Objective(settings, weights, content, style), content, options.evaluations
    )
    theirs, seconds = min(torch_outcome.losses), time.perf_counter() - began
    print(f"PyTorch {torch.__version__}, history 100: loss {theirs:.6f} in {seconds:.0f} s")
    for memory in options.memory:
        ours = stylize(
            content, style, Settings(**{**vars(settings), "lbfgs_memory": memory}), weights=weights
        )
        print(
            f"nst_jax, history {memory}: loss {ours.losses.total:.6f} in {ours.run_seconds:.0f} s "
            f"(and {ours.compile_seconds:.0f} s compiling), {ours.restarts} restarts, "
            f"{ours.losses.total / theirs:.4f} × PyTorch's"
        )


if __name__ == "__main__":
    main()
