"""`nst-jax rerun RECORD`: a picture again from its record, as it was or with other settings.

RECORD is the OUT.json beside a picture, the sweep.json of a sweep or a reconstruction, or the
picture itself. Settings that you do not give are the record's; without any, the picture comes out
the same, bit for bit, on the same machine with the same versions. A run that was interrupted stops
at the same step again, unless --steps is given.
"""

import argparse
import dataclasses
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nst_jax import cli_stylize, transfer
from nst_jax.cli_stylize import add_output_flags, add_settings_flags, as_far_as_possible
from nst_jax.images import load_image
from nst_jax.inputs import canvas, read_images
from nst_jax.job import prepare
from nst_jax.loop import check_intervals
from nst_jax.program import make_program
from nst_jax.progress import Interruption, StepsBar, answer, say
from nst_jax.record import input_facts, style_roles
from nst_jax.replay import (
    Recorded,
    differences,
    find_input,
    find_recorded_weights,
    find_styles,
    read_recorded,
)
from nst_jax.rounds import Options, Runner, SweepProgress
from nst_jax.scales import schedule
from nst_jax.settings import INITS, Settings
from nst_jax.settings_file import as_toml
from nst_jax.transfer import Callback, Progress, Result
from nst_jax.weights import Weights
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

Images = tuple[np.ndarray | None, np.ndarray | None]


def add_command(commands: Any) -> None:
    """Add `rerun` to the parser's commands."""
    parser = commands.add_parser(
        "rerun", help="a picture again, as it was or changed", description=__doc__
    )
    parser.add_argument("record", metavar="RECORD", type=Path, help="a .json or a picture")
    parser.add_argument("--lane", metavar="NAME", help="which picture of a sweep.json")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help=".png or .jpg to write (default: RECORD-rerun.png or LANE-rerun.png here)",
    )
    parser.add_argument("--content", metavar="FILE", help="another photograph, or where it is now")
    parser.add_argument("--style", metavar="FILE", help="another painting, or where it is now")
    parser.add_argument(
        "--print-settings",
        action="store_true",
        help="print the settings as a file for --settings, and make no picture",
    )
    add_settings_flags(parser, with_defaults=False)
    add_output_flags(parser)
    parser.set_defaults(run=run)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What is to be run, everything found and checked.

    Attributes:
        settings: of the run.
        content: the file, or None.
        styles: the files, if any.
        weights: of the network.
        lanes: of the program; 0 is one without lanes.
        stop: number of the last step to be evaluated; None goes to the end.
    """

    settings: Settings
    content: str | None
    styles: tuple[str, ...]
    weights: Weights
    lanes: int
    stop: int | None

    @property
    def files(self) -> dict[str, str | Path]:
        """{role: file} of the inputs."""
        content = {} if self.content is None else {"content": self.content}
        init = {} if self.settings.init in INITS else {"init": self.settings.init}
        return {**content, **style_roles(self.styles), **init}

    def read_images(self) -> Images:
        """The content and the style image, as `stylize` takes them.

        Raises:
            ImageError: one of them, or the initial one, cannot be read.
        """
        if self.settings.init not in INITS:
            load_image(self.settings.init)
        return read_images(self.settings, self.content, self.styles[0] if self.styles else None)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went as far as it was to go."""
    recorded = read_recorded(options.record, options.lane)
    settings = cli_stylize.read_settings(options, dataclasses.asdict(recorded.settings))
    if options.print_settings:
        answer(as_toml(settings))
        return True
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or Path(f"{options.lane or options.record.stem}-rerun.png")
    planned = _plan(recorded, options, settings)
    cli_stylize.check_outputs(output, options, settings, list(map(str, planned.files.values())))
    images, inputs = planned.read_images(), input_facts(**planned.files)
    for difference in differences(recorded):
        say(difference)
    settings = as_far_as_possible(planned.settings, planned.weights)
    planned = dataclasses.replace(planned, settings=settings)
    with Interruption() as interruption:
        result = _paint(planned, images, output, options, interruption)
        interruption.saving = True
        cli_stylize.save_result(result, output, shlex.join(["nst-jax", *arguments]), inputs)
    return not interruption.requested


def _plan(recorded: Recorded, options: argparse.Namespace, settings: Settings) -> _Run:
    """Find all that is needed; unless something is changed, run it in a program of the same kind.

    Raises:
        NSTError: an input or the weights are gone, or are not what they were.
    """
    changed = settings != recorded.settings or bool(options.content or options.style)
    weights = _weights(recorded, options, settings)
    make_program(settings, weights)  # refuses layers that the network lacks
    if settings.init == recorded.settings.init and not hasattr(options, "init"):
        found = find_input(recorded, "init") or settings.init
        settings = dataclasses.replace(settings, init=found)
    return _Run(
        settings,
        options.content or find_input(recorded, "content"),
        (options.style,) if options.style else find_styles(recorded),
        weights,
        0 if changed else recorded.lanes,
        None if hasattr(options, "steps") else recorded.stopped_at,
    )


def _weights(recorded: Recorded, options: argparse.Namespace, settings: Settings) -> Weights:
    """Those of the record, unless others are asked for."""
    if hasattr(options, "weights") or settings.weights != recorded.settings.weights:
        return load_weights(find_weights(settings.weights))
    return find_recorded_weights(recorded)


def _paint(
    planned: _Run,
    images: Images,
    output: Path,
    options: argparse.Namespace,
    interruption: Interruption,
) -> Result:
    """Run it, in a program without lanes or with as many as it had."""
    settings, scales = planned.settings, schedule(planned.settings, canvas(*images).shape)
    cli_stylize.say_scales(settings, scales)
    stop = planned.stop if planned.stop is not None and planned.stop < settings.steps else None
    if stop is not None:
        say(f"stops at step {stop}, as the recorded run did, unless --steps is given")
    with StepsBar(settings.steps) as bar:
        tell = cli_stylize.make_callback(output, interruption, bar, scales[-1].shape)
        callback = _stopping(tell, stop, options.save_every)
        every = _save_every(stop, options.save_every)
        how = Options(_of_first_lane(callback), options.report_every, every, planned.lanes or None)
        if planned.lanes:
            return _paint_lane(planned, images, how)
        return transfer.stylize(
            *images,
            settings,
            weights=planned.weights,
            callback=callback,
            report_every=options.report_every,
            save_every=every,
        )


def _save_every(stop: int | None, asked: int | None) -> int | None:
    """Intervals of saving that meet `stop`: there, no later step runs ahead of the callback."""
    if stop is None:
        return asked
    return math.gcd(stop, asked or 0) or 1


def _stopping(tell: Callback, stop: int | None, save_every: int | None) -> Callback:
    """A callback that ends the run at a step, and passes on the images that are to be saved."""

    def callback(progress: Progress) -> None:
        wanted = save_every is not None and progress.step % save_every == 0
        tell(progress if wanted else dataclasses.replace(progress, image=None))
        if progress.step == stop:
            raise StopIteration

    return callback


def _paint_lane(planned: _Run, images: Images, how: Options) -> Result:
    """Run a lane among copies of itself: only programs with as many lanes round alike.

    No lane depends, in any bit, on what the others hold (measured on CPU).
    """
    content, style = ((image,) * planned.lanes for image in images)
    job = prepare(content, style, [planned.settings] * planned.lanes, planned.weights)
    runner = Runner(job, how)
    copies = f"{runner.plan.lanes} copies at once"
    if runner.plan.lanes == planned.lanes:
        say(f"{copies}, since only a program of as many lanes rounds as the record's did")
    else:
        say(f"{copies}, and not {planned.lanes} as the record had: it may round otherwise")
    return next(iter(runner.run())).results[0]


def _of_first_lane(callback: Callback) -> Callable[[SweepProgress], None]:
    """A sweep's callback that tells another of the first lane."""

    def tell(progress: SweepProgress) -> None:
        callback(
            Progress(
                progress.step,
                progress.steps,
                jax.tree.map(lambda each: float(each[0]), progress.losses),
                progress.seconds,
                progress.size,
                progress.work,
                None if progress.images is None else progress.images[0],
            )
        )

    return tell
