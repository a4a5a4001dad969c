"""Our weights files: written and read, refused when damaged; the embedded one."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import reference
from layouts import assert_same_tensors, layers_of, random_network
from safetensors import safe_open
from safetensors.numpy import load_file, save

from nst_jax import architecture as tables
from nst_jax.errors import WeightsError
from nst_jax.weights.locate import OLDER_FILES, embedded_path
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights, save_weights

HALF = 2**-11  # float16 has 11 significant bits; half an ulp, above its subnormal numbers
HALF_SMALLEST = 2**-25  # and half of its smallest number, below


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
def test_round_trip(tmp_path, monkeypatch, architecture):
    monkeypatch.setattr(tables, "FILTERS", (5, 4, 3, 2, 1))
    network = random_network(architecture, filters=tables.FILTERS)
    original = Weights(architecture, network, (0.1, 0.2, 0.3), "source", "a" * 64, "license")
    path = save_weights(original, tmp_path / "mine.safetensors")
    loaded = load_weights(path)
    assert_same_tensors(loaded, original)
    others = {"params": None, "name": "", "sha256": "", "path": ""}
    assert dataclasses.replace(loaded, **others) == dataclasses.replace(original, **others)
    assert loaded.name == "mine"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == ["mine.safetensors"]


def test_round_trip_in_float16(narrow, tmp_path):
    loaded = load_weights(save_weights(narrow, tmp_path / "half.safetensors", np.float16))
    assert_same_tensors(loaded, narrow, HALF, HALF_SMALLEST)
    assert list(loaded.activation_means) == ["average", "max"]
    for pooling, means in narrow.activation_means.items():
        assert loaded.activation_means[pooling].keys() == means.keys()
        for layer, values in means.items():  # these stay float32
            np.testing.assert_array_equal(loaded.activation_means[pooling][layer], values)
    again = load_weights(save_weights(loaded, tmp_path / "again.safetensors", np.float16))
    assert_same_tensors(again, loaded)


def checksum(tensors, metadata):
    """As `weights` documents it: over the metadata, then every tensor in order of the names."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return digest.hexdigest()


def test_metadata(narrow, tmp_path):
    scaled = dataclasses.replace(narrow, normalized_for="max")
    path = save_weights(scaled, tmp_path / "a.safetensors")
    assert load_weights(path).normalized_for == "max"
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert list(metadata) == ["nst_jax"]
    metadata = json.loads(metadata["nst_jax"])
    assert metadata.pop("sha256") == checksum(tensors, metadata)
    assert metadata == {
        "architecture": "vgg16",
        "licence": "none",
        "mean": [0.485, 0.456, 0.406],
        "normalized": True,
        "normalized_for": "max",
        "source": "chance",
        "source_sha256": "0" * 64,
    }
    shapes = {f"{layer}/kernel": (3, 3) for layer in narrow.params}
    shapes |= {f"{layer}/bias": () for layer in narrow.params}
    shapes |= {f"activation_mean/{layer}": () for layer in narrow.params}
    shapes |= {f"activation_mean/max/{layer}": () for layer in narrow.params}
    assert {name: tensor.shape[:2][: tensor.ndim - 1] for name, tensor in tensors.items()} == shapes


WRITER = """
import sys, numpy as np
from nst_jax.weights.storage import load_weights, save_weights
save_weights(load_weights(sys.argv[1]), sys.argv[2], np.float16)
"""


def test_two_processes_write_the_same_bytes(embedded, tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", WRITER, embedded_path(), theirs]
    process = subprocess.Popen(command, cwd=reference.ROOT, env=environment)
    backwards = dict(reversed(embedded.params.items()))
    save_weights(dataclasses.replace(embedded, params=backwards), ours, np.float16)
    assert process.wait() == 0
    assert ours.read_bytes() == theirs.read_bytes() == embedded_path().read_bytes()


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


def write(path, tensors, metadata):
    """A file of ours around any tensors, its checksum right unless the metadata names another."""
    metadata = {"sha256": checksum(tensors, metadata)} | metadata
    path.write_bytes(save(tensors, {"nst_jax": json.dumps(metadata)}))


def read(path):
    with safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["nst_jax"])
    metadata.pop("sha256")
    return load_file(path), metadata


@pytest.fixture
def damage(narrow, tmp_path):
    """Write the narrow network's file with changed tensors and metadata; give its path."""
    path = save_weights(narrow, tmp_path / "narrow.safetensors")
    tensors, metadata = read(path)

    def make(tensor_changes=None, **metadata_changes):
        changed = tensors | (tensor_changes or {})
        write(
            path,
            {name: tensor for name, tensor in changed.items() if tensor is not None},
            metadata | metadata_changes,
        )
        return path

    return make


def test_files_of_version_0_2(damage):
    """They have means of average pooling only, under the names that these have still."""
    without = {f"activation_mean/max/{layer}": None for layer in layers_of("vgg16")}
    loaded = load_weights(damage(without))
    assert list(loaded.activation_means) == ["average"] and not loaded.normalized
    assert load_weights(damage(without, normalized=True)).normalized_for == "average"


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
        ("activation_mean/max/conv3_3", None, "is missing; wanted shape (4,)"),
        ("conv2_1/kernel", bad((3, 3, 3, 2), 1), "has shape (3, 3, 3, 2); wanted (3, 3, 2, 3)"),
        ("conv2_1/kernel", bad((3, 2, 3, 3), 1), "has shape (3, 2, 3, 3); wanted (3, 3, 2, 3)"),
        ("conv4_1/bias", bad((5, 1), 1), "has shape (5, 1); wanted (5,)"),
        ("conv4_1/bias", bad((), 1), "has shape (); wanted (5,)"),
        ("activation_mean/conv1_2", bad((3,), 1), "has shape (3,); wanted (2,)"),
        ("activation_mean/max/conv5_1", bad((6,), -1), "has values from -1 to 1; wanted none"),
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
    ("metadata", "words"),
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
def test_wrong_metadata(damage, metadata, words):
    path = damage(**metadata)
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
    assert not embedded.normalized and list(embedded.activation_means) == ["average", "max"]
    # Runs of version 0.2 are found by the checksum of a file that had no means of max pooling.
    assert set(OLDER_FILES) == {embedded.sha256}


def test_the_embedded_tensors():
    tensors = load_file(reference.EMBEDDED)
    assert len(tensors) == 4 * 13
    for name, tensor in tensors.items():
        assert np.isfinite(tensor).all(), name
        means = name.startswith("activation_mean/")
        assert tensor.dtype == (np.float32 if means else np.float16), name
        assert not means or tensor.min() > 0, name
