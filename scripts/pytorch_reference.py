"""The same objective in PyTorch, with its own optimisers: the yardstick.

Same weights, same images, same losses as `nst_jax`, written as one would in PyTorch. Needs the
extra `torch`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from nst_jax.settings import Settings
from nst_jax.vgg import block_of, layer_names
from nst_jax.weights import Weights

POOLS: dict[str, Callable[..., torch.Tensor]] = {
    "average": functional.avg_pool2d,
    "max": functional.max_pool2d,
}


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) to (1, 3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()


def to_image(tensor: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) to (H, W, 3)."""
    return tensor.detach()[0].permute(1, 2, 0).numpy()


def gram_matrix(features: torch.Tensor) -> torch.Tensor:
    """(1, C, h, w) to (C, C), divided by the number of positions."""
    flat = features.flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


class Network:
    """The convolutions of VGG-16 or VGG-19 up to the deepest layer wanted."""

    def __init__(self, weights: Weights, layers: tuple[str, ...], pooling: str):
        names = layer_names(weights.architecture)
        deepest = max(names.index(layer) for layer in layers)
        self._pool, self._layers = POOLS[pooling], layers
        self._mean = torch.tensor(weights.mean)[None, :, None, None]
        self._convolutions = {
            layer: (
                torch.from_numpy(np.array(weights.params[layer]["kernel"])).permute(3, 2, 0, 1),
                torch.from_numpy(np.array(weights.params[layer]["bias"])),
            )
            for layer in names[: deepest + 1]
        }

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, 3, H, W) to {layer: (1, C, h, w)}."""
        outputs, block, features = images - self._mean, 1, {}
        for layer, (kernel, bias) in self._convolutions.items():
            if block_of(layer) != block:
                outputs, block = self._pool(outputs, 2), block_of(layer)
            outputs = functional.relu(functional.conv2d(outputs, kernel, bias, padding=1))
            features[layer] = outputs
        return {layer: features[layer] for layer in self._layers}


class Objective:
    """The total loss of an image (1, 3, H, W)."""

    def __init__(
        self, settings: Settings, weights: Weights, content: np.ndarray, style: np.ndarray
    ):
        self._settings = settings
        self._network = Network(weights, settings.layers, settings.pooling)
        with torch.inference_mode():
            features = self._network(to_tensor(content))
            self._content = {layer: features[layer] for layer in settings.content_layers}
            features = self._network(to_tensor(style))
            self._grams = {layer: gram_matrix(features[layer]) for layer in settings.style_layers}
        # Tensors made in inference mode may not take part in a graph; their copies may.
        self._content = {layer: tensor.clone() for layer, tensor in self._content.items()}
        self._grams = {layer: tensor.clone() for layer, tensor in self._grams.items()}

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar."""
        features, settings = self._network(image), self._settings
        content = sum(self._content_loss(features[layer], t) for layer, t in self._content.items())
        style = sum(
            weight * self._style_loss(features[layer], self._grams[layer])
            for layer, weight in settings.style_terms.items()
        )
        loss = settings.content_weight / len(self._content) * content + style
        return loss + settings.tv_weight * self._total_variation(image)

    def _content_loss(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        positions, channels = features[0, 0].numel(), features.shape[1]
        divisors = {"paper": 2 * positions, "authors": positions * channels, "equations": 2}
        return (features - target).square().sum() / divisors[self._settings.convention]

    def _style_loss(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        channels = features.shape[1]
        divisor = (1 if self._settings.convention == "authors" else 4) * channels**2
        return (gram_matrix(features) - target).square().sum() / divisor

    def _total_variation(self, image: torch.Tensor) -> torch.Tensor:
        down = image[:, :, 1:] - image[:, :, :-1]
        right = image[:, :, :, 1:] - image[:, :, :, :-1]
        return (down.square().sum() + right.square().sum()) / image[0, 0].numel()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The image of least loss, (H, W, 3), and the losses of all evaluations in order."""

    image: np.ndarray
    losses: list[float]


def run_lbfgs(
    objective: Objective, image: np.ndarray, evaluations: int, history: int = 100
) -> Outcome:
    """`torch.optim.LBFGS(lr=1)` without line search, for so many evaluations."""
    tensor = to_tensor(image).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [tensor],
        lr=1,
        max_iter=evaluations,
        max_eval=evaluations,
        history_size=history,
        tolerance_grad=0,
        tolerance_change=0,
    )
    losses: list[float] = []
    best = tensor.detach().clone()

    def closure() -> torch.Tensor:
        nonlocal best
        optimizer.zero_grad()
        loss = objective(tensor)
        loss.backward()
        if not losses or loss.item() < min(losses):
            best = tensor.detach().clone()
        losses.append(loss.item())
        return loss

    while len(losses) < evaluations:
        optimizer.step(closure)
    return Outcome(to_image(best), losses)
