"""What `stylize` and `sweep` take for an image: paths, bytes, open files, Pillow's images."""

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, draw, nst
from PIL import Image

from nst_jax import Settings, make_record, stylize, sweep

SETTINGS = Settings(
    size=32,
    content_layers=("conv2_1",),
    style_layers=("conv1_1", "conv2_1"),
    lbfgs_memory=5,
    steps=2,
)


class Elsewhere:
    """A path that is no `pathlib.Path`."""

    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return str(self._path)


class Once(io.RawIOBase):
    """An open file that cannot be read twice, as what a server sends."""

    def __init__(self, path):
        self._content = Path(path).read_bytes()

    def read(self, size=-1):
        content, self._content = self._content, b""
        return content


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw("photo.png")
    draw("painting.png", 60, 40, seed=1)


def given_as(kind, path):
    with open(path, "rb") as file:
        content = file.read()
    return {
        "PathLike": lambda: Elsewhere(path),
        "bytes": lambda: content,
        "bytes in memory": lambda: io.BytesIO(content),
        "stream": lambda: Once(path),
        "Pillow": lambda: Image.open(io.BytesIO(content)),
    }[kind]()


KINDS = ["PathLike", "bytes", "bytes in memory", "stream", "Pillow"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_picture(normalized, kind):
    """Files are read at the size asked for, again for each style scale."""
    settings = dataclasses.replace(SETTINGS, style_scale=(0.8, 1.0))
    expected = stylize("photo.png", "painting.png", settings, weights=normalized)
    content, style = given_as(kind, "photo.png"), given_as(kind, "painting.png")
    result = stylize(content, (style,), settings, weights=normalized)
    np.testing.assert_array_equal(result.image, expected.image)


@pytest.mark.parametrize("kind", KINDS)
def test_lanes(normalized, kind):
    """That share an image, or have the same one each."""
    lanes = [SETTINGS, SETTINGS]
    expected = sweep("photo.png", "painting.png", lanes, weights=normalized)
    content, style = given_as(kind, "photo.png"), given_as(kind, "painting.png")
    for contents in (content, [given_as(kind, "photo.png")] * 2):
        results = sweep(contents, style, lanes, weights=normalized)
        for one, other in zip(results, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
        style = given_as(kind, "painting.png")


def test_records_say_what_they_can(normalized):
    photo = Path("photo.png").read_bytes()
    result = stylize(photo, "painting.png", SETTINGS, weights=normalized)
    array = np.zeros((20, 20, 3), np.float32)
    with open("photo.png", "rb") as file:
        given = {"content": photo, "style": "painting.png", "style_2": file, "style_3": array}
        with Image.open("photo.png") as image:
            inputs = make_record(result, inputs=given | {"init": image})["inputs"]
    checksum = hashlib.sha256(photo).hexdigest()
    assert inputs["content"] == {"file": None, "sha256": checksum}
    assert inputs["style_2"] == {"file": "photo.png", "sha256": checksum}
    assert inputs["style"]["file"] == "painting.png"
    assert inputs["style_3"]["sha256"] == hashlib.sha256(array.tobytes()).hexdigest()
    assert inputs["init"]["file"] == "photo.png"


def test_rerun_asks_for_what_had_no_name(normalized):
    photo, painting = Path("photo.png").read_bytes(), "painting.png"
    result = stylize(photo, painting, SETTINGS, weights=normalized)
    record = make_record(result, inputs={"content": photo, "style": painting})
    with open("out.json", "w") as file:
        json.dump(record, file)
    code, _, err = nst("rerun", "out.json")
    assert code == 2 and "content image was given without a name; say where it is with" in err
    code, out, err = nst("rerun", "out.json", "--content", "photo.png")
    assert code == 0 and out.split() == ["out-rerun.png"], err


def test_what_a_folder_leaves_out_is_told(normalized):
    os.mkdir("museum")
    draw("museum/a.png", 60, 40, seed=1)
    for name in ("notes.txt", "b.cr2", ".hidden", "clip.mp4"):
        Path("museum", name).touch()
    os.mkdir("museum/more")
    line = "museum: no images, left out: b.cr2, clip.mp4, more/, notes.txt"
    with pytest.warns(UserWarning, match=line):
        stylize("photo.png", "museum", SETTINGS, weights=normalized)
    flags = (*QUICK, "--steps", "1")
    for command in ("stylize", "sweep"):
        code, _, err = nst(command, "photo.png", "museum", *flags, "-o", f"{command}.png")
        assert code == 0 and err.count(line + "\n") == 1, err
    for number in range(4):
        os.mkdir(f"museum/{number}")
    code, _, err = nst("stylize", "photo.png", "museum", *flags, "-o", "many.png")
    assert code == 0 and "left out: 0/, 1/, 2/, 3/, b.cr2 and 3 more\n" in err
