"""Which network a run will use, and whether it can be normalized."""

import dataclasses

from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights, cannot_normalize


def without_impossible(settings: Settings, weights: Weights) -> Settings:
    """The settings, not normalized where the weights cannot be."""
    if settings.normalize and not can_normalize(weights):
        return dataclasses.replace(settings, normalize=False)
    return settings


def can_normalize(weights: Weights) -> bool:
    """Whether the weights are, or can be, normalized."""
    return weights.normalized or weights.activation_means is not None


def describe_network(weights: Weights, wanted: Settings) -> str:
    """One line on the network that will be used, with the settings as the user wanted them."""
    how = "not normalized"
    if weights.normalized or (wanted.normalize and can_normalize(weights)):
        how = "normalized"
    elif wanted.normalize:
        how = f"NOT normalized: {cannot_normalize(weights)}"
    return f"network: {weights.architecture}, weights {weights.name} ({weights.source}), {how}"
