"""What the generated image is compared with: features of the content image, Gram matrices."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine.executors import content_features, style_grams
from nst_jax.engine.program import Program
from nst_jax.engine.regions import MIXTURE, Regions
from nst_jax.images import resize
from nst_jax.losses import guidance
from nst_jax.losses.terms import Features, Targets
from nst_jax.settings import style_blend
from nst_jax.weights.parameters import Parameters

# Of each style image its sizes (H', W', 3), whose Gram matrices are averaged.
StylePictures = Sequence[Sequence[np.ndarray]]


def compute_targets(
    program: Program,
    params: Parameters,
    content: np.ndarray | None,
    style: np.ndarray | jax.Array | StylePictures | None,
    shares: style_blend.Shares | None = None,
    regions: Regions | None = None,
) -> Targets:
    """All that the generated image is compared with, on the device; shapes as `Targets` says.

    Args:
        program: says which layers.
        params: plain ones compile sooner than prepared ones.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), or of each style image its sizes; None where there are no style layers.
        shares: of each style image, from `Settings.style_shares`; None means equal.
        regions: at the generated image's size; None means that the style goes everywhere.
    """
    is_one = isinstance(style, np.ndarray | jax.Array)
    pictures: StylePictures = [[style]] if is_one else style or ()  # type: ignore[list-item, assignment]
    shares = shares or style_blend.shares_of(program.static.style_layers, len(pictures))
    targets = style_targets(program, params, pictures, shares, regions, is_free=content is None)
    return targets._replace(content=content_targets(program, params, content))


def content_targets(program: Program, params: Parameters, content: np.ndarray | None) -> Features:
    """{layer: (1, h, w, C)}, the features of the content image (H, W, 3); {} without layers."""
    if content is None or not program.static.content_layers:
        return {}
    return content_features(program, params, content)


def style_targets(
    program: Program,
    params: Parameters,
    style: StylePictures,
    shares: style_blend.Shares,
    regions: Regions | None = None,
    is_free: bool = False,
) -> Targets:
    """The style's part of the targets: the mean Gram matrices that `style_blend` describes.

    Where there are regions, each has its style image's Gram matrix, guided by the style mask if
    there is one, or the mean of all; without style zeros, of weight 0. `is_free` says whether all
    pixels may change, for want of a content image.
    """
    if regions is not None:
        return _guided_targets(program, params, style, shares, regions, is_free)
    return Targets({}, _mixed_grams(program, params, style, shares))


def _mixed_grams(
    program: Program, params: Parameters, style: StylePictures, shares: style_blend.Shares
) -> Features:
    """{layer: (1, C, C)}, the mean over the style images by their shares; {} without layers."""
    mixed: dict[str, Any] = {}
    for number, pictures in enumerate(style if program.static.style_layers else ()):
        parts = {layer: each[number] / len(pictures) for layer, each in shares.items()}
        if not any(parts.values()):
            continue
        for picture in pictures:
            # Sums of some small matrices: compiling them would take longer than they do.
            grams = style_grams(program, params, picture)
            for layer, part in parts.items():
                mixed[layer] = mixed.get(layer, 0.0) + part * grams[layer]
    return mixed


def _guided_targets(
    program: Program,
    params: Parameters,
    style: StylePictures,
    shares: style_blend.Shares,
    regions: Regions,
    is_free: bool,
) -> Targets:
    keys = [
        None if number is None else (number, id(mask))
        for number, mask in zip(regions.styles, regions.style_masks, strict=True)
    ]
    grams: dict[tuple[int, int] | None, Features] = {}
    for key, mask in zip(keys, regions.style_masks, strict=True):
        if key and key[0] == MIXTURE:
            mixed = _mixed_grams(program, params, style, shares)
            grams[key] = {layer: gram[:, None] for layer, gram in mixed.items()}
        elif key and key not in grams:
            grams[key] = _mean_grams(program, params, style[key[0]], mask)
    grams[None] = jax.tree.map(jnp.zeros_like, next(iter(grams.values())))
    each = [grams[key] for key in keys]
    layers, painted = program.static.style_layers, np.array([key is not None for key in keys])
    maps, weights = guidance.make_guides(regions.masks, program.architecture, layers)
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
    """{layer: (1, 1, C, C)}, the mean over a style image's sizes; of what the mask (h, w) has."""
    grams_of = partial(style_grams, program, params)
    total: Features | None = None
    for picture in pictures:
        grams: Features
        if mask is None:
            grams = {layer: gram[:, None] for layer, gram in grams_of(picture).items()}
        else:
            part = resize.interpolate(mask, picture.shape[:2])[None]
            guides = guidance.make_guides(part, program.architecture, program.static.style_layers)
            grams = grams_of(picture, guides.maps)
        total = grams if total is None else jax.tree.map(jnp.add, total, grams)
    return jax.tree.map(lambda gram: gram / len(pictures), total)
