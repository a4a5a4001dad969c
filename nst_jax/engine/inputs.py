"""What a run begins with: its images, the network's weights, the targets and the initial image."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine.program import Program, jitted
from nst_jax.engine.regions import Regions
from nst_jax.engine.style_images import (
    ImageLike,
    Painting,
    PaintingReader,
    StyleLike,
    as_image,
    one_by_one,
)
from nst_jax.errors import SettingsError
from nst_jax.images import io, resize
from nst_jax.images.color_transfer import to_gray
from nst_jax.losses import guidance
from nst_jax.losses.terms import Features, Targets
from nst_jax.settings import style_blend
from nst_jax.settings.settings import Settings
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Parameters, Weights, cannot_normalize, normalize
from nst_jax.weights.storage import load_weights

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
    shares: style_blend.Shares | None = None,
    regions: Regions | None = None,
) -> Targets:
    """What the generated image will be compared with.

    Args:
        program: says which layers.
        params: of the network; plain ones, which compile sooner and are needed once, or prepared.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), or the images of each painting, all of any size; None where there are
            no style layers.
        shares: of each painting, from `Settings.style_shares`; None means equal. Not used where
            there are regions.
        regions: at the generated image's size; None means that the style goes everywhere.
    """
    content_part = content_targets(program, params, content)
    if regions is None:
        return Targets(content_part, style_targets(program, params, style, shares))
    guided = guided_targets(program, params, style, regions, is_free=content is None)
    return guided._replace(content=content_part)


def content_targets(program: Program, params: Parameters, content: np.ndarray | None) -> Features:
    """The content's part of `compute_targets`."""
    if not program.content_layers:
        return {}
    return jitted(program).content_features(jax.device_put(params), content)


def style_targets(
    program: Program,
    params: Parameters,
    style: StyleImages,
    shares: style_blend.Shares | None = None,
) -> Features:
    """The style's part of `compute_targets`: the mean Gram matrices that `mixing` describes."""
    if not program.style_layers:
        return {}
    paintings = _by_painting(style)
    shares = shares or style_blend.shares_of(program.style_layers, len(paintings))
    grams_of, params = jitted(program).style_grams, jax.device_put(params)
    targets: dict[str, jax.Array] = {}
    for number, pictures in enumerate(paintings):
        parts = {layer: each[number] / len(pictures) for layer, each in shares.items()}
        for picture in pictures if any(parts.values()) else ():
            grams = grams_of(params, picture)
            for layer, part in parts.items():
                targets[layer] = targets.get(layer, 0.0) + part * grams[layer]
    return targets


def guided_targets(
    program: Program,
    params: Parameters,
    style: StyleImages,
    regions: Regions,
    is_free: bool = False,
) -> Targets:
    """The style's part of `compute_targets` where there are regions; no content.

    The target of a region is its painting's Gram matrix, guided by the style mask if there is one;
    of a painting in several sizes the mean; of a region without style zeros, of weight 0.

    Args:
        program: as in `compute_targets`.
        params: as there.
        style: as there.
        regions: as there.
        is_free: whether all pixels may change, for want of a photograph.
    """
    paintings = _by_painting(style)
    grams: dict[tuple[int, int], Features] = {}
    for number, mask in zip(regions.paintings, regions.style_masks, strict=True):
        if number is not None and (number, id(mask)) not in grams:
            pictures = paintings[number]
            grams[number, id(mask)] = _mean_grams(program, params, pictures, mask)
    nothing = jax.tree.map(jnp.zeros_like, next(iter(grams.values())))
    keys = zip(regions.paintings, map(id, regions.style_masks), strict=True)
    each = [nothing if key[0] is None else grams[key[0], key[1]] for key in keys]
    maps, weights = guidance.make_guides(regions.masks, program.architecture, program.style_layers)
    painted = np.array([number is not None for number in regions.paintings])
    return Targets(
        content={},
        style=jax.tree.map(lambda *of_regions: jnp.concatenate(of_regions, axis=1), *each),
        guides={layer: jnp.asarray(each) for layer, each in maps.items()},
        region_weights={layer: jnp.asarray(each * painted) for layer, each in weights.items()},
        free=jnp.asarray(regions.free | is_free)[None],
    )


def _mean_grams(
    program: Program, params: Parameters, pictures: Sequence[np.ndarray], mask: np.ndarray | None
) -> Features:
    """{layer: (1, 1, C, C)}, the mean over a painting's sizes; of the part in the mask (h, w)."""
    functions, params = jitted(program), jax.device_put(params)
    layers, total = program.style_layers, None
    for picture in pictures:
        if mask is None:
            plain = functions.style_grams(params, picture)
            grams = {layer: gram[:, None] for layer, gram in plain.items()}
        else:
            part = resize.interpolate(mask, picture.shape[:2])
            guides = guidance.make_guides(part[None], program.architecture, layers)
            grams = functions.guided_grams(params, picture, guides.maps)
        total = grams if total is None else jax.tree.map(jnp.add, total, grams)
    return jax.tree.map(lambda gram: gram / len(pictures), total)


def _by_painting(style: StyleImages) -> Sequence[Sequence[np.ndarray]]:
    """The images of each painting; one image is the only one of the only painting."""
    assert style is not None  # `check_given` has seen to it
    return [[style]] if isinstance(style, np.ndarray | jax.Array) else style  # type: ignore[list-item]


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
    grey: bool = False,
) -> np.ndarray | jax.Array:
    """The image that the optimisation starts from.

    Args:
        key: of the noise.
        init: "content"; "noise": white, uniform over [0, 1]; "style": the style image, cut to the
            content's shape; or the path of an image, likewise.
        content: (H, W, 3); None where the style alone is reconstructed.
        style: (H', W', 3); None where the content alone is.
        noise: f, how much of that image is replaced by noise: (1 − f) · image + f · noise.
        grey: whether noise, and the image of a file, are to be grey; the other two are as they are.

    Returns:
        (H, W, 3), float32.
    """
    shape = canvas(content, style).shape
    if init == "noise" or noise == 1:
        return _white_noise(key, shape, grey)
    source = {"content": content, "style": style}.get(init)
    if source is None:
        source = io.load_image(init)
        source = to_gray(source) if grey else source
    image = source if source.shape == shape else resize.cover(source, shape[:2])
    if not noise:
        return image
    return (1 - noise) * image + noise * _white_noise(key, shape, grey)


def _white_noise(key: jax.Array, shape: tuple[int, ...], grey: bool) -> jax.Array:
    """(H, W, 3), uniform over [0, 1]; in grey, the same in all channels."""
    values = jax.random.uniform(key, (*shape[:2], 1) if grey else shape, jnp.float32)
    return jnp.broadcast_to(values, shape)
