"""What a run begins with: its images, the network's weights, the targets and the initial image."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax import geometry, images, mixing
from nst_jax.errors import SettingsError
from nst_jax.losses import Features, Targets
from nst_jax.paintings import ImageLike, Painting, PaintingReader, StyleLike, as_image, one_by_one
from nst_jax.program import Program, jitted
from nst_jax.settings import Settings
from nst_jax.weights import Parameters, Weights, cannot_normalize, normalize
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

# One style image (H, W, 3), or for each painting its images, whose Gram matrices are averaged.
StyleImages = np.ndarray | jax.Array | Sequence[Sequence[np.ndarray]] | None


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
    settings: Settings, content: ImageLike | None, style: StyleLike | None
) -> tuple[np.ndarray | None, tuple[Painting, ...]]:
    """The content image, (H, W, 3), and the paintings, at the sizes that the settings ask for.

    Raises:
        ImageError: one cannot be read, or is no image in [0, 1].
        SettingsError: one is wanted and not given, or they are not as many as the settings say.
    """
    given = one_by_one(style)
    check_given(settings, content, given or None)
    settings.style_shares(len(given))
    image = as_image("content", content, settings.size)
    return image, PaintingReader(settings).read(given, settings.style_scale)


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


def compute_targets(
    program: Program,
    params: Parameters,
    content: np.ndarray | None,
    style: StyleImages,
    shares: mixing.Shares | None = None,
) -> Targets:
    """What the generated image will be compared with.

    Args:
        program: says which layers.
        params: of the network; plain ones, which compile sooner and are needed once, or prepared.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), or the images of each painting, all of any size; None where there are
            no style layers.
        shares: of each painting, from `Settings.style_shares`; None means equal.
    """
    return Targets(
        content_targets(program, params, content), style_targets(program, params, style, shares)
    )


def content_targets(program: Program, params: Parameters, content: np.ndarray | None) -> Features:
    """The content's part of `compute_targets`."""
    if not program.content_layers:
        return {}
    return jitted(program).content_features(jax.device_put(params), content)


def style_targets(
    program: Program,
    params: Parameters,
    style: StyleImages,
    shares: mixing.Shares | None = None,
) -> Features:
    """The style's part of `compute_targets`: the mean Gram matrices that `mixing` describes."""
    if not program.style_layers:
        return {}
    assert style is not None  # `check_given` has seen to it
    paintings = [[style]] if isinstance(style, np.ndarray | jax.Array) else style
    shares = shares or mixing.shares_of(program.style_layers, len(paintings))
    grams_of, params = jitted(program).style_grams, jax.device_put(params)
    targets: dict[str, jax.Array] = {}
    for number, pictures in enumerate(paintings):
        parts = {layer: each[number] / len(pictures) for layer, each in shares.items()}
        for picture in pictures if any(parts.values()) else ():
            grams = grams_of(params, picture)
            for layer, part in parts.items():
                targets[layer] = targets.get(layer, 0.0) + part * grams[layer]
    return targets


def first_image(paintings: Sequence[Painting]) -> np.ndarray | None:
    """The image of the first painting, which stands for all where one is wanted."""
    return paintings[0].image if paintings else None


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
    noise: float = 0.0,
) -> np.ndarray | jax.Array:
    """The image that the optimisation starts from.

    Args:
        key: of the noise.
        init: "content"; "noise": white, uniform over [0, 1]; "style": the style image, cut to the
            content's shape; or the path of an image, likewise.
        content: (H, W, 3); None where the style alone is reconstructed.
        style: (H', W', 3); None where the content alone is.
        noise: f, how much of that image is replaced by noise: (1 − f) · image + f · noise.

    Returns:
        (H, W, 3), float32.
    """
    shape = canvas(content, style).shape
    if init == "noise" or noise == 1:
        return jax.random.uniform(key, shape, jnp.float32)
    source = {"content": content, "style": style}.get(init)
    if source is None:
        source = images.load_image(init)
    image = source if source.shape == shape else geometry.cover(source, shape[:2])
    if not noise:
        return image
    return (1 - noise) * image + noise * jax.random.uniform(key, shape, jnp.float32)
