"""Weights of layers, one number each, from whatever says them: numbers, layers' names, a preset.

The presets sum to 1 over any set of layers; with C the layer's number of filters and b its block,

    paper        equal            Gatys et al. 2015, section "Methods": w_l = 1/5
    gatys        ∝ 1/C²           leongatys/PytorchNeuralStyleTransfer, NeuralStyleTransfer.ipynb
    geometric    ∝ 4^−b           crowsonkb/style-transfer-pytorch: 256, 64, 16, 4, 1 over their sum

The notebook's weights are 1000/C², not over their sum, and 1 for the content: with its five layers
the ratio 3.05 in the convention "authors". Layers of one block weigh the same in each preset.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nst_jax.architecture import FILTERS, block_of, canonical_layer
from nst_jax.errors import SettingsError

# The weight of a layer of a block, 1 to 5, before all are divided by their sum.
PRESET_WEIGHTS: dict[str, Callable[[int], float]] = {
    "paper": lambda block: 1.0,
    "gatys": lambda block: 1 / FILTERS[block - 1] ** 2,
    "geometric": lambda block: 4.0**-block,
}


def preset_weights(preset: str, layers: Sequence[str]) -> tuple[float, ...]:
    """The weights that a preset gives these layers; they sum to 1.

    Args:
        preset: one of `PRESET_WEIGHTS`.
        layers: canonical names, in any order.
    """
    weights = [PRESET_WEIGHTS[preset](block_of(layer)) for layer in layers]
    return tuple(weight / sum(weights) for weight in weights)


def read_layer_weights(text: str) -> str | dict[str, float] | tuple[float, ...]:
    """Split 1,0.5 or conv1_1=1,conv4_1=0.5; the name of a preset stays as it is.

    Raises:
        ValueError: it is none of these.
    """
    if text.isalpha():
        return text
    if "=" not in text:
        return tuple(float(number) for number in text.split(","))
    pairs = [part.split("=") for part in text.split(",")]
    weights = {layer.strip(): float(weight) for layer, weight in pairs}
    if len(weights) < len(pairs):
        raise ValueError("a layer is named twice")
    return weights


def weights_in_order(name: str, value: Any, layers: Sequence[str]) -> tuple:
    """One weight for each layer as it was given, its range not checked.

    Args:
        name: of the setting, for errors.
        value: a sequence, taken as it is; {layer: weight}, where layers that are not named get 0;
            or the name of a preset.
        layers: canonical names.

    Raises:
        SettingsError: there is no such preset, or a layer is named that is none of these.
    """
    if isinstance(value, str):
        if value not in PRESET_WEIGHTS:
            raise SettingsError(_unknown(name, value))
        return preset_weights(value, layers)
    if isinstance(value, Mapping):
        return _by_name(name, value, layers)
    if not isinstance(value, Iterable):
        raise SettingsError(_unknown(name, value))
    return tuple(value)


def _by_name(name: str, value: Mapping[str, Any], layers: Sequence[str]) -> tuple:
    weights = {canonical_layer(str(layer), "vgg19"): weight for layer, weight in value.items()}
    for layer in weights:
        if layer not in layers:
            known = ", ".join(layers) or "none"
            raise SettingsError(f"{name} names {layer}, which is not among the layers ({known})")
    return tuple(weights.get(layer, 0.0) for layer in layers)


def _unknown(name: str, value: Any) -> str:
    close = difflib.get_close_matches(str(value), PRESET_WEIGHTS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return (
        f"{name} is {value!r}; wanted a sequence of numbers, {{layer: number}} or one of "
        f"{', '.join(PRESET_WEIGHTS)}{hint}"
    )
