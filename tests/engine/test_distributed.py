"""Two processes on the loopback: the same results as one, and what happens when one dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import draw, nst
from PIL import Image

from nst_jax.engine import distributed

pytestmark = pytest.mark.slow

SWEEP = ["sweep", "photo.png", "painting.png", "--size", "32", "--lbfgs-memory", "4"]
SWEEP += ["--init", "noise", "--ratios", "1e-5,1e-4,1e-3", "--weights", "vgg16"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    return tmp_path


def free_port():
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def start():
    """Start two processes of one run; end them after the test."""
    processes = []

    def start(*arguments):
        port = free_port()
        for index in range(2):
            environment = os.environ | {
                "JAX_PLATFORMS": "cpu",
                "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(index),
            }
            command = [sys.executable, "-m", "nst_jax", *SWEEP, "--distributed", *arguments]
            output = {"stdout": subprocess.PIPE, "stderr": open(f"said-{index}", "w")}
            processes.append(subprocess.Popen(command, env=environment, text=True, **output))
            output["stderr"].close()
        return processes

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def records(folder):
    lanes = json.loads((folder / "sweep.json").read_text())["lanes"]
    return {lane["name"]: lane for lane in lanes}


def test_two_processes_give_what_one_gives(folder, start):
    """Three lanes, one at a time in each: the second round leaves one process without."""
    short = ("--steps", "3", "--report-every", "1", "--lanes", "1")
    first, second = start("-o", "two", *short)
    out, nothing = first.communicate(timeout=240)[0], second.communicate(timeout=240)[0]
    assert (first.returncode, second.returncode) == (0, 0), Path("said-0").read_text()
    names = [f"ratio-1e-{n}" for n in (5, 4, 3)]
    wanted = [f"two/{name}.png" for name in names] + ["two/grid.png", "two/index.html"]
    assert out.splitlines() == wanted
    assert nothing == ""  # one process writes and answers
    assert nst(*SWEEP, "-o", "one", *short).code == 0
    one, two = records(folder / "one"), records(folder / "two")
    assert list(two) == names
    for name in names:
        expected = [entry["loss"] for entry in one[name]["history"]]
        assert [entry["loss"] for entry in two[name]["history"]] == pytest.approx(
            expected, rel=1e-4
        )


def wait_for(path, seconds=240):
    for _ in range(10 * seconds):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


def test_a_process_that_dies_ends_the_other(folder, start):
    """In one line, with exit code 1; what was finished is kept, and taken up again."""
    first, second = start("-o", "out", "--steps", "60", "--lanes", "1")
    wait_for(folder / "out" / "sweep.json")  # the first round is done, the second begun
    second.send_signal(signal.SIGKILL)
    out = first.communicate(timeout=4 * distributed.HEARTBEAT_SECONDS)[0]
    said = Path("said-0").read_text().splitlines()
    assert first.returncode == 1
    assert said[-1].startswith("nst-jax: another process of this run is gone; run the same command")
    finished = records(folder / "out")
    assert list(finished) == ["ratio-1e-5", "ratio-1e-4"]
    assert all((folder / "out" / lane["file"]).exists() for lane in finished.values())
    assert out.splitlines() == [f"out/{lane['file']}" for lane in finished.values()]
    code, _, said = nst(*SWEEP, "-o", "out", "--steps", "60", "--lanes", "1")
    assert code == 0 and "2 of 3 are finished" in said


def test_both_are_killed_and_go_on(folder, start):
    """Each with its own lane, from its own file; to the same bits."""
    flags = ("--steps", "40", "--lanes", "1", "--report-every", "1", "--checkpoint-every", "2")
    running = start("-o", "out", *flags)
    kept = [folder / "out" / f"unfinished{number}.safetensors" for number in ("", "-1")]
    for path in kept:
        wait_for(path)
    for process in running:
        process.kill(), process.wait()
    assert all(path.exists() for path in kept)
    for process in start("-o", "out", *flags)[2:]:
        process.communicate(timeout=240)
        assert process.returncode == 0
    assert all("going on with 1 of them at step" in Path(f"said-{n}").read_text() for n in (0, 1))
    for process in start("-o", "whole", *flags)[4:]:
        process.communicate(timeout=240)
    whole = records(folder / "whole")
    for name, lane in records(folder / "out").items():
        assert lane["history"] == whole[name]["history"] and lane["completed"]
        pictures = [(folder / path / f"{name}.png") for path in ("out", "whole")]
        assert np.array_equal(*(np.asarray(Image.open(path)) for path in pictures))
    assert len(whole) == 3 and not any(path.exists() for path in kept)


def test_mistakes_end_all_of_them(folder, start):
    """The first process finds the folder taken, and tells the others."""
    (folder / "out").mkdir()
    (folder / "out" / "grid.png").write_text("mine")
    for index, process in enumerate(start("-o", "out", "--steps", "1")):
        assert process.communicate(timeout=240)[0] == ""
        assert process.returncode == 2
        assert "grid.png: exists already" in Path(f"said-{index}").read_text().splitlines()[-1]


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "two"}])
def test_an_environment_that_says_nothing(folder, environment):
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    ended = subprocess.run(
        [sys.executable, "-m", "nst_jax", *SWEEP, "-o", "out", "--distributed"],
        env=cleared | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2 and ended.stdout == ""
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("nst-jax: --distributed: ") and "JAX_COORDINATOR_ADDRESS" in last
    assert not (folder / "out").exists()
