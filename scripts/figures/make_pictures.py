"""Make the documentation's pictures from the samples: docs/hero.jpg and docs/ratios.jpg.

    python -m scripts.figures.make_pictures

takes about an hour on two cores. The commands stand above the pictures; with `--keep DIR` what was
made stays there, and is not made again.
"""

import tempfile
from pathlib import Path

import numpy as np

from nst_jax import load_image
from nst_jax.sweeps.contact_sheet import Cell, make_sheet
from scripts import CONTENT, DOCS, ROOT, STYLE, make_parser
from scripts.figures.figure import command_text, load_pictures, run, save_sheet

# Of docs/ratios.jpg: a row for each start.
RATIOS = {"noise": ("1e-5", "1e-4", "1e-3", "1e-2"), "content": ("5e-6", "5e-5", "5e-4", "5e-3")}

INPUTS = [str(image.relative_to(ROOT)) for image in (CONTENT, STYLE)]


def make_hero(flags: list[str], folder: Path) -> np.ndarray:
    """Content image, style image, result."""
    command, path = ["stylize", *INPUTS, *flags], folder / f"hero{''.join(flags)}.png"
    if not path.exists():
        run([*command, "-o", str(path)])
    sources = [("content", load_image(CONTENT)), ("style", load_image(STYLE))]
    return make_sheet([[Cell(load_image(path))]], title=command_text(command), sources=sources)


def make_ratios(flags: list[str], folder: Path) -> np.ndarray:
    """Rows: the initial image; in each its own ratios."""
    rows = []
    for init, ratios in RATIOS.items():
        own = ["--init", init, "--ratios", ",".join(ratios), "-o", str(folder / init)]
        run(["sweep", *INPUTS, *flags, *own])
        pictures = zip(load_pictures(folder / init), ratios, strict=True)
        rows.append([Cell(image, f"ratio {ratio}") for image, ratio in pictures])
    title = command_text(["sweep", *INPUTS, *flags, "--init", "...", "--ratios", "..."])
    return make_sheet(rows, title=title, row_titles=[f"--init {init}" for init in RATIOS])


# What makes each picture, and its default size and steps.
PICTURES = {"hero": (make_hero, 512, 300), "ratios": (make_ratios, 384, 300)}


def main() -> None:
    """Make both, or the one named."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=tuple(PICTURES))
    parser.add_argument("--size", type=int, help="px, instead of each picture's")
    parser.add_argument("--steps", type=int, help="instead of each picture's")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the pictures stay")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=DOCS, help="of sheets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            make, size, steps = PICTURES[name]
            flags = ["--size", str(options.size or size), "--steps", str(options.steps or steps)]
            save_sheet(make(flags, folder), options.output / f"{name}.jpg")


if __name__ == "__main__":
    main()
