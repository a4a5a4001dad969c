"""Numbers for pictures, by which they are compared beyond the loss: a row for each.

    python -m scripts.figures.judge IMAGE … [--content PHOTOGRAPH] [--style PAINTING]

All is computed from the saved files, with one network for all: average pooling, normalized.

speckle   high-frequency chroma, in levels of 255: the colors less the mean of their three channels;
          of that what a Gaussian blur (σ = 1 px) takes away; root of its mean square. White noise
          over [0, 1] has 52. Below the pictures stand the speckles of their photographs and
          paintings at the same size.
style     ‖G − A‖² / ‖A‖² of the Gram matrices G of the picture and A of the painting, each divided
          by its number of positions: at layers that no default optimizes, and their mean. Of
          several paintings, or sizes of them (--style-scale), A is the mean. Where a run changed
          the painting's colors, or painted by masks, they are not what the run aimed at.
content   ‖F − P‖² / ‖P‖² of the features F of the picture and P of the photograph, at conv4_2.

Photograph and painting are those that the picture's record names (IMAGE.json, or the text inside
the picture), unless they are given; what there is none of has a dash.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
from scipy import ndimage

from nst_jax import ImageError, NSTError, Settings, load_image
from nst_jax.engine.problem import choose_weights
from nst_jax.engine.style_images import StyleImageReader, list_files
from nst_jax.images.io import load_text
from nst_jax.losses.terms import Features
from nst_jax.network.gram import gram_matrix
from nst_jax.network.vgg import VGG, observe_features
from nst_jax.records.read import read_recorded
from nst_jax.records.resolve_inputs import find_inputs
from nst_jax.weights.locate import EMBEDDED_NAME
from nst_jax.weights.parameters import Parameters
from scripts import make_parser

# In VGG-16 and VGG-19, and in no default's style or content layers.
STYLE_LAYERS = ("conv1_2", "conv2_2", "conv3_2", "conv4_3", "conv5_2")
CONTENT_LAYER = "conv4_2"
BLUR = 1.0  # px


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What is said of one picture.

    Attributes:
        name: of its file.
        width: px.
        height: px.
        speckle: in levels of 255.
        style: {layer: relative distance of Gram matrices}; None without a painting.
        content: relative distance of features; None without a photograph.
    """

    name: str
    width: int
    height: int
    speckle: float
    style: dict[str, float] | None = None
    content: float | None = None


@dataclasses.dataclass(frozen=True)
class Aim:
    """What a picture is compared with.

    Attributes:
        content: file, or None.
        styles: files.
        style_size: the paintings' long side, px; None is the picture's.
        style_scale: of the paintings.
    """

    content: str | None = None
    styles: tuple[str, ...] = ()
    style_size: int | None = None
    style_scale: tuple[float, ...] = (1.0,)


def speckle(image: np.ndarray) -> float:
    """High-frequency chroma of an image, (H, W, 3) in [0, 1]: a root mean square, levels of 255."""
    chroma = image.astype(np.float64) - image.mean(axis=-1, keepdims=True, dtype=np.float64)
    high = chroma - ndimage.gaussian_filter(chroma, (BLUR, BLUR, 0))
    return 255 * float(np.sqrt(np.mean(high**2)))


def relative_distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """‖found − wanted‖² / ‖wanted‖² of two arrays of one shape."""
    wanted = wanted.astype(np.float64)
    return float(np.sum((found - wanted) ** 2) / np.sum(wanted**2))


class Judge:
    """Compares pictures in one network; what it has computed of a photograph or painting stays."""

    def __init__(self, weights: str = EMBEDDED_NAME):
        """Take the name or the path of the network's weights."""
        chosen = choose_weights(Settings(weights=weights), None)
        network = VGG(chosen.architecture, (CONTENT_LAYER,), chosen.mean)
        observers = {layer: (gram_matrix,) for layer in STYLE_LAYERS}

        def observe(params: Parameters, image: jax.Array) -> tuple[Features, Features]:
            return observe_features(network, params, image, observers)

        # The parameters as an argument: XLA would take seconds to fold constants as large.
        self._observe = partial(jax.jit(observe), chosen.params)
        self._content = cache(self._features_of_file)
        self._style = cache(self._mean_grams)

    def judge(self, path: Path, aim: Aim) -> Judgement:
        """The numbers of one picture.

        Raises:
            ImageError: a file cannot be read; the photograph has another shape.
        """
        image = load_image(path)
        height, width, _ = image.shape
        style = content = None
        features, grams = self._features_and_grams(image)
        if aim.styles:
            size = aim.style_size or max(height, width)
            targets = self._style(aim.styles, size, aim.style_scale)
            style = {layer: relative_distance(grams[layer], targets[layer]) for layer in grams}
        if aim.content is not None:
            shape, target = self._content(aim.content, max(height, width))
            if shape != image.shape:
                raise ImageError(
                    f"{path}: has {width}×{height} px, and {aim.content} would have "
                    f"{shape[1]}×{shape[0]}; give the photograph that it was made of with --content"
                )
            content = relative_distance(features, target)
        return Judgement(str(path), width, height, speckle(image), style, content)

    def _features_and_grams(self, image: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        features, grams = jax.device_get(self._observe(image[None]))
        return features[CONTENT_LAYER], grams

    def _features_of_file(self, file: str, size: int) -> tuple[tuple[int, ...], np.ndarray]:
        image = load_image(file, size)
        return image.shape, self._features_and_grams(image)[0]

    def _mean_grams(
        self, files: tuple[str, ...], size: int, scales: tuple[float, ...]
    ) -> dict[str, np.ndarray]:
        read = StyleImageReader(size).read(files, scales)
        each = [self._features_and_grams(one)[1] for image in read for one in image.scaled]
        return {layer: np.mean([grams[layer] for grams in each], axis=0) for layer in STYLE_LAYERS}


def find_aim(path: Path, content: str | None, styles: Sequence[str]) -> Aim:
    """What a picture is compared with: what is given, else what its record names.

    Raises:
        ImageError: a file of the record is gone, or another by now.
        SettingsError: the record is damaged.
    """
    beside = path.with_suffix(".json")
    if not beside.exists() and "nst_jax" not in load_text(path):
        return Aim(content, tuple(styles))
    recorded = read_recorded(beside if beside.exists() else path)
    settings = recorded.settings
    return Aim(
        content or next(iter(find_inputs(recorded, "content")), None),
        tuple(styles) or find_inputs(recorded, "style"),
        settings.style_size,
        settings.style_scale,
    )


def reference_rows(judgements: Sequence[Judgement], aims: Sequence[Aim]) -> list[Judgement]:
    """The speckle of each photograph and painting, at the size of its pictures."""
    wanted: dict[tuple[str, int], None] = {}  # in order, each once
    for one, aim in zip(judgements, aims, strict=True):
        size = max(one.width, one.height)
        wanted |= {(aim.content, size): None} if aim.content else {}
        wanted |= {(file, aim.style_size or size): None for file in aim.styles}
    rows = []
    for file, size in wanted:
        image = load_image(file, size)
        rows.append(Judgement(file, image.shape[1], image.shape[0], speckle(image)))
    return rows


def make_table(judgements: Sequence[Judgement]) -> str:
    """Aligned columns, a row for each."""
    header = ["picture", "px", "speckle", *STYLE_LAYERS, "style", CONTENT_LAYER]
    rows = [header, *(_cells(one) for one in judgements)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for name, *others in rows
    )


def _cells(one: Judgement) -> list[str]:
    style = [*one.style.values(), np.mean([*one.style.values()])] if one.style else []
    distances = [f"{distance:.4f}" for distance in style] or ["-"] * (len(STYLE_LAYERS) + 1)
    content = "-" if one.content is None else f"{one.content:.4f}"
    return [one.name, f"{one.width}×{one.height}", f"{one.speckle:.1f}", *distances, content]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each picture, then for each photograph and painting."""
    parser = make_parser(__doc__)
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="saved pictures")
    parser.add_argument("--content", metavar="FILE", help="photograph, instead of the record's")
    parser.add_argument(
        "--style",
        metavar="FILE",
        action="append",
        default=[],
        help="painting, instead of the record's; of several, give --style for each",
    )
    parser.add_argument("--weights", metavar="NAME", default=EMBEDDED_NAME, help="of the network")
    parser.add_argument("--json", action="store_true", help="print a list instead of a table")
    options = parser.parse_args(arguments)
    try:
        judge = Judge(options.weights)
        styles = list_files(options.style)
        aims = [find_aim(path, options.content, styles) for path in options.images]
        rows = [judge.judge(path, aim) for path, aim in zip(options.images, aims, strict=True)]
        rows += reference_rows(rows, aims)
    except NSTError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        print(make_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
