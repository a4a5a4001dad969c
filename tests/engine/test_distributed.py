"""Two processes on the loopback: the same results as one, and what happens when one dies.

Each with lanes of its own, or both with the rows of one image.
"""

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
SWEEP += ["--style-layers", "conv1_1,conv2_1", "--content-layers", "conv2_2"]
PICTURE = ["stylize", "photo.png", "painting.png", "--size", "67", "--lbfgs-memory", "4"]
PICTURE += ["--weights", "vgg16", "-o", "out.png", "--report-every", "1"]
PICTURE += ["--style-layers", "conv1_1,conv2_1", "--content-layers", "conv2_2"]
# Of a process whose peer is killed: what it finds out by itself, or JAX for it.
LAST_LINES = tuple(f"nst-jax: {each}" for each in (distributed.LOST, distributed.ABORTED))


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

    def start(*arguments, command=SWEEP, devices=1, folders=(".", ".")):
        port, started = free_port(), []
        for index in range(2):
            environment = os.environ | {
                "JAX_PLATFORMS": "cpu",
                "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(index),
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            }
            typed = [sys.executable, "-m", "nst_jax", *command, "--distributed", *arguments]
            with open(f"said-{index}", "w") as said:
                how = {"stdout": subprocess.PIPE, "stderr": said, "cwd": folders[index]}
                started.append(subprocess.Popen(typed, env=environment, text=True, **how))
        processes.extend(started)
        return started

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def records(folder):
    lanes = json.loads((folder / "sweep.json").read_text())["lanes"]
    return {lane["name"]: lane for lane in lanes}


def test_two_processes_give_what_one_gives(folder, start):
    """Three lanes, one at a time in each: the second round leaves one process without.

    The second process has no files, and no need of any.
    """
    (folder / "elsewhere").mkdir()
    short = ("--steps", "3", "--report-every", "1", "--lanes", "1")
    first, second = start("-o", "two", *short, folders=(".", "elsewhere"))
    out, nothing = first.communicate(timeout=240)[0], second.communicate(timeout=240)[0]
    assert (first.returncode, second.returncode) == (0, 0), Path("said-0").read_text()
    names = [f"ratio-1e-{n}" for n in (5, 4, 3)]
    wanted = [f"two/{name}.png" for name in names] + ["two/grid.png", "two/index.html"]
    assert out.splitlines() == wanted
    assert nothing == "" and not list((folder / "elsewhere").iterdir())  # one writes and answers
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


def test_the_first_dies(folder, start):
    """JAX aborts the others, with a stack trace; in the end they say what to do."""
    first, second = start("-o", "out", "--steps", "2000", "--lanes", "1")
    wait_for(folder / "out")
    first.send_signal(signal.SIGKILL)
    assert second.wait(timeout=distributed.HEARTBEAT_SECONDS / 2) == 1
    last = Path("said-1").read_text().splitlines()[-1]
    assert last.startswith(LAST_LINES)


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
    for process in start("-o", "out", *flags):
        process.communicate(timeout=240)
        assert process.returncode == 0
    assert all("going on with 1 of them at step" in Path(f"said-{n}").read_text() for n in (0, 1))
    for process in start("-o", "whole", *flags):
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


def losses_in(record):
    return [entry["loss"] for entry in json.loads(Path(record).read_text())["history"]]


def test_two_processes_share_a_picture(folder, start):
    """Of two devices each: as one device makes it. The second process has no files, and no need."""
    (folder / "elsewhere").mkdir()
    flags = ("--steps", "6", "--scales", "2", "--average", "3", "--save-every", "4")
    sharing = {"command": PICTURE, "devices": 2, "folders": (".", "elsewhere")}
    out, nothing = (p.communicate(timeout=240)[0] for p in start(*flags, **sharing))
    assert "4 cpu devices share each image" in Path("said-0").read_text()
    assert (out.splitlines(), nothing) == (["out-00004.png", "out.png"], "")
    assert not list((folder / "elsewhere").iterdir())
    code, _, said = nst(*PICTURE, *flags, "-o", "one.png")
    assert code == 0, said
    assert losses_in("out.json") == pytest.approx(losses_in("one.json"), rel=1e-3)
    pictures = [np.asarray(Image.open(name), int) for name in ("out.png", "one.png")]
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


def test_one_of_those_that_share_a_picture_is_killed(folder, start):
    """The other says what to do; the same command goes on, to the bits of a run that is not."""
    flags = ("--steps", "16", "--checkpoint-every", "2")
    first, second = start(*flags, command=PICTURE, devices=2)
    wait_for(folder / "out.png-1.checkpoint.before")
    first.send_signal(signal.SIGKILL)
    assert second.wait(timeout=distributed.HEARTBEAT_SECONDS / 2) == 1
    last = Path("said-1").read_text().splitlines()[-1]
    assert last.startswith(LAST_LINES)
    assert (folder / "out.png.checkpoint").exists()
    for process in start(*flags, command=PICTURE, devices=2):
        assert process.communicate(timeout=240) and process.returncode == 0
    assert "going on at step" in Path("said-0").read_text()
    left = {path.name for path in folder.iterdir()} - {"photo.png", "painting.png"}
    assert left == {"out.png", "out.json", "said-0", "said-1"}
    again = ["rerun", "out.png", "-o", "again.png", "--report-every", "1"]
    for process in start(command=again, devices=2):
        assert process.communicate(timeout=240) and process.returncode == 0
    assert losses_in("again.json") == losses_in("out.json")
    pictures = [np.asarray(Image.open(name)) for name in ("again.png", "out.png")]
    assert np.array_equal(*pictures)


def test_a_signal_to_one_ends_all_of_those_that_share_a_picture(folder, start):
    """After the same step, with the picture and what each goes on from."""
    first, second = start("--steps", "300", "--checkpoint-every", "2", command=PICTURE, devices=2)
    wait_for(folder / "out.png-1.checkpoint")
    second.send_signal(signal.SIGTERM)
    out = first.communicate(timeout=240)[0]
    assert (first.returncode, second.wait(timeout=60), out) == (130, 143, "out.png\n")
    record = json.loads(Path("out.json").read_text())
    assert record["completed"] is False
    said = Path("said-0").read_text().splitlines()[-1]
    assert said == "interrupted; the same command goes on from here (out.png.checkpoint)"
    assert (folder / "out.png-1.checkpoint").exists()


ALONE = """
import sys
from nst_jax.cli.main import main
from nst_jax.engine import distributed
distributed.JOIN_SECONDS = 2
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("index", ["0", "1"])
def test_the_other_never_comes(folder, index):
    address = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, *PICTURE, "--distributed"],
        env=os.environ | address | {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": index},
        capture_output=True,
        text=True,
        timeout=120,
    )
    first, *_, last = ended.stderr.splitlines()
    assert ended.returncode == 1 and ended.stdout == ""
    assert last == f"nst-jax: {distributed.ABORTED}"
    assert first.startswith("waiting for the other processes of this run")


def test_ctrl_c_while_the_other_does_not_come(folder, start):
    """The system ends the process, as it does a program in C; nothing is left."""
    first, second = start(command=PICTURE)
    second.kill()
    for _ in range(600):
        if Path("said-0").read_text().startswith("waiting"):
            break
        time.sleep(0.1)
    time.sleep(1)  # it is in JAX then
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=10) == -signal.SIGINT
    assert Path("said-0").read_text().splitlines()[1:] == []
    assert not list(folder.glob("out*"))


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
