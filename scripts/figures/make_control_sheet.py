"""Make docs/controls.jpg: one picture from the samples for each control, under its flags.

    python -m scripts.figures.make_control_sheet

takes about ten minutes on two cores. Each caption is what `nst-jax stylize` was told beside the
size and the steps; pictures that are there already (`--keep DIR`) are not made again.
"""

import argparse
import contextlib
import io
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

from nst_jax import load_image, save_image
from nst_jax.cli import main as cli
from nst_jax.sweeps.contact_sheet import Cell, make_sheet

DOCS = Path(__file__).resolve().parents[2] / "docs"
SAMPLES = DOCS / "samples"
PHOTOGRAPH = SAMPLES / "china.jpg"
CAFE, NIGHT, CHURCH = (
    SAMPLES / f"van_gogh_{name}.jpg" for name in ("cafe_terrace", "night_cafe", "church_at_auvers")
)
FINE_AND_COARSE = "--layers-per-style conv1_1,conv2_1/conv3_1,conv4_1,conv5_1"
# Flags, and the paintings; SKY and REST are masks that this script makes.
ROWS: dict[str, tuple[tuple[str, tuple[Path, ...]], ...]] = {
    "styles": (
        ("", (CAFE,)),
        ("", (NIGHT,)),
        ("--style-blend 1,1", (CAFE, NIGHT)),
        (FINE_AND_COARSE, (CAFE, CHURCH)),
    ),
    "scale": (
        ("--style-scale 0.5", (CAFE,)),
        ("--style-scale 2", (CAFE,)),
        ("--style-scale 0.5,2", (CAFE,)),
        ("--layer-weights geometric", (CAFE,)),
    ),
    "colours": (
        ("--colors luminance", (NIGHT,)),
        ("--colors match", (NIGHT,)),
        ("--colors match --color-map cholesky", (NIGHT,)),
        ("--colors match --color-map symmetric", (NIGHT,)),
    ),
    "regions": (
        ("--content-mask SKY --content-mask REST", (CAFE, NIGHT)),
        ("--content-mask SKY --content-mask REST --region-styles none,1", (CAFE,)),
        ("--content-mask SKY --content-mask REST --region-styles 1,none", (CAFE,)),
        ("--normalize-gradients", (CAFE,)),
    ),
    "start": (
        ("--init style", (CAFE,)),
        ("--init-noise 0.3", (CAFE,)),
        ("--init noise", (CAFE,)),
        ("--init noise --no-precondition", (CAFE,)),
    ),
    "smoothness": (
        ("--padding reflect", (CAFE,)),
        ("--init noise --average 20", (CAFE,)),
        ("--init noise --tv-weight 0.4", (CAFE,)),
        ("--init noise --tv-l1-weight 0.15", (CAFE,)),
    ),
    "optimiser": (
        ("--no-precondition", (CAFE,)),
        ("--optimizer adam", (CAFE,)),
        ("--optimizer adam --average 20", (CAFE,)),
        ("--optimizer adam --no-precondition", (CAFE,)),
    ),
}


def make_masks(folder: Path) -> dict[str, Path]:
    """The sky of the photograph, and the rest, as white on black."""
    photograph = load_image(PHOTOGRAPH, 512)
    bright = photograph.mean(axis=-1) > 0.6
    sky = np.cumprod(bright, axis=0).astype(np.float32)  # from the top down to the first dark pixel
    paths = {name: folder / f"{name.lower()}.png" for name in ("SKY", "REST")}
    for path, mask in zip(paths.values(), (sky, 1 - sky), strict=True):
        save_image(np.repeat(mask[..., None], 3, axis=-1), path)
    return paths


def paint(flags: str, styles: tuple[Path, ...], path: Path, base: list[str]) -> np.ndarray:
    """The picture of these flags, from the file if it is there."""
    if not path.exists():
        print(f"{path.name}: {flags or 'all default'}", file=sys.stderr)
        masks = make_masks(path.parent)
        words = [str(masks.get(word, word)) for word in shlex.split(flags)]
        files = [str(PHOTOGRAPH), *map(str, styles)]
        with contextlib.redirect_stdout(io.StringIO()):
            code = cli.main(["stylize", *files, "-o", str(path), *base, *words])
        if code:
            raise SystemExit(code)
    return load_image(path)


def make_controls(folder: Path, size: int, steps: int) -> np.ndarray:
    """The sheet, with a row for each kind of control."""
    base = ["--size", str(size), "--steps", str(steps)]
    cells: list[list[Cell]] = []
    for kind, row in ROWS.items():
        cells.append([])
        for number, (flags, styles) in enumerate(row):
            image = paint(flags, styles, folder / f"{kind}-{number}.png", base)
            names = " + ".join(style.stem.removeprefix("van_gogh_") for style in styles)
            cells[-1].append(Cell(image, f"{names}: {flags or 'all default'}"))
    sources = [(path.stem, load_image(path, 512)) for path in (PHOTOGRAPH, CAFE, NIGHT, CHURCH)]
    return make_sheet(cells, row_titles=list(ROWS), sources=sources)


def main() -> None:
    """Make the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the pictures stay")
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "controls.jpg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        save_image(make_controls(folder, options.size, options.steps), options.output)


if __name__ == "__main__":
    main()
