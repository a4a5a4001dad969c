"""Weights files: found, written, read, refused when damaged, normalised; the embedded one."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from layouts import layers_of, random_network
from safetensors import safe_open
from safetensors.numpy import load_file, save

from nst_jax import vgg, weights
from nst_jax.errors import WeightsError
from nst_jax.weights import find_weights, floored_means, load_weights, normalize, save_weights

# Normalised features in float32 against the original ones over s in float64, relative to the
# filter's largest value: sums of up to 4608 products through 13 layers.
FEATURES = 1e-4
HALF = 2**-11  # float16 has 11 significant bits; half an ulp, above its subnormal numbers
HALF_SMALLEST = 2**-25  # and half of its smallest number, below
SCALES = 1e-6  # float32 means of up to 512 float32 numbers, and one division

FILTERS = (2, 3, 4, 5, 6)  # of the narrow networks, whose files have 12 kB


@pytest.fixture
def narrow(monkeypatch):
    """A VGG-16 so narrow that its file can be damaged byte by byte."""
    monkeypatch.setattr(vgg, "FILTERS", FILTERS)
    random = np.random.default_rng(7)
    params, means, inputs = {}, {}, 3
    for layer in layers_of("vgg16"):
        filters = FILTERS[int(layer[4]) - 1]
        params[layer] = {
            "kernel": random.standard_normal((3, 3, inputs, filters), np.float32),
            "bias": random.standard_normal(filters, np.float32),
        }
        means[layer] = random.random(filters, np.float32)
        inputs = filters
    return weights.Weights(
        "vgg16", params, (0.485, 0.456, 0.406), "chance", "0" * 64, "none", means, name="narrow"
    )


def assert_same_tensors(loaded, original, relative=0.0, absolute=0.0):
    assert list(loaded.params) == list(original.params)
    for layer, parts in original.params.items():
        for part, tensor in parts.items():
            got = loaded.params[layer][part]
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, tensor, rtol=relative, atol=absolute)


# Writing and reading


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_round_trip(tmp_path, architecture):
    original = weights.Weights(
        architecture, random_network(architecture), (0.1, 0.2, 0.3), "source", "a" * 64, "licence"
    )
    path = save_weights(original, tmp_path / "mine.safetensors")
    loaded = load_weights(path)
    assert_same_tensors(loaded, original)
    facts = {"params": None, "name": "", "sha256": ""}
    assert dataclasses.replace(loaded, **facts) == dataclasses.replace(original, **facts)
    assert loaded.name == "mine"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == ["mine.safetensors"]


def test_round_trip_in_float16(narrow, tmp_path):
    loaded = load_weights(save_weights(narrow, tmp_path / "half.safetensors", np.float16))
    assert_same_tensors(loaded, narrow, HALF, HALF_SMALLEST)
    for layer, means in narrow.activation_means.items():  # these stay float32
        np.testing.assert_array_equal(loaded.activation_means[layer], means)
    again = load_weights(save_weights(loaded, tmp_path / "again.safetensors", np.float16))
    assert_same_tensors(again, loaded)


def checksum(tensors, facts):
    """As `weights` documents it: over the facts, then every tensor in order of the names."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return digest.hexdigest()


def test_metadata(narrow, tmp_path):
    path = save_weights(dataclasses.replace(narrow, normalized=True), tmp_path / "a.safetensors")
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert list(metadata) == ["nst_jax"]
    facts = json.loads(metadata["nst_jax"])
    assert facts.pop("sha256") == checksum(tensors, facts)
    assert facts == {
        "architecture": "vgg16",
        "licence": "none",
        "mean": [0.485, 0.456, 0.406],
        "normalized": True,
        "source": "chance",
        "source_sha256": "0" * 64,
    }
    shapes = {f"{layer}/kernel": (3, 3) for layer in narrow.params}
    shapes |= {f"{layer}/bias": () for layer in narrow.params}
    shapes |= {f"activation_mean/{layer}": () for layer in narrow.params}
    assert {name: tensor.shape[:2][: tensor.ndim - 1] for name, tensor in tensors.items()} == shapes


WRITER = """
import sys, numpy as np
from nst_jax.weights import load_weights, save_weights
save_weights(load_weights(sys.argv[1]), sys.argv[2], np.float16)
"""


def test_two_processes_write_the_same_bytes(embedded, tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", WRITER, weights.embedded_path(), theirs]
    process = subprocess.Popen(command, cwd=reference.ROOT, env=environment)
    backwards = dict(reversed(embedded.params.items()))
    save_weights(dataclasses.replace(embedded, params=backwards), ours, np.float16)
    assert process.wait() == 0
    assert ours.read_bytes() == theirs.read_bytes() == weights.embedded_path().read_bytes()


def test_saving_replaces_a_file_and_leaves_no_other(narrow, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    save_weights(narrow, path)
    assert_same_tensors(load_weights(path), narrow)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["missing/a.safetensors", "folder.safetensors"])
def test_saving_where_nothing_can_be_written(narrow, tmp_path, target):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match=f"{target}: cannot be written "):
        save_weights(narrow, tmp_path / target)
    assert os.listdir(tmp_path) == ["folder.safetensors"]


# Damage


def write(path, tensors, facts):
    """A file of ours around any tensors, its checksum right unless the facts name another."""
    facts = {"sha256": checksum(tensors, facts)} | facts
    path.write_bytes(save(tensors, {"nst_jax": json.dumps(facts)}))


def read(path):
    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["nst_jax"])
    facts.pop("sha256")
    return load_file(path), facts


@pytest.fixture
def damage(narrow, tmp_path):
    """Write the narrow network's file with changed tensors and facts; give its path."""
    path = save_weights(narrow, tmp_path / "narrow.safetensors")
    tensors, facts = read(path)

    def make(tensor_changes=None, **fact_changes):
        changed = tensors | (tensor_changes or {})
        write(
            path,
            {name: tensor for name, tensor in changed.items() if tensor is not None},
            facts | fact_changes,
        )
        return path

    return make


def bad(shape, value):
    tensor = np.ones(shape, np.float32)
    tensor.flat[-1] = value
    return tensor


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("conv1_1/kernel", None, "is missing; wanted shape (3, 3, 3, 2)"),
        ("conv5_3/bias", None, "is missing; wanted shape (6,)"),
        ("activation_mean/conv3_3", None, "is missing; wanted shape (4,)"),
        ("conv2_1/kernel", bad((3, 3, 3, 2), 1), "has shape (3, 3, 3, 2); wanted (3, 3, 2, 3)"),
        ("conv2_1/kernel", bad((3, 2, 3, 3), 1), "has shape (3, 2, 3, 3); wanted (3, 3, 2, 3)"),
        ("conv4_1/bias", bad((5, 1), 1), "has shape (5, 1); wanted (5,)"),
        ("conv4_1/bias", bad((), 1), "has shape (); wanted (5,)"),
        ("activation_mean/conv1_2", bad((3,), 1), "has shape (3,); wanted (2,)"),
        ("conv4_2/kernel", bad((3, 3, 5, 5), np.nan), "has values that are not finite; get"),
        ("conv4_2/bias", bad((5,), np.inf), "has values that are not finite; get it again"),
        ("activation_mean/conv5_1", bad((6,), np.nan), "has values that are not finite; get"),
        ("activation_mean/conv5_1", bad((6,), -1), "has values from -1 to 1; wanted none below 0"),
        ("activation_mean/conv5_1", np.zeros(6, np.float32), "has values from 0 to 0; wanted none"),
    ],
)
def test_wrong_tensors_are_named(damage, name, tensor, words):
    path = damage({name: tensor})
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: tensor {name} {words}")


def test_a_deeper_network_wants_more_tensors(damage):
    words = r"tensor conv3_4/kernel is missing; wanted shape \(3, 3, 4, 4\)"
    with pytest.raises(WeightsError, match=words):
        load_weights(damage(architecture="vgg19"))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"architecture": "resnet50"}, "network 'resnet50'; wanted one of vgg16, vgg19"),
        ({"architecture": ["vgg16"]}, "damaged metadata .*; get it again"),
        ({"architecture": None}, "network None; wanted one of vgg16, vgg19"),
        ({"mean": [0.5, 0.5]}, r"mean is \(0.5, 0.5\); wanted three finite numbers"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean is .*; wanted three finite numbers"),
        ({"mean": "rgb"}, "damaged metadata .*; get it again"),
        ({"mean": 0.5}, "damaged metadata .*; get it again"),
        ({"mean": [[0.5], 0.5, 0.5]}, "damaged metadata .*; get it again"),
        ({"sha256": "0" * 64}, "damaged: its values do not match its checksum; get it"),
        ({"sha256": None}, "damaged: its values do not match its checksum; get it"),
    ],
)
def test_wrong_facts(damage, facts, words):
    path = damage(**facts)
    with pytest.raises(WeightsError, match=f"^{re.escape(str(path))}: {words}"):
        load_weights(path)


@pytest.mark.parametrize("metadata", ["", "{", "[]", "3", "null", '{"mean": [0, 0, 0]}', "\0"])
def test_damaged_metadata(narrow, tmp_path, metadata):
    path = save_weights(narrow, tmp_path / "a.safetensors")
    path.write_bytes(save(load_file(path), {"nst_jax": metadata}))
    with pytest.raises(WeightsError, match="a.safetensors: damaged metadata"):
        load_weights(path)


def test_a_flipped_bit_is_noticed_wherever_it_is(narrow, tmp_path):
    path = save_weights(narrow, tmp_path / "a.safetensors")
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    positions = [*range(0, header, 5), *range(header, len(whole), 97), len(whole) - 1]
    for position in positions:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(WeightsError) as caught:
            load_weights(path)
        assert str(caught.value).startswith(f"{path}: "), f"byte {position}"


def test_a_file_cut_short_is_noticed_wherever_it_ends(narrow, tmp_path):
    path = save_weights(narrow, tmp_path / "a.safetensors")
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(100, len(whole), 331), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a readable weights file.*get it again"):
            load_weights(path)


def test_bytes_added_at_the_end_are_noticed(narrow, tmp_path):
    path = save_weights(narrow, tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="not a readable weights file"):
        load_weights(path)


@pytest.mark.parametrize(("dtype", "size"), [("F32", 4), ("BF16", 2), ("F8_E4M3", 1)])
@pytest.mark.parametrize("metadata", [{}, {"__metadata__": {"format": "pt"}}])
def test_another_programs_safetensors(tmp_path, dtype, size, metadata):
    path = tmp_path / "theirs.safetensors"
    tensor = {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}
    header = json.dumps({"features.0.weight": tensor} | metadata).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
    with pytest.raises(WeightsError, match="not one that nst-jax wrote; get one with: nst-jax "):
        load_weights(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x89HDF\r\n\x1a\n" * 9])
def test_files_of_other_programs(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    remedy = re.escape(f"nst-jax weights convert {path}")
    with pytest.raises(WeightsError, match=f"not a readable weights file.*{remedy}"):
        load_weights(path)


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(WeightsError, match=": is a folder; give a file"):
        load_weights(tmp_path)
    with pytest.raises(WeightsError, match="none.safetensors: no such weights file"):
        load_weights(str(tmp_path / "none.safetensors"))


# Finding


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make empty files in the user's folder by their names; give the folder."""
    folder = tmp_path / "installed"
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(folder))
    monkeypatch.chdir(tmp_path)

    def make(*names):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.safetensors").touch()
        return folder

    return make


@pytest.mark.parametrize(
    ("files", "choice", "expected"),
    [
        ([], "auto", None),
        (["vgg16-torchvision", "other", "auto-pilot"], "auto", None),
        (["vgg16-torchvision", "vgg19-keras"], "auto", "vgg19-keras"),
        (["vgg19-torchvision", "vgg19-keras"], "auto", "vgg19-keras"),
        (["vgg19-torchvision", "vgg19"], "auto", "vgg19"),
        (["vgg190"], "auto", None),
        ([".vgg19-keras-x8f", ".vgg19"], "auto", None),  # half-written
        (["vgg19-torchvision"], "vgg19", "vgg19-torchvision"),
        (["vgg19-torchvision", "vgg19"], "vgg19", "vgg19"),
        (["vgg16-torchvision"], "vgg16", None),  # the embedded one has activation means
        ([], "vgg16", None),
        ([], "vgg16-imagenet", None),
        (["mine", "vgg19-keras"], "mine", "mine"),
        (["vgg19-keras", "vgg19-keras-2"], "vgg19-keras", "vgg19-keras"),
    ],
)
def test_find_weights(installed, files, choice, expected):
    folder = installed(*files)
    path = folder / f"{expected}.safetensors" if expected else reference.EMBEDDED
    assert find_weights(choice) == path


def test_find_weights_prefers_what_can_be_normalised(installed, narrow):
    folder = installed("vgg16-a", "vgg19-a", "vgg19-c")
    usable = save_weights(narrow, folder / "vgg19-b.safetensors")
    assert find_weights("auto") == find_weights("vgg19") == usable
    assert find_weights("vgg19-a") == folder / "vgg19-a.safetensors"


def test_find_weights_by_path(installed, tmp_path):
    folder = installed("vgg19-keras")
    for path in (folder / "vgg19-keras.safetensors", weights.embedded_path()):
        assert find_weights(str(path)) == path
    (tmp_path / "here.safetensors").touch()
    assert find_weights("here.safetensors") == Path("here.safetensors")
    (tmp_path / "no_suffix").touch()
    assert find_weights("no_suffix") == Path("no_suffix")
    assert find_weights(os.path.join(".", "no_suffix")) == Path("no_suffix")


@pytest.mark.parametrize("choice", ["none.safetensors", os.path.join("folder", "vgg19")])
def test_paths_without_a_file(installed, choice):
    installed("none", "vgg19")
    with pytest.raises(WeightsError, match=f"^{re.escape(choice)}: no such weights file"):
        find_weights(choice)


@pytest.mark.parametrize("choice", ["vgg19", "vgg", "min", "Mine", ".hidden", ""])
def test_unknown_names(installed, choice):
    installed("mine", ".hidden")
    words = rf"^no weights called '{choice}'; there are mine, vgg16-imagenet"
    remedy = "; get it with: nst-jax weights fetch vgg19" if choice == "vgg19" else ""
    with pytest.raises(WeightsError, match=f"{words}{remedy}$"):
        find_weights(choice)


def test_without_the_embedded_file(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "embedded_path", lambda: tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match="embedded weights are missing: .*gone.*; install again"):
        find_weights("auto")
    folder = installed("vgg19-keras")
    assert find_weights("auto") == folder / "vgg19-keras.safetensors"
    assert weights.available_weights() == [folder / "vgg19-keras.safetensors"]


@pytest.mark.parametrize("missing", [True, False])
def test_the_users_folder(monkeypatch, tmp_path, missing):
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "missing" if missing else tmp_path))
    assert weights.user_folder() == Path(os.environ["NST_JAX_WEIGHTS"])
    assert weights.available_weights() == [reference.EMBEDDED]


@pytest.mark.parametrize("value", [None, ""])
def test_the_users_folder_unless_chosen(monkeypatch, tmp_path, value):
    monkeypatch.delenv("NST_JAX_WEIGHTS", raising=False)
    if value is not None:
        monkeypatch.setenv("NST_JAX_WEIGHTS", value)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert weights.user_folder() == tmp_path / ".cache" / "nst_jax" / "weights"


def test_an_installed_copy_holds_the_embedded_file_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "nst_jax" / "weights.py"))
    inside = tmp_path / "nst_jax" / "embedded" / "vgg16-imagenet.safetensors"
    assert weights.embedded_path() == tmp_path / "weights" / inside.name
    inside.parent.mkdir(parents=True)
    inside.touch()
    assert weights.embedded_path() == inside


# The embedded file


def test_the_embedded_file_is_the_one_that_its_readme_describes(embedded):
    readme = (reference.EMBEDDED.parent / "README.md").read_text("utf-8")
    stated = dict(re.findall(r"^\| (.+?) \|.*?sha256 `([0-9a-f]{64})`", readme, re.MULTILINE))
    assert stated["this file"] == hashlib.sha256(reference.EMBEDDED.read_bytes()).hexdigest()
    assert stated["this file"] == embedded.sha256
    assert stated["`vgg16.ckpt`"] == embedded.source_sha256
    count = sum(tensor.size for parts in embedded.params.values() for tensor in parts.values())
    assert f"{count:,} values" in readme
    assert (embedded.architecture, embedded.name) == ("vgg16", "vgg16-imagenet")
    assert embedded.mean == (0.485, 0.456, 0.406)  # torchvision.models
    assert not embedded.normalized


def test_the_embedded_tensors():
    tensors = load_file(reference.EMBEDDED)
    assert len(tensors) == 3 * 13
    for name, tensor in tensors.items():
        assert np.isfinite(tensor).all(), name
        means = name.startswith("activation_mean/")
        assert tensor.dtype == (np.float32 if means else np.float16), name
        assert not means or tensor.min() > 0, name


# Normalising


def scales(means):
    """Mean activations in float64, no less than 1 % of the layer's."""
    floors = {layer: 0.01 * np.mean(np.float64(values)) for layer, values in means.items()}
    return {layer: np.where(v < floors[layer], floors[layer], v) for layer, v in means.items()}


def assert_divided(features, originals, scale):
    """Each filter is the original divided by its scale, as exactly as its largest value allows.

    The unit is the mean activation, so filters that stay below 1 are compared with 1.
    """
    for layer, original in originals.items():
        expected = original / scale[layer]
        unit = np.maximum(expected.max(axis=(0, 1)), 1)
        error = np.abs(features[layer] - expected).max(axis=(0, 1)) / unit
        assert error.max() < FEATURES, layer


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_normalising_divides_each_filter_and_changes_nothing_else(normalized, photograph, pooling):
    layers = tuple(layers_of("vgg16"))
    network = vgg.VGG("vgg16", layers, normalized.mean, pooling)
    extract = jax.jit(lambda params, images: vgg.extract_features(network, params, images))
    photograph = photograph[:32, :48]  # the reference takes its time
    features = extract(normalized.params, jnp.asarray(photograph)[None])
    trained, mean = reference.read_network(normalized=False)
    originals = reference.all_features(trained, photograph, mean, pooling)
    assert tuple(originals) == layers
    tensors = load_file(reference.EMBEDDED)
    scale = scales({layer: tensors[f"activation_mean/{layer}"] for layer in layers})
    assert_divided(
        {layer: np.asarray(maps[0]) for layer, maps in features.items()}, originals, scale
    )


def with_rare_filters(narrow):
    """Means with, in each layer, one filter that never fires and one just over the floor."""
    means = {}
    for layer, values in narrow.activation_means.items():
        values = values + np.float32(0.5)
        values[0] = 0
        if values.size > 2:
            values[1] = 0.0101 * values.mean()
        means[layer] = values
    return dataclasses.replace(narrow, activation_means=means)


def test_rare_filters_are_scaled_up_no_more_than_the_floor_allows(narrow, random):
    original = with_rare_filters(narrow)
    expected = scales(original.activation_means)
    floored = floored_means(original.activation_means)
    for layer, means in original.activation_means.items():
        np.testing.assert_allclose(floored[layer], expected[layer], rtol=SCALES)
        assert floored[layer][0] > 0 and np.all(floored[layer][1:] == means[1:])
    image = random.random((32, 48, 3))
    features = reference.all_features(normalize(original).params, image, original.mean)
    originals = reference.all_features(original.params, image, original.mean)
    assert_divided(features, originals, expected)


def test_normalising_does_not_depend_on_the_order_of_layers(narrow):
    backwards = {
        "params": dict(reversed(narrow.params.items())),
        "activation_means": dict(reversed(narrow.activation_means.items())),
    }
    once = normalize(narrow)
    assert_same_tensors(normalize(dataclasses.replace(narrow, **backwards)), once)


def test_normalised_weights_stay_as_they_are(narrow, tmp_path):
    once = normalize(narrow)
    assert once.normalized and once.activation_means is None
    assert normalize(once) is once
    loaded = load_weights(save_weights(once, tmp_path / "normalised.safetensors"))
    assert loaded.normalized
    assert_same_tensors(normalize(loaded), once)


def test_normalising_leaves_the_original_alone(narrow):
    before = {layer: parts["kernel"].copy() for layer, parts in narrow.params.items()}
    normalize(narrow)
    assert not narrow.normalized
    for layer, kernel in before.items():
        np.testing.assert_array_equal(narrow.params[layer]["kernel"], kernel)


def test_without_means_the_command_is_named(narrow):
    with pytest.raises(WeightsError) as caught:
        normalize(dataclasses.replace(narrow, activation_means=None))
    assert str(caught.value) == (
        "narrow: no mean activations, so it cannot be normalised; compute them with: "
        "nst-jax weights normalize narrow --images FOLDER_OF_PHOTOGRAPHS"
    )
