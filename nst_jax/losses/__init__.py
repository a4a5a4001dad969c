"""The losses, as pure functions of features; `terms` has them all."""

from nst_jax.losses.terms import (
    Features,
    Losses,
    LossWeights,
    Targets,
    absolute_variation,
    content_loss,
    gram_observers,
    guided_style_loss,
    normalize_gradient,
    style_loss,
    total_loss,
    total_variation,
)

__all__ = [
    "Features",
    "LossWeights",
    "Losses",
    "Targets",
    "absolute_variation",
    "content_loss",
    "gram_observers",
    "guided_style_loss",
    "normalize_gradient",
    "style_loss",
    "total_loss",
    "total_variation",
]
