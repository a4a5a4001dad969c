"""Exit codes, what goes to which stream, and Ctrl-C, some of it in a process of its own."""

import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from command import QUICK, draw, launch, listing, nst, refused
from PIL import Image

import nst_jax
from nst_jax.cli import main, picture

COLUMNS, LINES = 80, 112  # of a terminal, and of two of its screens
PATIENCE = 120  # seconds until a process of a few seconds counts as stuck
STYLIZE = ("stylize", "photo.png", "painting.png", *QUICK)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting; Ctrl-C as Python has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "weights"))
    draw("photo.png"), draw("painting.png", 40, 40, seed=1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def lines_until(process, start):
    """What the process says on standard error, up to the line that starts so."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(start):
            return lines
    raise AssertionError(f"no line {start!r} in {lines}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("COMMAND", "--help")),
        (("paint",), ("'paint'", "stylize", "--help")),
        (("weights",), ("ACTION", "weights --help")),
        (("weights", "steal"), ("'steal'", "fetch")),
        (("stylize",), ("CONTENT, STYLE", "stylize --help")),
        (("stylize", "photo.png"), ("STYLE", "stylize --help")),
        (("info", "--loud"), ("--loud", "--help")),
        ((*STYLIZE, "--loud"), ("--loud", "--help")),
        ((*STYLIZE, "-o"), ("-o/--output", "one argument", "stylize --help")),
        ((*STYLIZE, "--preset", "monet"), ("--preset", "'monet'", "paper")),
    ],
)
def test_what_cannot_be_parsed(folder, arguments, words):
    refused(arguments, words)


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version(flag):
    code, out, err = nst(flag)
    assert code == 0 and err == ""
    assert ("stylize" if flag == "--help" else nst_jax.__version__) in out


COMMANDS = ("stylize", "sweep", "reconstruct", "rerun", "weights", "info")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(command, monkeypatch):
    """On two screens at most; the usage names what must be given, the groups all the rest."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    code, out, err = nst(command, "--help")
    lines = out.splitlines()
    assert code == 0 and err == "" and command in lines[0]
    assert len(lines) <= LINES and max(map(len, lines)) <= COLUMNS
    assert lines[0].endswith("[OPTION …]") and lines[1] == ""


@pytest.mark.parametrize("command", COMMANDS[:4])
def test_groups_of_the_help(command):
    out = nst(command, "--help").out
    for group in ("picture:", "optimization:", "network and losses:", "output:"):
        assert f"\n{group}\n" in out
    assert ("long side of the result [512]" in out) == (command != "rerun")  # there the record's


def test_help_without_jax():
    """At once, therefore, and without color where no terminal is."""
    code = "import sys, nst_jax.cli.main as cli; cli.main(['-h']); print('jax' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        said.stdout.endswith("False\n") and "stylize" in said.stdout and "\x1b" not in said.stdout
    )


def test_info(folder):
    code, out, err = nst("info")
    facts = [line.split(maxsplit=1) for line in out.splitlines()]
    assert code == 0 and err == ""
    assert ["jax", jax.__version__] in facts
    assert ["nst_jax", nst_jax.__version__] in facts
    assert sum(name == "device" for name, _ in facts) == len(jax.devices())
    assert any(name == "weights" and fact.startswith("vgg16-imagenet (") for name, fact in facts)


class Raise:
    """Stands in for `stylize`, and raises."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_, **__):
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), ("memory", "--size")),
        (MemoryError(), ("memory", "--size")),
        (OSError(28, "No space left on device"), ("No space left on device",)),
    ],
)
def test_what_the_machine_lacks_is_one_line_and_code_1(folder, monkeypatch, error, words):
    monkeypatch.setattr(picture, "Runner", Raise(error))
    before = listing()
    code, out, err = nst(*STYLIZE)
    assert code == 1 and out == "" and listing() == before
    assert err.splitlines()[:-1] == err.splitlines()[:2]  # the network, and that it compiles
    assert all(word in err.splitlines()[-1] for word in words)


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("tpu", 'pip install "nst-jax[tpu]"'),
        ("gpu,cpu", 'pip install "nst-jax[cuda]"'),
        ("cuad", "choose from cpu, cuda, gpu, tpu"),
    ],
)
def test_a_device_that_is_not_there(folder, monkeypatch, asked, remedy):
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    reason = f"Unable to initialize backend '{asked}': \nnone (set JAX_PLATFORMS='' to choose)"
    monkeypatch.setattr(picture, "Runner", Raise(RuntimeError(reason)))
    words = (f"JAX_PLATFORMS={asked}: {remedy}", f"backend '{asked}': none)")
    refused(STYLIZE, words, chatter=True)


def test_cuda_that_is_not_installed(folder):
    """JAX asserts then; where it is installed it says that there is no card."""
    process = launch("info", JAX_PLATFORMS="cuda")
    out, err = process.communicate(timeout=PATIENCE)
    if process.returncode == 0:
        pytest.skip("there is a GPU")
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1), err
    assert 'JAX_PLATFORMS=cuda: pip install "nst-jax[cuda]"' in err


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "", "home", "/nonexistent", "/dev/null", "file", "/proc"])
@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME"])
def test_no_home_for_caches(folder, name, home):
    """The embedded weights are found, nothing is kept, and nothing said."""
    (folder / "file").touch()
    environment = {"JAX_COMPILATION_CACHE_DIR": "", "NST_JAX_WEIGHTS": ""}
    if home is not None:
        environment[name] = str(folder / home) if home == "file" else home
    before = os.environ.pop(name, None)
    try:
        process = launch(*STYLIZE, "--steps", 0, "-o", "out.png", **environment)
    finally:
        if before is not None:
            os.environ[name] = before
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "out.png\n"), err
    assert "Traceback" not in err and "ache" not in err and not list(folder.glob("~*"))


def test_a_bug_keeps_its_traceback(folder, monkeypatch):
    monkeypatch.setattr(picture, "Runner", Raise(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        nst(*STYLIZE)


def test_interrupted_before_there_is_an_image(folder, monkeypatch):
    monkeypatch.setattr(picture, "Runner", Raise(KeyboardInterrupt()))
    before = listing()
    code, out, err = nst(*STYLIZE)
    assert code == 130 and out == "" and listing() == before
    assert err.splitlines()[-1] == "nst-jax: interrupted before there was a result"


def test_nobody_reads_the_answers(folder, monkeypatch):
    """As in `nst-jax stylize … | head -0`: the files are written all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main.main([*STYLIZE, "-o", "out.png", "--steps", "2", "--save-every", "1"])
    monkeypatch.undo()
    assert code == 0
    names = ("out.png", "out.json", "out-00001.png")
    assert all((folder / name).exists() for name in names)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_disk_under_standard_output_is_full(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main.main(["info"])
        monkeypatch.undo()
    assert code == 1
    assert capsys.readouterr().err.splitlines() == ["nst-jax: [Errno 28] No space left on device"]


def test_a_mistake_in_a_process(folder):
    before = listing()
    process = launch(*STYLIZE, "--ratio", "much")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1 and "--ratio" in err and "'much'" in err
    assert listing() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "presses"),
    [("SIGINT", 130, 1), ("SIGINT", 130, 2), ("SIGTERM", 143, 1), ("SIGHUP", 129, 1)],
)
def test_a_signal_saves_the_best_image(folder, name, code, presses):
    process = launch(*STYLIZE, "-o", "out.png", "--steps", "1000000", "--report-every", "1")
    said = lines_until(process, "step 0")
    for _ in range(presses):  # as fast as a launcher that passes the terminal's signal on
        process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "out.png\n"), err
    assert said[1] == "compiling\n" and "Traceback" not in err
    assert "stopping after this step" in err.splitlines()[0]
    record = json.loads((folder / "out.json").read_text())
    assert record["completed"] is False
    assert record["result"]["loss"] <= min(entry["loss"] for entry in record["history"])
    with Image.open("out.png") as image:
        assert image.size == (32, 24) and json.loads(image.text["nst_jax"])["command"]


@pytest.mark.slow
def test_ctrl_c_at_a_coarse_scale(folder):
    """The best image of that scale, enlarged; the record says which it was."""
    arguments = ("stylize", "photo.png", "painting.png", "--size", 96, "--scales", 2)
    process = launch(*arguments, "-o", "out.png", "--steps", "1000000")
    lines_until(process, "step 0")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "out.png\n"), err
    record = json.loads((folder / "out.json").read_text())
    assert record["completed"] is False and record["result"]["size"] == 48
    assert {entry["size"] for entry in record["history"]} == {48}
    with Image.open("out.png") as image:
        assert image.size == (96, 72)


@pytest.mark.slow
def test_ctrl_c_while_compiling(folder):
    before = listing()
    process = launch(*STYLIZE, JAX_ENABLE_COMPILATION_CACHE="false")  # else there is nothing to do
    lines_until(process, "compiling")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == ["nst-jax: interrupted before there was a result"]
    assert listing() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_while_importing(folder, tmp_path_factory):
    """The system ends the process, as it does a program in C; shells call that 130 as well."""
    first = tmp_path_factory.mktemp("first")
    (first / "optax.py").write_text(
        "import os; os.kill(os.getpid(), 2); import time; time.sleep(9)"
    )
    before = listing()
    process = launch(*STYLIZE, first=str(first))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (-signal.SIGINT, "", "")
    assert listing() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [(), ("--compilation-cache", "none"), ("--compilation-cache", "c")]
)
def test_compiled_programs_are_kept_in_the_users_folder(folder, tmp_path_factory, asked):
    caches = tmp_path_factory.mktemp("caches")
    environment = {"XDG_CACHE_HOME": str(caches), "JAX_COMPILATION_CACHE_DIR": ""}
    process = launch(*STYLIZE, "--steps", 0, "-o", "out.png", *asked, **environment)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "out.png\n"), err
    assert any(caches.rglob("*-cache")) == (not asked)
    assert any(folder.rglob("*-cache")) == ("c" in asked)


def test_settings_are_the_same_twice(folder):
    """The command is its own documentation: what the record says it was gives the same image."""
    nst(*STYLIZE, "-o", "first.png", "--steps", "2", "--init", "noise", "--seed", "7")
    words = json.loads((folder / "first.json").read_text())["command"].split()
    code, out, _ = nst(*words[1:], "--overwrite", "-o", "second.png")
    assert (code, out) == (0, "second.png\n")
    first, second = (np.asarray(Image.open(name)) for name in ("first.png", "second.png"))
    assert np.array_equal(first, second)
