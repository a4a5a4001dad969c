"""Check that normalized filters have a mean activation of 1 over the photographs they stand for.

    python -m scripts.weights.check_normalization --images PHOTOGRAPHS --pooling max

PHOTOGRAPHS is a folder; the means are 1 over those that the weights' mean activations come from,
for the embedded weights the 215 crops that weights/README.md describes; over others they scatter.
Each layer's line says: its filters; how many of them are at the floor (scaled up less than their
means ask for); the largest |mean − 1| of any other, from one pass over the photographs with the
normalized network.
"""

import dataclasses
import sys

import numpy as np

from nst_jax import NSTError, find_weights, load_weights, normalize
from nst_jax.network.vgg import POOLINGS
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.locate import EMBEDDED_NAME
from nst_jax.weights.parameters import floored_means
from scripts import make_parser, say


def main() -> None:
    """Print one line for each layer."""
    parser = make_parser(__doc__)
    parser.add_argument("--images", metavar="DIR", required=True, help="some 200 photographs")
    parser.add_argument("--weights", metavar="NAME", default=EMBEDDED_NAME, help="as trained")
    parser.add_argument("--pooling", choices=[*POOLINGS], default="average")
    options = parser.parse_args()
    original, pooling = load_weights(find_weights(options.weights)), options.pooling
    if original.normalized:
        sys.exit(f"{original.name}: normalized already; give the original weights")
    normalized = normalize(original, pooling)
    as_if_trained = dataclasses.replace(normalized, normalized_for="")  # or it is refused
    photographs = find_photographs(options.images)
    means = add_activation_means(
        as_if_trained, photographs, progress=lambda done, total: say(f"{done}/{total} photographs")
    ).activation_means[pooling]
    print("layer    filters  at the floor  largest |mean - 1|")
    trained = original.activation_means[pooling]
    for layer, scale in floored_means(trained).items():
        floored = scale > trained[layer]
        distance = np.abs(means[layer][~floored] - 1).max()
        print(f"{layer}  {scale.size:7d}  {floored.sum():12d}  {distance:18.1e}")


if __name__ == "__main__":
    try:
        main()
    except NSTError as error:
        sys.exit(str(error))
