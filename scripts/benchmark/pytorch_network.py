"""The network of `nst_jax` in PyTorch, and how PyTorch computes it.

Needs the extra `torch`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nst_jax.architecture import block_of, convolutions_up_to
from nst_jax.weights.parameters import Weights

POOLS: dict[str, Callable[..., Tensor]] = {
    "average": functional.avg_pool2d,
    "max": functional.max_pool2d,
}
NHWC = torch.channels_last  # of kernels and activations: the faster one for convolutions
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclasses.dataclass(frozen=True)
class Options:
    """How PyTorch computes; what it computes is in `Settings`.

    Attributes:
        device: "cpu", "cuda" or "cuda:1".
        dtype: "float32", or "float64" to compare gradients; of the image, Grams and losses.
        precision: of the network, as `Settings.precision`: "float32" (TF32 is switched off), "tf32"
            or "bfloat16" (activations and kernels; Grams and losses are summed in float32).
        compile: whether the loss goes through `torch.compile`, and its gradient with it. PyTorch
            refuses after `torch._dynamo.config.recompile_limit` different ones in one process.
    """

    device: str = "cpu"
    dtype: str = "float32"
    precision: str = "float32"
    compile: bool = False

    @property
    def activations(self) -> torch.dtype:
        """Type of the network's kernels and activations."""
        return torch.bfloat16 if self.precision == "bfloat16" else DTYPES[self.dtype]


DEFAULTS = Options()


@contextlib.contextmanager
def cuda_flags(precision: str) -> Iterator[None]:
    """Set and put back PyTorch's global switches: TF32 in convolutions only, cuDNN's fastest.

    cuDNN's default is TF32. The Gram matrices are products that stay in float32 always.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = False, precision == "tf32", True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def synchronize(device: str | torch.device) -> None:
    """Wait until the device has done all that it was asked; a CPU always has."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def convolution(kernel: np.ndarray, bias: np.ndarray, options: Options) -> nn.Conv2d:
    """A frozen layer from a kernel (3, 3, I, O) and a bias (O,)."""
    place = options.device, options.activations
    weight = torch.tensor(kernel).permute(3, 2, 0, 1).to(*place, memory_format=NHWC)
    layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(torch.tensor(bias).to(*place), requires_grad=False)
    return layer


class Network(nn.Module):
    """The convolutions of VGG-16 or VGG-19 up to the deepest layer wanted."""

    mean: Tensor

    def __init__(self, weights: Weights, layers: tuple[str, ...], pooling: str, options: Options):
        super().__init__()
        self.layers, self.pool = layers, POOLS[pooling]
        self.activations = options.activations
        names = convolutions_up_to(weights.architecture, layers)
        self.convolutions = nn.ModuleDict(
            {name: convolution(**weights.params[name], options=options) for name in names}
        )
        mean = torch.tensor(weights.mean, dtype=DTYPES[options.dtype], device=options.device)
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W) to {layer: (1, C, h, w)}, after the ReLU."""
        outputs = (images - self.mean).to(self.activations, memory_format=NHWC)
        block, features = 1, {}
        for name, convolve in self.convolutions.items():
            if block_of(name) != block:
                outputs, block = self.pool(outputs, 2), block_of(name)
            # In place: no gradient needs what stood there, and it halves the memory.
            outputs = convolve(outputs).relu_()
            features[name] = outputs
        return {layer: features[layer] for layer in self.layers}
