"""One picture of a run: where it goes, the steps on the way to it, the picture and its record."""

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import answer, say
from nst_jax.cli.output_flags import intermediate_path, record_path
from nst_jax.cli.progress import StepsBar
from nst_jax.engine.problem import Problem
from nst_jax.engine.pyramid import enlarge, scale_at
from nst_jax.engine.results import Progress, Result, told_of_first_lane
from nst_jax.engine.runner import Runner, RunOptions
from nst_jax.errors import ImageError
from nst_jax.images import io
from nst_jax.images.encoders import SaveOptions
from nst_jax.losses.terms import Losses
from nst_jax.records.write import image_text, make_record, save_record
from nst_jax.settings.settings import Settings


@dataclasses.dataclass(frozen=True)
class Picture:
    """How a picture is written.

    Attributes:
        path: of the picture; the record and the pictures on the way are called after it.
        saving: bits, resolution, EXIF data.
        command: as it was typed.
        inputs: of the record, from `input_metadata`.
    """

    path: Path
    saving: SaveOptions
    command: str
    inputs: Mapping[str, Any]


def check_outputs(
    path: Path,
    options: argparse.Namespace,
    saving: SaveOptions,
    settings: Settings,
    inputs: Sequence[str],
) -> None:
    """Refuse, before any work is done, to write over a result, an input or a folder.

    Raises:
        ImageError: the picture, its record or one on the way would do that.
    """
    io.check_writable(path, options.overwrite, saving)
    every = options.save_every or max(settings.steps, 1)
    intermediates = (intermediate_path(path, n) for n in range(every, settings.steps, every))
    for output in (path, record_path(path), *intermediates):
        if not os.path.lexists(output):
            continue
        if output.is_dir():
            raise ImageError(f"{output}: is a folder; choose another name")
        if not options.overwrite:
            raise ImageError(f"{output}: exists already; choose another name or add --overwrite")
        if any(_are_same(output, name) for name in inputs):
            raise ImageError(f"{output}: is one of the inputs; choose another name")


def _are_same(path: Path, name: str) -> bool:
    return os.path.exists(path) and os.path.exists(name) and path.samefile(name)


def paint_picture(
    problem: Problem, picture: Picture, options: argparse.Namespace, stop: int | None = None
) -> tuple[Result, bool]:
    """Run the first lane of a problem, and write the picture and its record.

    Args:
        problem: one lane, or as many copies of it as were run together when it was recorded: among
            them it rounds as then. Where not as many fit into memory there are fewer.
        picture: where it goes.
        options: of the command line: report_every and save_every.
        stop: number of the last step to be evaluated; None goes to the end.

    Returns:
        The result, and whether Ctrl-C left the run alone.
    """
    with Interruption() as interruption:
        with StepsBar(problem.settings[0].steps) as bar:

            def tell(progress: Progress) -> None:
                interruption.stoppable = True
                bar.show(progress)
                if progress.image is not None and 0 < progress.step < progress.steps:
                    path = intermediate_path(picture.path, progress.step)
                    image = enlarge(progress.image, problem.scales[-1].shape)
                    io.save_image(image, path, options=picture.saving)
                    answer(path)
                if interruption.requested:
                    raise StopIteration

            copies = len(problem.settings)
            run_options = RunOptions(
                told_of_first_lane(tell),
                options.report_every,
                options.save_every,
                lanes_at_once=copies,
                within_memory=copies > 1,
                must_be_finite=copies == 1,
                stop=stop,
                resumable=False,
            )
            result = next(Runner(problem, run_options).run()).results[0]
        interruption.saving = True
        save_result(result, picture)
    return result, result.completed or not interruption.requested


def save_result(result: Result, picture: Picture) -> None:
    """Write the image and its record, and answer with the image's path."""
    record = make_record(result, picture.command, picture.inputs, picture.saving)
    io.save_image(result.image, picture.path, image_text(record), picture.saving)
    save_record(record, record_path(picture.path))
    timing, begun = record["timing"], _first_at_this_size(result)
    at_size = f" at {record['result']['size']} px" if "size" in record["result"] else ""
    say(
        f"loss {begun.total:.4g} → {result.losses.total:.4g}{at_size} in "
        f"{result.evaluations} evaluations, {timing['run_s']:.1f} s "
        f"(and {timing['compile_s']:.1f} s compiling)"
        + (f", {result.restarts} restarts" if result.restarts else "")
    )
    answer(picture.path)


def _first_at_this_size(result: Result) -> Losses:
    """What the losses of the result can be compared with."""
    scale = scale_at(result.scales, result.evaluations - 1)
    return next(each for step, each in result.history if scale_at(result.scales, step) == scale)
