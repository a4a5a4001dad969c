"""What the network's precision does to the loss, emulated on any machine: a table, and pictures.

    python -m scripts.benchmark.emulate_precision -o precision

A GPU's TF32 and a TPU's bfloat16 round what is multiplied, and sum in float32. So both operands of
every convolution are rounded to as many bits of mantissa (`lax.reduce_precision`), and all the rest
stays float32: the losses after 200 and 500 steps, over those of float32, from the photograph and
from noise, three pairs of the samples. Some two hours on two cores.

tf32        10 bits: `--precision tf32` on an NVIDIA GPU
bfloat16    7 bits: one product of bfloat16, `--precision tf32` on a TPU
bfloat16x3  15 bits: three such products, `lax.Precision.HIGH` on a TPU
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
from jax import lax

from nst_jax import Settings, save_image
from nst_jax.engine import executors, program
from nst_jax.engine.options import RunOptions
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.results import SweepProgress
from nst_jax.engine.runner import Runner
from nst_jax.network import convolution
from scripts import CONTENT, SAMPLES, make_parser, say

MANTISSAS = {"float32": 23, "tf32": 10, "bfloat16": 7, "bfloat16x3": 15}
PAINTINGS = ("cafe_terrace", "night_cafe", "pere_tanguy")
INITS = ("content", "noise")
STEPS = (200, 500)


@contextlib.contextmanager
def rounded_products(mantissa: int) -> Iterator[None]:
    """Convolutions round their operands to so many bits; programs are compiled anew."""
    convolve, choose = convolution._convolve, program.choose_form

    def rounding(inputs, kernel, *others):
        round_to = partial(lax.reduce_precision, exponent_bits=8, mantissa_bits=mantissa)
        return convolve(round_to(inputs), round_to(kernel), *others)

    convolution._convolve = rounding
    program.choose_form = lambda *_: "kernel"  # the others are not convolutions
    try:
        yield
    finally:
        convolution._convolve, program.choose_form = convolve, choose
        for cached in (program.jitted, executors.jitted_on):
            cached.cache_clear()
        jax.clear_caches()


def best_losses(settings: Settings, painting: str, steps: tuple[int, ...], path: Path) -> list:
    """The least loss after so many steps, for each; the picture goes to the path."""
    best, found = float("inf"), {}

    def callback(progress: SweepProgress) -> None:
        nonlocal best
        best = min(best, float(progress.losses.total[0]))
        found[progress.step] = best

    style = SAMPLES / f"van_gogh_{painting}.jpg"
    problem = prepare_problem(CONTENT, style, [dataclasses.replace(settings, steps=max(steps))])
    result = next(Runner(problem, RunOptions(callback, report_every=100)).run()).results[0]
    save_image(result.image, path)
    return [found[step] for step in steps]


def main() -> None:
    """Print the table; the pictures stay in the folder."""
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=160, help="long side, px")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="after which")
    parser.add_argument("--paintings", nargs="+", choices=PAINTINGS, default=PAINTINGS)
    parser.add_argument("--inits", nargs="+", choices=INITS, default=INITS)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=Path("precision"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    steps = tuple(sorted(options.steps))
    print("| painting, start, steps | " + " | ".join(MANTISSAS) + " |")
    print("|---" * (len(MANTISSAS) + 1) + "|")
    for painting in options.paintings:
        for init in options.inits:
            rows: list[list[float]] = []
            for name, mantissa in MANTISSAS.items():
                say(f"{painting}, {init}, {name}")
                settings = Settings(size=options.size, init=init, precision="float32")
                path = options.output / f"{painting}-{init}-{name}.png"
                with rounded_products(mantissa):
                    rows.append(best_losses(settings, painting, steps, path))
            exact = rows[0]
            for at, step in enumerate(steps):
                cells = [f"{exact[at]:.4g}", *(f"{row[at] / exact[at]:.3f} ×" for row in rows[1:])]
                print(f"| {painting}, {init}, {step} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
