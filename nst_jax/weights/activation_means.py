"""Mean activations of a network over photographs: what `weights.normalize` scales filters with."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.architecture import layer_names
from nst_jax.errors import ImageError, WeightsError
from nst_jax.images import io, resize
from nst_jax.network import vgg
from nst_jax.weights.parameters import Weights, check_parameters

CROP = 224  # px, the size that the networks were trained at
BATCH = 8
# From three photographs filters that rarely fire got huge weights, and the pictures failed.
MIN_PHOTOGRAPHS = 24


def find_photographs(folder: str | Path) -> list[Path]:
    """The image files in a folder, in order of their names.

    Raises:
        ImageError: there is no such folder, or it holds too few images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; wanted one with some 200 photographs")
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )
    if len(found) < MIN_PHOTOGRAPHS:
        raise ImageError(
            f"{folder}: {len(found)} images; wanted at least {MIN_PHOTOGRAPHS}, better 200: "
            f"filters that hardly fire would get huge weights"
        )
    return found


def add_activation_means(
    weights: Weights,
    photographs: Sequence[str | Path],
    dtype: type[np.floating] = np.float32,
    progress: Callable[[int, int], None] | None = None,
) -> Weights:
    """Compute the mean activation of every filter, over photographs and positions.

    With each pooling, on the middle 224×224 px of each photograph scaled to a short side of 224,
    zeros around the maps.

    Args:
        weights: of a network that is not normalized.
        photographs: paths.
        dtype: of the computation; float64 (in JAX's 64-bit mode) gives the same bits everywhere.
        progress: called with the number of photographs done and of all.

    Returns:
        The weights, with `activation_means` of each pooling.

    Raises:
        WeightsError: the weights are normalized already, or a whole layer of them never fires.
        ImageError: a photograph cannot be read.
    """
    if weights.normalized:
        raise WeightsError(f"{weights.name}: normalized already; use the original weights")
    layers = layer_names(weights.architecture)

    @partial(jax.jit, static_argnums=0)
    def batch_sums(pooling, params, batch, present):
        network = vgg.VGG(weights.architecture, layers, weights.mean, pooling, jnp.dtype(dtype))
        features = vgg.extract_features(network, params, batch)
        return {
            layer: jnp.einsum("n,nc->c", present, maps.mean(axis=(1, 2)), precision="highest")
            for layer, maps in features.items()
        }

    params = jax.tree.map(lambda tensor: jnp.asarray(tensor, dtype), dict(weights.params))
    zeros = {layer: np.zeros(len(weights.params[layer]["bias"])) for layer in layers}
    sums = {pooling: dict(zeros) for pooling in vgg.POOLINGS}
    for first in range(0, len(photographs), BATCH):
        paths = photographs[first : first + BATCH]
        batch, present = np.zeros((BATCH, CROP, CROP, 3), dtype), np.zeros(BATCH, dtype)
        for row, path in enumerate(paths):
            batch[row] = resize.cover(io.load_image(path), (CROP, CROP))
            present[row] = 1
        for pooling, of_layers in sums.items():
            for layer, value in batch_sums(pooling, params, batch, present).items():
                of_layers[layer] = of_layers[layer] + np.asarray(value)
        if progress:
            progress(first + len(paths), len(photographs))
    means = {
        pooling: {
            layer: (s / len(photographs)).astype(np.float32) for layer, s in of_layers.items()
        }
        for pooling, of_layers in sums.items()
    }
    weights = dataclasses.replace(weights, activation_means=means)
    check_parameters(weights, weights.name)
    return weights
