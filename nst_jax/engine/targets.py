"""What the generated image is compared with: features of the content image, Gram matrices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine.program import Program, jitted
from nst_jax.engine.regions import Regions
from nst_jax.images import resize
from nst_jax.losses import guidance
from nst_jax.losses.terms import Features, Targets
from nst_jax.settings import style_blend
from nst_jax.weights.parameters import Parameters

# One style image (H, W, 3), or for each one its images at several sizes, whose Gram matrices are
# averaged.
StylePictures = np.ndarray | jax.Array | Sequence[Sequence[np.ndarray]] | None


def compute_targets(
    program: Program,
    params: Parameters,
    content: np.ndarray | None,
    style: StylePictures,
    shares: style_blend.Shares | None = None,
    regions: Regions | None = None,
) -> Targets:
    """What the generated image will be compared with.

    Args:
        program: says which layers.
        params: of the network; plain ones, which compile sooner and are needed once, or prepared.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), or for each style image its sizes, all of any shape; None where there
            are no style layers.
        shares: of each style image, from `Settings.style_shares`; None means equal. Not used where
            there are regions.
        regions: at the generated image's size; None means that the style goes everywhere.

    Returns:
        On the device; shapes as `Targets` says.
    """
    content_part = content_targets(program, params, content)
    if regions is None:
        return Targets(content_part, style_targets(program, params, style, shares))
    guided = guided_targets(program, params, style, regions, is_free=content is None)
    return guided._replace(content=content_part)


def content_targets(program: Program, params: Parameters, content: np.ndarray | None) -> Features:
    """{layer: (1, h, w, C)}, the features of the content image (H, W, 3); {} without layers."""
    if not program.static.content_layers:
        return {}
    return jitted(program).content_features(jax.device_put(params), content)


def style_targets(
    program: Program,
    params: Parameters,
    style: StylePictures,
    shares: style_blend.Shares | None = None,
) -> Features:
    """{layer: (1, C, C)}, the mean Gram matrices that `style_blend` describes.

    Args:
        program: says which layers; none give {}.
        params: of the network.
        style: (H', W', 3), or for each style image its sizes (H', W', 3).
        shares: {layer: the share of each style image}; None means equal.
    """
    if not program.static.style_layers:
        return {}
    style_images = _sizes_of_each(style)
    shares = shares or style_blend.shares_of(program.static.style_layers, len(style_images))
    grams_of, params = jitted(program).style_grams, jax.device_put(params)
    targets: dict[str, jax.Array] = {}
    for number, pictures in enumerate(style_images):
        parts = {layer: each[number] / len(pictures) for layer, each in shares.items()}
        for picture in pictures if any(parts.values()) else ():
            grams = grams_of(params, picture)
            for layer, part in parts.items():
                targets[layer] = targets.get(layer, 0.0) + part * grams[layer]
    return targets


def guided_targets(
    program: Program,
    params: Parameters,
    style: StylePictures,
    regions: Regions,
    is_free: bool = False,
) -> Targets:
    """The style's part of the targets where there are regions; no content.

    The target of a region is its style image's Gram matrix, guided by the style mask if there is
    one; of a style image in several sizes the mean; of a region without style zeros, of weight 0.

    Args:
        program: says which layers.
        params: of the network.
        style: (H', W', 3), or for each style image its sizes (H', W', 3).
        regions: of the generated image (H, W, 3).
        is_free: whether all pixels may change, for want of a content image.
    """
    style_images = _sizes_of_each(style)
    grams: dict[tuple[int, int], Features] = {}
    for number, mask in zip(regions.styles, regions.style_masks, strict=True):
        if number is not None and (number, id(mask)) not in grams:
            pictures = style_images[number]
            grams[number, id(mask)] = _mean_grams(program, params, pictures, mask)
    nothing = jax.tree.map(jnp.zeros_like, next(iter(grams.values())))
    keys = zip(regions.styles, map(id, regions.style_masks), strict=True)
    each = [nothing if key[0] is None else grams[key[0], key[1]] for key in keys]
    maps, weights = guidance.make_guides(
        regions.masks, program.architecture, program.static.style_layers
    )
    painted = np.array([number is not None for number in regions.styles])
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
    functions, params = jitted(program), jax.device_put(params)
    layers, total = program.static.style_layers, None
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


def _sizes_of_each(style: StylePictures) -> Sequence[Sequence[np.ndarray]]:
    """The sizes (H', W', 3) of each style image; one array is the only size of the only one."""
    assert style is not None  # `check_given` has seen to it
    return [[style]] if isinstance(style, np.ndarray | jax.Array) else style  # type: ignore[list-item]
