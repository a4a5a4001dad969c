"""Make the README's pictures from the samples: docs/hero.jpg and docs/ratios.jpg.

    python -m scripts.figures.make_pictures

takes about 20 minutes on two cores. The settings of every picture stand in its title or below.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from nst_jax import Settings, SweepProgress, load_image, save_image, sweep
from nst_jax.sweeps.contact_sheet import Cell, make_sheet
from nst_jax.sweeps.grid import short

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONTENT = DOCS / "samples" / "china.jpg"
STYLE = DOCS / "samples" / "van_gogh_cafe_terrace.jpg"

HERO = Settings(size=512, steps=300)
RATIOS = {"noise": (1e-5, 1e-4, 1e-3, 1e-2), "content": (1e-6, 1e-5, 1e-4, 1e-3)}


def paint(settings: list[Settings]) -> list[np.ndarray]:
    """The results, with their progress on standard error."""

    def callback(progress: SweepProgress) -> None:
        if progress.step % 25 == 0:
            print(f"step {progress.step}/{progress.steps}", file=sys.stderr)

    return [result.image for result in sweep(CONTENT, STYLE, settings, callback=callback)]


def make_hero() -> np.ndarray:
    """Photograph, painting, result."""
    title = f"{HERO.size} px, {HERO.steps} steps, all else default"
    sources = [("content", load_image(CONTENT)), ("style", load_image(STYLE))]
    cells = [[Cell(image) for image in paint([HERO])]]
    return make_sheet(cells, column_titles=[title], sources=sources)


def make_ratios(steps: int) -> np.ndarray:
    """Rows: the start; in each its own ratios."""
    base = Settings(size=256, steps=steps)
    lanes = [
        dataclasses.replace(base, init=init, ratio=ratio)
        for init, ratios in RATIOS.items()
        for ratio in ratios
    ]
    images = iter(paint(lanes))
    cells = [
        [Cell(next(images), f"ratio {short(ratio)}") for ratio in ratios]
        for ratios in RATIOS.values()
    ]
    return make_sheet(cells, row_titles=[f"from {init}" for init in RATIOS])


def main() -> None:
    """Make both, or the one named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("hero", "ratios"))
    parser.add_argument("--steps", type=int, default=200, help="of each picture of the ratios")
    options = parser.parse_args()
    if options.only != "ratios":
        save_image(make_hero(), DOCS / "hero.jpg")
    if options.only != "hero":
        save_image(make_ratios(options.steps), DOCS / "ratios.jpg")


if __name__ == "__main__":
    main()
