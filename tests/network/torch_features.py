"""PyTorch's features of the embedded VGG-16: computed where it is installed, stored for elsewhere.

    PYTHONPATH=tests python tests/network/torch_features.py

writes torch_features.npz beside this file: for each case and layer a sample of the values, at
positions that a seeded generator picks.
"""

from pathlib import Path

import numpy as np
import reference

STORED = Path(__file__).with_suffix(".npz")
# Odd, one beyond a multiple of 16, and the smallest for conv5_3.
CASES = {
    f"{pooling}-{height}x{width}": (pooling, height, width)
    for pooling in ("average", "max")
    for height, width in ((33, 49), (47, 21), (16, 31))
}
SAMPLES_PER_LAYER = 64


def make_image(height, width):
    """(height, width, 3) float32, the same everywhere."""
    return np.random.default_rng(height * width).random((height, width, 3), np.float32)


def compute(pooling, image):
    """{layer: (h, w, C)} of VGG-16 as trained, by torch.nn.functional in float32."""
    import torch
    from torch.nn import functional

    pool = {"average": functional.avg_pool2d, "max": functional.max_pool2d}[pooling]
    network, mean = reference.read_network(normalized=False)
    outputs = torch.from_numpy((image - mean).astype(np.float32)).permute(2, 0, 1)[None]
    block, features = "1", {}
    for layer, parts in network.items():
        if layer[4] != block:
            outputs, block = pool(outputs, 2), layer[4]
        kernel = torch.from_numpy(parts["kernel"].astype(np.float32)).permute(3, 2, 0, 1)
        bias = torch.from_numpy(parts["bias"].astype(np.float32))
        outputs = functional.relu(functional.conv2d(outputs, kernel, bias, padding=1))
        features[layer] = outputs[0].permute(1, 2, 0).numpy()
    return features


def sample(layer, features):
    """Values at positions that depend on the layer and the size alone."""
    generator = np.random.default_rng([int(layer[4]), int(layer[6]), features.size])
    return features.ravel()[generator.integers(features.size, size=SAMPLES_PER_LAYER)]


def main():
    arrays = {}
    for case, (pooling, height, width) in CASES.items():
        features = compute(pooling, make_image(height, width))
        for layer, values in features.items():
            arrays[f"{case}/{layer}"] = sample(layer, values)
            arrays[f"{case}/{layer}/shape"] = np.array(values.shape)
            arrays[f"{case}/{layer}/greatest"] = values.max()
    np.savez_compressed(STORED, **arrays)


if __name__ == "__main__":
    main()
