"""What commands that paint share: the network that is used, and what is done after each step."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax

from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import answer, say
from nst_jax.cli.progress import ProgressBar
from nst_jax.engine import distributed
from nst_jax.engine.fitting import what_was_taken
from nst_jax.engine.problem import Problem, choose_weights
from nst_jax.engine.pyramid import enlarge
from nst_jax.engine.results import SweepCallback, SweepProgress
from nst_jax.errors import ImageError
from nst_jax.images import io
from nst_jax.images.encoders import SaveOptions
from nst_jax.network.kernel_forms import has_matrix_units
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights, cannot_normalize

# Measured: on a CPU with AMX (Intel Xeon, family 6, model 167) 1.5 times, on one without it longer.
SLOW_BFLOAT16 = "bfloat16 takes longer than float32 on this CPU; it saves memory"


def choose_network(wanted: Settings, weights: Weights) -> tuple[Settings, Weights, str]:
    """The settings, not normalized where the weights cannot be; these; a line on the network.

    The weights that come back are normalized if the settings say so: who keeps no others frees
    their memory.
    """
    possible = weights.normalized or wanted.pooling in weights.activation_means
    settings = dataclasses.replace(wanted, normalize=wanted.normalize and possible)
    chosen = choose_weights(settings, weights)
    if chosen.normalized:
        truly = "" if chosen.normalized_for == wanted.pooling else f"NOT for {wanted.pooling} but "
        padding = "" if wanted.padding == "zero" else " and zero padding"
        state = f"normalized {truly}for {chosen.normalized_for} pooling{padding}"
    elif wanted.normalize:
        state = f"NOT normalized: {cannot_normalize(weights, wanted.pooling)}"
    else:
        state = "not normalized"
    name = f"weights {weights.name} ({weights.source})"
    line = f"network: {weights.architecture}, {name}, {state}"
    on_cpu = jax.default_backend() == "cpu"
    if settings.precision == "bfloat16" and on_cpu and not has_matrix_units():
        line += f"; {SLOW_BFLOAT16}"
    return settings, chosen, line


def describe_fit(given: Problem, problem: Problem) -> list[str]:
    """Lines on how many devices share an image, and on what `--low-memory auto` has come to."""
    taken, devices = what_was_taken(given, problem), problem.program.rows.devices
    lines = [f"{devices} {jax.default_backend()} devices share each image"] if devices > 1 else []
    return [*lines, f"to fit into memory: {taken}"] if taken else lines


def make_callback(
    bar: ProgressBar,
    interruption: Interruption,
    pictures: Mapping[int, Path],
    savings: Mapping[int, SaveOptions],
    problem: Problem,
) -> SweepCallback:
    """What a run calls after each step: it shows progress, saves images, and obeys Ctrl-C.

    Args:
        bar: that shows the progress.
        interruption: ends the run where Ctrl-C has requested that.
        pictures: {lane: its file}; the images on the way stand beside it.
        savings: {lane: how these are written}.
        problem: that is run: the images of coarser scales are enlarged to its shape.
    """

    def callback(progress: SweepProgress) -> None:
        interruption.reach_step()
        if distributed.is_first():
            bar.show(progress)
        if progress.images is not None and 0 < progress.step < progress.steps:
            for lane, image in zip(progress.lanes, progress.images, strict=True):
                if lane in pictures:
                    path = intermediate_path(pictures[lane], progress.step)
                    try:
                        full, alpha = enlarge(image, problem.shape[:2]), problem.alphas[lane]
                        io.save_image(full, path, options=savings[lane], alpha=alpha)
                    except ImageError as error:  # the picture at the end is what matters
                        say(f"nst-jax: {error}; going on without it")
                    else:
                        answer(path)
        if interruption.requested:
            raise StopIteration

    return callback


def paths_on_the_way(picture: Path, steps: int, every: int | None) -> list[Path]:
    """Where the images on the way to a picture are saved, one every so many steps, if any."""
    every = every or max(steps, 1)
    return [intermediate_path(picture, number) for number in range(every, steps, every)]


def intermediate_path(picture: Path, step: int) -> Path:
    """Where the best image of the first `step` steps is saved: OUT-00100.png beside OUT.png."""
    return picture.with_stem(f"{picture.stem}-{step:05d}")
