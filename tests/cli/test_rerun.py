"""`nst-jax rerun`: pictures that come out the same, bit for bit, and what is refused.

Every picture has (24, 32) pixels and few layers.
"""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from command import LAYERS, draw, launch, listing, nst, refused
from PIL import Image

from nst_jax import Settings

PATIENCE = 120  # seconds until a process of a few seconds counts as stuck
QUICK = ("--size", 32, "--steps", 3, "--lbfgs-memory", 5)
STYLIZE = ("stylize", "photo.png", "painting.png", *QUICK, *LAYERS, "-o", "out.png")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting; Ctrl-C as Python has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1), draw("start.png", 64, 48, seed=2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def read(path):
    return json.loads(Path(path).read_text("utf-8"))


def lanes_of(path):
    return {lane["name"]: lane for lane in read(Path(path) / "sweep.json")["lanes"]}


def check_same(one, other, before, after):
    """Two pictures are the same, and so is all that decides them; the loss to the last bit."""
    assert np.array_equal(pixels_of(one), pixels_of(other))
    for key in ("settings", "weights", "versions", "device", "result", "evaluations", "completed"):
        assert before[key] == after[key], key
    assert before["compiled_lanes"] == after["compiled_lanes"]
    digests = [{r: f["sha256"] for r, f in record["inputs"].items()} for record in (before, after)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("flags", [(), ("--init", "start.png"), ("--preset", "paper", "--seed", 5)])
def test_a_record_of_stylize(flags):
    """From the record, and from the picture itself; also a rerun of a rerun."""
    assert nst(*STYLIZE, *flags).code == 0
    code, out, err = nst("rerun", "out.json")
    assert (code, out) == (0, "out-rerun.png\n"), err
    assert err.splitlines()[0].startswith("network: vgg16") and "made with" not in err
    record = read("out.json")
    check_same("out.png", "out-rerun.png", record, read("out-rerun.json"))
    assert record["history"] == read("out-rerun.json")["history"]
    assert read("out-rerun.json")["command"] == "nst-jax rerun out.json"
    assert record["result"]["loss"] < record["history"][0]["loss"]  # something happened
    assert nst("rerun", "out-rerun.png", "-o", "third.png").code == 0
    check_same("out.png", "third.png", record, read("third.json"))


def test_a_record_with_regions():
    """What there is to know of the regions is said again."""
    Image.fromarray(np.uint8(np.tile([255] * 20 + [0] * 12, (24, 1)))).save("mask.png")
    _, _, first = nst(*STYLIZE, "--content-mask", "mask.png")
    code, _, err = nst("rerun", "out.json")
    assert code == 0, err
    said = "regions: 1 mask.png 62.5 %; 37.5 % of the pixels are in none"
    assert said in first and said in err
    check_same("out.png", "out-rerun.png", read("out.json"), read("out-rerun.json"))


def test_other_settings():
    """As if the first command had had them; what followed from another setting follows again."""
    flags = ("--size", 48, "--optimizer", "adam", "--style-layers", "conv1_1")
    assert nst(*STYLIZE, "--style-layer-weights", "1,3").code == 0
    Path("soft.toml").write_text("tv_weight = 0.5\nsize = 16\n")
    code, out, err = nst("rerun", "out.json", "--settings", "soft.toml", *flags)
    assert code == 0, err
    assert nst(*STYLIZE, *flags, "--tv-weight", 0.5, "--overwrite").code == 0
    check_same("out.png", "out-rerun.png", read("out.json"), read("out-rerun.json"))
    settings = read("out-rerun.json")["settings"]
    assert (settings["size"], settings["style_size"], settings["tv_weight"]) == (48, 48, 0.5)
    assert settings["learning_rate"] == 0.02 and settings["style_layer_weights"] == [1.0]


@pytest.mark.parametrize(("kind", "image"), [("content", "photo.png"), ("style", "painting.png")])
def test_a_record_of_a_reconstruction(kind, image):
    """Two lanes round alike only in a program of two."""
    layers = ("--layers", "conv1_1,conv1_2")
    assert nst("reconstruct", kind, image, *QUICK, *layers, "-o", "out").code == 0
    lanes = lanes_of("out")
    assert len(lanes) == 2 and {lane["compiled_lanes"] for lane in lanes.values()} == {2}
    name = list(lanes)[1]
    code, out, err = nst("rerun", "out/sweep.json", "--lane", name)
    assert (code, out) == (0, f"{name}-rerun.png\n"), err
    assert "2 copies at once" in err and "loss" in err.splitlines()[-1]
    check_same(f"out/{name}.png", out.strip(), lanes[name], read(f"{name}-rerun.json"))
    # The picture knows how many they were, and its file may be elsewhere now.
    Path(image).rename("moved.png")
    arguments = ("rerun", f"out/{name}.png", f"--{kind}", "moved.png", "-o", "again.png")
    assert nst(*arguments).code == 0
    check_same(f"out/{name}.png", "again.png", lanes[name], read("again.json"))


def test_a_lane_of_a_sweep():
    """Of the round that copies fill up, too."""
    axes = ("--ratios", "1e-5,1e-4,1e-3", "--lanes", 2, "-o", "out")
    assert nst("sweep", "photo.png", "painting.png", *QUICK, *LAYERS, *axes).code == 0
    lanes = lanes_of("out")
    assert [lane["timing"]["lanes"] for lane in lanes.values()] == [2, 2, 1]
    for name in ("ratio-1e-4", "ratio-1e-3"):
        code, out, err = nst("rerun", "out/sweep.json", "--lane", name)
        assert code == 0, err
        check_same(f"out/{name}.png", out.strip(), lanes[name], read(f"{name}-rerun.json"))
    # With another setting it is made alone, as `stylize` makes it.
    assert nst("rerun", "out/sweep.json", "--lane", name, "--seed", 3, "-o", "alone.png").code == 0
    assert nst(*STYLIZE, "--ratio", 1e-3, "--seed", 3).code == 0
    check_same("out.png", "alone.png", read("out.json"), read("alone.json"))


def interrupted(*arguments):
    """Press Ctrl-C after some steps."""
    process = launch(*arguments)
    for line in process.stderr:
        if "step " in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    return out


@pytest.mark.slow
def test_an_interrupted_run():
    """It stops at the same step again, which is no failure; with --steps it goes on."""
    interrupted(*STYLIZE, "--steps", 10**6, "--report-every", 1)
    before = read("out.json")
    assert before["completed"] is False
    stop = before["evaluations"] - 1
    code, out, err = nst("rerun", "out.png")
    assert (code, out) == (0, "out-rerun.png\n"), err
    assert f"stops at step {stop}, as the recorded run did, unless --steps is given" in err
    check_same("out.png", "out-rerun.png", before, read("out-rerun.json"))
    assert nst("rerun", "out.json", "--steps", 2, "-o", "whole.png").code == 0
    whole = read("whole.json")
    assert whole["completed"] is True and whole["evaluations"] == 3


def test_pictures_on_the_way_of_an_interrupted_run():
    """At the steps asked for, and not at that where it stops."""
    assert nst(*STYLIZE, "--steps", 6, "--report-every", 1).code == 0
    record = read("out.json") | {"completed": False, "evaluations": 4}
    Path("cut.json").write_text(json.dumps(record))
    code, out, err = nst("rerun", "cut.json", "--report-every", 1, "--save-every", 2)
    assert (code, out) == (0, "cut-rerun-00002.png\ncut-rerun.png\n"), err
    assert read("cut-rerun.json")["history"] == record["history"][:4]


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_lane_that_was_interrupted(stop):
    """The best image of as many steps, from a program of as many lanes."""
    axes = ("--ratios", "1e-5,1e-4", "-o", "out", "--steps", 6, "--report-every", 1)
    assert nst("sweep", "photo.png", "painting.png", *QUICK, *LAYERS, *axes).code == 0
    sweep = read("out/sweep.json")
    history = sweep["lanes"][0]["history"][: stop + 1]
    sweep["lanes"][0] |= {"completed": False, "evaluations": stop + 1}
    Path("cut.json").write_text(json.dumps(sweep))
    assert nst("rerun", "cut.json", "--lane", "ratio-1e-5", "--report-every", 1).code == 0
    record = read("ratio-1e-5-rerun.json")
    assert record["history"] == history and record["evaluations"] == stop + 1
    assert record["completed"] is False
    assert record["result"]["loss"] == min(entry["loss"] for entry in history)


def test_other_images():
    assert nst(*STYLIZE).code == 0
    draw("other.png", seed=7)
    assert nst("rerun", "out.json", "--content", "other.png", "--style", "start.png").code == 0
    assert nst("stylize", "other.png", "start.png", *STYLIZE[3:], "--overwrite").code == 0
    check_same("out.png", "out-rerun.png", read("out.json"), read("out-rerun.json"))


def test_several_paintings():
    """Each is looked for, in the order that the blend has."""
    draw("third.png", 32, 48, seed=4)
    mixed = ("--style-blend", "1,3", "--style-scale", "0.5,1", "--init-noise", 0.5)
    arguments = ("stylize", "photo.png", "painting.png", "start.png", *STYLIZE[3:], *mixed)
    arguments = (*arguments, "--style-size", 64)
    assert nst(*arguments).code == 0
    assert nst("rerun", "out.json").code == 0
    check_same("out.png", "out-rerun.png", read("out.json"), read("out-rerun.json"))
    others = ("--style", "start.png", "--style", "third.png", "-o", "others.png")
    assert nst("rerun", "out.json", *others).code == 0
    files = {role: file["file"] for role, file in read("others.json")["inputs"].items()}
    assert files == {"content": "photo.png", "style": "start.png", "style_2": "third.png"}
    refused(("rerun", "out.json", *others[:2], "-o", "one.png"), ("style_blend",))
    Path("start.png").rename("gone.png")
    refused(("rerun", "out.json", "-o", "x.png"), ("start.png: is not there", "--style FILE"))


def test_other_versions_are_said():
    assert nst(*STYLIZE, "--steps", 0).code == 0
    record = read("out.json")
    record["versions"]["jax"] = "0.0.1"
    Path("out.json").write_text(json.dumps(record))
    code, _, err = nst("rerun", "out.json")
    assert code == 0 and err.splitlines()[0].startswith("made with jax 0.0.1; here")


def test_settings_printed():
    """As a file that makes the same settings; no picture, and no look at the inputs."""
    assert nst(*STYLIZE, "--ratio", 0.5).code == 0
    Path("photo.png").unlink()
    before = listing()
    code, out, err = nst("rerun", "out.json", "--print-settings", "--seed", 3)
    assert (code, err) == (0, "") and listing() == before
    assert "seed = 3" in out.splitlines() and "ratio = 0.5" in out.splitlines()
    Path("soft.toml").write_text(out)
    draw("photo.png")
    assert nst("stylize", "photo.png", "painting.png", "--settings", "soft.toml").code == 0
    facts = read("photo-painting.json")["settings"]
    assert facts == read("out.json")["settings"] | {"seed": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A record of a run of no steps, beside its inputs, and a sweep's."""
    folder = tmp_path_factory.mktemp("made")
    draw(folder / "photo.png"), draw(folder / "painting.png", 40, 40, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NST_JAX_WEIGHTS", str(folder / "installed"))
        assert nst(*STYLIZE, "--steps", 0).code == 0
        sweep = ("sweep", "photo.png", "painting.png", *QUICK, *LAYERS, "--seeds", "1,2")
        assert nst(*sweep, "--steps", 0, "-o", "swept").code == 0
        (folder / "notes.json").write_text("{}")
        record = read("out.json")
        for name, changes in CHANGED.items():
            (folder / name).write_text(json.dumps(record | changes))
    return folder


NOTHING = {"file": "nothing.png", "sha256": "0" * 64}
CHANGED = {
    "newer.json": {"settings": {"swirl": 1}, "versions": {"nst_jax": "9.9"}},
    "gone.json": {"inputs": {"content": NOTHING, "style": NOTHING}},
    "other.json": {"inputs": {"content": NOTHING | {"file": "photo.png"}}},
    "heavy.json": {"weights": {"name": "vgg19", "sha256": "ab" * 32}},
}
BAD = [
    (("none.json",), ("none.json: cannot be read", "check the path")),
    (("notes.json",), ("notes.json: is no record of nst-jax",)),
    (("photo.png",), ("photo.png: carries no settings",)),
    (("newer.json",), ("newer.json: was made by nst_jax 9.9", "swirl", "install that version")),
    (("gone.json",), ("nothing.png: is not there any more", "--content FILE")),
    (("other.json",), ("photo.png: is not what it was", "--content photo.png")),
    (("heavy.json",), ("vgg19, sha256 abababababab", "not here", "--weights")),
    (("swept/sweep.json",), ("choose one with --lane", "seed-1, seed-2")),
    (("swept/sweep.json", "--lane", "seed-3"), ("no lane 'seed-3'", "did you mean seed-")),
    (("out.json", "--lane", "seed-1"), ("is no sweep.json", "leave out --lane")),
    (("out.json", "--size", 8), ("size is 8",)),
    (("out.json", "--content", "none.png"), ("none.png: there is no such file",)),
    (("out.json", "--init", "none.png"), ("none.png: there is no such file",)),
    (("out.json", "-o", "out.png"), ("out.png: exists already", "--overwrite")),
    (("out.json", "-o", "photo.png", "--overwrite"), ("photo.png: is one of the inputs",)),
    (("out.json", "--report-every", 0), ("report_every is 0",)),
    (("out.json", "--weights", "none.safetensors"), ("none.safetensors: no such weights",)),
    (("out.json", "--style-layers", "conv5_4"), ("vgg16 has no layer 'conv5_4'",)),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_what_it_refuses(made, monkeypatch, arguments, words):
    monkeypatch.chdir(made)
    refused(("rerun", *arguments), words)


def test_a_reconstruction_with_an_image_more(folder):
    """A record of a style becomes a transfer, where a photograph and layers for it are given."""
    flags = ("--layers", "conv1_1", "--together", "-o", "out")
    assert nst("reconstruct", "style", "painting.png", *QUICK, *flags).code == 0
    record = "out/sweep.json"
    refused(("rerun", record, "--content-layers", "conv2_1"), ("no content image",))
    flags = ("--content-layers", "conv2_1", "--content", "photo.png", "-o", "both.png")
    assert nst("rerun", record, *flags).code == 0
    assert pixels_of("both.png").shape == (24, 32, 3)
    assert set(read("both.json")["inputs"]) == {"content", "style"}


def test_a_field_that_only_this_version_has(monkeypatch):
    """An old record, without it, comes out the same."""
    assert nst(*STYLIZE).code == 0
    record = read("out.json")
    del record["settings"]["scales"], record["compiled_lanes"]
    Path("old.json").write_text(json.dumps(record))
    assert nst("rerun", "old.json").code == 0
    assert np.array_equal(pixels_of("out.png"), pixels_of("old-rerun.png"))
    assert read("old-rerun.json")["settings"]["scales"] == Settings().scales
