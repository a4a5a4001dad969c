"""What a run begins with: its images, the network's weights, the targets and the initial image."""

import warnings
from pathlib import Path
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax import geometry, images
from nst_jax.errors import ImageError, SettingsError
from nst_jax.losses import Targets
from nst_jax.program import Program, jitted
from nst_jax.recolor import to_grey
from nst_jax.settings import Settings
from nst_jax.weights import Parameters, Weights, cannot_normalize, normalize
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

ImageLike = np.ndarray | jax.Array | str | Path

# What resizing in floats may add to [0, 1].
OVERSHOOT = 0.5


def choose_weights(settings: Settings, weights: Weights | None) -> Weights:
    """The weights as the network will use them, normalised if the settings say so.

    Args:
        settings: say which, and whether to normalise.
        weights: to be used; None finds `settings.weights`.

    Raises:
        WeightsError: there are no such weights.
    """
    weights = weights or load_weights(find_weights(settings.weights))
    if not settings.normalize:
        return weights
    if weights.activation_means is None and not weights.normalized:
        warnings.warn(cannot_normalize(weights), stacklevel=3)
        return weights
    return normalize(weights)


def read_images(
    settings: Settings, content: ImageLike | None, style: ImageLike | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The content and the style image, (H, W, 3), at the sizes that the settings ask for.

    Raises:
        ImageError: one cannot be read, or is no image in [0, 1].
        SettingsError: one is wanted and not given.
    """
    check_given(settings, content, style)
    style_size = settings.style_size or settings.size
    return as_image("content", content, settings.size), as_image("style", style, style_size)


def check_given(settings: Settings, content: object, style: object) -> None:
    """Refuse settings that want an image which is None.

    Raises:
        SettingsError: there is no such image.
    """
    for kind, image in (("content", content), ("style", style)):
        layers = getattr(settings, f"{kind}_layers")
        if image is None and (layers or settings.init == kind):
            why = f"{kind} layers {', '.join(layers)}" if layers else f"init {kind}"
            raise SettingsError(f"there is no {kind} image, and the settings want one ({why})")
    if content is None and style is None:
        raise SettingsError("there is neither a content nor a style image; give one")


@overload
def as_image(name: str, image: None, size: int) -> None: ...
@overload
def as_image(name: str, image: ImageLike, size: int) -> np.ndarray: ...
def as_image(name: str, image: ImageLike | None, size: int) -> np.ndarray | None:
    """Read a file at a long side of `size`, or check an array.

    Returns:
        (H, W, 3), float32; None where there is no image.

    Raises:
        ImageError: it cannot be read, or is no image in [0, 1].
    """
    if image is None:
        return None
    if isinstance(image, str | Path):
        return images.load_image(image, size)
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ImageError(f"the {name} image has shape {image.shape}; wanted (H, W, 3)")
    if not (image.min() >= -OVERSHOOT and image.max() <= 1 + OVERSHOOT):  # also where it is NaN
        raise ImageError(
            f"the {name} image has values from {image.min():g} to {image.max():g}; wanted sRGB in "
            f"[0, 1]: divide bytes by 255"
        )
    return image


def compute_targets(
    program: Program, params: Parameters, content: np.ndarray | None, style: np.ndarray | None
) -> Targets:
    """What the generated image will be compared with.

    Args:
        program: says which layers.
        params: of the network; plain ones, which compile sooner and are needed once, or prepared.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), of any size; None where there are no style layers.
    """
    functions, params = jitted(program), jax.device_put(params)
    return Targets(
        functions.content_features(params, content) if program.content_layers else {},
        functions.style_grams(params, style) if program.style_layers else {},
    )


def canvas(content: np.ndarray | None, style: np.ndarray | None) -> np.ndarray:
    """The image whose shape the generated one has: the content image, or the only one there is."""
    image = style if content is None else content
    assert image is not None  # `read_images` has seen to it
    return image


def initial_image(
    key: jax.Array,
    init: str,
    content: np.ndarray | None,
    style: np.ndarray | None,
    grey: bool = False,
) -> np.ndarray | jax.Array:
    """The image that the optimisation starts from.

    Args:
        key: of the noise.
        init: "content"; "noise": white, uniform over [0, 1]; "style": the style image, cut to the
            content's shape; or the path of an image, likewise.
        content: (H, W, 3); None where the style alone is reconstructed.
        style: (H', W', 3); None where the content alone is.
        grey: whether noise and files are to be grey; the other two are as they come.

    Returns:
        (H, W, 3), float32.
    """
    shape = canvas(content, style).shape
    if init == "noise":
        noise = jax.random.uniform(key, (*shape[:2], 1) if grey else shape, jnp.float32)
        return jnp.broadcast_to(noise, shape)
    source = {"content": content, "style": style}.get(init)
    if source is None:
        source = images.load_image(init)
        source = to_grey(source) if grey else source
    return source if source.shape == shape else geometry.cover(source, shape[:2])
