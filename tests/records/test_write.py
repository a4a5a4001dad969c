"""The record says what happened, and is JSON for every reader."""

import dataclasses
import json
import math
import os
import platform

import jax
import numpy as np
import pytest

import nst_jax
from nst_jax import ImageError, Result, Settings, Weights
from nst_jax.engine.pyramid import Scale
from nst_jax.losses.terms import Losses
from nst_jax.records.write import (
    image_text,
    input_files,
    input_metadata,
    make_record,
    save_record,
    versions,
)

LAYERS = ("conv1_1", "conv2_1")
SETTINGS = Settings(size=64, style_layers=LAYERS, ratio=0.5)
WEIGHTS = Weights("vgg16", {}, (0, 0, 0), "Keras", "", "CC BY", name="mine", sha256="ab12")


def losses(content, style):
    """The losses of an image, with both style layers alike."""
    total = 0.5 * content + style
    layers = {"conv4_2": content}, dict.fromkeys(LAYERS, style)
    return Losses(total, content, style, 0.25, *layers, 0.125)


@pytest.fixture
def result():
    """A run of 20 steps whose loss exploded at step 10."""
    exploded = losses(math.inf, math.nan)
    history = [(0, losses(2.0, 3.0)), (10, exploded), (20, losses(1.0, 1.0))]
    image = np.zeros((4, 6, 3), np.float32)
    return Result(image, losses(1.0, 1.0), history, 21, 1, 2.5, 4.2, True, SETTINGS, WEIGHTS)


def read_strictly(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_record(result):
    record = make_record(result, "nst-jax stylize a.png b.png")
    assert record["command"] == "nst-jax stylize a.png b.png"
    assert record["timing"] == {"compile_s": 2.5, "run_s": 4.2, "s_per_step": 0.2, "lanes": 1}
    assert record["evaluations"] == 21 and record["completed"] is True
    assert record["weights"] == {
        "name": "mine",
        "architecture": "vgg16",
        "source": "Keras",
        "licence": "CC BY",
        "sha256": "ab12",
        "normalized": False,
        "normalized_for": "",
    }
    assert [entry["step"] for entry in record["history"]] == [0, 10, 20]
    terms = {
        "content": 1.0,
        "style": 1.0,
        "tv": 0.25,
        "tv_l1": 0.125,
        "content_layers": {"conv4_2": 1.0},
        "style_layers": dict.fromkeys(LAYERS, 1.0),
    }
    assert record["history"][2] == {"step": 20, "loss": 1.5, **terms}
    assert record["result"] == {"loss": 1.5, **terms, "restarts": 1, "improved": True}


def test_a_run_from_coarse_to_fine(result):
    """Which size each loss was evaluated at; of one scale, nothing of the kind."""
    scales = (Scale((21, 32), 5, 2), Scale((43, 64), 15, 1))
    assert "size" not in json.dumps(make_record(result)["history"])
    assert make_record(dataclasses.replace(result, scales=scales[1:])) == make_record(result)
    record = make_record(dataclasses.replace(result, scales=scales))
    assert record["scales"] == [{"size": 32, "steps": 5}, {"size": 64, "steps": 15}]
    assert [(e["step"], e["size"]) for e in record["history"]] == [(0, 32), (10, 64), (20, 64)]
    assert record["result"]["size"] == 64
    stopped = dataclasses.replace(result, scales=scales, evaluations=5, completed=False)
    assert make_record(stopped)["result"]["size"] == 32


def test_numbers_that_json_has_not(result):
    record = make_record(result, "")
    exploded = record["history"][1]
    assert exploded["loss"] is None and exploded["content"] is None
    assert exploded["style_layers"] == dict.fromkeys(LAYERS)
    assert read_strictly(json.dumps(record)) == json.loads(json.dumps(record))


def test_an_interrupted_run(result):
    assert make_record(dataclasses.replace(result, completed=False), "")["completed"] is False


@pytest.mark.parametrize(
    ("settings", "filled"),
    [
        (Settings(size=64), {"style_size": 64, "learning_rate": 1.0}),
        (Settings(optimizer="adam", style_size=99), {"style_size": 99, "learning_rate": 0.02}),
        (Settings(learning_rate=0.5, ratio=0.25), {"learning_rate": 0.5, "ratio": 0.25}),
    ],
)
def test_settings_are_complete(result, settings, filled):
    facts = make_record(dataclasses.replace(result, settings=settings), "")["settings"]
    assert set(facts) == set(Settings.__dataclass_fields__)
    assert facts["ratio"] == settings.content_weight
    assert facts.items() >= filled.items()
    # Their JSON makes the same settings again, the defaults filled in.
    again = Settings(**{**read_strictly(json.dumps(facts))})
    assert dataclasses.asdict(again) == facts


def test_settings_as_they_were_given(result):
    record = make_record(result, "")
    assert record["settings_given"] == {"size": 64, "style_layers": LAYERS, "ratio": 0.5}
    assert make_record(dataclasses.replace(result, settings=Settings()))["settings_given"] == {}
    inside = read_strictly(image_text(record)["nst_jax"])
    assert inside["settings_given"] == json.loads(json.dumps(record["settings_given"]))


def test_versions_and_device(result):
    record = make_record(result, "")
    assert record["versions"] == versions()
    assert record["versions"]["jax"] == jax.__version__
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["python"] == platform.python_version()
    device = jax.local_devices()[0]
    assert record["device"]["platform"] == device.platform
    assert record["device"]["count"] == len(jax.local_devices())


def test_what_goes_into_the_image(result):
    record = make_record(result, "nst-jax")
    text = image_text(record)
    assert text["Software"] == f"nst_jax {nst_jax.__version__}"
    inside = read_strictly(text["nst_jax"])
    assert "history" not in inside and "timing" not in inside  # long; never twice the same
    assert inside["settings"] == json.loads(json.dumps(record["settings"]))
    assert inside["result"] == record["result"]


def test_saved(result, tmp_path):
    record = make_record(result, "nst-jax stylize 'schön \udce9.png'")  # and a byte of no letter
    save_record(record, tmp_path / "out.json")
    text = (tmp_path / "out.json").read_text("ascii")
    assert text.endswith("}\n") and read_strictly(text) == json.loads(json.dumps(record))
    save_record({}, tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "{}\n"
    assert os.listdir(tmp_path) == ["out.json"]


def test_cannot_be_saved(tmp_path):
    path = tmp_path / "nowhere" / "out.json"
    with pytest.raises(ImageError, match=r"out\.json: cannot be written \(No such file"):
        save_record({}, path)


def test_files_that_a_run_reads():
    """By their roles, in the order of a record; words that are no files are left out."""
    assert input_files(Settings(), None, ()) == {}
    assert input_files(Settings(init="noise"), "a.png", ["b.png"]) == (
        {"content": "a.png", "style": "b.png"}
    )
    masks = {"content_mask": ("sky.png", "rest.png"), "style_mask": ("none", "stars.png")}
    files = input_files(Settings(init="start.png", **masks), "a.png", ["b.png", "c.png"])
    assert list(files.items()) == [
        ("content", "a.png"),
        ("style", "b.png"),
        ("style_2", "c.png"),
        ("init", "start.png"),
        ("content_mask", "sky.png"),
        ("content_mask_2", "rest.png"),
        ("style_mask_2", "stars.png"),
    ]


def test_checksums_of_files(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert input_metadata({"content": path}) == {"content": {"file": str(path), "sha256": digest}}
    with pytest.raises(ImageError, match="gone.png: there is no such file"):
        input_metadata({"content": tmp_path / "gone.png"})
