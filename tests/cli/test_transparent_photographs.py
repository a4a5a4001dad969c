"""What the commands make of a photograph that is transparent in part: pictures, sheets, pages."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, draw, nst, picture, refused
from PIL import Image

from nst_jax import load_image

STEPS = ("--steps", "2")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:, 40:] = 0
    Image.fromarray(np.concatenate([picture(48, 64), alpha], axis=-1)).save("photo.png")
    draw("painting.png", seed=1)


def opacity(path):
    with Image.open(path) as image:
        return None if image.mode == "RGB" else np.asarray(image.getchannel("A"))


@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.webp", "out.jpg"])
def test_a_picture_keeps_its_transparency(name):
    """Where the format can; else it is on white. So do the pictures on the way."""
    flags = (*QUICK, *STEPS, "--save-every", "1", "--init", "noise")
    code, out, err = nst("stylize", "photo.png", "painting.png", "-o", name, *flags)
    assert code == 0, err
    assert re.search(r"\ntransparency: 37\.\d % of the photograph, where nothing is painted\n", err)
    for path in out.split():
        alpha, seen = opacity(path), load_image(path)
        if name == "out.jpg":
            assert alpha is None and np.abs(seen[:, 25:] - 1).max() < 0.2
        else:
            assert np.all(alpha[:, 23:] == 0) and np.all(alpha[:, :17] == 255)
            assert np.all(seen[:, 23:] == 1)
        assert seen[:, :17].mean() < 0.9


def test_again_from_the_picture():
    nst("stylize", "photo.png", "painting.png", "-o", "out.webp", *QUICK, *STEPS)
    code, _, err = nst("rerun", "out.webp", "-o", "again.webp")
    assert code == 0, err
    with Image.open("out.webp") as first, Image.open("again.webp") as second:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    code, _, err = nst("rerun", "out.json", "-o", "luminance.png", "--colors", "luminance")
    assert code == 0 and np.all(opacity("luminance.png")[:, 23:] == 0), err


def test_a_sweep():
    flags = (*QUICK, *STEPS, "--ratios", "1e-4,1e-3", "-o", "sweep")
    code, out, err = nst("sweep", "photo.png", "painting.png", *flags)
    assert code == 0, err
    lanes = json.loads(Path("sweep/sweep.json").read_text())["lanes"]
    for lane in lanes:
        assert np.all(opacity(f"sweep/{lane['file']}")[:, 23:] == 0)
    assert opacity("sweep/grid.png") is None
    assert load_image("sweep/grid.png").shape[0] > 24
    code, _, err = nst("rerun", "sweep/sweep.json", "--lane", lanes[0]["name"], "-o", "one.png")
    assert code == 0, err
    with Image.open("one.png") as one, Image.open(f"sweep/{lanes[0]['file']}") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_reconstruct():
    flags = ("--size", "32", "--lbfgs-memory", "5", *STEPS, "--layers", "conv1_1")
    code, out, err = nst("reconstruct", "content", "photo.png", "-o", "layers", *flags)
    assert code == 0, err
    pictures = [path for path in out.split() if path.endswith(".png") and "grid" not in path]
    assert pictures and all(np.all(opacity(path)[:, 23:] == 0) for path in pictures)


def test_nothing_to_be_seen():
    Image.new("RGBA", (64, 48)).save("photo.png")
    words = ("photo.png: is transparent throughout",)
    refused(("stylize", "photo.png", "painting.png", *QUICK, *STEPS), words, chatter=True)
