"""What is to be timed, in words that both sides understand: a task's name, sizes, settings."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nst_jax import Settings, Weights, find_weights, load_image, load_weights, normalize
from nst_jax.architecture import kernel_shapes
from nst_jax.images.resize import fit_size
from nst_jax.weights.locate import available_weights, embedded_path
from scripts import CONTENT, STYLE

RATIOS = (1e-5, 1e-4, 1e-3, 1e-2)  # of the paper's Figure 3


@dataclasses.dataclass(frozen=True)
class Spec:
    """One thing to be timed, on either side."""

    # "evaluation" (loss and gradient), "lbfgs" or "adam" (one step), "reach" (a run to a loss),
    # "sweep", "first" (a run of one evaluation, compilation included), or one of `gpu_tasks`.
    task: str
    network: str = "vgg16"
    size: int = 256  # long side of both images, px
    history: int = 100  # pairs that L-BFGS keeps
    steps: int = 500  # evaluations of a run; of "largest", the longest side that is tried
    precision: str = "float32"
    scales: int = 1  # of our coarse-to-fine; 1 is without
    goal: float | None = None  # the loss at which a run may end
    lanes: int = 20  # settings of a sweep
    file: str = ""  # of arrays, read or written, for "exact" and "parity"
    # Further settings of our side, which change how and not what is computed.
    ours: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Settings, weights as the network takes them, and the two images, (H, W, 3)."""

    settings: Settings
    weights: Weights
    content: np.ndarray
    style: np.ndarray


def make_problem(spec: Spec) -> Problem:
    """Read what a spec asks for."""
    settings = Settings(
        size=spec.size,
        steps=spec.steps,
        optimizer="adam" if spec.task == "adam" else "lbfgs",
        lbfgs_memory=spec.history,
        precision=spec.precision,
        scales=spec.scales,
        **spec.ours,
    )
    return Problem(settings, network_weights(spec.network), *read_samples(spec.size))


def sweep_settings(spec: Spec) -> list[Settings]:
    """The first so many lanes of the paper's Figure 3: four ratios, one to five style layers."""
    return figure_3(make_problem(spec).settings)[: spec.lanes]


def figure_3(base: Settings, ratios: Sequence[float] = RATIOS) -> list[Settings]:
    """From white noise: growing subsets of the style layers, several ratios each."""
    count = len(base.style_layers)
    return [
        dataclasses.replace(
            base,
            init="noise",
            ratio=ratio,
            style_layer_weights=tuple(1 / rows if at < rows else 0.0 for at in range(count)),
        )
        for rows in range(1, count + 1)
        for ratio in ratios
    ]


def off_content(problem: Problem) -> np.ndarray:
    """The content image with a little noise, (H, W, 3): where no term of the loss is zero."""
    noise = np.random.default_rng(1).standard_normal(problem.content.shape, np.float32)
    return problem.content + np.float32(0.05) * noise


def relative_errors(
    loss: float, gradient: np.ndarray, exact: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Of a loss and of its gradient (by the norm of the difference), against exact ones."""
    difference = np.linalg.norm(gradient.astype(np.float64) - exact["gradient"])
    return {
        "loss_error": float(abs(loss / exact["loss"] - 1)),
        "gradient_error": float(difference / np.linalg.norm(exact["gradient"])),
    }


@lru_cache
def read_samples(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The content and the style image, their long sides scaled (up or down) to `size`."""
    return load_image(CONTENT, size), load_image(STYLE, size)


def content_shape(size: int) -> tuple[int, int]:
    """Height and width of the content image at this size, without reading it."""
    with Image.open(CONTENT) as image:
        return fit_size(image.height, image.width, size)


def weights_path(architecture: str) -> Path | None:
    """The file of a network's weights; None where none of VGG-19 is installed."""
    if architecture == "vgg16":
        return embedded_path()
    installed = any(path.stem.startswith(architecture) for path in available_weights())
    return find_weights(architecture) if installed else None


def weights_name(architecture: str) -> str:
    """The name of the weights that will be used."""
    path = weights_path(architecture)
    return path.stem if path else f"{architecture}-random"


@lru_cache
def network_weights(architecture: str) -> Weights:
    """Normalized weights; of VGG-19, where none is installed, random ones, for timing only."""
    path = weights_path(architecture)
    if path is None:
        return random_weights(architecture)
    weights = load_weights(path)
    return normalize(weights) if weights.activation_means else weights


def random_weights(architecture: str) -> Weights:
    """He-initialized kernels and zero biases: the features keep their scale, and mean nothing.

    They say they are normalized, so that nobody asks for their mean activations.
    """
    random, params = np.random.default_rng(0), {}
    for layer, shape in kernel_shapes(architecture).items():
        scale = np.float32(np.sqrt(2 / np.prod(shape[:3])))
        kernel = scale * random.standard_normal(shape, np.float32)
        params[layer] = {"kernel": kernel, "bias": np.zeros(shape[-1], np.float32)}
    return dataclasses.replace(
        load_weights(embedded_path()),
        architecture=architecture,
        params=params,
        activation_means={},
        normalized_for="average",
        source="random, He-initialized",
        name=weights_name(architecture),
    )
