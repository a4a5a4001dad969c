"""The whole computation once more in NumPy float64, from the weights file on, without the package.

Straight from the papers' equations: direct convolution, explicit Gram matrices, nothing shared
with `nst_jax`.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open

ROOT = Path(__file__).parent.parent
EMBEDDED = ROOT / "weights" / "vgg16-imagenet.safetensors"
SAMPLES = ROOT / "docs" / "samples"

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
CONTENT_LAYER = "conv4_2"


def read_network(path=EMBEDDED, normalized=True, pooling="average"):
    """({layer: {"kernel", "bias"}}, mean) in float64 from one of our files, normalized by hand."""
    with safe_open(path, framework="numpy") as file:
        mean = np.array(json.loads(file.metadata()["nst_jax"])["mean"])
        tensors = {key: file.get_tensor(key).astype(np.float64) for key in file.keys()}
    means = "activation_mean" if pooling == "average" else f"activation_mean/{pooling}"
    network, previous = {}, np.ones(3)
    for layer in sorted({key.split("/")[0] for key in tensors if key.startswith("conv")}):
        scale = np.ones(tensors[f"{layer}/bias"].size)
        if normalized:
            scale = tensors[f"{means}/{layer}"]
            scale = np.maximum(scale, 0.01 * scale.mean())
        kernel = tensors[f"{layer}/kernel"] * previous.reshape(1, 1, -1, 1) / scale
        network[layer] = {"kernel": kernel, "bias": tensors[f"{layer}/bias"] / scale}
        previous = scale
    return network, mean


# What NumPy calls them.
PADDINGS = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


def convolve(inputs, kernel, bias, padding="zero"):
    """Direct 3×3 convolution with one pixel of padding: (H, W, I) to (H, W, O)."""
    height, width, _ = inputs.shape
    padded = np.pad(inputs, ((1, 1), (1, 1), (0, 0)), PADDINGS[padding])
    outputs = np.zeros((height, width, kernel.shape[-1])) + bias
    for y in range(3):
        for x in range(3):
            outputs += padded[y : y + height, x : x + width] @ kernel[y, x]
    return outputs


def pool(inputs, kind):
    """2×2 windows, stride 2, an odd last row or column dropped."""
    height, width = inputs.shape[0] // 2, inputs.shape[1] // 2
    corners = [inputs[y : 2 * height : 2, x : 2 * width : 2] for y in (0, 1) for x in (0, 1)]
    return np.mean(corners, axis=0) if kind == "average" else np.max(corners, axis=0)


def all_features(network, image, mean, pooling="average", last="conv5_4", padding="zero"):
    """{layer: (h, w, C)} of one image (H, W, 3), up to the layer `last`."""
    outputs, block, features = np.asarray(image, np.float64) - mean, "1", {}
    for layer, parts in network.items():
        if layer > last:
            break
        if layer[4] != block:
            outputs, block = pool(outputs, pooling), layer[4]
        outputs = np.maximum(convolve(outputs, parts["kernel"], parts["bias"], padding), 0)
        features[layer] = outputs
    return features


def gram(features):
    """FᵀF / M of (h, w, C)."""
    flat = features.reshape(-1, features.shape[-1])
    return flat.T @ flat / flat.shape[0]


def guided_gram(features, guide):
    """Gatys et al. 2017, section 4.1: Gram matrix of T ∘ F, of (h, w, C) and (h, w)."""
    guided = (features * guide[..., None]).reshape(-1, features.shape[-1])
    return guided.T @ guided


def guided_style_loss(features, guides, grams, weights, convention):
    """Σ_r λ_r Σ (G_r − A_r)² / (4 C²), of (h, w, C), R maps (h, w), R Grams and R weights."""
    divisor = features.shape[-1] ** 2 * (1 if convention == "authors" else 4)
    return sum(
        weight * np.sum((guided_gram(features, guide) - gram) ** 2) / divisor
        for guide, gram, weight in zip(guides, grams, weights, strict=True)
    )


def content_loss(features, target, convention):
    """Gatys et al. 2015, eq. 1, over M positions; their code of 2017; or as printed."""
    squares = np.sum((features - target) ** 2)
    positions, channels = features[..., 0].size, features.shape[-1]
    return {
        "paper": squares / 10 / positions,  # calibrated: a fifth of eq. 1 over M
        "paper-0.2": squares / 2 / positions,
        "authors": squares / positions / channels,
        "equations": squares / 2,
    }[convention]


def style_loss(features, target_gram, convention):
    """Gatys et al. 2015, eq. 4 with both Grams over their M; their code leaves out the 4."""
    channels = features.shape[-1]
    squares = np.sum((gram(features) - target_gram) ** 2)
    return squares / channels**2 / (1 if convention == "authors" else 4)


def total_variation(image):
    """Squared differences of neighbours over the number of pixels."""
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    return (np.sum(down**2) + np.sum(right**2)) / image[..., 0].size


def absolute_variation(image, smoothing=1 / 255):
    """Absolute differences of neighbours, smoothed, over the number of pixels."""
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    heights = [np.sqrt(d**2 + smoothing**2) - smoothing for d in (down, right)]
    return sum(map(np.sum, heights)) / image[..., 0].size


def enlarged(image, width, height):
    """An image (H, W, 3) of any range at another size, by Pillow alone."""
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(3)]
    lanczos = Image.Resampling.LANCZOS
    return np.stack([np.asarray(p.resize((width, height), lanczos)) for p in planes], axis=-1)


class Objective:
    """The loss of an image, and all its terms."""

    def __init__(
        self,
        network,
        mean,
        content,
        style,
        convention,
        ratio,
        pooling="average",
        tv=0.0,
        padding="zero",
        tv_l1=0.0,
    ):
        self._network, self._mean, self._pooling = network, mean, pooling
        self._convention, self._ratio, self._tv = convention, ratio, tv
        self._padding, self._tv_l1 = padding, tv_l1
        self._content = self._features(content)[CONTENT_LAYER]
        style_features = self._features(style)
        self._grams = {layer: gram(style_features[layer]) for layer in STYLE_LAYERS}

    def _features(self, image):
        how = (self._pooling, "conv5_1", self._padding)
        return all_features(self._network, image, self._mean, *how)

    def __call__(self, image):
        """{"loss", "content", "style", "tv", "style_layers"} of (H, W, 3)."""
        features = self._features(image)
        content = content_loss(features[CONTENT_LAYER], self._content, self._convention)
        layers = {
            layer: style_loss(features[layer], self._grams[layer], self._convention)
            for layer in STYLE_LAYERS
        }
        style, tv = sum(layers.values()) / len(layers), total_variation(image)
        loss = self._ratio * content + style + self._tv * tv
        loss += self._tv_l1 * absolute_variation(image)
        return {"loss": loss, "content": content, "style": style, "tv": tv, "style_layers": layers}
