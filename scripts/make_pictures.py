"""Make the README's pictures from the samples: docs/hero.jpg and docs/ratios.jpg.

    python scripts/make_pictures.py

takes about 20 minutes on two cores. The settings of every picture stand in its caption or below.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nst_jax import Settings, load_image, save_image, stylize
from nst_jax.geometry import resize

DOCS = Path(__file__).resolve().parent.parent / "docs"
CONTENT = DOCS / "samples" / "china.jpg"
STYLE = DOCS / "samples" / "van_gogh_cafe_terrace.jpg"

HERO = Settings(size=512, steps=300)
RATIOS = {"noise": (1e-5, 1e-4, 1e-3, 1e-2), "content": (1e-6, 1e-5, 1e-4, 1e-3)}
GAP, CAPTION = 8, 20  # px


def paint(settings: Settings) -> np.ndarray:
    """One result, with its progress on standard error."""

    def callback(progress):
        if progress.step % 25 == 0:
            print(f"step {progress.step}/{progress.steps}", file=sys.stderr)

    print(settings, file=sys.stderr)
    return stylize(CONTENT, STYLE, settings, callback=callback).image


def as_high_as(image: np.ndarray, height: int) -> np.ndarray:
    """Scale to a height, aspect kept."""
    return resize(image, (height, round(image.shape[1] * height / image.shape[0])))


def arrange(rows: list[list[np.ndarray]], captions: list[list[str]]) -> np.ndarray:
    """Images of one height per row, on white, each under its caption."""
    widths = [sum(image.shape[1] + GAP for image in row) - GAP for row in rows]
    height = sum(row[0].shape[0] + CAPTION for row in rows)
    sheet = Image.new("RGB", (max(widths), height), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for row, texts in zip(rows, captions, strict=True):
        left = 0
        for image, text in zip(row, texts, strict=True):
            draw.text((left, top + 2), text, fill="black", font_size=14)
            picture = Image.fromarray((image * 255).round().astype(np.uint8))
            sheet.paste(picture, (left, top + CAPTION))
            left += image.shape[1] + GAP
        top += row[0].shape[0] + CAPTION
    return np.asarray(sheet, np.float32) / 255


def make_hero() -> np.ndarray:
    """Photograph, painting, result."""
    result = paint(HERO)
    sources = [as_high_as(load_image(path), result.shape[0]) for path in (CONTENT, STYLE)]
    caption = f"{HERO.size} px, {HERO.steps} steps, all else default"
    return arrange([[*sources, result]], [["content", "style", caption]])


def make_ratios(steps: int) -> np.ndarray:
    """Rows: the start; columns: the ratio."""
    rows, captions = [], []
    for init, ratios in RATIOS.items():
        settings = [Settings(size=256, steps=steps, init=init, ratio=ratio) for ratio in ratios]
        rows.append([paint(each) for each in settings])
        captions.append([f"from {init}, ratio {ratio:.0e}" for ratio in ratios])
    return arrange(rows, captions)


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
