"""Run the command in this process, and look at what it leaves behind."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nst_jax import cli


class Outcome(NamedTuple):
    """Exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def nst(*arguments):
    """Run `nst-jax` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


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
