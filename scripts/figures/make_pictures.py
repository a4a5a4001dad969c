"""Make the documentation's pictures from the samples: docs/hero.jpg and docs/ratios.jpg.

    python -m scripts.figures.make_pictures

takes about 20 minutes on two cores. The settings of every picture stand in its title or below.
"""

import dataclasses

import numpy as np

from nst_jax import Settings, SweepProgress, load_image, save_image, sweep
from nst_jax.sweeps.contact_sheet import Cell, make_sheet
from scripts import CONTENT, DOCS, STYLE, make_parser, say

RATIOS = {"noise": ("1e-5", "1e-4", "1e-3", "1e-2"), "content": ("1e-6", "1e-5", "1e-4", "1e-3")}


def generate(settings: list[Settings]) -> list[np.ndarray]:
    """The results, each (H, W, 3), with their progress on standard error."""

    def callback(progress: SweepProgress) -> None:
        if progress.step % 25 == 0:
            say(f"step {progress.step}/{progress.steps}")

    return [result.image for result in sweep(CONTENT, STYLE, settings, callback=callback)]


def make_hero(size: int, steps: int) -> np.ndarray:
    """Content image, style image, result."""
    cells = [[Cell(image) for image in generate([Settings(size=size, steps=steps)])]]
    sources = [("content", load_image(CONTENT)), ("style", load_image(STYLE))]
    title = f"{size} px, {steps} steps, all else default"
    return make_sheet(cells, column_titles=[title], sources=sources)


def make_ratios(size: int, steps: int) -> np.ndarray:
    """Rows: the initial image; in each its own ratios."""
    base = Settings(size=size, steps=steps)
    lanes = [
        dataclasses.replace(base, init=init, ratio=float(ratio))
        for init, ratios in RATIOS.items()
        for ratio in ratios
    ]
    images = iter(generate(lanes))
    rows = [[Cell(next(images), f"ratio {ratio}") for ratio in row] for row in RATIOS.values()]
    return make_sheet(rows, row_titles=[f"from {init}" for init in RATIOS])


# What makes each picture, and its default size and steps.
PICTURES = {"hero": (make_hero, 512, 300), "ratios": (make_ratios, 256, 200)}


def main() -> None:
    """Make both, or the one named."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=tuple(PICTURES))
    parser.add_argument("--size", type=int, help="px, instead of each picture's")
    parser.add_argument("--steps", type=int, help="instead of each picture's")
    options = parser.parse_args()
    for name in options.only:
        make, size, steps = PICTURES[name]
        save_image(make(options.size or size, options.steps or steps), DOCS / f"{name}.jpg")


if __name__ == "__main__":
    main()
