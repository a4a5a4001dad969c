"""The losses, as pure functions of features; `terms` has them all, `guidance` the regions' maps."""

from nst_jax.losses.terms import (
    ABSOLUTE_SMOOTHING,
    CONVENTIONS,
    NORM_FLOOR,
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

__all__ = ["ABSOLUTE_SMOOTHING", "CONVENTIONS", "NORM_FLOOR"]
__all__ += ["Features", "LossWeights", "Losses", "Targets"]
__all__ += ["absolute_variation", "content_loss", "gram_observers", "guided_style_loss"]
__all__ += ["normalize_gradient", "style_loss", "total_loss", "total_variation"]
