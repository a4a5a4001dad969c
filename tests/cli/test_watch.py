"""`--watch`: the page of a run, beside what it makes."""

import errno
import json
import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
from command import QUICK, draw, nst, refused

from nst_jax.cli import lanes as cli_lanes
from nst_jax.cli import picture as cli_picture
from nst_jax.engine import pace
from nst_jax.sweeps import watch_page

STYLIZE = ("stylize", "photo.png", "painting.png", *QUICK, "--steps", 4)
OUT = (*STYLIZE, "-o", "out.png")
SWEEP = ("sweep", "photo.png", "painting.png", *QUICK, "--steps", 4, "--ratios", "1e-4,1e-3")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting; pages are written at every step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    (
        monkeypatch.setattr(watch_page, "SECONDS", 0.0),
        monkeypatch.setattr(pace, "SHARE", float("inf")),
    )
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)


@pytest.fixture
def written(monkeypatch):
    """What was written to pages, in turn."""
    pages, write = [], watch_page.write_bytes

    def keep(path, data):
        write(path, data)
        pages.append(data_of(path))

    monkeypatch.setattr(watch_page, "write_bytes", keep)
    return pages


def data_of(path):
    text = Path(path).read_text("utf-8")
    return json.loads(re.search('id="data">(.*?)</script>', text, re.DOTALL)[1])


def stations(pages):
    return [(page["state"], page["step"]) for page in pages]


PAINTED = [("compiling", 0), *(("painting", step) for step in range(4)), ("finished", 4)]


def test_stylize(written):
    code, out, err = nst(*OUT, "--watch")
    assert code == 0 and out == "out.png\n", err
    assert f"watch it in a browser: {Path('out.html').resolve().as_uri()}" in err.splitlines()
    assert sorted(os.listdir()) == ["out.html", "out.json", "out.png", "painting.png", "photo.png"]
    assert stations(written) == PAINTED
    page, record = data_of("out.html"), json.loads(Path("out.json").read_text())
    assert page["title"] == "photo.png × painting.png"
    assert page["links"] == [["the picture", "out.png"], ["its record", "out.json"]]
    (lane,) = page["lanes"]
    assert lane["loss"] == pytest.approx(record["result"]["loss"], rel=1e-3)
    assert [step for step, *_ in lane["history"]] == [e["step"] for e in record["history"]]


def test_it_changes_no_picture():
    assert nst(*OUT, "--watch").code == nst(*STYLIZE, "-o", "plain.png").code == 0
    one, other = (json.loads(Path(f).read_text()) for f in ("out.json", "plain.json"))
    assert one["history"] == other["history"] and one["result"] == other["result"]
    assert not Path("plain.html").exists()


def test_sweep(written):
    code, out, err = nst(*SWEEP, "-o", "out", "--lanes", 1, "--watch")
    assert code == 0, err
    assert "watch.html" in os.listdir("out") and "watch.html" not in out
    second = [("painting", step) for step in range(4)]
    assert stations(written) == [*PAINTED[:-1], *second, ("finished", 4)]
    middle, last = written[5], written[-1]
    assert [lane["state"] for lane in middle["lanes"]] == ["done", "running"]
    assert [lane["state"] for lane in last["lanes"]] == ["done", "done"]
    assert last["links"] == [["compare them", "index.html"]] and Path("out/index.html").exists()
    assert [axis["labels"] for axis in last["axes"]] == [["1e-4", "1e-3"]]


def test_lanes_that_are_finished_are_shown(written):
    assert nst(*SWEEP, "-o", "out").code == 0
    Path("out/ratio-1e-3.png").unlink()
    assert nst(*SWEEP, "-o", "out", "--watch").code == 0
    first, last = written[0], written[-1]
    assert [lane["state"] for lane in first["lanes"]] == ["done", "waiting"]
    sweep = json.loads(Path("out/sweep.json").read_text())
    for lane, record in zip(last["lanes"], sweep["lanes"], strict=True):
        assert lane["loss"] == pytest.approx(record["result"]["loss"], rel=1e-3)
        assert len(lane["history"]) == len(record["history"]) and lane["picture"]


def test_reconstruct_and_rerun(written):
    layers = ("--layers", "conv1_1,conv2_1", "--size", 32, "--steps", 2, "--lbfgs-memory", 5)
    code, _, err = nst("reconstruct", "style", "painting.png", *layers, "-o", "out", "--watch")
    assert code == 0, err
    assert data_of("out/watch.html")["state"] == "finished"
    assert len(data_of("out/watch.html")["lanes"]) == 2
    lane = json.loads(Path("out/sweep.json").read_text())["lanes"][0]["name"]
    rerun = ("rerun", "out/sweep.json", "--lane", lane, "-o", "again.png", "--watch")
    assert nst(*rerun).code == 0
    page = data_of("again.html")  # among copies of itself, which nobody wants to see
    assert page["state"] == "finished" and len(page["lanes"]) == 1 and page["axes"] == []


def test_what_is_not_its_page_is_not_replaced():
    Path("out.html").write_text("mine")
    refused((*OUT, "--watch"), ["out.html: exists already", "--overwrite"])
    Path("out").mkdir(), Path("out/watch.html").write_text("mine")
    sweep = (*SWEEP, "-o", "out", "--watch")
    refused(sweep, ["watch.html: exists already", "--overwrite"], chatter=True)
    assert nst(*OUT, "--watch", "--overwrite").code == nst(*sweep, "--overwrite").code == 0
    assert data_of("out.html")["state"] == data_of("out/watch.html")["state"] == "finished"


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("make", ["picture", "sweep"])
def test_runs_that_end_early_go_on_with_their_page(monkeypatch, make):
    """By Ctrl-C, and killed: what a killed run left says that it paints."""
    module, command = cli_picture, (*OUT, "--watch", "--checkpoint-every", 2)
    page, states = "out.html", []
    if make == "sweep":
        module, page = cli_lanes, "out/watch.html"
        command = (*SWEEP, "-o", "out", "--watch", "--checkpoint-every", 2)
    make_callback = module.make_callback

    def run(error):
        def ending_callback(*given):
            callback = make_callback(*given)

            def ending(progress):
                if progress.step == 3 and error:
                    raise error
                callback(progress)

            return ending

        with monkeypatch.context() as patch:
            patch.setattr(module, "make_callback", ending_callback)
            if error is Killed:
                patch.setattr(watch_page.WatchPage, "__exit__", lambda *_: None)
            with pytest.raises(Killed) if error is Killed else nullcontext():
                nst(*command)
        states.append(data_of(page)["state"])

    run(Killed), run(StopIteration), run(None)
    assert states == ["painting", "stopped", "finished"]


@pytest.mark.parametrize("command", [OUT, (*SWEEP, "-o", "out")])
def test_a_page_that_cannot_be_written_ends_no_run(monkeypatch, command):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(watch_page, "write_bytes", full)
    code, _, err = nst(*command, "--watch")
    assert code == 0 and err.count("the page cannot be written (No space left on device)") == 1


def test_a_run_that_fails_says_why():
    code, _, err = nst(*OUT, "--init", "noise", "--ratio", "1e38", "--watch")
    assert code == 2
    page = data_of("out.html")
    assert page["state"] == "failed" and page["reason"] in err and "ratio" in page["reason"]


def test_no_signal_ends_its_last_writing(monkeypatch):
    """It is written before signals act as they did before the run."""
    leave, handlers = watch_page.WatchPage.__exit__, []

    def seen(*given):
        handlers.append(signal.getsignal(signal.SIGTERM))
        return leave(*given)

    monkeypatch.setattr(watch_page.WatchPage, "__exit__", seen)
    before = signal.getsignal(signal.SIGTERM)
    assert nst(*OUT, "--watch").code == 0
    assert len(handlers) == 1 and handlers[0] != before == signal.getsignal(signal.SIGTERM)
