"""The network's parameters: what they are, their check, and their normalization."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from nst_jax.architecture import BLOCKS, kernel_shapes, layer_names
from nst_jax.errors import WeightsError

# A filter that hardly ever fires would be scaled up without bound: its mean activation is taken
# as no less than this fraction of its layer's average. Floors up to 0.3 bring pictures with the
# means of 50 photographs hardly nearer to those with the means of 215 (-0.4 to 1.2 dB), and change
# the latter as much as other photographs do (to 22 to 25 dB).
ACTIVATION_FLOOR = 0.01

MEANS = "activation_mean"
Parameters = Mapping[str, Mapping[str, np.ndarray]]
ActivationMeans = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters of one network and what is known of them."""

    architecture: str  # "vgg16" or "vgg19"
    params: Parameters  # {layer: {"kernel": (3, 3, I, O), "bias": (O,)}}, float32, for `vgg.VGG`
    mean: tuple[float, float, float]  # what to subtract from the image, RGB in [0, 1]
    source: str  # where the values come from
    source_sha256: str  # of the file that they were converted from
    licence: str  # of the values; spelled as in our files
    # {pooling: {layer: (O,)}}: each filter's mean activation over photographs, with the poolings
    # that somebody has computed it for.
    activation_means: ActivationMeans = dataclasses.field(default_factory=dict)
    normalized_for: str = ""  # the pooling with which filters have a mean activation of 1
    name: str = ""  # of our file, without suffix
    sha256: str = ""  # of our file; empty before it is written
    path: str = ""  # of our file, as it was given; empty before it is written

    @property
    def normalized(self) -> bool:
        """Whether the filters are scaled to a mean activation of 1."""
        return bool(self.normalized_for)


def named_tensors(weights: Weights) -> dict[str, np.ndarray]:
    """Every tensor under the name that it has in our files.

    Returns:
        {"conv1_1/kernel": (3, 3, 3, 64), "conv1_1/bias": (64,), …}, and the activation means that
        there are: {"activation_mean/conv1_1": (64,), …} of average pooling,
        {"activation_mean/max/conv1_1": (64,), …} of another.
    """
    nested = dict(weights.params)
    nested |= {_means_key(pooling): means for pooling, means in weights.activation_means.items()}
    return {f"{a}/{b}": tensor for a, parts in nested.items() for b, tensor in parts.items()}


def _means_key(pooling: str) -> str:
    """What the names of a pooling's means begin with; older files have those of average pooling."""
    return MEANS if pooling == "average" else f"{MEANS}/{pooling}"


def check_parameters(weights: Weights, name: str) -> None:
    """Check that every tensor of the network is there, has its shape and is finite.

    Activation means must also be ≥ 0 with one above 0: `normalize` divides by them.

    Args:
        weights: what to check.
        name: of the file, for the message.

    Raises:
        WeightsError: names the tensor, the shape it has and the shape wanted.
    """
    if weights.architecture not in BLOCKS:
        raise WeightsError(
            f"{name}: network {weights.architecture!r}; wanted one of {', '.join(BLOCKS)}"
        )
    if len(weights.mean) != 3 or not np.all(np.isfinite(weights.mean)):
        raise WeightsError(f"{name}: mean is {weights.mean}; wanted three finite numbers")
    tensors = named_tensors(weights)
    for layer, shape in kernel_shapes(weights.architecture).items():
        _check_tensor(name, f"{layer}/kernel", tensors, shape)
        _check_tensor(name, f"{layer}/bias", tensors, shape[-1:])
        for pooling in weights.activation_means:
            _check_tensor(name, f"{_means_key(pooling)}/{layer}", tensors, shape[-1:])


def _check_tensor(
    name: str, key: str, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> None:
    tensor = tensors.get(key)
    if tensor is None:
        fault = f"is missing; wanted shape {shape}"
    elif tensor.shape != shape:
        fault = f"has shape {tensor.shape}; wanted {shape}"
    elif not np.all(np.isfinite(tensor)):
        fault = "has values that are not finite; get it again"
    elif key.startswith(MEANS) and (tensor.min() < 0 or tensor.max() == 0):
        fault = (
            f"has values from {tensor.min():g} to {tensor.max():g}; wanted none below 0 and one "
            f"above; compute them again, from photographs"
        )
    else:
        return
    raise WeightsError(f"{name}: tensor {key} {fault}")


def floored_means(activation_means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scales of `normalize`: mean activations, no less than 1 % of their layer's average.

    Args:
        activation_means: {layer: (O,)}, of one pooling.

    Returns:
        {layer: (O,)}, positive.
    """
    return {
        layer: np.maximum(means, ACTIVATION_FLOOR * means.mean())
        for layer, means in activation_means.items()
    }


def cannot_normalize(weights: Weights, pooling: str) -> str:
    """What to tell about weights without activation means of a pooling."""
    return (
        f"{weights.name}: no mean activations of {pooling} pooling, so it cannot be normalized, "
        f"and the paper's ratios do not hold; compute them with: nst-jax weights normalize "
        f"{weights.path or weights.name}"
    )


def normalize(weights: Weights, pooling: str = "average") -> Weights:
    """Scale every filter to a mean activation of 1 over photographs, with one pooling.

    With s_l the mean activations of layer l: k'_l = k_l · s_{l-1} / s_l and b'_l = b_l / s_l.
    ReLU and pooling commute with positive factors, so each feature map is the original one
    divided by its filter's s, and nothing else changes. Weights that are normalized already come
    back as they are.

    Raises:
        WeightsError: the weights carry no activation means of that pooling.

    Source: Gatys et al. 2015, "Methods"; Gatys et al. 2016, section 2.
    """
    if weights.normalized:
        return weights
    if pooling not in weights.activation_means:
        raise WeightsError(cannot_normalize(weights, pooling))
    params, before = {}, np.ones(3, np.float32)
    scales = floored_means(weights.activation_means[pooling])
    for layer in layer_names(weights.architecture):  # each needs the scales of the one before
        kernel, bias = weights.params[layer]["kernel"], weights.params[layer]["bias"]
        scale = scales[layer]
        params[layer] = {
            "kernel": (kernel * before[:, None] / scale).astype(np.float32),
            "bias": (bias / scale).astype(np.float32),
        }
        before = scale
    return dataclasses.replace(weights, params=params, activation_means={}, normalized_for=pooling)
