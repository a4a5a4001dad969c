"""`nst-jax stylize`: what it refuses, and what it writes."""

import errno
import hashlib
import json
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, draw, listing, nst, refused
from PIL import Image
from safetensors.numpy import save_file

from nst_jax import Settings
from nst_jax.cli import picture, stylize
from nst_jax.files import reserved
from nst_jax.images import encoders, io, resize
from nst_jax.weights.locate import embedded_path

LOSS = 1e-5  # relative: a few float32 additions
ROUNDING = 0.5 / 255 + 1e-6  # to 8 bits
LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
# All layers: what is refused, and what a run with the defaults leaves behind.
WHOLE = ("stylize", "photo.png", "painting.png", "--size", 32)
STYLIZE = ("stylize", "photo.png", "painting.png", *QUICK)
SHORT = (*STYLIZE, "--steps", 2)
ONE_LAYER = ("--content-layers", "conv1_1", "--style-layers", "conv1_1")


def png_header(width, height):
    """A PNG that claims a size, and has next to no pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows


def write_bad_weights(folder):
    """Files that are no weights of ours, or not whole."""
    save_file({"conv1_1/bias": np.zeros(64, np.float32)}, folder / "foreign.safetensors")
    whole = bytearray(embedded_path().read_bytes())
    (folder / "torn.safetensors").write_bytes(whole[: len(whole) // 2])
    whole[-1000] ^= 1
    (folder / "flipped.safetensors").write_bytes(whole)


@pytest.fixture(scope="module")
def museum(tmp_path_factory):
    """A folder of good and of bad files, which refused commands must leave as it is."""
    folder = tmp_path_factory.mktemp("museum")
    draw(folder / "photo.png"), draw(folder / "painting.png", 40, 40, seed=1)
    draw(folder / "whole.jpg", 200, 200), draw(folder / "dot.png", 1, 1)
    draw(folder / "narrow.png", 400, 20), draw(folder / "odd.png").rename(folder / "odd.json")
    draw(folder / "run-00001.png"), draw(folder / "taken.png")
    (folder / "folder.png").mkdir(), (folder / "boxed.json").mkdir()
    (folder / "link.png").symlink_to("photo.png")
    (folder / "noted.json").write_text("{}")
    (folder / "empty.png").touch()
    (folder / "letter.jpg").write_text("Dear Theo, " * 99)
    (folder / "torn.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:2000])
    (folder / "huge.png").write_bytes(png_header(30_000, 10_000))
    write_bad_weights(folder)
    return folder


@pytest.fixture
def visit(museum, monkeypatch):
    """Make the museum the current folder, with no weights installed but the embedded."""
    monkeypatch.chdir(museum)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(museum / "installed"))


BAD_IMAGES = {
    "missing.png": ("missing.png: there is no such file", "check the path"),
    "photo.png/inside.png": ("no such file", "check the path"),
    "folder.png": ("folder.png: is a folder", "give an image"),
    "empty.png": ("empty.png: is empty", "again"),
    "letter.jpg": ("letter.jpg: is no image", "give a JPEG"),
    "torn.jpg": ("torn.jpg: is damaged or incomplete", "again"),
    "dot.png": ("dot.png: has 1 x 1", "at least 16"),
    "huge.png": ("huge.png: has 300.0 megapixels", "scale it down"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.parametrize("role", ["content", "style", "init"])
def test_bad_images(visit, role, name):
    files = {"content": "photo.png", "style": "painting.png", "init": "photo.png"} | {role: name}
    arguments = ("stylize", files["content"], files["style"], "--init", files["init"])
    refused((*arguments, "--size", 32, "-o", "out.png"), BAD_IMAGES[name])


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("command", ["stylize", "sweep"])
def test_a_url(visit, command, role):
    files = {"content": "photo.png", "style": "painting.png"} | {role: "https://x.org/a.jpg"}
    words = ("https://x.org/a.jpg: is a URL", "download it first")
    refused((command, *files.values(), "--size", 32, "-o", "out.png"), words, chatter=True)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
def test_what_comes_through_pipes(visit):
    """As from <(…): read once, though the record has its checksum, too."""
    assert nst(*SHORT, "-o", "out-files.png").code == 0
    pipes = []
    for name in SHORT[1:3]:
        reader, writer = os.pipe()
        os.write(writer, Path(name).read_bytes()), os.close(writer)
        pipes.append(reader)
    try:
        names = [f"/dev/fd/{reader}" for reader in pipes]
        assert nst("stylize", *names, *SHORT[3:])[:2] == (0, "pipe-pipe.png\n")
    finally:
        for reader in pipes:
            os.close(reader)
    first, second = (json.loads(Path(n).read_text()) for n in ("out-files.json", "pipe-pipe.json"))
    assert first["result"] == second["result"]
    for role, file in first["inputs"].items():
        assert second["inputs"][role]["sha256"] == file["sha256"]
    for name in ("out-files", "pipe-pipe"):
        Path(f"{name}.png").unlink(), Path(f"{name}.json").unlink()


@pytest.mark.parametrize("files", [("narrow.png", "photo.png"), ("photo.png", "narrow.png")])
def test_image_that_the_size_makes_too_narrow(visit, files):
    refused(("stylize", *files, "--size", 96), ("narrow.png: at size 96 would have 5 x 96", "crop"))


OUTPUTS = {
    "photo.png/out.png": ((), "photo.png is no folder", "another name"),
    "photo.png/": ((), "photo.png is no folder", "another name"),
    "out": ((), "out: cannot write the suffix ''", ".png"),
    "out.gif": ((), "'.gif'", ".png"),
    "folder.png": ((), "is a folder", "add a file name"),
    "taken.png": ((), "taken.png: exists already", "--overwrite"),
    "link.png": ((), "link.png: exists already", "--overwrite"),
    "noted.png": ((), "noted.json: exists already", "--overwrite"),
    "boxed.png": (("--overwrite",), "boxed.json: is a folder", "another name"),
    "run.png": (("--save-every", 1), "run-00001.png: exists already", "--overwrite"),
    "photo.png": (("--overwrite",), "photo.png: is one of the inputs", "another name"),
    "./painting.png": (("--overwrite",), "painting.png: is one of the inputs", "another name"),
    "whole.jpg": (("--overwrite", "--init", "whole.jpg"), "one of the inputs", "another name"),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_bad_outputs(visit, output):
    flags, *words = OUTPUTS[output]
    refused((*SHORT, "-o", output, *flags), words)


@pytest.mark.parametrize(
    ("content", "output", "culprit"),
    [("link.png", "photo.png", "photo.png"), ("photo.png", "link.png", "link.png")]
    + [("odd.json", "odd.png", "odd.json"), ("run-00001.png", "run.png", "run-00001.png")],
)
def test_outputs_never_replace_an_input(visit, content, output, culprit):
    arguments = ("stylize", content, "painting.png", "-o", output, "--size", 32, "--steps", 2)
    words = (f"{culprit}: is one of the inputs", "choose another name")
    refused((*arguments, "--overwrite", "--save-every", 1), words)


def test_a_painting_is_never_replaced(visit):
    arguments = ("stylize", "photo.png", "painting.png", "taken.png", "-o", "taken.png")
    refused((*arguments, "--overwrite"), ("taken.png: is one of the inputs",))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_unwritable_output(visit):
    refused((*SHORT, "-o", "/proc/x.png"), ("/proc/x.png: cannot be written", "another folder"))


FLAGS = [
    ("--content-layers", "conv4_9", ("'conv4_9'", "did you mean conv4_")),
    ("--style-layers", "conv1_1,pool3", ("'pool3'",)),
    ("--style-layers", "conv1_1,relu1_1", ("twice", "conv1_1")),
    ("--style-layers", "", ("style_layers is empty", "conv1_1", "reconstruct content IMAGE")),
    ("--content-layers", "conv5_4", ("vgg16 has no layer 'conv5_4'", "conv5_3")),
    ("--optimizer", "lbgfs", ("optimizer is 'lbgfs'", "did you mean lbfgs")),
    ("--pooling", "mean", ("pooling is 'mean'", "average, max")),
    ("--convention", "papre", ("convention is 'papre'", "did you mean paper")),
    ("--precision", "float16", ("precision is 'float16'", "bfloat16")),
    ("--steps", "-1", ("steps is -1", "0 to")),
    ("--steps", "1.5", ("--steps", "'1.5'")),
    ("--size", "0", ("size is 0", "16 to")),
    ("--size", "15", ("size is 15", "16 to")),
    ("--size", "99999", ("size is 99999", "16 to")),
    ("--style-size", "0", ("style_size is 0", "16 to")),
    ("--colors", "luma", ("colors is 'luma'", "style, luminance, match")),
    ("--color-map", "choleski", ("color_map is 'choleski'", "did you mean cholesky")),
    ("--seed", "-1", ("seed is -1", "0 to")),
    ("--lbfgs-memory", "0", ("lbfgs_memory is 0", "1 to")),
    ("--scales", "0", ("scales is 0", "1 to 6")),
    ("--scales", "7", ("scales is 7", "1 to 6")),
    ("--learning-rate", "0", ("learning_rate is 0", "to 1000")),
    ("--ratio", "nan", ("ratio is nan", "0 to")),
    ("--ratio", "inf", ("ratio is inf", "0 to")),
    ("--ratio", "-1", ("ratio is -1", "0 to")),
    ("--ratio", "1e39", ("ratio is 1e+39", "0 to 1e+38")),
    ("--ratio", "1:1000", ("--ratio", "'1:1000'", "--help")),
    ("--tv-weight", "-0.1", ("tv_weight is -0.1", "0 to")),
    ("--tv-l1-weight", "nan", ("tv_l1_weight is nan", "0 to")),
    ("--padding", "replicated", ("'replicated'; wanted one of zero", "did you mean replicate?")),
    ("--average", "-1", ("average is -1", "0 to 1000000")),
    ("--average", "2.5", ("--average", "'2.5'")),
    ("--style-layer-weights", "1,1", ("2 numbers for 5 style layers", "one each")),
    ("--style-layer-weights", "1,1,1,1,-1", ("style_layer_weights is -1", "0 to")),
    ("--style-layer-weights", "1,,1", ("--style-layer-weights", "'1,,1'", "--help")),
    ("--style-layer-weights", "gatis", ("'gatis'", "did you mean gatys?")),
    ("--layer-weights", "conv1_1=1,conv1_2=1", ("names conv1_2", "conv1_1, conv2_1")),
    ("--layer-weights", "conv1_1=1,conv1_1=2", ("--layer-weights", "--help")),
    ("--layer-weights", "conv1_1=", ("--layer-weights", "'conv1_1='", "--help")),
    ("--style-blend", "0", ("style_blend sums to 0", "at least one")),
    ("--style-blend", "3,7", ("style_blend has 2 numbers for 1 painting", "one each")),
    ("--style-blend", "3;7", ("--style-blend", "'3;7'", "--help")),
    ("--style-scale", "0", ("style_scale is 0", "0.01 to 100")),
    ("--style-scale", "0.25", ("painting.png: at size 8 would have", "at least 16")),
    ("--layers-per-style", "conv1_1/conv2_1", ("no painting carries conv3_1",)),
    ("--layers-per-style", "conv1_1,conv6_1", ("no layer 'conv6_1'",)),
    ("--init-noise", "1.5", ("init_noise is 1.5", "0 to 1")),
    ("--report-every", "0", ("report_every is 0", "at least 1")),
    ("--save-every", "0", ("save_every is 0", "at least 1")),
    ("--weights", "missing.safetensors", ("missing.safetensors", "no such weights file")),
    ("--weights", "vgg19", ("no weights called 'vgg19'", "nst-jax weights fetch vgg19")),
    ("--weights", "resnet", ("no weights called 'resnet'", "there are vgg16-imagenet")),
    ("--weights", "photo.png", ("photo.png: not a readable weights file", "weights convert")),
    ("--weights", "foreign.safetensors", ("foreign.safetensors", "not one that nst-jax wrote")),
    ("--weights", "torn.safetensors", ("torn.safetensors: not a readable weights file",)),
    ("--weights", "flipped.safetensors", ("flipped.safetensors: damaged", "get it again")),
]


@pytest.mark.parametrize(("flag", "value", "words"), FLAGS)
def test_bad_flags(visit, flag, value, words):
    refused((*WHOLE, "-o", "out.png", flag, value), words)


def test_loss_that_overflows(visit):
    arguments = (*SHORT, "-o", "out.png", "--init", "noise", "--ratio", 1e38)
    refused(arguments, ("loss of the initial image is inf", "smaller ratio"), chatter=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder but for a photograph and a painting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    return tmp_path


def read(path):
    """The pixels of a saved image, in [0, 1]."""
    with Image.open(path) as image:
        return np.asarray(image) / 255


def read_record(path):
    """The record as a strict reader of JSON takes it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(Path(path).read_text("utf-8"), parse_constant=refuse)


def check_losses(record):
    """Every entry is consistent with the settings, and none is better than the result."""
    settings = record["settings"]
    count = len(settings["style_layers"])
    weights = settings["style_layer_weights"] or [1 / count] * count
    for entry in (*record["history"], record["result"]):
        terms = [entry["style_layers"][layer] for layer in settings["style_layers"]]
        assert entry["style"] == pytest.approx(np.dot(weights, terms), rel=LOSS)
        total = settings["ratio"] * entry["content"] + entry["style"]
        total += settings["tv_weight"] * entry["tv"] + settings["tv_l1_weight"] * entry["tv_l1"]
        assert entry["loss"] == pytest.approx(total, rel=LOSS)
    if not settings["average"] and not settings["normalize_gradients"]:
        assert record["result"]["loss"] <= min(entry["loss"] for entry in record["history"])


def test_record_and_image(folder):
    arguments = (*WHOLE, "-o", "out.png", "--steps", "3", "--report-every", "1")
    code, out, err = nst(*arguments, "--init", "style")
    assert (code, out) == (0, "out.png\n")
    assert sorted(os.listdir()) == ["out.json", "out.png", "painting.png", "photo.png"]
    said = err.splitlines()
    assert said[0].startswith("network: vgg16, weights vgg16-imagenet") and "normalized" in said[0]
    assert said[1] == "compiling" and said[2].startswith("step 0/3  loss ")
    assert any(line.startswith("step 3/3  loss ") for line in said)
    assert " nan" not in err and "4 evaluations" in said[-1]

    record = read_record("out.json")
    assert list(record) == (
        [
            "command",
            "inputs",
            "settings",
            "settings_given",
            "output",
            "weights",
            "versions",
            "device",
            "timing",
        ]
        + ["compiled_lanes", "evaluations", "completed", "history", "result"]
    )
    photo = hashlib.sha256(Path("photo.png").read_bytes()).hexdigest()
    assert record["inputs"]["content"] == {"file": "photo.png", "sha256": photo}
    assert set(record["inputs"]) == {"content", "style"}
    assert record["command"] == "nst-jax " + " ".join(map(str, (*arguments, "--init", "style")))
    settings = record["settings"]
    assert (settings["size"], settings["style_size"], settings["steps"]) == (32, 32, 3)
    assert tuple(settings["style_layers"]) == LAYERS and settings["learning_rate"] == 1.0
    assert record["weights"]["name"] == "vgg16-imagenet" and record["weights"]["normalized"]
    digest = hashlib.sha256(embedded_path().read_bytes()).hexdigest()
    assert record["weights"]["sha256"] == digest
    assert {"nst_jax", "python", "jax", "jaxlib", "flax"} <= set(record["versions"])
    assert record["device"]["platform"] and record["device"]["count"] >= 1
    timing = record["timing"]
    assert set(timing) == {"compile_s", "run_s", "s_per_step", "lanes"}
    assert timing["s_per_step"] == pytest.approx(timing["run_s"] / 4, abs=1e-4)
    assert record["evaluations"] == 4 and record["completed"] is True
    assert [entry["step"] for entry in record["history"]] == [0, 1, 2, 3]
    terms = {"loss", "content", "style", "tv", "tv_l1", "content_layers", "style_layers"}
    assert set(record["history"][0]) == {"step", *terms}
    assert set(record["result"]) == {*terms, "restarts", "improved"}
    check_losses(record)
    losses = [entry["loss"] for entry in record["history"]]
    assert record["result"]["loss"] == min(losses) < losses[0]

    with Image.open("out.png") as image:
        assert (image.size, image.mode, image.format) == ((32, 24), "RGB", "PNG")
        text = json.loads(image.text["nst_jax"])
    assert text == {key: record[key] for key in text}
    assert set(record) - set(text) == {"history", "timing"}


def test_nothing_gained_is_said_once_with_the_remedy(folder):
    """A step so long that it explodes; without a step there is nothing to say."""
    code, _, err = nst(*STYLIZE, "--steps", 2, "--learning-rate", 1000, "-o", "lost.png")
    (line,) = [line for line in err.splitlines() if "nothing gained" in line]
    assert code == 0 and "lost.png" in line and "smaller --learning-rate" in line
    result = json.loads(Path("lost.json").read_text())["result"]
    assert result["improved"] is False and result["restarts"] == 1
    for steps, improved in ((0, None), (3, True)):
        code, _, err = nst(*STYLIZE, "--steps", steps, "-o", f"{steps}.png")
        assert code == 0 and "nothing gained" not in err
        result = json.loads(Path(f"{steps}.json").read_text())["result"]
        assert result["improved"] is improved


def test_other_losses_and_optimiser(folder):
    flags = ["--style-layers", "conv1_1,relu2_1", "--style-layer-weights", "0.3,2"]
    flags += ["--content-layers", "conv2_2", "--ratio", "0.01", "--tv-weight", "0.5"]
    flags += ["--optimizer", "adam", "--pooling", "max", "--convention", "authors"]
    flags += ["--precision", "tf32", "--style-size", 48, "--report-every", 2]
    code, out, _ = nst(*STYLIZE, "--init", "noise", "--steps", 5, *flags)
    assert (code, out) == (0, "photo-painting.png\n")
    record = read_record("photo-painting.json")
    assert record["settings"]["style_layers"] == ["conv1_1", "conv2_1"]
    assert record["settings"]["learning_rate"] == 0.02 and record["settings"]["style_size"] == 48
    assert [entry["step"] for entry in record["history"]] == [0, 2, 4, 5]
    check_losses(record)


def test_intermediates_and_overwriting(folder):
    arguments = (*STYLIZE, "-o", "out.png", "--steps", 3, "--save-every", 1)
    first = nst(*arguments)
    assert first.code == 0
    assert first.out.splitlines() == ["out-00001.png", "out-00002.png", "out.png"]
    assert {read(name).shape for name in first.out.splitlines()} == {(24, 32, 3)}
    refused(arguments, ("out.png: exists already", "--overwrite"))
    second = nst(*arguments, "--overwrite", "--init", "style")
    assert (second.code, second.out) == (0, first.out)
    assert read_record("out.json")["settings"]["init"] == "style"
    assert len(os.listdir()) == 6


@pytest.mark.usefixtures("equal_shares")
@pytest.mark.parametrize("init", ["noise", "start.png"])
def test_from_coarse_to_fine(folder, init):
    """Pictures on the way have the size of the last one, as frames of a film must."""
    draw("start.png", 90, 64, seed=2)
    arguments = (*STYLIZE, "-o", "out.png", "--size", 96)
    arguments = (*arguments, "--scales", 3, "--steps", 4, "--save-every", 1, "--init", init)
    code, out, err = nst(*arguments, *ONE_LAYER, "--report-every", 1)
    assert code == 0, err
    assert out.splitlines() == ["out-00001.png", "out-00002.png", "out-00003.png", "out.png"]
    assert {read(name).shape for name in out.splitlines()} == {(72, 96, 3)}
    scales = "scales: 2 steps at 48 px, 2 steps at 96 px; 1 left out, for less than 32 px"
    assert any(line.startswith(scales) for line in err.splitlines())
    record = read_record("out.json")
    assert record["scales"] == [{"size": 48, "steps": 2}, {"size": 96, "steps": 2}]
    sizes = [(entry["step"], entry["size"]) for entry in record["history"]]
    assert sizes == [(0, 48), (1, 48), (2, 96), (3, 96), (4, 96)]
    assert record["evaluations"] == 5 and record["settings"]["scales"] == 3
    losses = [entry["loss"] for entry in record["history"]]
    assert record["result"]["size"] == 96 and record["result"]["loss"] == min(losses[2:])
    assert (
        f"loss {losses[2]:.4g} → {min(losses[2:]):.4g} at 96 px in 5 eval" in err.splitlines()[-1]
    )


def test_the_photograph_keeps_its_chroma(folder):
    """In the end and on the way."""
    flags = ("--steps", 3, "--save-every", 1, "--colors", "luminance")
    code, out, err = nst(*STYLIZE, "-o", "out.png", *flags)
    assert code == 0, err
    photograph = io.load_image("photo.png", 32)
    assert out.splitlines() == ["out-00001.png", "out-00002.png", "out.png"]
    for name in out.splitlines():
        change = read(name) - photograph
        assert np.abs(change - change.mean(axis=-1, keepdims=True)).max() < 2 * ROUNDING
    assert np.abs(change).max() > 4 * ROUNDING  # of the result: something happened
    assert read_record("out.json")["settings"]["colors"] == "luminance"


@pytest.mark.parametrize("name", ["out.jpg", "OUT.JPEG"])
def test_jpeg(folder, name):
    assert nst(*SHORT, "-o", name)[:2] == (0, f"{name}\n")
    assert len(read_record(Path(name).with_suffix(".json"))["history"]) == 2
    with Image.open(name) as image:
        assert (image.format, image.size) == ("JPEG", (32, 24))
        assert b'"command": "nst-jax stylize' in image.info["comment"]


def test_paths_with_spaces_and_other_letters(folder):
    home = folder / "Bilder, schöne & 絵"
    home.mkdir()
    content, style = draw(home / "mein photo.png"), draw(home / "bild's.png", seed=1)
    output = home / "ein bild.2.png"
    code, out, _ = nst("stylize", content, style, "-o", output, *QUICK, "--steps", 0)
    assert (code, out) == (0, f"{output}\n") and output.exists()
    command = read_record(home / "ein bild.2.json")["command"]
    assert "'" + str(content) + "'" in command and "bild'\"'\"'s.png" in command
    with Image.open(output) as image:
        assert json.loads(image.text["nst_jax"])["command"] == command


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_pictures_of_every_kind(folder, mode):
    draw("kind.png", mode=mode), draw("painting.png", 40, 40, seed=1, mode=mode)
    arguments = ("stylize", "kind.png", "painting.png", *QUICK, "--steps", 0)
    assert nst(*arguments).code == 0
    assert read("kind-painting.png").shape == (24, 32, 3)


def test_initial_images(folder):
    """With no steps the result is the initial image."""
    draw("start.png", 90, 64, seed=2)
    photo = io.load_image("photo.png", 32)
    wanted = {
        "content": photo,
        "style": resize.cover(io.load_image("painting.png", 32), (24, 32)),
        "start.png": resize.cover(io.load_image("start.png"), (24, 32)),
    }
    for init, image in wanted.items():
        code, out, _ = nst(*STYLIZE, "--steps", 0, "--init", init, "--overwrite")
        assert (code, out) == (0, "photo-painting.png\n")
        assert np.abs(read("photo-painting.png") - image).max() < ROUNDING
        record = read_record("photo-painting.json")
        assert record["evaluations"] == len(record["history"]) == 1
        loss = record["result"]["content"]
        assert (loss < 1e-6) == (init == "content")


def test_several_paintings(folder):
    """A file and a folder: all of them in the record, and mixed as the flags say."""
    (folder / "museum").mkdir()
    draw("museum/b.png", 48, 32, seed=2), draw("museum/a.jpg", 40, 64, seed=3)
    (folder / "museum" / "catalogue.txt").write_text("Dear Theo,")
    flags = ("--style-blend", "1,0,3", "--style-scale", "1,1.5", "--init-noise", 0.5)
    layers = "conv1_1//conv1_1,conv2_1"
    arguments = ("stylize", "photo.png", "painting.png", "museum", *QUICK, "--steps", 1)
    code, out, err = nst(*arguments, *flags, "--layers-per-style", layers)
    assert (code, out) == (0, "photo-painting+museum.png\n"), err
    record = read_record("photo-painting+museum.json")
    files = {role: facts["file"] for role, facts in record["inputs"].items()}
    assert files == {
        "content": "photo.png",
        "style": "painting.png",
        "style_2": "museum/a.jpg",
        "style_3": "museum/b.png",
    }
    settings = record["settings"]
    assert settings["style_blend"] == [1, 0, 3] and settings["style_scale"] == [1, 1.5]
    assert settings["layers_per_style"] == [["conv1_1"], [], ["conv1_1", "conv2_1"]]
    assert settings["init_noise"] == 0.5
    check_losses(record)
    assert Settings(**settings) == Settings(**json.loads(json.dumps(settings)))
    # What weighs nothing changes nothing.
    flags = ("--style-blend", "1,3", *flags[2:], "-o", "two.png")
    layers = "conv1_1/conv1_1,conv2_1"
    arguments = ("stylize", "photo.png", "painting.png", "museum/b.png", *arguments[4:])
    assert nst(*arguments, *flags, "--layers-per-style", layers).code == 0
    assert read_record("two.json")["history"] == record["history"]


@pytest.mark.parametrize(
    ("styles", "name"),
    [
        (["a/night.jpg"], "photo-night.png"),
        (["a/night.jpg", "museum/"], "photo-night+museum.png"),
        (["a.png", "b.png", "c.png", "d.png"], "photo-a+3-more.png"),
    ],
)
def test_default_names(styles, name):
    assert stylize.default_output("photos/photo.png", styles) == Path(name)


def test_seed_of_the_noise(folder):
    for seed, name in ((1, "a.png"), (1, "b.png"), (2, "c.png")):
        nst(*SHORT, "--init", "noise", "--seed", seed, "-o", name)
    assert np.array_equal(read("a.png"), read("b.png"))
    assert not np.array_equal(read("a.png"), read("c.png"))
    assert read_record("a.json")["history"] == read_record("b.json")["history"]


def test_regions(folder):
    """Masks of another size, with a gap; the record has them, and what they are."""
    draw_mask("left.png", [1] + [0] * 7, 16), draw_mask("right.png", [0, 0, 0, 1])
    masks = ("--content-mask", "left.png", "--content-mask", "right.png")
    code, _, err = nst(*SHORT, *masks, "--region-styles", "1,none", "-o", "out.png")
    assert code == 0
    assert "regions: 1 left.png 12.5 %, 2 right.png 25.0 %; 62.5 % of the pixels are in none" in err
    assert "region 1 has no room for the receptive field of conv2_1 (10 px)" in err
    record = read_record("out.json")
    assert record["settings"]["content_mask"] == ["left.png", "right.png"]
    assert record["settings"]["region_styles"] == [1, 0]
    assert set(record["inputs"]) == {"content", "style", "content_mask", "content_mask_2"}
    wanted = hashlib.sha256(Path("right.png").read_bytes()).hexdigest()
    assert record["inputs"]["content_mask_2"]["sha256"] == wanted
    check_losses(record)


def draw_mask(name, parts, width=32):
    row = np.repeat(np.uint8(parts) * 255, width)
    Image.fromarray(np.tile(row, (96, 1))).save(name)


BAD_REGIONS = [
    (("--content-mask", "missing.png"), ("missing.png: there is no such file",)),
    (("--content-mask", "square.png"), ("square.png", "another aspect")),
    (("--content-mask", "mask.png", "--content-mask", "mask.png"), ("2 regions for 1 painting;",)),
    (("--style-mask", "mask.png"), ("style_mask needs the regions of a content_mask",)),
    (("--region-styles", "1"), ("region_styles needs the regions of a content_mask",)),
    (("--content-mask", "mask.png", "--region-styles", "none"), ("has no painting",)),
    (("--content-mask", "mask.png", "--region-styles", "-1"), ("region_styles is -1", "0 to")),
    (("--content-mask", "mask.png", "--region-styles", "1;2"), ("--region-styles", "'1;2'")),
    (("--content-mask", "mask.png", "--style-mask", "mask.png"), ("mask.png", "another aspect")),
    (("--content-mask", "mask.png", "--style-blend", "1"), ("style_blend does not go with",)),
    (("--content-mask", "black.png"), ("black.png: is black or transparent all over",)),
]


@pytest.mark.parametrize(("flags", "words"), BAD_REGIONS)
def test_bad_regions(folder, flags, words):
    draw_mask("mask.png", [1, 1, 0, 0]), draw_mask("black.png", [0, 0, 0, 0])
    draw_mask("square.png", [1, 1, 0])
    refused((*SHORT, "-o", "out.png", *flags), words)


def test_masks_are_never_replaced(folder):
    draw_mask("out.png", [1, 1, 0, 0])
    arguments = (*SHORT, "-o", "out.png", "--overwrite", "--content-mask", "out.png")
    refused(arguments, ("out.png: is one of the inputs",))


def test_padding_average_and_normalized_gradients(folder):
    """The record says so, and what it gives as the result's losses are the average's."""
    flags = (*ONE_LAYER, "--padding", "replicate", "--average", 2, "--normalize-gradients")
    assert nst(*SHORT, "--init", "noise", "--tv-l1-weight", 0.5, *flags).code == 0
    record = read_record("photo-painting.json")
    settings = record["settings"]
    assert (settings["padding"], settings["average"]) == ("replicate", 2)
    assert (settings["normalize_gradients"], settings["ratio"]) == (True, 0.1)
    check_losses(record)
    assert record["result"]["tv_l1"] not in [entry["tv_l1"] for entry in record["history"]]


def test_without_normalizing(folder):
    code, _, err = nst(*SHORT, "--no-normalize")
    record = read_record("photo-painting.json")
    assert code == 0 and "not normalized" in err
    assert record["weights"]["normalized"] is False and record["settings"]["normalize"] is False
    check_losses(record)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_for_the_image(folder, monkeypatch):
    def write_a_little(stream, *_):
        stream.write(b"\x89PNG half an ima")
        full_disk()

    monkeypatch.setitem(encoders.ENCODERS, ".png", write_a_little)
    before = listing()
    code, out, err = nst(*SHORT, "-o", "out.png", "--save-every", 1)
    lines = err.splitlines()
    assert (code, out) == (1, "")
    on_the_way = [line for line in lines if "going on without it" in line]
    assert len(on_the_way) == 1 and "out-00001.png: cannot be written" in on_the_way[0]
    for word in ("out.png: cannot be written", "No space left on device", "free space"):
        assert word in lines[-4]
    assert lines[-1].startswith("nst-jax: out.png: not written, nor in ")
    assert listing() == before


@pytest.mark.parametrize("place", ["working", "temporary"])
def test_a_full_place_sends_the_results_to_the_next(folder, monkeypatch, place):
    """And what stands there already is not replaced."""
    Path("full").mkdir(), Path("temporary").mkdir()
    full = [Path("full")] if place == "working" else [Path("full"), folder]
    make = tempfile.mkstemp

    def make_where_there_is_room(*arguments, dir, **options):
        return full_disk() if Path(dir) in full else make(*arguments, dir=dir, **options)

    other = Path(draw("out.png")).read_bytes()
    monkeypatch.setattr(tempfile, "mkstemp", make_where_there_is_room)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    monkeypatch.setattr(io, "check_writable", lambda *_: None)  # it was, at the start
    code, out, err = nst(*SHORT, "-o", "full/out.png")
    found = folder / ("out-2.png" if place == "working" else "temporary/out.png")
    record = found.with_suffix(".json")
    assert (code, out) == (1, f"{found}\n")
    last = f"nst-jax: full/out.png: picture and record are {found} and {record}"
    assert err.splitlines()[-1] == last
    assert read(found).shape == (24, 32, 3) and read_record(record)["completed"]
    assert Path("out.png").read_bytes() == other and not listing("full")


def test_a_picture_that_appears_meanwhile_is_not_replaced(folder, monkeypatch):
    make = picture.make_record

    def make_late(*arguments):
        draw("out.png")
        return make(*arguments)

    monkeypatch.setattr(picture, "make_record", make_late)
    code, out, err = nst(*SHORT, "-o", "out.png")
    assert (code, out) == (1, "out-2.png\n")
    last = "nst-jax: out.png: picture and record are out-2.png and out-2.json"
    assert err.splitlines()[-1] == last
    assert read("out.png").shape == (48, 64, 3) and read("out-2.png").shape == (24, 32, 3)
    assert nst(*SHORT, "-o", "out.png", "--overwrite").code == 0
    assert read("out.png").shape == (24, 32, 3)


def test_two_runs_of_one_name(folder):
    with reserved(Path("out.png")) as alone:
        assert alone
        code, out, err = nst(*SHORT, "-o", "out.png")
        assert (code, out) == (2, "") and "out.png: another run is making it" in err
    assert nst(*SHORT, "-o", "out.png").code == 0
    assert not list(folder.glob(".*"))


def test_no_room_for_the_record(folder, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    before = listing()
    code, out, err = nst(*SHORT, "-o", "out.png")
    assert (code, out) == (1, "out.png\n")
    assert "out.json: cannot be written (No space left on device)" in err.splitlines()[-4]
    assert {path for path, *_ in listing()} - {path for path, *_ in before} == {"out.png"}
    assert read("out.png").shape == (24, 32, 3)
