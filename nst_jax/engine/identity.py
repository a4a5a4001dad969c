"""What decides a result, as JSON has it: by it a checkpoint knows the run that it is of."""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nst_jax.network.vgg import precision_on
from nst_jax.settings.settings import INITS, Settings, without_idle_layers
from nst_jax.weights.parameters import named_tensors
from nst_jax.weights.storage import checksum

if TYPE_CHECKING:
    from nst_jax.engine.problem import Problem

# Settings that name files: what the files hold is what counts, wherever they are.
NAMES = ("weights", "content_mask", "style_mask")


def resolved_settings(settings: Settings) -> dict[str, Any]:
    """{name: value} of all settings, with the defaults that depend on others filled in."""
    resolved = dataclasses.asdict(settings)
    resolved["ratio"] = settings.content_weight
    resolved["content_layer_weights"] = tuple(settings.content_terms.values())
    resolved["style_layer_weights"] = tuple(settings.style_terms.values())
    resolved["smooth_chroma"] = settings.chroma_smoothing
    resolved["precision"] = precision_on(jax.default_backend(), settings.precision)
    resolved["learning_rate"] = settings.step_size
    resolved["style_size"] = settings.style_size or settings.size
    return resolved


def identify(problem: "Problem", lane: int) -> dict[str, Any]:
    """What decides a lane's result: `settings`, and checksums of the `inputs` as they are seen."""
    one, initial = problem.settings[lane], problem.initial_images[lane]
    settings = resolved_settings(without_idle_layers(one))
    settings = {name: value for name, value in settings.items() if name not in NAMES}
    settings["init"] = one.init if one.init in INITS else "file"
    weights, regions = problem.weights, initial.regions
    network = {"": weights.sha256} if weights.sha256 else named_tensors(weights)
    inputs = {
        "network": [_digest(*network.values()), weights.normalized_for],
        "content image": _digest(problem.originals[lane]),
        "style image": [_digest(each.image, *each.scaled) for each in problem.style_images[lane]],
        "init image": _digest(initial.file),
        "mask": regions and [_digest(regions.masks, *regions.style_masks), regions.styles],
    }
    return json.loads(json.dumps({"settings": settings, "inputs": inputs}))


def _digest(*arrays: Any) -> str:
    there = {str(n): np.asarray(each) for n, each in enumerate(arrays) if each is not None}
    return checksum(there, {})


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what a run is not another, for people; both from `identify`, and not the same."""
    inputs = (name for name, value in now["inputs"].items() if then["inputs"].get(name) != value)
    return first_difference(then["settings"], now["settings"]) or f"another {next(inputs)}"


def first_difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first setting that is another than it was, for people; both as JSON has them."""
    then, now = json.loads(json.dumps([then, now]))
    for name, value in now.items():
        if then.get(name) != value:
            return f"{name} {then.get(name)}, not {value}"
    return None
