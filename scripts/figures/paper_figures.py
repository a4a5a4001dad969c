"""Make the figures of Gatys, Ecker & Bethge 2015 from any photograph and paintings.

    python -m scripts.figures.paper_figures PHOTOGRAPH PAINTING [PAINTING …] -o figures

Figure 1: what each layer keeps of the photograph, and the texture that the first one, two, … layers
make of the first painting. Figure 2: the photograph in the manner of every painting, and Figure 3:
the first painting, growing subsets of layers down, ratios along; both with the paper's preset at
its printed ratios. Each is a sweep from white noise: FIGURE.jpg is its sheet, FIGURE.txt the
command that makes it, the folder FIGURE has the page (index.html) and the pictures. Run again, the
script goes on where it was interrupted. One figure at a time, at a size of its own:

    python -m scripts.figures.paper_figures … --only figure2 --size 512 --steps 800

Flags that are not listed here go to `nst-jax`: --seed, --weights, ….

All four take a night on two cores; --quick (128 px, 50 steps) takes some 10 minutes.
"""

import argparse
from pathlib import Path

from nst_jax import load_image
from nst_jax.sweeps.results_folder import SHEET
from scripts import make_parser
from scripts.figures.figure import command_text, run, save_sheet

LAYERS = "conv1_1,conv2_1,conv3_1,conv4_1,conv5_1"
FIGURE_2_RATIO = "1e-3"  # B, C and D of the paper's; E and F have 1e-4
FIGURE_3_RATIOS = "1e-5,1e-4,1e-3,1e-2"
FIGURES = ("figure1-content", "figure1-style", "figure2", "figure3")


def figure_commands(options: argparse.Namespace, more: list[str]) -> dict[str, list[str]]:
    """{name: arguments of nst-jax} of every figure."""
    content, first, *_ = images = [options.content, *options.styles]
    size, steps = (128, 50) if options.quick else (options.size, options.steps)
    common = ["--size", str(size), "--steps", str(steps), *more]
    ratios = options.ratios or ",".join([FIGURE_2_RATIO] * len(options.styles))
    paper = ["--preset", "paper"]
    sets = ["--style-layer-sets", "cumulative", "--ratios", FIGURE_3_RATIOS]
    commands = {
        "figure1-content": ["reconstruct", "content", content, "--layers", LAYERS],
        "figure1-style": ["reconstruct", "style", first, "--layers", LAYERS],
        "figure2": ["sweep", *images, *paper, "--style-ratios", ratios],
        "figure3": ["sweep", content, first, *paper, *sets],
    }
    return {
        name: [*command, *common, "-o", str(options.output / name)]
        for name, command in commands.items()
    }


def main() -> None:
    """Make all figures, or those named; stop at the first that is interrupted or fails."""
    parser = make_parser(__doc__)
    parser.add_argument("content", metavar="CONTENT", help="image")
    parser.add_argument("styles", metavar="STYLE", nargs="+", help="images")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=Path("figures"))
    parser.add_argument("--size", type=int, default=384, help="long side, px")
    parser.add_argument("--steps", type=int, default=500, help="of each picture")
    parser.add_argument("--ratios", help=f"of figure 2; {FIGURE_2_RATIO} for each STYLE without it")
    parser.add_argument("--quick", action="store_true", help="128 px, 50 steps")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="of these")
    options, more = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, command in figure_commands(options, more).items():
        if name in options.only:
            run(command)
            caption = options.output / f"{name}.txt"
            caption.write_text(command_text(command) + "\n", encoding="utf-8")
            save_sheet(load_image(options.output / name / SHEET), caption.with_suffix(".jpg"))


if __name__ == "__main__":
    main()
