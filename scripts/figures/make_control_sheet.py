"""Make docs/controls.jpg: one picture from the samples for each control, under its flags.

    python -m scripts.figures.make_control_sheet

takes about ten minutes on two cores. Each caption is what `nst-jax stylize` was told beside what
the title says; pictures that are there already (`--keep DIR`) are not made again.
"""

import shlex
import tempfile
from pathlib import Path

import numpy as np

from nst_jax import load_image, save_image
from nst_jax.sweeps.contact_sheet import Cell, make_sheet
from scripts import CONTENT, DOCS, ROOT, SAMPLES, make_parser
from scripts.figures.figure import command_text, run, save_sheet

STYLES = {
    name: SAMPLES / f"van_gogh_{name}.jpg"
    for name in ("cafe_terrace", "night_cafe", "church_at_auvers")
}
INPUT = str(CONTENT.relative_to(ROOT))
# A start and steps that leave speckle, for what takes it away.
SPECKLED = "--init noise --noise-amplitude 1 --smooth-chroma 0"
# Style images and flags of each cell; SKY and REST are masks that this script makes.
ROWS: dict[str, tuple[str, ...]] = {
    "styles": (
        "cafe_terrace",
        "night_cafe",
        "cafe_terrace night_cafe --style-blend 1,1",
        "cafe_terrace church_at_auvers --layers-per-style conv1_1,conv2_1/conv3_1,conv4_1,conv5_1",
    ),
    "scale": (
        "cafe_terrace --style-scale 0.5",
        "cafe_terrace --style-scale 2",
        "cafe_terrace --style-scale 0.5,2",
        "cafe_terrace --layer-weights geometric",
    ),
    "colors": (
        "night_cafe --colors luminance",
        "night_cafe --colors match",
        "night_cafe --colors match --color-map cholesky",
        "night_cafe --colors match --color-map symmetric",
    ),
    "regions": (
        "cafe_terrace night_cafe --content-mask SKY --content-mask REST",
        "cafe_terrace --content-mask SKY --content-mask REST --region-styles none,1",
        "cafe_terrace --content-mask SKY --content-mask REST --region-styles 1,none",
        "cafe_terrace --normalize-gradients",
    ),
    "start": (
        "cafe_terrace --init style",
        "cafe_terrace --init-noise 0.3",
        "cafe_terrace --init noise",
        "cafe_terrace --padding reflect",
    ),
    "smoothness": (
        f"cafe_terrace {SPECKLED}",
        f"cafe_terrace {SPECKLED} --average 20",
        f"cafe_terrace {SPECKLED} --tv-weight 0.4",
        f"cafe_terrace {SPECKLED} --tv-l1-weight 0.15",
    ),
    "optimizer": (
        "cafe_terrace --no-precondition",
        "cafe_terrace --optimizer adam",
        "cafe_terrace --optimizer adam --average 20",
        "cafe_terrace --optimizer adam --no-precondition",
    ),
}


def make_masks(folder: Path) -> dict[str, Path]:
    """The sky of the content image, and the rest, as white on black."""
    bright = load_image(CONTENT, 512).mean(axis=-1) > 0.6
    sky = np.cumprod(bright, axis=0).astype(np.float32)  # from the top down to the first dark pixel
    paths = {name: folder / f"{name.lower()}.png" for name in ("SKY", "REST")}
    for path, mask in zip(paths.values(), (sky, 1 - sky), strict=True):
        save_image(np.repeat(mask[..., None], 3, axis=-1), path)
    return paths


def make_cell(cell: str, path: Path, base: list[str]) -> Cell:
    """The picture of these words, from the file if it is there."""
    words = shlex.split(cell)
    styles = [word for word in words if word in STYLES]
    flags = [word for word in words if word not in STYLES]
    caption = f"{' + '.join(styles)}: {' '.join(flags) or 'all default'}"
    if not path.exists():
        masks = make_masks(path.parent)
        images = [str(STYLES[style].relative_to(ROOT)) for style in styles]
        given = [str(masks.get(flag, flag)) for flag in flags]
        run(["stylize", INPUT, *images, *base, *given, "-o", str(path)])
    return Cell(load_image(path), caption)


def main() -> None:
    """Make the sheet, with a row for each kind of control."""
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="long side, px")
    parser.add_argument("--steps", type=int, default=80, help="of each picture")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the pictures stay")
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "controls.jpg", help="sheet")
    options = parser.parse_args()
    base = ["--size", str(options.size), "--steps", str(options.steps)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cells = [
            [
                make_cell(cell, folder / f"{kind}-{number}.png", base)
                for number, cell in enumerate(row)
            ]
            for kind, row in ROWS.items()
        ]
        sources = [(path.stem, load_image(path, 512)) for path in (CONTENT, *STYLES.values())]
        title = command_text(["stylize", INPUT, "STYLE", *base, "..."])
        sheet = make_sheet(cells, title=title, row_titles=list(ROWS), sources=sources)
        save_sheet(sheet, options.output)


if __name__ == "__main__":
    main()
