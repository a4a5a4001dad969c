"""Mean activations, against NumPy float64, and what they are for: filters with a mean of 1."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from layouts import layers_of
from PIL import Image

from nst_jax import architecture
from nst_jax.architecture import layer_names
from nst_jax.errors import ImageError, WeightsError
from nst_jax.images import io
from nst_jax.network import vgg
from nst_jax.weights import activation_means, parameters
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.locate import calibration_folder

# Means in float32, through 13 to 16 layers, relative to the layer's average.
MEANS = 1e-5
ROUNDING = 1.001 * 2**-24  # float64 means, rounded to float32 once: half an ulp
ONE = 1e-4  # means of normalized filters: two float32 networks that differ in scale

CROP = 32
FILTERS = (8, 16, 24, 32, 32)
MEAN = (0.485, 0.456, 0.406)


@pytest.fixture
def small(monkeypatch):
    """Small crops, two batches for six of them, narrow networks."""
    monkeypatch.setattr(activation_means, "CROP", CROP)
    monkeypatch.setattr(activation_means, "BATCH", 4)
    monkeypatch.setattr(architecture, "FILTERS", FILTERS)


def narrow_network(architecture):
    """Random, with filters that fire often, hardly ever and never."""
    random, params, inputs = np.random.default_rng(5), {}, 3
    for layer in layers_of(architecture):
        outputs = FILTERS[int(layer[4]) - 1]
        spread = np.float32(np.sqrt(2 / (9 * inputs)))
        bias = random.standard_normal(outputs, np.float32) * np.float32(0.1)
        bias[:2] = -100, -0.4
        kernel = random.standard_normal((3, 3, inputs, outputs), np.float32) * spread
        params[layer] = {"kernel": kernel, "bias": bias}
        inputs = outputs
    return parameters.Weights(architecture, params, MEAN, "random", "", "", name="random")


def write_photographs(folder, shapes, pure=False):
    """PNG files of random or pure colors; their paths, and what is seen of them in float64."""
    random, paths, crops = np.random.default_rng(6), [], []
    for number, (height, width) in enumerate(shapes):
        tint = random.random(3) * 255
        pixels = (0.5 * random.random((height, width, 3)) * 255 + 0.5 * tint).astype(np.uint8)
        pixels = pixels // 128 * 255 if pure else pixels
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        top, left = (height - CROP) // 2, (width - CROP) // 2
        crops.append(pixels[top : top + CROP, left : left + CROP] / 255)
    return paths, crops


SHAPES = [(32, 32), (32, 48), (39, 32), (32, 33), (32, 32), (50, 32)]


@pytest.fixture
def photographs(tmp_path):
    return write_photographs(tmp_path, SHAPES)


def reference_means(params, crops, pooling="average"):
    """{layer: (O,)} over images and positions, float64."""
    features = [reference.all_features(params, crop, np.array(MEAN), pooling) for crop in crops]
    return {
        layer: np.mean([maps[layer].mean(axis=(0, 1)) for maps in features], axis=0)
        for layer in features[0]
    }


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_means_match_numpy(small, photographs, architecture):
    paths, crops = photographs
    network = narrow_network(architecture)
    result = add_activation_means(network, [str(path) for path in paths])
    assert list(result.activation_means) == ["average", "max"]
    for pooling, of_layers in result.activation_means.items():
        expected = reference_means(network.params, crops, pooling)
        assert list(of_layers) == layers_of(architecture)
        for layer, means in of_layers.items():
            assert means.dtype == np.float32
            tolerance = MEANS * expected[layer].mean()
            np.testing.assert_allclose(means, expected[layer], rtol=0, atol=tolerance)
    assert dataclasses.replace(result, activation_means={}) == network


def test_float64_is_exact_to_the_rounding_at_the_end(small, tmp_path):
    paths, crops = write_photographs(tmp_path, SHAPES, pure=True)  # 0 and 1 are exact in float32
    network = narrow_network("vgg16")
    with jax.enable_x64(True):
        result = add_activation_means(network, paths, np.float64)
    for layer, expected in reference_means(network.params, crops).items():
        means = result.activation_means["average"][layer]
        assert means.dtype == np.float32
        np.testing.assert_allclose(means, expected, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_every_photograph_counts_once_wherever_batches_end(small, photographs, count):
    paths, crops = (items[:count] for items in photographs)
    network, calls = narrow_network("vgg16"), []
    result = add_activation_means(
        network, paths, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == ([(4, 5), (5, 5)] if count == 5 else [(count, count)])
    for layer, expected in reference_means(network.params, crops).items():
        tolerance = MEANS * expected.mean()
        means = result.activation_means["average"][layer]
        np.testing.assert_allclose(means, expected, atol=tolerance, rtol=0)


def test_larger_photographs_are_scaled_to_their_short_side(small, tmp_path):
    """A photograph of even color stays one, whatever the filter of the resizing."""
    halves = np.zeros((80, 200, 3), np.uint8)
    halves[:, :50], halves[:, 50:150], halves[:, 150:] = 255, (90, 60, 30), 255
    Image.fromarray(halves).save(tmp_path / "a.png")
    network = narrow_network("vgg16")
    result = add_activation_means(network, [tmp_path / "a.png"])
    seen = np.broadcast_to(np.array([90, 60, 30]) / 255, (CROP, CROP, 3))
    for layer, expected in reference_means(network.params, [seen]).items():
        tolerance = MEANS * expected.mean()
        means = result.activation_means["average"][layer]
        np.testing.assert_allclose(means, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_normalized_filters_have_mean_activation_one(small, photographs, architecture, pooling):
    paths, crops = photographs
    original = narrow_network(architecture)
    trained = reference_means(original.params, crops, pooling)
    normalized = parameters.normalize(add_activation_means(original, paths), pooling)
    for layer, means in reference_means(normalized.params, crops, pooling).items():
        floored = trained[layer] < 0.01 * trained[layer].mean()
        assert floored[0] and not floored.all()
        np.testing.assert_allclose(means[~floored], 1, rtol=0, atol=ONE)
        assert np.all(means[floored] < 1)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_the_embedded_network_normalized_on_the_samples(embedded, tmp_path, monkeypatch, pooling):
    monkeypatch.setattr(activation_means, "CROP", 64)
    monkeypatch.setattr(activation_means, "BATCH", 5)
    paths, crops = [], []
    for path in sorted(reference.SAMPLES.glob("*.jpg")):
        crops.append(io.load_image(path, 128)[:64, :64])
        paths.append(tmp_path / f"{path.stem}.png")
        io.save_image(crops[-1], paths[-1])
    result = add_activation_means(dataclasses.replace(embedded, activation_means={}), paths)
    normalized = parameters.normalize(result, pooling)
    network = vgg.VGG("vgg16", layer_names("vgg16"), embedded.mean, pooling)
    features = jax.jit(lambda params, batch: vgg.extract_features(network, params, batch))(
        normalized.params, jnp.asarray(np.stack(crops))
    )
    for layer, maps in features.items():
        trained = result.activation_means[pooling][layer]
        floored = trained < 0.01 * trained.mean()
        assert np.mean(floored) < 0.5
        means = np.asarray(maps).mean(axis=(0, 1, 2), dtype=np.float64)
        np.testing.assert_allclose(means[~floored], 1, rtol=0, atol=ONE)
        assert np.all(means[floored] < 1)


def test_a_normalized_network_is_refused(photographs):
    network = dataclasses.replace(narrow_network("vgg16"), normalized_for="average")
    with pytest.raises(WeightsError, match="random: normalized already; use the original weights"):
        add_activation_means(network, photographs[0])


def test_a_layer_that_never_fires_is_refused(small, photographs):
    network = narrow_network("vgg16")
    network.params["conv5_2"]["bias"][:] = -100
    words = "random: tensor activation_mean/conv5_2 has values from 0 to 0; wanted none below 0"
    with pytest.raises(WeightsError, match=words):
        add_activation_means(network, photographs[0])


def test_a_damaged_photograph_is_named(small, photographs):
    paths, _ = photographs
    paths[4].write_bytes(paths[4].read_bytes()[:100])
    with pytest.raises(ImageError, match="4.png"):
        add_activation_means(narrow_network("vgg16"), paths)


# Finding photographs


def test_the_photographs_that_come_with_the_package():
    """Small, all alike, and each with its author, license and source."""
    folder = calibration_folder()
    photographs = find_photographs(folder)
    rows = re.findall(
        r"^\| (\d+\.jpg) \| [^|]+ \| ([^|]+) \| https://\S+ \|$",
        (folder / "LICENSES.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert [name for name, _ in rows] == [path.name for path in photographs]
    free = {"public-domain", "CC0-1.0", "CC-BY-1.0", "CC-BY-2.0", "CC-BY-3.0"}
    assert {license for _, license in rows} <= free
    assert {io.load_image(path).shape for path in photographs} == {(224, 224, 3)}


def test_photographs_in_order_of_their_names(tmp_path):
    suffixes = (".jpg", ".JPG", ".jpeg", ".png", ".PNG", ".webp", ".tif", ".tiff")
    expected = sorted(f"{number:02d}{suffixes[number % 8]}" for number in range(24))
    others = ["notes.txt", "jpg", "clip.mp4", "scan.jpg.part", "99.xcf"]
    for name in [*expected[::-1], *others]:
        (tmp_path / name).touch()
    assert [path.name for path in find_photographs(str(tmp_path))] == expected


@pytest.mark.parametrize("count", [0, 1, 23])
def test_too_few_photographs(tmp_path, count):
    for number in range(count):
        (tmp_path / f"{number}.jpg").touch()
    words = f"{tmp_path}: {count} images; wanted at least 24, better 200: filters that hardly fire"
    with pytest.raises(ImageError) as caught:
        find_photographs(tmp_path)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("name", ["missing", "file.jpg"])
def test_no_folder(tmp_path, name):
    (tmp_path / "file.jpg").touch()
    with pytest.raises(ImageError, match=f"{name}: no such folder; wanted one with some 200 photo"):
        find_photographs(tmp_path / name)
