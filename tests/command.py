"""Run the command in this process, and look at what it leaves behind."""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import nst_jax
from nst_jax.cli import main

# Early layers, which compile sooner, at (24, 32) pixels: the tests of the commands share programs.
LAYERS = ("--content-layers", "conv2_1", "--style-layers", "conv1_1,conv2_1")
QUICK = ("--size", "32", "--lbfgs-memory", "5", *LAYERS)


class Outcome(NamedTuple):
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def nst(*arguments):
    """Run `nst-jax` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main.main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def launch(*arguments, **environment):
    """Start `python -m nst_jax` in the current folder, with Ctrl-C as a terminal has it.

    Where the suite runs in the background of a script, it is ignored, and would be in children.
    """
    package = os.path.dirname(os.path.dirname(nst_jax.__file__))
    paths = os.pathsep.join(filter(None, (environment.pop("first", ""), package)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "nst_jax", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": paths, "PYTHONUTF8": "1"} | environment,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def listing(folder="."):
    """Every path below a folder, hidden ones too, with its size and time."""
    paths = sorted(Path(folder).rglob("*"))
    return [(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths]


def refused(arguments, words, chatter=False):
    """The command says in one line, with `words`, what the user did wrong, and leaves nothing.

    Args:
        arguments: of the command.
        words: what the line must have.
        chatter: whether lines of progress may come before.
    """
    before = listing()
    code, out, err = nst(*arguments)
    lines = err.splitlines()
    assert code == 2 and out == "", err
    assert lines[-1].startswith("nst-jax") and (chatter or len(lines) == 1), err
    for word in words:
        assert word in lines[-1]
    assert listing() == before


def picture(height, width, seed=0):
    """A smooth colourful picture, (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = np.random.default_rng(seed).uniform(3, 12, (3, 2))
    planes = [np.sin(a * x + b * y) for a, b in waves]
    return np.rint(np.stack(planes, axis=-1) * 110 + 128).astype(np.uint8)


def draw(path, height=48, width=64, seed=0, mode="RGB"):
    """Save a picture; return the path."""
    Image.fromarray(picture(height, width, seed)).convert(mode).save(path)
    return path
