"""Several style images: what each gives to the targets of the style.

With G_l(x) the Gram matrix of an image x at layer l, the target of that layer is

    A_l = Σ_p s_pl · (1/K) Σ_k G_l(style image p at its size k),    Σ_p s_pl = 1

The share s_pl is the image's weight in the blend, over the sum of those that carry layer l; of an
image that does not carry it, 0. All of this is in the targets: the loss and the steps know of
one target for each layer.

Sources: the blend is jcjohnson/neural-style's `-style_blend_weights`. Layers for each image are
"Scale Control" of Gatys et al. 2017, Controlling Perceptual Factors in Neural Style Transfer: fine
texture from one, coarse from another. Deviation: they first make a new style image of the two and
transfer that; here the two meet in the transfer itself.
"""

import math
from collections.abc import Mapping, Sequence

from nst_jax.errors import SettingsError

# {layer: the share of each style image}; of a layer, they sum to 1.
Shares = Mapping[str, tuple[float, ...]]
Blend = Sequence[float] | None
LayersEach = Sequence[Sequence[str]] | None


def shares_of(
    layers: Sequence[str], count: int, blend: Blend = None, layers_each: LayersEach = None
) -> dict[str, tuple[float, ...]]:
    """How much each style image gives to the target of each style layer.

    Args:
        layers: of the style.
        count: of the style images.
        blend: a weight ≥ 0 for each; None means equal.
        layers_each: those that each image carries; None means all.

    Returns:
        {layer: (share of the first image, …)}; each sums to 1.

    Raises:
        SettingsError: the weights or the sets of layers are not as many as the images, or no
            image of any weight carries a layer.
    """
    for name, given, what in _named(blend, layers_each):
        if len(given) != count:
            raise SettingsError(
                f"{name} has {len(given)} {what} for {count} "
                f"painting{'' if count == 1 else 's'}; wanted one each"
            )
    blend = blend or (1.0,) * count
    carried = layers_each or (layers,) * count
    shares: dict[str, tuple[float, ...]] = {}
    if not count:
        return shares
    for layer in layers:
        weights = [w if layer in own else 0.0 for w, own in zip(blend, carried, strict=True)]
        whole = math.fsum(weights)
        if not whole:
            raise SettingsError(
                f"no painting carries {layer}: name it in layers_per_style for one whose weight in "
                f"style_blend is not 0, or leave it out of style_layers"
            )
        shares[layer] = tuple(weight / whole for weight in weights)
    return shares


def check_mixture(layers: Sequence[str], blend: Blend, layers_each: LayersEach) -> None:
    """Refuse what makes no sense for any number of images; arguments as of `shares_of`.

    Raises:
        SettingsError: the weights sum to 0, do not go with the sets of layers, or these name a
            layer that is not of the style.
    """
    if blend is not None and not math.fsum(blend):
        raise SettingsError("style_blend sums to 0; give at least one painting a weight")
    for layer in (layer for own in layers_each or () for layer in own):
        if layer not in layers:
            known = ", ".join(layers) or "none"
            raise SettingsError(
                f"layers_per_style names {layer}, which is not among the style_layers ({known})"
            )
    for _, given, _ in _named(blend, layers_each):
        shares_of(layers, len(given), blend, layers_each)


def _named(blend: Blend, layers_each: LayersEach) -> list[tuple[str, Sequence, str]]:
    given = [("style_blend", blend, "numbers"), ("layers_per_style", layers_each, "sets of layers")]
    return [(name, value, what) for name, value, what in given if value is not None]
