"""What commands that paint share of checkpoints: room for them, and what is said of them.

And whether the machine has memory for the run.
"""

import shutil
from pathlib import Path

from nst_jax.cli.messages import say
from nst_jax.engine.checkpoint import Checkpoint, CheckpointFile, largest_piece_bytes
from nst_jax.engine.host_plan import device_bytes, run_bytes
from nst_jax.engine.problem import Problem
from nst_jax.errors import ImageError
from nst_jax.host_memory import as_text, free_on_host
from nst_jax.images.encoders import SaveOptions

# No picture of a painting takes less than this part of its pixels' bytes, in any format.
LEAST = 1 / 100
RECORD = 1_000_000  # bytes, of a long one
LARGE = 1e9  # bytes of a checkpoint that are worth a line


def picture_bytes(problem: Problem, saving: SaveOptions) -> int:
    """The bytes of the pixels of one picture of a problem."""
    height, width, colors = problem.shape
    is_transparent = any(alpha is not None for alpha in problem.alphas)
    return height * width * (colors + is_transparent) * saving.bits // 8


def check_room(folder: Path, pictures: int, checkpoint: int) -> None:
    """Say in one line where files might not fit, or take much of the disk while the run goes on.

    Args:
        folder: where they will lie.
        pictures: bytes of the pixels of all of them.
        checkpoint: bytes; 0 where there will be none.

    Raises:
        ImageError: not even the pictures will fit.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free <= LEAST * pictures:
        raise ImageError(
            f"{folder}: the disk is full ({as_text(free)} free); free space or choose another place"
        )
    at_most = pictures + RECORD + 2 * checkpoint  # a new one is whole before the old one goes
    without = "; --checkpoint-every never leaves checkpoints out" if checkpoint else ""
    if free < at_most:
        say(
            f"{folder}: only {as_text(free)} free, and pictures and checkpoints may take "
            f"{as_text(at_most)}{without}"
        )
    elif checkpoint > LARGE:
        say(f"checkpoints take up to {as_text(2 * checkpoint)} in {folder}{without}")


def say_if_memory_is_short(problem: Problem, lanes: int, keeping: bool) -> None:
    """Say in one line where the machine's own memory might not do for a run.

    Args:
        problem: whose images were read.
        lanes: at once.
        keeping: whether it keeps checkpoints.
    """
    checkpoint = largest_piece_bytes(problem, lanes) if keeping else 0
    free, on_device = free_on_host(swap=True), device_bytes(problem, lanes)
    needed, without = (on_device + run_bytes(problem, lanes, size) for size in (checkpoint, 0))
    if free is None or needed <= free:
        return
    less = "a smaller --size takes less"
    if without < needed:
        less = f"--checkpoint-every never takes {as_text(without)}"
    say(
        f"only {as_text(free)} of the machine's memory are free, and the run may take "
        f"{as_text(needed)} beside its images; {less}"
    )


def say_going_on(resumed: Checkpoint) -> None:
    """Say with how many of several pictures a run goes on, and at which step."""
    numbers = (f"{len(each.lanes)} of them at step {each.step}" for each in resumed.groups)
    say(f"going on with {' and '.join(numbers)}")


def keep_interrupted(file: CheckpointFile, checkpoint: Checkpoint, overwriting: bool) -> None:
    """Keep what an interrupted run goes on from, and say how it does."""
    file.keep(checkpoint)
    if file.step is not None:
        how = " with --resume" if overwriting else ""
        where = "here" if file.step == checkpoint.step else f"step {file.step}"
        say(f"interrupted; the same command{how} goes on from {where} ({file.path})")
