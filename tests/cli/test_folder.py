"""`nst-jax stylize FOLDER STYLE`: a picture and a record for each photograph of a folder."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, draw, listing, nst, refused
from PIL import Image

from nst_jax.cli import folder as cli_folder
from nst_jax.cli.folder import _natural
from nst_jax.engine import runner
from nst_jax.files import reserved
from nst_jax.images import encoders, io

FIRST = 1e-5  # relative: the same sums, in another order
LEVELS = 1.0  # of 255, the mean difference of pictures of programs that round otherwise
ONE_LAYER = ("--content-layers", "conv1_1", "--style-layers", "conv1_1")
STYLIZE = (*QUICK, *ONE_LAYER, "--steps", 3, "--report-every", 1)
FOLDER = ("stylize", "photos", "painting.png", *STYLIZE)
OUT = (*FOLDER, "-o", "out")
NAMES = ["frame1", "frame2", "frame10"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with three photographs and a painting; Ctrl-C as Python has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    Path("photos").mkdir(), draw("painting.png", 40, 40, seed=9)
    for seed, name in enumerate(NAMES):
        draw(f"photos/{name}.png", seed=seed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def two_at_once(monkeypatch):
    """Of pictures that a CPU would take ten of at once."""
    monkeypatch.setattr(runner, "_useful_lanes", lambda shape, devices: 2)


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float32)


def record_of(path):
    """What a record says, but for the time and the command."""
    record = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    return {key: value for key, value in record.items() if key not in ("command", "timing")}


def contents(folder="out"):
    """{name: pixels} of the pictures; of the records what they say, but for the time."""
    files = sorted(Path(folder).iterdir())
    assert {file.suffix for file in files} == {".png", ".json"}  # nothing else is left there
    readers = {".png": lambda file: pixels_of(file).tolist(), ".json": record_of}
    return {file.name: readers[file.suffix](file) for file in files}


def paths_of(*names):
    return [f"out/{name}.png" for name in names]


def end_at(monkeypatch, done, step, act, *arguments):
    """Run, and do something at this step of the picture after so many."""
    make = cli_folder.make_callback

    def make_callback(bar, *given):
        callback, show = make(bar, *given), bar.show

        def shown(progress):
            if (progress.done, progress.step) == (done, step):
                act()
            show(progress)

        bar.show = shown
        return callback

    with monkeypatch.context() as patch:
        patch.setattr(cli_folder, "make_callback", make_callback)
        return nst(*arguments)


class Killed(BaseException):
    """Nothing in the package catches it: what is on the disk now is all that is left."""


def kill():
    raise Killed


def press(name="SIGINT"):
    return lambda: signal.raise_signal(getattr(signal, name))


# ---- What it writes


def test_a_picture_and_a_record_for_each(monkeypatch, two_at_once):
    """Of two shapes, in natural order, one program for each; `rerun` makes them again."""
    draw("photos/frame3.jpg", 64, 48, seed=3)
    compiled, compile_step = [], runner.Executor.compile

    def counted(self, shape, *given):
        compiled.append(shape)
        return compile_step(self, shape, *given)

    monkeypatch.setattr(runner.Executor, "compile", counted)
    code, out, err = nst(*OUT)
    assert code == 0, err
    assert out.splitlines() == paths_of("frame1", "frame2", "frame10", "frame3")
    assert compiled == [(24, 32), (32, 24)]
    lines = err.splitlines()
    assert any(line.startswith("3 pictures of 32×24 px, 2 at once, ") for line in lines)
    assert any(line.startswith("pictures 1 to 2 of 4  step 0/3") for line in lines)
    assert any(line.startswith("picture 3 of 4  step 3/3") for line in lines)
    assert any(line.startswith("picture 4 of 4  step 3/3") for line in lines)
    assert sorted(os.listdir("out")) == sorted(
        f"{name}.{suffix}" for name in (*NAMES, "frame3") for suffix in ("png", "json")
    )
    assert pixels_of("out/frame3.png").shape == (32, 24, 3)
    for name in ("frame2", "frame3"):
        assert nst("rerun", f"out/{name}.json", "-o", "again.png").code == 0
        assert np.array_equal(pixels_of("again.png"), pixels_of(f"out/{name}.png"))
        Path("again.png").unlink(), Path("again.json").unlink()


def test_each_is_as_if_it_were_alone(two_at_once):
    assert nst(*OUT).code == 0
    for name in NAMES:
        assert nst("stylize", f"photos/{name}.png", *FOLDER[2:], "-o", f"{name}.png").code == 0
        among, alone = record_of(f"out/{name}.png"), record_of(f"{name}.png")
        assert {k for k in among if among[k] != alone[k]} <= {"compiled_lanes", "history", "result"}
        losses = [record["history"][0]["loss"] for record in (among, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=FIRST)
        difference = pixels_of(f"out/{name}.png") - pixels_of(f"{name}.png")
        assert np.abs(difference).mean() < LEVELS


def test_transparent_ones():
    """They have a program of their own, and stay transparent."""
    draw("photos/frame4.png", seed=4, mode="RGBA")
    with Image.open("photos/frame4.png") as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save("photos/frame4.png")
    assert nst(*OUT).code == 0
    assert [pixels_of(f"out/{name}.png").shape[2] for name in ("frame1", "frame4")] == [3, 4]
    assert nst(*OUT)[:2] == (0, "")


def test_where_it_goes_by_default():
    Path("photos/frame1.png").unlink(), Path("photos/frame2.png").unlink()
    code, out, err = nst(*FOLDER, "--no-metadata", "--bits", 16)
    assert (code, out) == (0, "photos-painting/frame10.png\n"), err
    with Image.open("photos-painting/frame10.png") as image:
        assert "nst_jax" not in image.info
    assert record_of("photos-painting/frame10.png")["output"]["bits"] == 16


def test_pictures_on_the_way():
    assert nst(*OUT, "--save-every", 2).out.splitlines() == [
        f"out/{name}{suffix}.png" for suffix in ("-00002", "") for name in NAMES
    ]


def test_what_fits_into_memory():
    """Settings are what `auto` comes to; the same command knows its pictures all the same."""
    assert nst(*OUT, "--low-memory", "auto").code == 0
    assert record_of("out/frame1.png")["settings"]["low_memory"] is False
    assert nst(*OUT, "--low-memory", "auto")[:2] == (0, "")


def test_natural_order():
    names = ["b.png", "Frame10.png", "frame2.png", "frame2b.png", "10.png", "9.png"]
    assert sorted(names, key=_natural) == [
        *("9.png", "10.png", "b.png"),
        *("frame2.png", "frame2b.png", "Frame10.png"),
    ]


# ---- What it refuses


REFUSED = {
    "masks": (("--content-mask", "painting.png", "-o", "out"), ("--content-mask", "one by one")),
    "watching": (("--watch", "-o", "out"), ("--watch", "one by one")),
    "a picture": (
        ("-o", "out.png"),
        ("photos: is a folder, and out.png the name", "-o a folder"),
    ),
    "a file": (("-o", "painting.png"), ("painting.png: is a file",)),
    "its own folder": (("-o", "photos/"), ("is the folder of the photographs",)),
    "intervals": (("-o", "out", "--save-every", 0), ("save_every is 0",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense(case):
    arguments, words = REFUSED[case]
    refused((*FOLDER, *arguments), words, chatter=True)


def test_two_of_one_name():
    draw("photos/Frame2.jpg")
    words = ("photos/Frame2.jpg and photos/frame2.png would both be out/frame2.png", "rename one")
    refused(OUT, words)


def test_names_on_the_way():
    """They are those of no other picture, and replace nothing."""
    shutil.copy("photos/frame1.png", "photos/frame1-00002.png")
    refused((*OUT, "--save-every", 2), ("and photos/frame1.png on the way, would both be",))
    Path("photos/frame1-00002.png").unlink()
    Path("out").mkdir(), draw("out/frame2-00002.png")
    words = ("out/frame2-00002.png: exists already",)
    refused((*OUT, "--save-every", 2), words, chatter=True)
    assert nst(*OUT, "--save-every", 2, "--overwrite").code == 0
    assert nst(*OUT, "--save-every", 2)[:2] == (0, "")


def test_no_photographs():
    Path("empty").mkdir()
    refused(("stylize", "empty", "painting.png", "-o", "out"), ("empty: is a folder without",))


@pytest.mark.parametrize("name", ["frame2.png", "frame2.json"])
def test_what_is_there(name):
    """It is not replaced, unless that was asked for; nor is a folder ever."""
    Path("out").mkdir(), draw("a.png"), Path("a.png").rename(f"out/{name}")
    refused(OUT, ("out holds other pictures (frame2.png has no record)", "--overwrite"), True)
    assert nst(*OUT, "--overwrite").code == 0
    Path("out/frame1.png").unlink(), Path("out/frame1.png").mkdir()
    refused((*OUT, "--overwrite"), ("out/frame1.png: is a folder",), True)


@pytest.mark.parametrize(
    ("painting", "flags", "reason"),
    [
        ("painting.png", ("--seed", 7), "has seed 0, not 7"),
        ("painting.png", ("--bits", 16), "has bits 8, not 16"),
        ("photos/frame1.png", (), "has other images or weights"),
    ],
)
def test_other_pictures(painting, flags, reason):
    assert nst(*OUT).code == 0
    words = (f"out holds other pictures (frame1.png {reason})",)
    refused((*OUT[:2], painting, *OUT[3:], *flags), words, chatter=True)


def test_another_run_has_the_folder():
    Path("out").mkdir()
    with reserved(Path("out")):
        code, out, err = nst(*OUT)
    assert (code, out) == (2, "") and "nst-jax: out: another run is making it" in err


# ---- What cannot be painted


def test_one_is_damaged():
    """It is told, the others are painted; mended, it alone is made."""
    whole = Path("photos/frame2.png").read_bytes()
    Path("photos/frame2.png").write_bytes(whole[: len(whole) // 2])
    draw("photos/dot.png", 8, 8)
    code, out, err = nst(*OUT)
    assert (code, out.splitlines()) == (1, paths_of("frame1", "frame10"))
    lines = err.splitlines()
    assert "nst-jax: photos/frame2.png is left out: is damaged or incomplete" in err
    assert any(line.startswith("nst-jax: photos/dot.png is left out: ") for line in lines)
    last = "nst-jax: no picture for 2 of 4 photographs: photos/dot.png, photos/frame2.png"
    assert lines[-1] == last
    Path("photos/frame2.png").write_bytes(whole), Path("photos/dot.png").unlink()
    code, out, err = nst(*OUT)
    assert (code, out.splitlines()) == (0, paths_of("frame2")), err
    assert "out: 2 of 3 are finished" in err.splitlines()


def test_none_can_be_read():
    for name in NAMES:
        Path(f"photos/{name}.png").write_bytes(b"")
    refused(OUT, ("photos/frame1.png: is empty",), chatter=True)


def test_a_loss_that_is_not_finite():
    code, out, err = nst(*OUT, "--ratio", 1e38, "--init", "noise")
    assert (code, out) == (1, "")
    assert "nst-jax: photos/frame1.png has no picture: the loss of the initial image is" in err
    assert err.splitlines()[-1].startswith("nst-jax: no picture for 3 of 3 photographs: ")


def test_what_came_to_nothing_is_remembered():
    """It would again; another ratio would not be the same command."""
    arguments = (*OUT, "--ratio", 1e38, "--init", "noise")
    assert nst(*arguments).code == 1
    assert sorted(os.listdir("out")) == sorted(f"{name}.json" for name in NAMES)
    before = listing()
    code, out, err = nst(*arguments)
    assert (code, out) == (1, "") and "step 0/" not in err and listing() == before
    assert "nst-jax: photos/frame1.png is left out: the loss of the initial image is" in err
    assert len(nst(*OUT, "--overwrite", "--resume").out.splitlines()) == 3


def test_a_full_disk(monkeypatch):
    """The picture goes elsewhere, the others where they should; the same command makes it."""
    whole, write = "out/frame2.png", encoders.ENCODERS[".png"]

    def full(stream, *given):
        if "frame2" in stream.name and "out" in stream.name:
            raise OSError(28, "No space left on device")
        write(stream, *given)

    with monkeypatch.context() as patch:
        patch.setitem(encoders.ENCODERS, ".png", full)
        code, out, err = nst(*OUT)
    assert code == 1 and out.splitlines()[1].endswith("/frame2.png") and whole not in out
    assert "out: not all could be written there, such as out/frame2.png" in err.splitlines()[-1]
    assert nst(*OUT)[:2] == (0, f"{whole}\n")


# ---- Going on


def test_the_same_command_again():
    """Nothing is made twice; what is missing, new, or wanted otherwise is."""
    assert nst(*OUT).code == 0
    before = listing()
    code, out, err = nst(*OUT)
    assert (code, out) == (0, "") and "out: 3 of 3 are finished" in err and listing() == before
    Path("out/frame2.png").unlink(), Path("out/frame10.json").unlink()
    draw("photos/frame3.png", seed=3)
    made = paths_of("frame2", "frame3", "frame10")
    assert nst(*OUT).out.splitlines() == made
    draw("photos/frame3.png", seed=4)
    refused(OUT, ("frame3.png has other images or weights",), chatter=True)
    assert nst(*OUT, "--overwrite", "--resume").out.splitlines() == paths_of("frame3")
    assert len(nst(*OUT, "--overwrite").out.splitlines()) == 4


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_and_again(monkeypatch, two_at_once, name, code):
    """In the middle of the second round; bit for bit as if nothing had been."""
    assert nst(*FOLDER, "-o", "whole").code == 0
    ended, out, err = end_at(monkeypatch, 2, 1, press(name), *OUT)
    assert (ended, out.splitlines()) == (code, paths_of(*NAMES))
    last = "interrupted after 2 of 3; the same command makes the rest"
    assert err.splitlines()[-1] == last
    assert record_of("out/frame10.png")["completed"] is False
    ended, out, err = nst(*OUT)
    assert (ended, out.splitlines()) == (0, paths_of("frame10"))
    assert "\ngoing on with 1 of them at step " in err
    assert contents("out") == contents("whole")


@pytest.mark.parametrize("metadata", [(), ("--no-metadata",)])
def test_killed_and_again(monkeypatch, two_at_once, metadata):
    """In the middle of a round, and between a record and its picture."""
    arguments = (*FOLDER, *metadata, "--checkpoint-every", 1)
    assert nst(*arguments, "-o", "whole").code == 0
    with pytest.raises(Killed):
        end_at(monkeypatch, 0, 2, kill, *arguments, "-o", "out")
    assert os.listdir("out") == ["unfinished.safetensors"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(io, "save_image", lambda *given, **options: kill())
        nst(*arguments, "-o", "out")
    assert sorted(os.listdir("out")) == ["frame1.json", "unfinished.safetensors"]
    code, out, err = nst(*arguments, "-o", "out")
    assert (code, out.splitlines()) == (0, paths_of(*NAMES)), err
    assert contents("out") == contents("whole")


def test_what_was_interrupted_comes_first(monkeypatch, two_at_once):
    """Though another is missing by now, whose checkpoint would replace the one that is there."""
    draw("photos/frame3.jpg", 64, 48, seed=3)
    arguments = (*OUT, "--checkpoint-every", 1)
    with pytest.raises(Killed):
        end_at(monkeypatch, 3, 2, kill, *arguments)
    Path("out/frame1.png").unlink(), Path("out/frame1.json").unlink()
    code, out, err = nst(*arguments)
    assert (code, out.splitlines()) == (0, paths_of("frame3", "frame1"))
    assert "going on with 1 of them at step " in err


def test_fewer_at_once_and_killed_again(monkeypatch):
    arguments = (*OUT, "--checkpoint-every", 1)
    for lanes in (2, 1):
        monkeypatch.setattr(runner, "_useful_lanes", lambda *_, lanes=lanes: lanes)
        with pytest.raises(Killed):
            end_at(monkeypatch, 0, 3 if lanes == 1 else 2, kill, *arguments)
    code, out, err = nst(*arguments)
    assert (code, out.splitlines()) == (0, paths_of(*NAMES))
    assert "going on with 1 of them at step 3 and 1 of them at step 2" in err


def test_a_signal_between_two(monkeypatch):
    """Where nothing would be lost, it ends the command at once."""
    draw("photos/frame3.jpg", 64, 48, seed=3)
    prepare, calls = cli_folder.Runner, []

    def make(*given):
        calls.append(given)
        if len(calls) == 3:  # of the second shape
            signal.raise_signal(signal.SIGTERM)
        return prepare(*given)

    with monkeypatch.context() as patch:
        patch.setattr(cli_folder, "Runner", make)
        code, out, err = nst(*OUT)
    assert (code, out.splitlines()) == (143, paths_of(*NAMES))
    assert err.splitlines()[-1] == "interrupted after 3 of 4; the same command makes the rest"
    assert nst(*OUT).out.splitlines() == paths_of("frame3")


# ---- Frames, each from the picture of the one before


PREVIOUS = (*OUT, "--init", "previous")


def test_from_the_previous():
    """Each is what `--init FILE` makes alone, bit for bit."""
    assert nst(*PREVIOUS).out.splitlines() == paths_of(*NAMES)
    for name, before in zip(NAMES, ("content", *paths_of(*NAMES)), strict=False):
        alone = ("stylize", f"photos/{name}.png", *FOLDER[2:], "--init", before)
        assert nst(*alone, "-o", f"{name}.png").code == 0
        assert record_of(f"out/{name}.png") == record_of(f"{name}.png")
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"{name}.png"))
    assert record_of("out/frame2.png")["inputs"]["init"]["file"] == "out/frame1.png"


def test_the_previous_again(monkeypatch):
    """After a signal, and where one in the middle is missing; no more is made than needs be."""
    shutil.copytree("photos", "twice")
    whole = ("stylize", "twice", *PREVIOUS[2:-4], "--init", "previous", "-o", "whole")
    assert nst(*whole).code == 0
    assert end_at(monkeypatch, 1, 1, press(), *PREVIOUS).code == 130
    code, out, err = nst(*PREVIOUS)
    assert (code, out.splitlines()) == (0, paths_of("frame2", "frame10"))
    assert "out: 1 of 3 are finished" in err
    for name in NAMES:
        assert np.array_equal(pixels_of(f"out/{name}.png"), pixels_of(f"whole/{name}.png"))
    before = listing("out")
    assert nst(*PREVIOUS)[:2] == (0, "") and listing("out") == before
    Path("out/frame2.png").unlink()
    assert nst(*PREVIOUS).out.splitlines() == paths_of("frame2")  # the third still follows it
    draw("photos/frame2.png", seed=5), Path("out/frame2.png").unlink()
    Path("out/frame2.json").unlink()
    assert nst(*PREVIOUS).out.splitlines() == paths_of("frame2", "frame10")


def test_the_previous_of_what():
    """Not of one photograph, nor of several shapes."""
    single = ("stylize", "photos/frame1.png", *FOLDER[2:], "--init", "previous", "-o", "a.png")
    refused(single, ("--init previous is for the frames of a folder",))
    draw("photos/frame3.png", 64, 48)
    words = ("--init previous is for frames of one shape", "32×24 and 24×32")
    refused(PREVIOUS, words, chatter=True)
