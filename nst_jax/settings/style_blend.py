"""Several paintings: what each gives to the targets of the style.

With G_l(x) the Gram matrix of an image x at layer l, the target of that layer is

    A_l = Σ_p s_pl · (1/K) Σ_k G_l(painting p at its size k),    Σ_p s_pl = 1

The share s_pl is the painting's weight in the blend, over the sum of those that carry layer l; of a
painting that does not carry it, 0. All of this is in the targets: the loss and the steps know of
one target for each layer.

Sources: the blend is jcjohnson/neural-style's `-style_blend_weights`. Layers for each painting are
"Scale Control" of Gatys et al. 2017, Controlling Perceptual Factors in Neural Style Transfer: fine
texture from one, coarse from another. Deviation: they first make a new painting of the two and
transfer that; here the two meet in the transfer itself.
"""

import math
from collections.abc import Mapping, Sequence

from nst_jax.errors import SettingsError

# {layer: the share of each painting}; of a layer, they sum to 1.
Shares = Mapping[str, tuple[float, ...]]
Blend = Sequence[float] | None
LayersEach = Sequence[Sequence[str]] | None


def shares_of(
    layers: Sequence[str], paintings: int, blend: Blend = None, layers_each: LayersEach = None
) -> dict[str, tuple[float, ...]]:
    """How much each painting gives to the target of each style layer.

    Args:
        layers: of the style.
        paintings: how many there are.
        blend: a weight ≥ 0 for each; None means equal.
        layers_each: those that each painting carries; None means all.

    Returns:
        {layer: (share of the first painting, …)}; each sums to 1.

    Raises:
        SettingsError: the weights or the sets of layers are not as many as the paintings, or no
            painting of any weight carries a layer.
    """
    for name, given, what in _named(blend, layers_each):
        if len(given) != paintings:
            raise SettingsError(
                f"{name} has {len(given)} {what} for {paintings} "
                f"painting{'' if paintings == 1 else 's'}; wanted one each"
            )
    blend = blend or (1.0,) * paintings
    carried = layers_each or (layers,) * paintings
    shares = {}
    for layer in layers if paintings else ():
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
    """Refuse what makes no sense for any number of paintings; arguments as of `shares_of`.

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
