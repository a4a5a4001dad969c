"""`nst-jax reconstruct`: rows of the paper's Figure 1, of layers that compile soon."""

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from command import draw, nst, refused
from PIL import Image

FIRST = 1e-5  # relative: the same sums, in another order
LAST = 0.02  # what L-BFGS makes of that in a few steps
LEVELS = 1.0  # of 255, the mean difference of pictures; likewise

QUICK = ("--size", 32, "--steps", 4, "--lbfgs-memory", 5)
CONTENT = ("reconstruct", "content", "photo.png", *QUICK)
STYLE = ("reconstruct", "style", "painting.png", *QUICK)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)


def lanes_of(path):
    lanes = json.loads((Path(path) / "sweep.json").read_text("utf-8"))["lanes"]
    return {lane["name"]: lane for lane in lanes}


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float32)


def check_like_alone(lane, path):
    """The lane is what its own command makes alone."""
    program, *words = shlex.split(lane["again"])
    words[words.index("-o") + 1] = "alone"
    assert program == "nst-jax" and nst(*words, "--overwrite").code == 0
    (alone,) = lanes_of("alone").values()
    assert alone["name"] == "result"
    assert lane["history"][0]["loss"] == pytest.approx(alone["history"][0]["loss"], rel=FIRST)
    assert lane["result"]["loss"] == pytest.approx(alone["result"]["loss"], rel=LAST)
    assert alone["result"]["loss"] < 0.9 * alone["history"][0]["loss"]  # something happened
    difference = pixels_of(Path(path) / lane["file"]) - pixels_of(Path("alone") / alone["file"])
    assert np.abs(difference).mean() < LEVELS


def test_content():
    """One layer each, all from the same noise; there is no painting, and no style."""
    fine = ("--smooth-chroma", 0)  # all that is drawn is as fine as can be
    code, out, err = nst(*CONTENT, *fine, "--layers", "conv1_1,relu1_2")
    assert code == 0, err
    names = ["layer-conv1_1", "layer-conv1_2"]
    wanted = [*(f"{name}.png" for name in names), "grid.png", "index.html"]
    assert out.splitlines() == [f"photo-content/{name}" for name in wanted]
    assert sorted(os.listdir("photo-content")) == sorted([*wanted, "sweep.json"])
    sweep = json.loads(Path("photo-content/sweep.json").read_text("utf-8"))
    assert sweep["title"] == "photo" and [s["role"] for s in sweep["sources"]] == ["content"]
    assert sweep["axes"] == [
        {"name": "layer", "title": "content layer", "labels": ["conv1_1", "conv1_2"]}
    ]
    lanes = lanes_of("photo-content")
    assert list(lanes) == names
    for number, lane in enumerate(lanes.values()):
        settings = lane["settings"]
        assert settings["init"] == "noise" and settings["style_layers"] == []
        assert settings["ratio"] == 1 and settings["content_layers"] == ["conv1_1", "conv1_2"]
        assert settings["content_layer_weights"] == [float(number == 0), float(number == 1)]
        assert (lane["content"], lane["style"]) == (0, None) and set(lane["inputs"]) == {"content"}
        first = lane["history"][0]
        assert first["style"] == 0 and first["style_layers"] == {}
        term = first["content_layers"][settings["content_layers"][number]]
        assert first["loss"] == pytest.approx(term, rel=FIRST)
    check_like_alone(lanes[names[0]], "photo-content")
    assert pixels_of("photo-content/layer-conv1_1.png").shape == (24, 32, 3)


def test_style():
    """Growing subsets, of the painting's own shape; there is no photograph, and no content."""
    code, out, err = nst(*STYLE, "--layers", "conv1_1,conv1_2", "-o", "out")
    assert code == 0, err
    names = ["layers-conv1_1", "layers-to-conv1_2"]
    wanted = [*(f"{name}.png" for name in names), "grid.png", "index.html"]
    assert out.splitlines() == [f"out/{name}" for name in wanted]
    lanes = lanes_of("out")
    assert list(lanes) == names
    for lane, weights in zip(lanes.values(), ([1.0, 0.0], [0.5, 0.5]), strict=True):
        settings = lane["settings"]
        assert settings["init"] == "noise" and settings["content_layers"] == []
        assert settings["style_layers"] == ["conv1_1", "conv1_2"]
        assert settings["style_layer_weights"] == weights
        assert (lane["content"], lane["style"]) == (None, 0) and set(lane["inputs"]) == {"style"}
        first = lane["history"][0]
        assert first["content"] == 0 and first["content_layers"] == {}
        terms = [first["style_layers"][layer] for layer in settings["style_layers"]]
        assert first["loss"] == pytest.approx(np.dot(weights, terms), rel=FIRST)
        check_like_alone(lane, "out")
    assert pixels_of("out/layers-conv1_1.png").shape == (32, 32, 3)


def test_style_at_another_scale():
    """Larger strokes, in a picture of the same size; weights of the layers by name."""
    flags = ("--style-scale", "0.5,2", "--layers", "conv1_1,conv1_2", "--together")
    weights = ("--layer-weights", "conv1_2=2")
    assert nst(*STYLE, *flags, *weights, "-o", "out").code == 0
    (lane,) = lanes_of("out").values()
    assert lane["settings"]["style_scale"] == [0.5, 2.0]
    assert lane["settings"]["style_layer_weights"] == [0.0, 2.0]
    assert pixels_of("out/result.png").shape == (32, 32, 3)
    check_like_alone(lane, "out")


def test_default_folder_and_layers(monkeypatch):
    """Those of Figure 1 in the paper; the folder is called after the image and the kind."""
    asked = []

    def paint(make_grid, command_for_one, options, arguments):
        asked.append((str(options.output), options.layers))
        return True

    monkeypatch.setattr("nst_jax.cli.reconstruct.paint_lanes", paint)
    assert nst("reconstruct", "content", "a/photo.png").code == 0
    assert nst("reconstruct", "style", "b/painting.jpg").code == 0
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    assert asked == [("photo-content", layers), ("painting-style", layers)]


@pytest.mark.parametrize("kind", ["content", "style"])
@pytest.mark.parametrize("flag", ["--content-layers", "--style-layers"])
def test_layers_have_one_flag(kind, flag):
    refused(("reconstruct", kind, "photo.png", flag, "conv1_1"), (flag, "--layers instead"))


def test_one_layer():
    assert nst(*CONTENT, "--layers", "conv1_1", "--steps", 0, "-o", "out").code == 0
    assert list(lanes_of("out")) == ["result"]


def test_start_of_ones_own():
    """From the photograph itself there is nothing to do; noise is the default only."""
    arguments = (*CONTENT, "--layers", "conv1_1", "--steps", 0, "--init", "content", "-o", "out")
    assert nst(*arguments).code == 0
    (lane,) = lanes_of("out").values()
    assert lane["settings"]["init"] == "content" and lane["result"]["content"] < 1e-6
    assert "--init content" in lane["again"]


def test_size_of_the_style():
    """It decides the result's size, where there is nothing but the painting."""
    arguments = (*STYLE, "--layers", "conv1_1", "--style-size", 48, "--steps", 0, "-o", "out")
    assert nst(*arguments).code == 0
    (lane,) = lanes_of("out").values()
    assert pixels_of("out/result.png").shape == (48, 48, 3)
    words = shlex.split(lane["again"])
    assert words[words.index("--style-size") + 1] == "48"


@pytest.mark.usefixtures("equal_shares")
def test_from_coarse_to_fine():
    """From noise at the coarsest size; of a style alone, too."""
    flags = ("--layers", "conv1_1", "--size", 96, "--scales", 2, "--steps", 6, "--save-every", 3)
    assert nst(*STYLE, *flags, "-o", "out").code == 0
    (lane,) = lanes_of("out").values()
    assert [entry["size"] for entry in lane["history"]] == [48, 96, 96]
    assert lane["completed"] and lane["evaluations"] == 7
    assert "--scales 2" in lane["again"]


def test_again_says_every_flag():
    """What is not a default is in the command that makes a lane again, once."""
    flags = ("--optimizer", "adam", "--pooling", "max", "--no-normalize", "--seed", 7)
    flags += ("--style-layer-weights", "0.25,2.0", "--layers", "conv1_1,relu1_2", "--steps", 0)
    assert nst(*STYLE, *flags, "-o", "out").code == 0
    common = "--init noise --size 32 --seed 7 --steps 0 --optimizer adam --lbfgs-memory 5"
    network = "--pooling max --no-normalize"
    assert [lane["again"] for lane in lanes_of("out").values()] == [
        "nst-jax reconstruct style painting.png -o layers-conv1_1 --layers conv1_1 --together "
        f"{common} --style-layer-weights 0.25 {network}",
        "nst-jax reconstruct style painting.png -o layers-to-conv1_2 --layers conv1_1,conv1_2 "
        f"--together {common} --style-layer-weights 0.25,2.0 {network}",
    ]


def test_going_on():
    arguments = (*CONTENT, "--layers", "conv1_1,conv1_2", "--steps", 0, "-o", "out")
    assert nst(*arguments).code == 0
    Path("out/layer-conv1_2.png").unlink()
    code, out, err = nst(*arguments)
    assert code == 0 and "out: 1 of 2 are finished" in err
    assert out.splitlines() == ["out/layer-conv1_2.png", "out/grid.png", "out/index.html"]


BAD = [
    (("reconstruct", "colour", "photo.png"), ("'colour'", "content", "style")),
    (("reconstruct", "content"), ("IMAGE", "--help")),
    ((*CONTENT, "--layers", "conv1_9"), ("no layer 'conv1_9'",)),
    ((*CONTENT, "--layers", ""), ("both empty", "at least one layer")),
    ((*STYLE, "--layers", ""), ("both empty", "at least one layer")),
    ((*CONTENT, "--colors", "luminance"), ("colors is 'luminance'", "leave it out")),
    ((*STYLE, "--colors", "match"), ("colors is 'match'", "leave it out")),
    ((*CONTENT, "--layers", "conv1_1,relu1_1"), ("content_layers names a layer twice",)),
    ((*STYLE, "--layers", "conv1_1,conv1_1"), ("style_layers names a layer twice",)),
    ((*CONTENT, "--init", "style"), ("there is no style image", "init style")),
    ((*STYLE, "--init", "content"), ("there is no content image", "init content")),
    (("reconstruct", "content", "missing.png"), ("missing.png: there is no such file",)),
    (("reconstruct", "style", "missing.png"), ("missing.png: there is no such file",)),
    ((*CONTENT, "-o", "photo.png"), ("photo.png: is a file", "name a folder")),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_what_it_refuses(arguments, words):
    refused(arguments, words, chatter=True)
