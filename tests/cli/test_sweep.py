"""`nst-jax sweep`: what it refuses, what it writes, and how it goes on.

Most runs have two lanes at once, so that they share one compilation.
"""

import errno
import json
import os
import shlex
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import QUICK, draw, launch, listing, nst, refused
from PIL import Image
from safetensors.numpy import save_file

from nst_jax import files
from nst_jax.cli import checkpoints
from nst_jax.cli import lanes as cli_lanes
from nst_jax.engine.checkpoint import CheckpointFile
from nst_jax.files import reserved
from nst_jax.images import io
from nst_jax.sweeps.results_folder import SweepFolder

FIRST = 1e-5  # relative: the same sums, in another order
LAST = 0.02  # what L-BFGS makes of that in a few steps
LEVELS = 1.0  # of 255, the mean difference of pictures; likewise
AGAIN = 1e-6  # relative: the same program in another process
PATIENCE = 120  # seconds until a process of a few seconds counts as stuck

QUICK = (*QUICK, "--steps", 4)
ONE_LAYER = ("--content-layers", "conv1_1", "--style-layers", "conv1_1")
SWEEP = ("sweep", "photo.png", "painting.png", *QUICK)
# From a start that four steps gain much from; what `draw` draws is color as fine as can be.
NOISE = ("--init", "noise", "--noise-amplitude", 1, "--smooth-chroma", 0)
TWO = (*SWEEP, "--ratios", "1e-4,1e-3", "-o", "out")  # two lanes
PAIR = ["ratio-1e-4", "ratio-1e-3"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and two paintings; Ctrl-C as Python has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1), draw("other.png", 48, 32, seed=2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def read_sweep(path="out"):
    """What sweep.json holds, as a strict reader of JSON takes it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((Path(path) / "sweep.json").read_text("utf-8"), parse_constant=refuse)


def lanes_of(path="out"):
    return {lane["name"]: lane for lane in read_sweep(path)["lanes"]}


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float32)


def stamps(*names):
    return {name: (Path(name).stat().st_mtime_ns, Path(name).read_bytes()) for name in names}


def losses_of(record):
    return [entry["loss"] for entry in record["history"]] + [record["result"]["loss"]]


def check_like_alone(lane, path):
    """The lane is what its own command makes."""
    program, *words = shlex.split(lane["again"])
    words[words.index("-o") + 1] = "alone.png"
    assert program == "nst-jax" and nst(*words, "--overwrite").code == 0
    alone = json.loads(Path("alone.json").read_text())
    assert lane["history"][0]["loss"] == pytest.approx(alone["history"][0]["loss"], rel=FIRST)
    assert lane["result"]["loss"] == pytest.approx(alone["result"]["loss"], rel=LAST)
    assert lane["evaluations"] == alone["evaluations"]
    assert alone["result"]["loss"] < 0.9 * alone["history"][0]["loss"]  # something happened
    assert {name: file["sha256"] for name, file in lane["inputs"].items()} == {
        name: file["sha256"] for name, file in alone["inputs"].items()
    }
    difference = pixels_of(Path(path) / lane["file"]) - pixels_of("alone.png")
    assert np.abs(difference).mean() < LEVELS


# ---- What it writes


def test_two_axes():
    axes = ("--ratios", "1e-4,1e-2", "--seeds", "1,7", "--tv-weights", "0.5")
    arguments = (*SWEEP, *NOISE, *axes, "--lanes", 2, "-o", "out")
    code, out, err = nst(*arguments)
    assert code == 0, err
    names = [f"seed-{seed}_ratio-{ratio}" for seed in (1, 7) for ratio in ("1e-4", "1e-2")]
    pictures = [f"out/{name}.png" for name in names]
    assert out.splitlines() == [*pictures, "out/grid.png", "out/index.html"]
    assert sorted(os.listdir("out")) == sorted(
        [f"{name}.png" for name in names] + ["grid.png", "index.html", "sweep.json"]
    )
    said = err.splitlines()
    assert said[0].startswith("network: vgg16, weights vgg16-imagenet") and said[1] == "compiling"
    assert any(line.startswith("2 of 4 lanes at once on ") for line in said)
    assert any(line.startswith("lanes 1 to 2 of 4  step 0/4  loss ") for line in said)
    assert said[-1].startswith("lanes 3 to 4 of 4  step 4/4  loss ") and "steps/s" in said[-1]
    sweep = read_sweep()
    assert sweep["title"] == "photo × painting"
    assert sweep["command"] == shlex.join(["nst-jax", *map(str, arguments)])
    assert sweep["axes"] == [
        {"name": "seed", "title": "seed", "labels": ["1", "7"]},
        {"name": "ratio", "title": "ratio α/β", "labels": ["1e-4", "1e-2"]},
    ]
    assert [(s["role"], s["label"], s["file"]) for s in sweep["sources"]] == [
        ("content", "photo", "photo.png"),
        ("style", "painting", "painting.png"),
    ]
    assert [lane["name"] for lane in sweep["lanes"]] == names
    third = sweep["lanes"][2]
    assert third["place"] == {"seed": 1, "ratio": 0}
    assert (third["content"], third["style"]) == (0, 1)
    settings = third["settings"]
    assert (settings["seed"], settings["ratio"], settings["tv_weight"]) == (7, 1e-4, 0.5)
    assert (third["error"], third["completed"], third["timing"]["lanes"]) == (None, True, 2)
    assert [entry["step"] for entry in third["history"]] == [0, 4]
    assert {pixels_of(path).shape for path in pictures} == {(24, 32, 3)}
    for lane in sweep["lanes"]:
        check_like_alone(lane, "out")
    # Each is on the sheet, row by row.
    sheet = [row.tobytes() for row in pixels_of("out/grid.png")]
    for path in pictures:
        assert all(any(row.tobytes() in line for line in sheet) for row in pixels_of(path))


def test_layer_sets_with_weights():
    sets = ("--style-layer-sets", "relu1_1/conv1_1,conv2_1", "--style-layer-weights", "0.3,2")
    assert nst(*SWEEP, *sets, "-o", "out").code == 0
    lanes = lanes_of()
    assert list(lanes) == ["layers-conv1_1", "layers-to-conv2_1"]
    first, both = lanes.values()
    assert first["settings"]["style_layers"] == ["conv1_1", "conv2_1"]
    assert first["settings"]["style_layer_weights"] == [0.3, 0.0]
    assert both["settings"]["style_layer_weights"] == [0.3, 2.0]
    for lane in lanes.values():
        check_like_alone(lane, "out")
    assert first["again"].endswith(" --style-layers conv1_1 --style-layer-weights 0.3")
    entry = first["result"]  # Σ w_l · term
    assert entry["style"] == pytest.approx(0.3 * entry["style_layers"]["conv1_1"], rel=FIRST)


def test_growing_layer_sets():
    assert nst(*SWEEP, "--style-layer-sets", "cumulative", "--steps", 0, "-o", "out").code == 0
    weights = [lane["settings"]["style_layer_weights"] for lane in lanes_of().values()]
    assert weights == [[1.0, 0.0], [0.5, 0.5]]


def test_styles_with_ratios_of_their_own():
    """And of another shape each; and from an image of a third."""
    draw("start.png", 30, 90, seed=3)
    arguments = ("sweep", "photo.png", "painting.png", "other.png", *QUICK, "--init", "start.png")
    assert nst(*arguments, "--style-ratios", "1e-4,0.02", "-o", "out").code == 0
    sweep = read_sweep()
    assert sweep["axes"][0]["labels"] == ["painting, α/β 1e-4", "other, α/β 2e-2"]
    assert [lane["name"] for lane in sweep["lanes"]] == ["style-painting", "style-other"]
    assert [lane["style"] for lane in sweep["lanes"]] == [1, 2]
    assert [lane["settings"]["ratio"] for lane in sweep["lanes"]] == [1e-4, 0.02]
    for lane in sweep["lanes"]:
        check_like_alone(lane, "out")


def test_one_style_with_a_ratio_of_its_own():
    assert nst(*SWEEP, "--style-ratios", "0.25", "--steps", 0, "-o", "out").code == 0
    (lane,) = lanes_of().values()
    assert (lane["name"], lane["settings"]["ratio"]) == ("result", 0.25)


@pytest.mark.parametrize(
    ("init", "ratios"),
    [("content", [5e-6, 5e-5, 5e-4, 5e-3]), ("noise", [1e-5, 1e-4, 1e-3, 1e-2])],
)
def test_no_axes(init, ratios):
    """Four ratios around the default, in the folder that has the photograph's name."""
    code, out, _ = nst(*SWEEP, "--init", init, "--steps", 0, "--lanes", 2)
    lanes = lanes_of("photo-sweep")
    assert code == 0 and len(out.splitlines()) == 6
    assert [lane["settings"]["ratio"] for lane in lanes.values()] == pytest.approx(ratios)
    assert list(lanes) == [f"ratio-{ratio:.0e}".replace("e-0", "e-") for ratio in ratios]


def test_several_styles_are_an_axis():
    arguments = ("sweep", "photo.png", "painting.png", "other.png", *QUICK, "--steps", 0)
    assert nst(*arguments, "-o", "out").code == 0
    assert list(lanes_of()) == ["style-painting", "style-other"]


BOTH = ("sweep", "photo.png", "painting.png", "other.png", *QUICK, "-o", "out")


def test_from_one_style_to_another():
    """The ends are the paintings alone; each picture's command makes it again."""
    assert nst(*BOTH, "--blend-steps", 3, "--init-noises", "0,0.5").code == 0
    sweep = read_sweep()
    assert sweep["axes"][0] == (
        {"name": "blend", "title": "share of other", "labels": ["0", "0.5", "1"]}
    )
    assert [lane["style"] for lane in sweep["lanes"]] == [[1, 2]] * 6
    blends = [lane["settings"]["style_blend"] for lane in sweep["lanes"][::2]]
    assert blends == [[1, 0], [0.5, 0.5], [0, 1]]
    assert [set(lane["inputs"]) for lane in sweep["lanes"]] == [{"content", "style", "style_2"}] * 6
    for lane in (sweep["lanes"][2], sweep["lanes"][3]):
        check_like_alone(lane, "out")
    assert " photo.png painting.png other.png -o blend-0.5_noise-0.5.png" in lane["again"]
    ends = lanes_of()["blend-0_noise-0"], lanes_of()["blend-1_noise-0"]
    for end, painting in zip(ends, ("painting.png", "other.png"), strict=True):
        arguments = ("stylize", "photo.png", painting, "-o", "alone.png", *QUICK, "--overwrite")
        assert nst(*arguments).code == 0
        alone = json.loads(Path("alone.json").read_text())
        assert end["history"][0]["style"] == pytest.approx(alone["history"][0]["style"], rel=FIRST)
    page = Path("out/index.html").read_text("utf-8")
    assert '"source-1-2":' in page


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (("--mix",), (None, [1.0], None)),
        (("--style-blend", "3,7", "--style-scale", "1,2"), ([3, 7], [1, 2], None)),
        (("--layers-per-style", "conv1_1/conv2_1"), (None, [1.0], [["conv1_1"], ["conv2_1"]])),
    ],
)
def test_styles_mixed_in_every_picture(flags, wanted):
    assert nst(*BOTH, *flags, "--seeds", "1,2", "--steps", 0).code == 0
    lanes = lanes_of()
    assert list(lanes) == ["seed-1", "seed-2"]
    for lane in lanes.values():
        names = ("style_blend", "style_scale", "layers_per_style")
        assert tuple(lane["settings"][name] for name in names) == wanted
        assert lane["style"] == [1, 2]
        check_again(lane)


def check_again(lane):
    """Its command has the same settings; the seed is printed, too."""
    program, *words = shlex.split(lane["again"])
    assert program == "nst-jax" and nst(*words, "--overwrite").code == 0
    settings = json.loads(Path(lane["file"]).with_suffix(".json").read_text())["settings"]
    assert settings == lane["settings"]


def test_style_scales_are_an_axis():
    Path("museum").mkdir(), Path("painting.png").rename("museum/painting.png")
    arguments = ("sweep", "photo.png", "museum", *QUICK, "-o", "out", "--lanes", 2)
    assert nst(*arguments, "--style-scales", "0.5,2").code == 0
    lanes = lanes_of()
    assert list(lanes) == ["scale-0.5", "scale-2"]
    assert [lane["settings"]["style_scale"] for lane in lanes.values()] == [[0.5], [2.0]]
    assert {lane["inputs"]["style"]["file"] for lane in lanes.values()} == {"museum/painting.png"}
    for lane in lanes.values():
        check_like_alone(lane, "out")


def test_initial_images_are_an_axis():
    draw("start.png", 30, 90, seed=3)
    inits = ("--inits", "noise,start.png", "--steps", 0)
    assert nst(*SWEEP, *inits, "-o", "out").code == 0
    lanes = lanes_of()
    assert list(lanes) == ["init-noise", "init-start"]
    # What a ratio is by default depends on the start.
    assert [lane["settings"]["ratio"] for lane in lanes.values()] == [1e-3, 5e-5]
    assert "init" in lanes["init-start"]["inputs"] and "init" not in lanes["init-noise"]["inputs"]


def test_colours_are_an_axis():
    """Each as its own command makes it; luminance with the photograph's chroma, on the way, too."""
    flags = ("--color-modes", "style,luminance,match", "--color-map", "symmetric")
    assert nst(*SWEEP, *flags, "--save-every", 2, "-o", "out").code == 0
    lanes = lanes_of()
    assert list(lanes) == [f"colors-{colors}" for colors in ("style", "luminance", "match")]
    for lane in lanes.values():
        check_like_alone(lane, "out")
    photograph = io.load_image("photo.png", 32) * 255
    for name in ("out/colors-luminance.png", "out/colors-luminance-00002.png"):
        change = pixels_of(name) - photograph
        assert np.ptp(change, axis=-1).max() < 1.001 < np.abs(change).max()  # rounding, to 8 bits


def test_colour_maps_are_an_axis():
    flags = ("--colors", "match", "--color-maps", "cholesky,pca,symmetric", "--steps", 0)
    assert nst(*SWEEP, *flags, "-o", "out").code == 0
    assert list(lanes_of()) == ["map-cholesky", "map-pca", "map-symmetric"]
    first = [lane["history"][0]["style"] for lane in lanes_of().values()]
    assert len(set(first)) == 3


def test_intermediates():
    code, out, _ = nst(*TWO, "--save-every", 2)
    between = [f"out/{name}-00002.png" for name in PAIR]
    assert code == 0
    assert out.splitlines()[:2] == between and len(out.splitlines()) == 6
    for name, path in zip(PAIR, between, strict=True):
        assert pixels_of(path).shape == (24, 32, 3)
        assert not np.array_equal(pixels_of(path), pixels_of(f"out/{name}.png"))


def test_how_many_at_once_changes_nothing():
    """Not even where the last round is not full."""
    arguments = (*SWEEP, "--init", "noise", "--ratios", "1e-4,1e-3,1e-2")
    runs = {"all": (), "three": ("--lanes", 3), "two": ("--lanes", 2), "one": ("--lanes", 1)}
    together = {}
    for name, flags in runs.items():
        code, out, err = nst(*arguments, *flags, "-o", name)
        assert code == 0 and len(out.splitlines()) == 5, err
        together[name] = [lane["timing"]["lanes"] for lane in lanes_of(name).values()]
    wanted = {"all": [3, 3, 3], "three": [3, 3, 3], "two": [2, 2, 1], "one": [1, 1, 1]}
    assert together == wanted
    for name in ("three", "two", "one"):
        for lane, other in zip(lanes_of("all").values(), lanes_of(name).values(), strict=True):
            assert other["history"][0]["loss"] == pytest.approx(
                lane["history"][0]["loss"], rel=FIRST
            )
            assert other["result"]["loss"] == pytest.approx(lane["result"]["loss"], rel=LAST)


def test_memory_decides_how_many_at_once(monkeypatch):
    """What fits is asked of the compiler; that all lanes were asked for does not matter."""
    asked = []

    def run(folder, lanes, weights, run_options, *_):
        asked.append(run_options)

    monkeypatch.setattr(cli_lanes, "_run", run)
    nst(*TWO, "--memory", "1.5GB", "--lanes", 7)
    assert (asked[0].memory, asked[0].lanes_at_once) == (1_500_000_000, 7)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("8GB", 8e9), ("800MB", 8e8), ("8e9", 8e9), ("1.5 tb", 1.5e12), ("7k", 7e3), ("2GiB", 2e9)],
)
def test_bytes(text, wanted):
    assert cli_lanes.byte_count(text) == wanted


@pytest.mark.parametrize("text", ["", "GB", "8XB", "-8GB", "1.2.3GB", "0", "0GB", "1e999", "."])
def test_no_bytes(text):
    with pytest.raises(ValueError):
        cli_lanes.byte_count(text)


# ---- Lanes that come to nothing

OVERFLOW = (*SWEEP, "--ratios", "1e-4,1e38", *NOISE, "-o", "out")


def test_lane_that_overflows():
    code, out, err = nst(*OVERFLOW)
    assert code == 1
    assert out.splitlines() == ["out/ratio-1e-4.png", "out/grid.png", "out/index.html"]
    *_, failure, end = err.splitlines()
    assert failure.startswith("nst-jax: no picture for ratio-1e38: the loss of the initial image")
    assert "is inf" in failure and "smaller ratio" in failure
    assert end == "nst-jax: lanes without a picture: 1 of 2"
    good, bad = lanes_of().values()
    assert good["error"] is None and bad["error"] in failure
    assert bad["result"]["loss"] is None and bad["history"][0]["loss"] is None
    check_like_alone(good, "out")
    # The same again: nothing is computed, and it is still said.
    kept = stamps("out/ratio-1e-4.png")
    code, out, err = nst(*OVERFLOW)
    assert code == 1 and out.splitlines() == ["out/grid.png", "out/index.html"]
    assert "out: 2 of 2 are finished" in err and "compiling" not in err
    assert err.splitlines()[-2:] == [failure, end]
    assert stamps("out/ratio-1e-4.png") == kept


def test_lanes_that_gain_nothing_are_named_in_one_line():
    flags = ("--steps", 2, "--learning-rate", 1000, "--ratios", "1e-4,1e-3", "-o", "lost")
    code, _, err = nst(*SWEEP, *flags)
    (line,) = [line for line in err.splitlines() if "nothing gained" in line]
    assert code == 0 and "ratio-1e-4, ratio-1e-3" in line
    lanes = json.loads(Path("lost/sweep.json").read_text())["lanes"]
    assert [lane["result"]["improved"] for lane in lanes] == [False, False]


def test_all_lanes_overflow():
    code, out, err = nst(*SWEEP, "--ratios", "1e37,1e38", "--init", "noise", "-o", "out")
    assert code == 1 and out.splitlines() == ["out/grid.png", "out/index.html"]
    assert err.splitlines()[-1] == "nst-jax: lanes without a picture: 2 of 2"
    assert len(lanes_of()) == 2


# ---- What it refuses

FLAGS = [
    (("--ratios", "abc"), ("--ratios", "'abc'", "--help")),
    (("--ratios", ""), ("--ratios", "--help")),
    (("--ratios", "1e-4,1e-4"), ("ratio", "1e-4 twice", "once")),
    (("--ratios", "1e-4,-1"), ("ratio is -1", "0 to")),
    (("--ratios", "nan"), ("ratio is nan", "0 to")),
    (("--ratio", 1, "--ratios", "1,2"), ("--ratio and --ratios do not go together",)),
    (("--ratio", 1, "--style-ratios", "1"), ("--ratio and --style-ratios do not go together",)),
    (("--ratios", "1", "--style-ratios", "1"), ("--ratios and --style-ratios do not",)),
    (("--seed", 1, "--seeds", "1,2"), ("--seed and --seeds do not go together",)),
    (("--init", "noise", "--inits", "noise"), ("--init and --inits do not go together",)),
    (("--tv-weight", 1, "--tv-weights", "1"), ("--tv-weight and --tv-weights do not go",)),
    (("--colors", "match", "--color-modes", "style"), ("--colors and --color-modes do not",)),
    (("--color-map", "pca", "--color-maps", "pca"), ("--color-map and --color-maps do not",)),
    (("--color-modes", "style,sepia"), ("colors is 'sepia'", "style, luminance, match")),
    (("--color-modes", "style,style"), ("colors has style twice", "once")),
    (("--color-maps", "pca,cholesky"), ("--color-maps is of --colors match", "leave it out")),
    (("--colors", "match", "--color-maps", "rgb"), ("color_map is 'rgb'", "cholesky, pca")),
    (("--style-scale", 1, "--style-scales", "1"), ("--style-scale and --style-scales do not",)),
    (("--init-noise", 0, "--init-noises", "1"), ("--init-noise and --init-noises do not",)),
    (("--style-blend", "1", "--blend-steps", 2), ("--style-blend and --blend-steps do not",)),
    (("--blend-steps", "3"), ("from one STYLE to another; got 1",)),
    (("--blend-steps", "1.5"), ("--blend-steps", "'1.5'", "--help")),
    (("--mix", "--style-ratios", "1"), ("--style-ratios has one ratio for each STYLE",)),
    (("--style-blend", "1,2"), ("style_blend has 2 numbers for 1 painting", "one each")),
    (("--style-scales", "0.5,0"), ("style_scale is 0", "0.01 to 100")),
    (("--style-scales", "1,0.25"), ("painting.png: at size 8 would have",)),
    (("--init-noises", "0,2"), ("init_noise is 2", "0 to 1")),
    (("--layer-weights", "cubic"), ("'cubic'", "paper, gatys, geometric")),
    (("--tv-l1-weight", 1, "--tv-l1-weights", "1"), ("--tv-l1-weight and --tv-l1-weights do not",)),
    (("--tv-l1-weights", "0,-1"), ("tv_l1_weight is -1", "0 to")),
    (("--style-ratios", "1,2"), ("2 style ratios for 1 styles", "one each")),
    (("--style-layer-sets", "conv1_1/conv9_1"), ("no layer 'conv9_1'",)),
    (("--style-layer-sets", "conv1_1/conv1_1"), ("conv1_1 twice",)),
    (("--style-layer-sets", "conv1_1,relu1_1"), ("style_layers names a layer twice",)),
    (("--style-layer-sets", ""), ("set of style layers is empty", "at least one")),
    (("--style-layer-sets", "conv1_1/"), ("set of style layers is empty", "at least one")),
    (("--style-layer-sets", "conv1_1/conv5_4"), ("vgg16 has no layer 'conv5_4'",)),
    (("--inits", ","), ("start has no value", "at least one")),
    (("--inits", "noise,missing.png"), ("missing.png: there is no such file",)),
    (("--seeds", "1.5"), ("--seeds", "'1.5'", "--help")),
    (("--seeds", "0,-1"), ("seed is -1", "0 to")),
    (("--tv-weights", "0,-1"), ("tv_weight is -1", "0 to")),
    (("--lanes", "0"), ("lanes", "is 0", "at least 1")),
    (("--lanes", "many"), ("--lanes", "'many'", "--help")),
    (("--memory", "junk"), ("--memory", "'junk'", "--help")),
    (("--memory", "0GB"), ("--memory", "'0GB'", "--help")),
    (("--memory", "1e999"), ("--memory", "'1e999'", "--help")),
    (("--save-every", "0"), ("save_every is 0", "at least 1")),
    (("--report-every", "0"), ("report_every is 0", "at least 1")),
    (("--steps", "-1"), ("steps is -1",)),
    (("--weights", "vgg19"), ("no weights called 'vgg19'",)),
    (("-o", "photo.png"), ("photo.png: is a file", "name a folder")),
    (("-o", "photo.png/out"), ("photo.png/out: cannot be made", "another folder")),
]


@pytest.mark.parametrize(("flags", "words"), FLAGS)
def test_bad_flags(flags, words):
    refused((*SWEEP, "-o", "out", *flags), words, chatter=True)


@pytest.mark.parametrize("files", [("missing.png", "painting.png"), ("photo.png", "missing.png")])
def test_missing_image(files):
    words = ("missing.png: there is no such file", "check the path")
    refused(("sweep", *files, *QUICK, "-o", "out"), words, chatter=True)


def test_image_that_is_none():
    Path("letter.jpg").write_text("Dear Theo, " * 99)
    words = ("letter.jpg: is no image",)
    refused(("sweep", "photo.png", "letter.jpg", *QUICK, "-o", "out"), words, chatter=True)


def test_too_little_memory():
    """The numbers, and the remedy; nothing is left behind, not even the folder."""
    words = ("MB of memory are needed", "and 0.1 MB are free", "the network")
    refused((*TWO, "--memory", "0.1MB"), words, chatter=True)


def test_two_sweeps_of_one_folder():
    with reserved(Path("out")):
        code, out, err = nst(*TWO)
        assert (code, out) == (2, "") and "out: another run is making it" in err
    assert nst(*TWO).code == 0


def test_results_never_replace_an_input():
    nst(*TWO, "--steps", 0)
    arguments = ("sweep", "photo.png", "out/ratio-1e-3.png", *QUICK, "--ratios", "1e-4,1e-3")
    words = ("ratio-1e-3.png: is one of the inputs", "another name")
    refused((*arguments, "-o", "out", "--overwrite"), words, chatter=True)


# ---- Going on


def test_finished_lanes_are_kept():
    assert nst(*TWO).code == 0
    files = [f"out/{name}.png" for name in PAIR]
    kept, first = stamps(*files), lanes_of()
    code, out, err = nst(*TWO)
    assert code == 0 and out.splitlines() == ["out/grid.png", "out/index.html"]
    assert err.splitlines()[-1] == "out: 2 of 2 are finished"
    assert stamps(*files) == kept and lanes_of() == first


def test_more_ratios():
    assert nst(*TWO).code == 0
    kept = stamps(*(f"out/{name}.png" for name in PAIR))
    more = (*SWEEP, "--ratios", "1e-5,1e-4,1e-3,1e-2", "-o", "out")
    code, out, err = nst(*more)
    assert code == 0 and "out: 2 of 4 are finished" in err
    assert out.splitlines() == (
        ["out/ratio-1e-5.png", "out/ratio-1e-2.png", "out/grid.png", "out/index.html"]
    )
    assert stamps(*kept) == kept
    lanes = lanes_of()
    assert [lane["place"]["ratio"] for lane in lanes.values()] == [0, 1, 2, 3]
    assert len(lanes) == 4 and all(lane["completed"] for lane in lanes.values())
    # As if all four had been asked for at once.
    assert nst(*more[:-1], "whole", "--lanes", 2).code == 0
    for name, lane in lanes_of("whole").items():
        assert lanes[name]["result"]["loss"] == pytest.approx(lane["result"]["loss"], rel=LAST)
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"whole/{name}.png"))


def test_deleted_picture():
    assert nst(*TWO, "--lanes", 1).code == 0
    before = pixels_of("out/ratio-1e-3.png")
    kept = stamps("out/ratio-1e-4.png")
    Path("out/ratio-1e-3.png").unlink()
    code, out, _ = nst(*TWO)
    assert code == 0
    assert out.splitlines() == ["out/ratio-1e-3.png", "out/grid.png", "out/index.html"]
    assert stamps("out/ratio-1e-4.png") == kept
    assert np.array_equal(pixels_of("out/ratio-1e-3.png"), before)


@pytest.fixture
def finished():
    """The folder of a finished sweep of two."""
    assert nst(*TWO, "--steps", 0).code == 0
    return (*TWO, "--steps", 0)


def test_another_sweep(finished):
    refused((*finished, "--pooling", "max"), ("another sweep", "pooling average"), chatter=True)
    refused((*finished[:-1], 1), ("steps 0, not 1", "--overwrite"), chatter=True)
    draw("photo.png", seed=9)
    refused(finished, ("another sweep", "other images", "--overwrite"), chatter=True)
    assert nst(*finished, "--overwrite").code == 0
    assert nst(*finished).out.splitlines() == ["out/grid.png", "out/index.html"]


def test_other_weights(finished):
    refused((*finished, "--no-normalize"), ("another sweep", "normalize True"), chatter=True)


def test_overwriting(finished):
    kept = stamps(*(f"out/{name}.png" for name in PAIR))
    code, out, err = nst(*finished, "--overwrite")
    assert code == 0 and len(out.splitlines()) == 4 and "finished" not in err
    assert all(stamps(name) != {name: stamp} for name, stamp in kept.items())


def test_file_of_someone_else():
    Path("out").mkdir()
    draw("out/ratio-1e-3.png", seed=9)
    words = ("ratio-1e-3.png: exists already", "--overwrite")
    refused(TWO, words, chatter=True)


def test_record_that_is_none(finished):
    Path("out/sweep.json").write_text("{")
    refused(finished, ("sweep.json: is no record of a sweep", "--overwrite"), chatter=True)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


WRITES = ["ratio-1e-4.png", "ratio-1e-3.png", "sweep.json", "grid.png", "index.html"]


@pytest.mark.parametrize("name", WRITES)
def test_full_disk(monkeypatch, name):
    """What cannot be written is told, all else is done, and the same command makes the rest."""
    replacing = files.replacing

    def fail(path):
        return full_disk() if path.name == name else replacing(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replacing", fail), patch.setattr(io, "replacing", fail)
        code, out, err = nst(*TWO, "--lanes", 1)
    last = "nst-jax: out: not all could be written; free space, and the same command makes the rest"
    lines = err.splitlines()
    assert code == 1 and lines[-1] == last and f"nst-jax: out/{name}: cannot be written" in err
    there = {path.name for path in Path("out").iterdir()}
    lost = WRITES[:3] if name == "sweep.json" else [name]  # pictures without records are no use
    assert there == set(WRITES) - set(lost)
    assert {Path(path).name for path in out.splitlines()} == there - {"sweep.json"}
    if name == "sweep.json":
        Path("out/grid.png").unlink(), Path("out/index.html").unlink()  # of nobody, without it
    code, out, err = nst(*TWO)
    assert code == 0 and not Path(KEPT).exists()
    made = {Path(path).name for path in out.splitlines()}
    assert made == {*lost, "grid.png", "index.html"} - {"sweep.json"}
    assert all(lane["completed"] for lane in lanes_of().values())
    page = Path("out/index.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 4


def test_space_is_probed_before_the_run(monkeypatch):
    """None at all is refused, too little is told, and a lot of it is said."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    refused(TWO, ("out: the disk is full (1e-05 MB free)", "free space"), chatter=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    code, _, err = nst(*TWO)
    assert code == 0 and "out: only 0.001 MB free, and pictures and checkpoints may take" in err
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    monkeypatch.setattr(checkpoints, "LARGE", 1000)
    code, _, err = nst(*TWO, "--overwrite")
    said = [line for line in err.splitlines() if line.startswith("checkpoints take up to 0.")]
    assert code == 0 and len(said) == 1 and "--checkpoint-every never" in said[0]
    code, _, err = nst(*TWO, "--overwrite", "--checkpoint-every", "never")
    assert code == 0 and "checkpoint" not in err


# ---- Ctrl-C

KEPT = "out/unfinished.safetensors"
MANY = [f"ratio-{ratio}" for ratio in ("1e-4", "1e-3", "1e-2", "0.1")]
LONG = (*SWEEP, "--steps", 100, "--init", "noise", "--ratios", "1e-4,1e-3,1e-2,0.1")
LONG = (*LONG, "--lanes", 2, "--report-every", 1)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A folder where Ctrl-C was pressed in the second round of a real process, and what it said."""
    home, before = tmp_path_factory.mktemp("interrupted"), os.getcwd()
    os.chdir(home)
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    process = launch(*LONG, "-o", "out")
    first = [process.stdout.readline(), process.stdout.readline()]  # the second round has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    os.chdir(before)
    return home, process.returncode, "".join(first) + out, err


@pytest.fixture
def stopped(interrupted, folder):
    """A copy of that folder; every test has its own."""
    for path in (interrupted[0] / "out").iterdir():
        Path("out").mkdir(exist_ok=True)
        Path("out", path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.slow
def test_ctrl_c(interrupted, stopped):
    _, code, out, err = interrupted
    assert code == 130 and "Traceback" not in err
    paths = [f"out/{name}.png" for name in MANY]
    assert out.splitlines() == [*paths, "out/grid.png", "out/index.html"]
    assert "stopping after this step" in err
    assert err.splitlines()[-1] == f"interrupted; the same command goes on from here ({KEPT})"
    lanes = lanes_of()
    assert list(lanes) == MANY
    assert [lane["completed"] for lane in lanes.values()] == [True, True, False, False]
    for name, lane in lanes.items():
        assert lane["error"] is None and pixels_of(f"out/{name}.png").shape == (24, 32, 3)
        losses = [entry["loss"] for entry in lane["history"]]
        assert lane["result"]["loss"] == min(losses) and len(losses) == lane["evaluations"]
    assert 1 <= lanes[MANY[2]]["evaluations"] < 101 == lanes[MANY[0]]["evaluations"]
    assert Path("out/unfinished.safetensors").exists()
    page = Path("out/index.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 6


def reference():
    """The same without any interruption."""
    if not Path("whole").exists():
        assert nst(*LONG, "-o", "whole").code == 0
    return lanes_of("whole")


def check_end():
    """The folder is as if nothing had been."""
    whole, lanes = reference(), lanes_of()
    assert list(lanes) == list(whole) and not Path("out/unfinished.safetensors").exists()
    for name, lane in lanes.items():
        assert lane["completed"] is True and lane["evaluations"] == 101
        steps = [entry["step"] for entry in lane["history"]]
        assert steps == list(range(101))
        assert losses_of(lane) == pytest.approx(losses_of(whole[name]), rel=AGAIN)
        assert np.abs(pixels_of(f"out/{name}.png") - pixels_of(f"whole/{name}.png")).max() <= 1


@pytest.mark.slow
def test_going_on(stopped):
    kept, before = stamps(*(f"out/{name}.png" for name in MANY[:2])), lanes_of()
    code, out, err = nst(*LONG, "-o", "out")
    done = before[MANY[2]]["evaluations"]
    assert code == 0 and done >= 1
    assert "out: 2 of 4 are finished" in err
    assert f"going on with 2 of them at step {done}" in err.splitlines()
    assert f"step {done}/100" in err and "step 0/100" not in err
    assert out.splitlines() == (
        [f"out/{name}.png" for name in MANY[2:]] + ["out/grid.png", "out/index.html"]
    )
    assert stamps(*kept) == kept
    check_end()


@pytest.mark.slow
def test_going_on_without_what_was_kept(stopped):
    """Damaged or foreign: the lanes begin anew."""
    path, record = Path("out/unfinished.safetensors"), Path("out/sweep.json")
    whole, interrupted = path.read_bytes(), record.read_bytes()
    save_file({"conv1_1/bias": np.zeros(3, np.float32)}, "foreign")
    for kept in (whole[: len(whole) // 2], Path("foreign").read_bytes()):
        path.write_bytes(kept)
        record.write_bytes(interrupted)
        code, _, err = nst(*LONG, "-o", "out")
        assert code == 0 and "going on" not in err and "step 0/100" in err
        assert "2 of 4 are finished" in err and not path.exists()
    check_end()


class Press:
    """Presses Ctrl-C when the callback is told of this step, or while these lanes run."""

    def __init__(self, monkeypatch, lane, step):
        self.lane, self.step, make = lane, step, cli_lanes.make_callback

        def make_callback(*arguments):
            callback = make(*arguments)

            def pressing(progress):
                if self.lane in progress.lanes and progress.step == self.step:
                    signal.raise_signal(signal.SIGINT)
                callback(progress)

            return pressing

        monkeypatch.setattr(cli_lanes, "make_callback", make_callback)


@pytest.mark.slow
def test_overwriting_begins_anew(stopped, monkeypatch):
    Press(monkeypatch, 0, 1)
    code, _, err = nst(*LONG, "-o", "out", "--overwrite")
    assert code == 130 and "step 0/100" in err
    assert "going on" not in err and "are finished" not in err


def test_ctrl_c_twice_in_the_life_of_a_lane(monkeypatch):
    """It goes on from where it went on."""
    five = (*TWO[:-2], "--steps", 9, "--report-every", 1)
    for step in (2, 6):
        with monkeypatch.context() as patch:
            Press(patch, 1, step)
            assert nst(*five, "-o", "out").code == 130
    evaluations = lanes_of()[PAIR[1]]["evaluations"]
    assert evaluations in (7, 8)  # the device may be one step ahead
    code, _, err = nst(*five, "-o", "out")
    assert code == 0 and f"at step {evaluations}" in err
    assert nst(*five, "-o", "whole").code == 0
    whole = lanes_of("whole")
    for name, lane in lanes_of().items():
        assert losses_of(lane) == pytest.approx(losses_of(whole[name]), rel=AGAIN)
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"whole/{name}.png"))


@pytest.mark.slow
@pytest.mark.usefixtures("equal_shares")
def test_ctrl_c_at_a_coarse_scale(monkeypatch):
    """In the folder stand enlarged pictures; what goes on is of the scale that it was at."""
    scaled = (*TWO[:-2], *ONE_LAYER, "--size", 96, "--scales", 2, "--steps", 8, "--report-every", 1)
    with monkeypatch.context() as patch:
        Press(patch, 1, 1)
        code, _, err = nst(*scaled, "--save-every", 1, "-o", "out")
    assert code == 130 and "scales: 4 steps at 48 px, 4 steps at 96 px" in err
    assert {lane["result"]["size"] for lane in lanes_of().values()} == {48}
    for name in PAIR:
        assert pixels_of(f"out/{name}.png").shape == (72, 96, 3)
        assert pixels_of(f"out/{name}-00001.png").shape == (72, 96, 3)
    code, _, err = nst(*scaled, "-o", "out")
    assert code == 0 and "going on with 2 of them at step" in err
    assert nst(*scaled, "-o", "whole").code == 0
    whole = lanes_of("whole")
    for name, lane in lanes_of().items():
        assert [entry["size"] for entry in lane["history"]] == [48] * 4 + [96] * 5
        assert losses_of(lane) == pytest.approx(losses_of(whole[name]), rel=AGAIN)
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"whole/{name}.png"))
        assert "--scales 2" in lane["again"] and lane["result"]["size"] == 96


def test_regions():
    """Two paintings go to the regions of every lane; another mask makes another sweep."""
    halves = np.tile(np.repeat(np.uint8([0, 255]), 32), (48, 1))
    Image.fromarray(255 - halves).save("left.png"), Image.fromarray(halves).save("right.png")
    masks = ("--content-mask", "left.png", "--content-mask", "right.png")
    masked = ("sweep", "photo.png", "painting.png", "other.png", *TWO[3:], *ONE_LAYER, *masks)
    code, out, err = nst(*masked)
    assert code == 0 and len(out.splitlines()) == 4
    assert err.count("regions: 1 left.png 50.0 %, 2 right.png 50.0 %") == 1
    for lane in lanes_of().values():
        assert lane["style"] == [1, 2]
        assert set(lane["inputs"]) == {
            *("content", "style", "style_2", "content_mask", "content_mask_2")
        }
        again = shlex.split(lane["again"])
        assert nst(*again[1:], "-o", "again.png", "--overwrite").code == 0
        assert losses_of(json.loads(Path("again.json").read_text()))[0] == pytest.approx(
            losses_of(lane)[0], rel=FIRST
        )
    assert "2 of 2 are finished" in nst(*masked).err
    Image.fromarray(255 - halves // 2).save("left.png")
    refused(masked, ("out holds another sweep", "other images"), chatter=True)


@pytest.mark.parametrize("how", [(), ("--resume",), ("--overwrite", "--resume")])
def test_ctrl_c_while_overwriting(finished, monkeypatch, how):
    """What goes on is said rightly; and it does, also without --overwrite."""
    nine = (*finished[:-1], 9, "--lanes", 1)
    with monkeypatch.context() as patch:
        Press(patch, 0, 3)
        code, _, err = nst(*nine, "--overwrite")
    assert code == 130
    assert err.splitlines()[-1] == (
        f"interrupted; the same command with --resume goes on from here ({KEPT})"
    )
    assert not Path("out/ratio-1e-3.png").exists()  # of the other sweep
    code, out, err = nst(*nine, *how)
    assert code == 0 and "going on with 1 of them at step" in err
    assert len(out.splitlines()) == 4
    assert [lane["settings"]["steps"] for lane in lanes_of().values()] == [9, 9]


def test_ctrl_c_before_the_first_step(monkeypatch):
    def press(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli_lanes, "Runner", press)
    before = listing()
    code, out, err = nst(*TWO)
    assert (code, out) == (130, "") and listing() == before
    assert err.splitlines()[-1] == "nst-jax: interrupted before there was a result"


def test_no_room_for_what_was_interrupted(monkeypatch):
    """The pictures are there all the same; it is told once."""
    monkeypatch.setattr("nst_jax.engine.checkpoint.array_file.write", full_disk)
    Press(monkeypatch, 0, 3)
    code, out, err = nst(*TWO, "--checkpoint-every", 1)
    assert code == 130 and len(out.splitlines()) == 4
    told = f"{KEPT}: no checkpoint can be written (No space left on device); the run goes on"
    assert err.count(told) == err.count("checkpoint") == 1 and "interrupted;" not in err
    assert not Path(KEPT).exists()


# ---- kill -9


class Killed(BaseException):
    """Nothing in the package catches it: what is on the disk now is all that is left."""


def kill(monkeypatch, lane, step):
    """End the process, as it were, when the callback is told of this step of this lane."""

    def raise_killed(_):
        raise Killed

    monkeypatch.setattr(signal, "raise_signal", raise_killed)
    Press(monkeypatch, lane, step)


def killed(monkeypatch, lane, step, *arguments):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, lane, step)
        nst(*arguments)


NINE = (*TWO[:-2], "--steps", 9, "--report-every", 1, "--lanes", 1, "--checkpoint-every", 2)


def test_killed_in_either_round(monkeypatch):
    """In the first, when there is no sweep.json yet, and in the second."""
    here = (*NINE, "-o", "out")
    killed(monkeypatch, 0, 4, *here)
    assert [path.name for path in Path("out").iterdir()] == ["unfinished.safetensors"]
    killed(monkeypatch, 1, 7, *here)
    code, out, err = nst(*here)
    assert code == 0 and "1 of 2 are finished" in err and "going on with 1 of them at step 6" in err
    assert out.splitlines() == ["out/ratio-1e-3.png", "out/grid.png", "out/index.html"]
    assert nst(*NINE, "-o", "whole").code == 0
    whole = lanes_of("whole")
    for name, lane in lanes_of().items():
        assert losses_of(lane) == losses_of(whole[name]) and lane["result"] == whole[name]["result"]
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"whole/{name}.png"))
    assert not Path(KEPT).exists()


FEWER = 1e-4  # relative: another program sums in another order, and ten steps follow


@pytest.mark.parametrize("lane", [0, 1])
def test_fewer_at_once_and_killed_again(monkeypatch, lane):
    """What waits for a later round is in the file while the first runs, and after it."""
    here = (*NINE, "-o", "out")
    killed(monkeypatch, 0, 4, *here, "--lanes", 2)
    killed(monkeypatch, lane, 7, *here)
    code, _, err = nst(*here)
    first = ("2", "1 of them at step 6 and 1 of them at step 4", "1 of them at step 6")[1 + lane]
    assert code == 0 and f"going on with {first}\n" in err and "step 0/9" not in err
    assert nst(*NINE, "-o", "whole").code == 0
    whole = lanes_of("whole")
    for name, one in lanes_of().items():
        assert [entry["step"] for entry in one["history"]] == list(range(10))
        assert losses_of(one) == pytest.approx(losses_of(whole[name]), rel=FEWER)
    assert not Path(KEPT).exists()


def test_what_could_not_be_written_goes_on(monkeypatch):
    """Its checkpoint stays, though the next round would keep one, too."""
    replacing = files.replacing
    here = (*NINE, "-o", "out")

    def fail(path):
        return full_disk() if path.name == "ratio-1e-4.png" else replacing(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replacing", fail), patch.setattr(io, "replacing", fail)
        assert nst(*here).code == 1
    code, out, err = nst(*here)
    assert code == 0 and "going on with 1 of them at step 8" in err and not Path(KEPT).exists()
    assert out.splitlines() == ["out/ratio-1e-4.png", "out/grid.png", "out/index.html"]


def test_pictures_on_the_way_replace_nothing():
    Path("out").mkdir(), draw("out/ratio-1e-4-00004.png")
    refused((*NINE, "-o", "out", "--save-every", 4), ("00004.png: exists already",), chatter=True)


def test_what_auto_came_to_is_no_other_sweep():
    """What is another is named all the same; files called alike are nobody's but the user's."""
    here = (*NINE, "-o", "out", "--low-memory", "auto")
    assert nst(*here).code == 0
    mine = Path("out/unfinished-notes.safetensors")
    mine.write_text("mine"), Path("out/ratio-1e-4.png").unlink()
    refused((*here, "--seed", 1), ("has seed 0, not 1",), chatter=True)
    assert nst(*here).code == 0 and mine.exists()


def check_refused(arguments, words):
    """Though the folder was looked at."""
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    code, out, err = nst(*arguments)
    assert (code, out) == (2, "") and all(word in err.splitlines()[-1] for word in words), err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_killed_and_then_another_sweep(monkeypatch):
    """Nothing of it is finished, so that its checkpoint alone tells; damaged, it tells nothing."""
    here = (*NINE, "-o", "out")
    killed(monkeypatch, 0, 4, *here)
    before = Path(KEPT).read_bytes()
    words = (f"{KEPT}: is of a run with seed 0, not 1", "another folder", "--overwrite")
    for how in ((), ("--overwrite", "--resume")):
        check_refused((*here, "--seed", 1, *how), words)
    with monkeypatch.context() as patch:
        patch.setattr("nst_jax.engine.checkpoint._versions", lambda: {"jax": "9"})
        check_refused(here, (f"{KEPT}: was made with", "not jax 9;"))
    assert Path(KEPT).read_bytes() == before
    Path(KEPT).write_bytes(before[:-1])
    code, _, err = nst(*here)
    assert code == 0 and f"{KEPT}: is damaged" in err and "going on" not in err


def test_a_checkpoint_of_what_is_finished_by_now():
    """As where the process was killed before it could be removed."""
    assert nst(*NINE, "-o", "out").code == 0
    kept = [*NINE, "-o", "out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFile, "remove", lambda self: None)
        patch.setattr(SweepFolder, "forget_unfinished", lambda self: None)
        assert nst(*kept, "--overwrite").code == 0
    assert Path(KEPT).exists()
    Path("out/ratio-1e-4.png").unlink()  # the first round's; the file is of the second
    code, out, err = nst(*kept)
    assert code == 0 and "going on" not in err and not Path(KEPT).exists()
    assert out.splitlines() == ["out/ratio-1e-4.png", "out/grid.png", "out/index.html"]


def test_never(monkeypatch):
    with monkeypatch.context() as patch:
        Press(patch, 0, 2)
        code, _, err = nst(*TWO, "--checkpoint-every", "never")
    assert code == 130 and not Path(KEPT).exists() and "interrupted" not in err
