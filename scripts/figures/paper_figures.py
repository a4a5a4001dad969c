"""Make the figures of Gatys, Ecker & Bethge 2015 from any photograph and paintings.

    python -m scripts.figures.paper_figures PHOTOGRAPH PAINTING [PAINTING …] -o figures

Figure 1: what each layer keeps of the photograph, and the texture that the first one, two, … layers
make of the first painting. Figure 2: the photograph in the manner of every painting. Figure 3: the
first painting, growing subsets of layers down, ratios along. Each is a sweep from white noise; its
folder has the sheet (grid.png), the page (index.html) and the pictures. Run again, the script goes
on where it was interrupted. Flags that are not listed here go to `nst-jax`: --seed, --weights, ….

On two cores, 256 px and 200 steps take about an hour, --quick (128 px, 50 steps) some 10 minutes.
"""

import argparse
import sys
from pathlib import Path

from nst_jax import load_image, save_image
from nst_jax.cli import main as cli
from nst_jax.sweeps.results_folder import SHEET
from scripts import make_parser, say

LAYERS = "conv1_1,conv2_1,conv3_1,conv4_1,conv5_1"
FIGURE_2_RATIO = "1e-4"  # the paper has 1e-3 and, for The Scream, 1e-4, at a larger size
FIGURE_3_RATIOS = "1e-5,1e-4,1e-3,1e-2"
FIGURES = ("figure1-content", "figure1-style", "figure2", "figure3")


def figure_commands(options: argparse.Namespace, more: list[str]) -> dict[str, list[str]]:
    """{name: arguments of nst-jax} of every figure."""
    content, first, *_ = images = [options.content, *options.styles]
    size, steps = (128, 50) if options.quick else (options.size, options.steps)
    common = ["--init", "noise", "--size", str(size), "--steps", str(steps), *more]
    ratios = options.ratios or ",".join([FIGURE_2_RATIO] * len(options.styles))
    layers = ["--style-layers", LAYERS, "--style-layer-sets", "cumulative"]
    return {
        "figure1-content": ["reconstruct", "content", content, "--layers", LAYERS, *common],
        "figure1-style": ["reconstruct", "style", first, "--layers", LAYERS, *common],
        "figure2": ["sweep", *images, "--style-ratios", ratios, *common],
        "figure3": ["sweep", content, first, *layers, "--ratios", FIGURE_3_RATIOS, *common],
    }


def main() -> int:
    """Make all figures, or those named; stop at the first that is interrupted or fails."""
    parser = make_parser(__doc__)
    parser.add_argument("content", metavar="CONTENT", help="image")
    parser.add_argument("styles", metavar="STYLE", nargs="+", help="images")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=Path("figures"))
    parser.add_argument("--size", type=int, default=256, help="long side, px")
    parser.add_argument("--steps", type=int, default=200, help="of each picture")
    parser.add_argument("--ratios", help=f"of figure 2; {FIGURE_2_RATIO} for each STYLE without it")
    parser.add_argument("--quick", action="store_true", help="128 px, 50 steps")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="of these")
    options, more = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, command in figure_commands(options, more).items():
        if name not in options.only:
            continue
        say(f"== {name}")
        code = cli.main([*command, "-o", str(options.output / name)])
        if code != cli.DONE:
            return code
        sheet = options.output / f"{name}.jpg"
        save_image(load_image(options.output / name / SHEET), sheet)
        print(sheet)
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
