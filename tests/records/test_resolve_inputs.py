"""Files of a recorded run: where they are looked for, and what tells that they are the same."""

import dataclasses
from pathlib import Path

import pytest
from command import draw
from recorded import record_of, write

from nst_jax import ImageError, Settings, WeightsError
from nst_jax.files import sha256_of
from nst_jax.records.read import read_recorded
from nst_jax.records.resolve_inputs import (
    find_inputs,
    find_recorded_weights,
    is_unchanged,
    with_files_found,
)
from nst_jax.weights.locate import embedded_path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and no weights but the embedded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    return tmp_path


def inputs_of(**files):
    return {role: {"file": file, "sha256": sha256_of(Path(file))} for role, file in files.items()}


def test_inputs(folder):
    """Where they were; or beside the record, as the record has them or by their last name."""
    (folder / "in").mkdir(), (folder / "moved").mkdir()
    draw("in/photo.png"), draw("in/painting.png", seed=1), draw("in/second.png", seed=2)
    files = {"content": "in/photo.png", "style": "in/painting.png", "style_2": "in/second.png"}
    record = record_of(inputs=inputs_of(**files))
    recorded = read_recorded(write(record))
    assert find_inputs(recorded, "content") == ("in/photo.png",)
    assert find_inputs(recorded, "init") == ()
    assert find_inputs(recorded, "style") == ("in/painting.png", "in/second.png")
    recorded = read_recorded(write(record, "moved/out.json"))
    Path("in/photo.png").rename("moved/photo.png")
    draw("in/photo.png", seed=9)
    assert find_inputs(recorded, "content") == ("moved/photo.png",)
    Path("in").rename("moved/in")
    assert find_inputs(recorded, "style") == ("moved/in/painting.png", "moved/in/second.png")
    Path("moved/in/second.png").unlink()
    with pytest.raises(ImageError, match=r"in/second\.png: is not there .* with --style FILE"):
        find_inputs(recorded, "style")


def test_an_input_that_is_another_by_now():
    draw("photo.png")
    recorded = read_recorded(write(record_of(inputs=inputs_of(content="photo.png"))))
    draw("photo.png", seed=9)
    words = r"photo\.png: is not what it was .* --content FILE, or --content photo\.png"
    with pytest.raises(ImageError, match=words):
        find_inputs(recorded, "content")


def test_weights_by_their_checksum(folder):
    """Though the record's name for them means others by now."""
    digest = sha256_of(embedded_path())
    recorded = read_recorded(write(record_of(weights={"name": "mine", "sha256": digest})))
    (folder / "installed").mkdir()
    (folder / "installed" / "vgg19.safetensors").write_bytes(b"others")
    assert find_recorded_weights(recorded, recorded.settings).sha256 == digest
    gone = read_recorded(write(record_of(weights={"name": "mine", "sha256": "ab" * 32})))
    with pytest.raises(
        WeightsError, match=r"\(mine, sha256 abababababab…\) are not here.*--weights"
    ):
        find_recorded_weights(gone, gone.settings)


# Of the embedded file of version 0.2, which had the means of average pooling only.
EMBEDDED_0_2 = "3e3fadf437129909b98defa2852e0050d323b99a4087623f1a619c130eef9a56"


@pytest.mark.parametrize(
    ("made_with", "wanted", "expected"),
    [
        ({"pooling": "max"}, {}, "average"),  # as it was made: not normalized for its pooling
        ({"pooling": "max"}, {"steps": 3}, "average"),
        ({"pooling": "max"}, {"pooling": "average"}, ""),  # the run itself will do it
        ({"pooling": "max"}, {"normalize": False}, ""),
        ({"pooling": "average"}, {"pooling": "max"}, ""),
        ({"pooling": "average"}, {}, ""),
    ],
)
def test_weights_of_version_0_2(made_with, wanted, expected):
    weights = {"name": "vgg16-imagenet", "sha256": EMBEDDED_0_2, "normalized": True}
    recorded = read_recorded(write(record_of(Settings(**made_with), weights=weights)))
    found = find_recorded_weights(recorded, dataclasses.replace(recorded.settings, **wanted))
    assert found.sha256 == sha256_of(embedded_path())
    assert found.normalized_for == expected


def test_weights_that_were_not_normalized():
    weights = {"name": "mine", "sha256": EMBEDDED_0_2, "normalized": False}
    recorded = read_recorded(write(record_of(Settings(pooling="max"), weights=weights)))
    assert not find_recorded_weights(recorded, recorded.settings).normalized


def test_settings_that_name_files(folder):
    """The file of init may be elsewhere; it is not looked for where another is asked for."""
    draw("start.png"), draw("other.png", seed=1)
    record = record_of(Settings(init="start.png"), inputs=inputs_of(init="start.png"))
    (folder / "moved").mkdir()
    Path("start.png").rename("moved/start.png")
    recorded = read_recorded(write(record, "moved/out.json"))
    found = with_files_found(recorded.settings, recorded, as_given=())
    assert found == Settings(init="moved/start.png", precision="float32")
    inputs = inputs_of(init="moved/start.png")
    assert is_unchanged(found, inputs, recorded)
    assert not is_unchanged(found, inputs_of(init="other.png"), recorded)
    assert not is_unchanged(Settings(), {}, recorded)
    assert not is_unchanged(Settings(init=found.init, seed=1), inputs, recorded)
    Path("moved/start.png").unlink()
    assert with_files_found(Settings(init="noise"), recorded, as_given=()) == Settings(init="noise")
    assert with_files_found(recorded.settings, recorded, as_given=("init",)) == recorded.settings
    with pytest.raises(ImageError, match=r"start\.png: is not there any more.* --init FILE"):
        with_files_found(recorded.settings, recorded, as_given=())
