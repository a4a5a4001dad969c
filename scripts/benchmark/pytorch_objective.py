"""The objective of `nst_jax` in PyTorch: the same network, targets and losses.

Images are (1, 3, H, W), sRGB in [0, 1]; on the way in and out they are NumPy's (H, W, 3). Needs
the extra `torch`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nst_jax import Settings, Weights
from nst_jax.architecture import block_of, convolutions_up_to

POOLS: dict[str, Callable[..., Tensor]] = {
    "average": functional.avg_pool2d,
    "max": functional.max_pool2d,
}
NHWC = torch.channels_last  # of kernels and activations: the faster one for convolutions
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclasses.dataclass(frozen=True)
class Options:
    """How PyTorch computes; what it computes is in `Settings`."""

    device: str = "cpu"  # or "cuda", "cuda:1"
    # Of the image, Gram matrices and losses; or "float64", to compare gradients.
    dtype: str = "float32"
    # Of the network: "float32" (TF32 is switched off), "tf32", or "bfloat16" (activations and
    # kernels; Gram matrices and losses are summed in float32).
    precision: str = "float32"
    # Whether the loss goes through `torch.compile`, and its gradient with it. PyTorch refuses after
    # `torch._dynamo.config.recompile_limit` different ones in one process.
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


def to_image(tensor: Tensor) -> np.ndarray:
    """(1, 3, H, W) on any device to (H, W, 3)."""
    return tensor.detach()[0].permute(1, 2, 0).cpu().numpy()


def at_least_float32(features: Tensor) -> Tensor:
    """The same values in float32 (float64 where they are)."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


class GramMatrix(torch.autograd.Function):
    """(1, C, h, w) to (C, C), divided by the number of positions; float32 at least.

    Automatic differentiation would multiply twice, once for each factor. As they are the same,
    the gradient is (Ġ + Ġᵀ) F / M: a tenth of the whole evaluation's time less on a CPU.
    """

    @staticmethod
    def forward(features: Tensor) -> Tensor:
        """F Fᵀ / M."""
        flat = at_least_float32(features).squeeze(0).flatten(1)
        return flat @ flat.T / flat.shape[1]

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """Keep the features, which the network keeps anyway."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, cotangent: Tensor) -> Tensor:
        """(1, C, h, w) in the features' type; as they, it is stored as NHWC."""
        (features,) = ctx.saved_tensors
        flat = at_least_float32(features).squeeze(0).flatten(1)
        symmetric = (cotangent + cotangent.T) / flat.shape[1]
        gradient = (flat.T @ symmetric).T
        return gradient.reshape(features.shape).to(features.dtype)


gram_matrix = GramMatrix.apply


class Objective:
    """The total loss of an image.

    Args:
        settings: the layers, their weights, the ratio, the pooling and the convention.
        weights: of the network, normalized already if they are to be.
        content: (H, W, 3); None where there are no content layers.
        style: (H', W', 3), of any size; None where there are no style layers.
        options: device and types.
    """

    def __init__(
        self,
        settings: Settings,
        weights: Weights,
        content: np.ndarray | None,
        style: np.ndarray | None,
        options: Options = DEFAULTS,
    ):
        self.options, self._settings = options, settings
        self._network = Network(weights, settings.layers, settings.pooling, options)
        self._content = self._targets(content, settings.content_layers, at_least_float32)
        self._grams = self._targets(style, settings.style_layers, gram_matrix)
        self._loss: Callable[[Tensor], Tensor] = self._total_loss
        if options.compile:
            self._loss = torch.compile(self._total_loss, fullgraph=True, dynamic=False)

    def start(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) to a tensor (1, 3, H, W) that the loss can be taken of.

        It is contiguous always, as `torch.optim.LBFGS` wants; the network turns it around itself.
        """
        dtype, device = DTYPES[self.options.dtype], self.options.device
        return torch.tensor(image, dtype=dtype).permute(2, 0, 1)[None].contiguous().to(device)

    def value_and_gradient(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of (1, 3, H, W), a scalar, and its gradient, without waiting for either."""
        image = image.detach().requires_grad_()
        with torch.enable_grad(), cuda_flags(self.options.precision):
            loss = self._loss(image)
            (gradient,) = torch.autograd.grad(loss, image)
        return loss.detach(), gradient.contiguous()

    def _targets(
        self,
        image: np.ndarray | None,
        layers: tuple[str, ...],
        summarize: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        if not layers:
            return {}
        assert image is not None
        with torch.inference_mode(), cuda_flags(self.options.precision):
            features = self._network(self.start(image))
            targets = {layer: summarize(features[layer]) for layer in layers}
        # Tensors made in inference mode may not take part in a graph; their copies may.
        return {layer: target.clone() for layer, target in targets.items()}

    def _total_loss(self, image: Tensor) -> Tensor:
        settings, features = self._settings, self._network(image)
        loss = torch.zeros((), dtype=image.dtype, device=image.device)
        for layer, weight in settings.content_terms.items():
            term = self._content_loss(features[layer], self._content[layer])
            loss = loss + settings.content_weight * weight * term
        for layer, weight in settings.style_terms.items():
            loss = loss + weight * self._style_loss(features[layer], self._grams[layer])
        if settings.tv_weight:
            loss = loss + settings.tv_weight * total_variation(image)
        return loss

    def _content_loss(self, features: Tensor, target: Tensor) -> Tensor:
        positions, channels = features[0, 0].numel(), features.shape[1]
        divisors = {
            "paper": 10 * positions,
            "authors": positions * channels,
            "equations": 2,
            "paper-0.2": 2 * positions,
        }
        difference = at_least_float32(features) - target
        return difference.square().sum() / divisors[self._settings.convention]

    def _style_loss(self, features: Tensor, target: Tensor) -> Tensor:
        divisor = (1 if self._settings.convention == "authors" else 4) * features.shape[1] ** 2
        return (gram_matrix(features) - target).square().sum() / divisor


def total_variation(image: Tensor) -> Tensor:
    """Squared differences of neighboring pixels over the number of pixels, a scalar."""
    down = image[:, :, 1:] - image[:, :, :-1]
    right = image[:, :, :, 1:] - image[:, :, :, :-1]
    return (down.square().sum() + right.square().sum()) / image[0, 0].numel()
