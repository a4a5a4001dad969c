"""Check that normalised filters have a mean activation of 1, and change nothing else.

    python -m scripts.weights.check_normalization --images PHOTOGRAPHS

PHOTOGRAPHS is a folder; the means are 1 over those that the weights' mean activations come from,
for the embedded weights the 215 crops that weights/README.md describes; over others they scatter.
Each layer's line says: its filters; how many of them are at the floor (scaled up less than their
means ask for); the largest |mean − 1| of any other, from one pass over the photographs with the
normalised network; the largest difference, on the first photograph, between the normalised
features and the original ones over s, relative to the filter's largest value or, where that is
below 1 (the mean activation of an ordinary filter), to 1.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from nst_jax.architecture import layer_names
from nst_jax.errors import NSTError
from nst_jax.images import io, resize
from nst_jax.network import vgg
from nst_jax.weights import activation_means
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.locate import EMBEDDED_NAME, find_weights
from nst_jax.weights.parameters import Weights, floored_means, normalize
from nst_jax.weights.storage import load_weights


def normalized_means(weights: Weights, folder: str) -> Mapping[str, np.ndarray]:
    """Mean activation of every filter of a normalised network over a folder: {layer: (O,)}."""
    as_if_trained = dataclasses.replace(weights, normalized=False)  # or it would be refused
    means = add_activation_means(
        as_if_trained,
        find_photographs(folder),
        progress=lambda done, total: print(f"{done}/{total} photographs", file=sys.stderr),
    ).activation_means
    assert means is not None
    return means


def photograph_features(weights: Weights, photograph: Path) -> dict[str, np.ndarray]:
    """Features of the middle of a photograph in every layer: {layer: (h, w, C)}."""
    image = resize.cover(io.load_image(photograph), (activation_means.CROP,) * 2)
    network = vgg.VGG(weights.architecture, layer_names(weights.architecture), weights.mean)
    features = jax.jit(vgg.extract_features, static_argnums=0)(network, weights.params, image[None])
    return {layer: np.asarray(maps[0]) for layer, maps in features.items()}


def relative_deviation(features: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of any filter, relative to its largest expected value or to 1."""
    unit = np.maximum(expected.max(axis=(0, 1)), 1)
    return float((np.abs(features - expected).max(axis=(0, 1)) / unit).max())


def check(choice: str, folder: str) -> None:
    """Print one line for each layer.

    Raises:
        NSTError: there are no such weights or photographs, or the weights carry no means.
    """
    original = load_weights(find_weights(choice))
    normalized = normalize(original)
    if original.activation_means is None:
        raise NSTError(f"{original.name}: normalised already; give the original weights")
    trained, scales = original.activation_means, floored_means(original.activation_means)
    before, after = (
        photograph_features(weights, find_photographs(folder)[0])
        for weights in (original, normalized)
    )
    means = normalized_means(normalized, folder)
    print("layer    filters  at the floor  largest |mean - 1|  features' largest deviation")
    for layer, scale in scales.items():
        floored = scale > trained[layer]
        distance = np.abs(means[layer][~floored] - 1).max()
        deviation = relative_deviation(after[layer], before[layer] / scale)
        print(f"{layer}  {scale.size:7d}  {floored.sum():12d}  {distance:18.1e}  {deviation:27.1e}")


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", metavar="DIR", required=True, help="some 200 photographs")
    parser.add_argument(
        "--weights", metavar="NAME", default=EMBEDDED_NAME, help="default: %(default)s"
    )
    options = parser.parse_args()
    try:
        check(options.weights, options.images)
    except NSTError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
