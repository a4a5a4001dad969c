"""What the commands say of a problem before it is run: network, scales, regions."""

import dataclasses

from nst_jax.cli.progress import say
from nst_jax.engine.problem import Problem
from nst_jax.engine.pyramid import MIN_SIDE
from nst_jax.engine.regions import describe
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


def say_scales_and_regions(problem: Problem) -> None:
    """Say which sizes the lanes go through, and how large their regions are, where there are any.

    Of regions also what they leave out, and which are small.
    """
    settings, scales = problem.settings[0], problem.scales
    if settings.scales > 1:
        sizes = ", ".join(f"{scale.steps} steps at {scale.size} px" for scale in scales)
        left_out = settings.scales - len(scales)
        why = f"; {left_out} left out, for less than {MIN_SIDE} px or want of steps"
        say(f"scales: {sizes}" + (why if left_out else ""))
    for regions in dict.fromkeys(problem.regions):
        if regions is not None:
            for line in describe(regions, problem.program.architecture, settings.style_layers):
                say(line)
