"""Runs of one picture that end early, and what the same command makes of that."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import QUICK, draw, listing, nst
from PIL import Image

from nst_jax import files
from nst_jax.cli import lanes as cli_lanes
from nst_jax.cli import picture as cli_picture
from nst_jax.images import io

ONE_LAYER = ("--content-layers", "conv1_1", "--style-layers", "conv1_1")
STYLIZE = ("stylize", "photo.png", "painting.png", *QUICK, *ONE_LAYER, "--steps", 9)
STYLIZE = (*STYLIZE, "--report-every", 2, "--checkpoint-every", 2)
OUT = (*STYLIZE, "-o", "out.png")
KEPT = "out.png.checkpoint"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting; Ctrl-C as Python has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


class Killed(BaseException):
    """Nothing in the package catches it: what is on the disk now is all that is left."""


def kill():
    raise Killed


def press(name="SIGINT"):
    return lambda: signal.raise_signal(getattr(signal, name))


def end_at(monkeypatch, step, act, *arguments, module=cli_picture):
    """Run, and do something when the callback is told of this step."""
    make = module.make_callback

    def make_callback(*given):
        callback = make(*given)

        def acting(progress):
            if progress.step == step:
                act()
            callback(progress)

        return acting

    with monkeypatch.context() as patch:
        patch.setattr(module, "make_callback", make_callback)
        if act is kill:
            with pytest.raises(Killed):
                nst(*arguments)
            return None
        return nst(*arguments)


def record_of(path):
    """What a record says, but for the time and the command."""
    record = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    return {key: value for key, value in record.items() if key not in ("command", "timing")}


def check_whole(path, *arguments):
    """The picture and its record are as those of a run that was not disturbed; nothing is left."""
    assert nst(*arguments, "-o", "whole.png").code == 0
    with Image.open(path) as one, Image.open("whole.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert record_of(path) == record_of("whole.png")
    assert not list(Path().glob("*.checkpoint")) and not list(Path().glob(".*"))


def test_killed_and_again(monkeypatch):
    """The same command goes on, with and without --resume."""
    assert end_at(monkeypatch, 3, kill, *OUT) is None
    assert Path(KEPT).exists() and not Path("out.png").exists()
    end_at(monkeypatch, 7, kill, *OUT)
    code, out, err = nst(*OUT, "--resume")
    assert (code, out) == (0, "out.png\n") and "going on at step 6" in err.splitlines()
    check_whole("out.png", *STYLIZE)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_and_again(monkeypatch, name, code):
    """The best image so far is there, and is replaced by the run that goes on."""
    ended, out, err = end_at(monkeypatch, 4, press(name), *OUT, "--save-every", 2)
    assert (ended, out) == (code, "out-00002.png\nout-00004.png\nout.png\n")
    last = f"interrupted; the same command goes on from here ({KEPT})"
    assert err.splitlines()[-1] == last
    partial = record_of("out.png")
    assert partial["completed"] is False and Path(KEPT).exists()
    ended, out, err = nst(*OUT, "--save-every", 2)
    going_on = f"going on at step {partial['evaluations']}"
    assert ended == 0 and going_on in err.splitlines() and "step 0/" not in err
    assert out.splitlines()[-2:] == ["out-00008.png", "out.png"]
    check_whole("out.png", *STYLIZE)


def test_ctrl_c_whenever_it_is_pressed(monkeypatch):
    """By default nothing is kept on the way; the end is kept all the same."""
    plain = (*OUT[:-4], "-o", "out.png")
    assert "--checkpoint-every" not in plain
    for step in (1, 4):
        assert end_at(monkeypatch, step, press(), *plain).code == 130
    assert nst(*plain).code == 0
    check_whole("out.png", *plain[:-2])


def test_a_rerun(monkeypatch):
    """Of a lane, too, which runs among copies of itself."""
    quick = ("--steps", 6, "--report-every", 1, *QUICK, *ONE_LAYER, "-o", "swept")
    assert nst("sweep", "photo.png", "painting.png", *quick, "--seeds", "1,2").code == 0
    again = ("rerun", "swept/sweep.json", "--lane", "seed-2", "--checkpoint-every", 2)
    again = (*again, "--report-every", 1)
    end_at(monkeypatch, 5, kill, *again)
    assert Path("seed-2-rerun.png.checkpoint").exists()
    code, _, err = nst(*again)
    assert code == 0 and "going on at step 4" in err and "2 copies at once" in err
    check_whole("seed-2-rerun.png", *again)
    swept = json.loads(Path("swept/sweep.json").read_text())["lanes"][1]
    assert swept["history"] == record_of("seed-2-rerun.png")["history"]


def test_a_rerun_that_stops(monkeypatch):
    """It was interrupted when it was recorded; going on beyond that is refused."""
    assert end_at(monkeypatch, 3, press(), *OUT).code == 130
    stop = record_of("out.png")["evaluations"] - 1
    again = ("rerun", "out.json", "-o", "again.png", "--checkpoint-every", 1)
    again = (*again, "--report-every", 2)
    end_at(monkeypatch, 2, kill, *again)
    code, _, err = nst(*again)
    assert code == 0 and "going on at step 2" in err and not Path("again.png.checkpoint").exists()
    for key in ("history", "result", "evaluations", "completed"):
        assert record_of("again.png")[key] == record_of("out.png")[key]
    Path("again.png").unlink(), Path("again.json").unlink()
    end_at(monkeypatch, 7, kill, *again, "--steps", 9)
    code, _, err = nst(*again)
    assert code == 2 and f"again.png.checkpoint: is of step 7, beyond {stop}" in err


def test_a_reconstruction(monkeypatch):
    """Its folder keeps the checkpoint."""
    make = ("reconstruct", "content", "photo.png", "--layers", "conv1_1", "--size", 32)
    make = (*make, "--steps", 6, "--lbfgs-memory", 5, "--checkpoint-every", 2, "-o", "out")
    end_at(monkeypatch, 5, kill, *make, module=cli_lanes)
    assert os.listdir("out") == ["unfinished.safetensors"]
    code, _, err = nst(*make)
    assert code == 0 and "going on with 1 of them at step 4" in err
    assert "unfinished.safetensors" not in os.listdir("out")


OTHERS = [
    (("--seed", 1), "is of a run with seed 0, not 1"),
    (("--size", 40), "is of a run with size 32, not 40"),
    (("--steps", 10), "is of a run with steps 9, not 10"),
    (("--style-blend", 1), None),  # what changes nothing
]


@pytest.mark.parametrize(("flags", "words"), OTHERS)
def test_other_settings(monkeypatch, flags, words):
    end_at(monkeypatch, 3, kill, *OUT)
    before = listing()
    for how in ((), ("--resume",), ("--resume", "--overwrite")):
        code, out, err = nst(*OUT, *flags, *how)
        if words is None:
            return
        remedy = "choose another name, or begin anew with --overwrite"
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == f"nst-jax: {KEPT}: {words}; {remedy}"
        assert listing() == before
    code, _, err = nst(*OUT, *flags, "--overwrite")
    assert code == 0 and "going on" not in err and not Path(KEPT).exists()


def test_other_inputs_and_versions(monkeypatch):
    """By their bytes, whatever they are called."""
    end_at(monkeypatch, 3, kill, *OUT)
    shutil.copy("photo.png", "same.png")
    draw("photo.png", seed=5)
    code, _, err = nst(*OUT)
    assert code == 2 and f"{KEPT}: is of a run with another content image;" in err
    with monkeypatch.context() as patch:
        patch.setattr("nst_jax.engine.checkpoint._versions", lambda: {"nst_jax": "9.9"})
        code, _, err = nst(*OUT)
        assert code == 2 and f"{KEPT}: was made with nst_jax" in err and "not nst_jax 9.9;" in err
    code, _, err = nst("stylize", "same.png", *OUT[2:])
    assert code == 0 and "going on at step 2" in err


def test_overwriting(monkeypatch):
    """A picture of another run stays, unless --overwrite is said; with --resume it goes on."""
    draw("out.png", seed=9)
    other = Path("out.png").read_bytes()
    end_at(monkeypatch, 5, kill, *OUT, "--overwrite")
    code, _, err = nst(*OUT)
    assert code == 2 and "out.png: exists already" in err and Path("out.png").read_bytes() == other
    code, _, err = end_at(monkeypatch, 5, press(), *OUT, "--overwrite")
    assert code == 130 and "going on" not in err
    assert f"the same command with --resume goes on from here ({KEPT})" in err
    code, _, err = nst(*OUT, "--overwrite", "--resume")
    assert code == 0 and "going on at step" in err
    check_whole("out.png", *STYLIZE)


def test_nothing_to_go_on_from():
    code, _, err = nst(*OUT, "--resume")
    assert code == 0 and f"{KEPT}: there is nothing to go on from; beginning" in err
    code, _, err = nst(*OUT, "--resume")
    assert code == 2 and "out.png: exists already" in err


@pytest.mark.parametrize("damage", [b"", b"Dear Theo,", None])
def test_a_damaged_checkpoint(monkeypatch, damage):
    """Is told, and the run begins anew; unless there is a picture, which is not replaced."""
    end_at(monkeypatch, 5, kill, *OUT)
    whole = Path(KEPT).read_bytes()
    Path(KEPT).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    draw("out.png")
    code, _, err = nst(*OUT)
    assert code == 2 and "out.png: exists already" in err
    Path("out.png").unlink()
    code, _, err = nst(*OUT)
    assert code == 0 and f"{KEPT}: is damaged, or no checkpoint" in err and "going on" not in err
    check_whole("out.png", *STYLIZE)


def test_a_folder_in_the_way():
    Path(KEPT).mkdir()
    code, _, err = nst(*OUT)
    assert code == 2 and err.splitlines() == [f"nst-jax: {KEPT}: is a folder; choose another name"]


def test_never(monkeypatch):
    code, _, err = end_at(monkeypatch, 5, press(), *OUT, "--checkpoint-every", "never")
    assert code == 130 and "goes on" not in err and not Path(KEPT).exists()
    code, _, err = nst(*OUT)
    assert code == 2 and "out.png: exists already" in err


def test_what_a_killed_writer_left_is_removed(monkeypatch):
    end_at(monkeypatch, 3, kill, *OUT)
    for name in (".out.png-abcd_123.checkpoint", ".out-abcd_123.png", ".out-abcd_123.json"):
        Path(name).write_text("half")
    Path(".out-mine.png").write_text("someone's")
    assert nst(*OUT).code == 0
    assert [path.name for path in Path().glob(".*")] == [".out-mine.png"]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


WRITES = ["out-00004.png", KEPT, "out.png", "out.json"]


@pytest.mark.parametrize("name", WRITES)
def test_each_write_of_a_run_that_fails(folder, monkeypatch, name):
    """A picture on the way and a checkpoint are told; what is the result goes elsewhere."""
    replacing = files.replacing

    def fail(path):
        return full_disk() if path == Path(name) else replacing(path)

    for module in (files, io, "nst_jax.engine.checkpoint"):
        where = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{where}.replacing", fail)
    code, out, err = nst(*OUT, "--save-every", 4)
    told = [line for line in err.splitlines() if "No space left on device" in line]
    assert len(told) == 1 and told[0].removeprefix("nst-jax: ").startswith(f"{name}: ")
    expendable = name in WRITES[:2]
    assert code == (0 if expendable else 1) and "Traceback" not in err
    pictures = out.splitlines()
    assert len(pictures) == 3 - (name == "out-00004.png")
    assert all(Path(each).exists() for each in pictures)
    (record,) = folder.glob("out*.json")
    assert record_of(record)["completed"] is True
    assert Path(KEPT).exists() == (not expendable)  # the same command makes the rest


def test_space_is_probed_before_the_run(monkeypatch):
    before = listing()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    code, out, err = nst(*OUT)
    assert (code, out) == (2, "") and listing() == before
    assert err.splitlines()[-1].startswith("nst-jax: .: the disk is full (0 MB free); free space")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    code, _, err = nst(*OUT)
    assert code == 0 and ".: only 0.001 MB free, and pictures and checkpoints may take" in err
    monkeypatch.setattr(shutil, "disk_usage", full_disk)  # as where nothing tells
    assert nst(*OUT, "--overwrite").code == 0
