"""`nst-jax rerun RECORD`: a picture again from its record, as it was or with other settings.

RECORD is the OUT.json beside a picture, the sweep.json of a sweep or a reconstruction, or the
picture itself. Settings that you do not give are the record's; without any, the picture comes out
the same, bit for bit, on the same machine with the same versions: one of a sweep among as many
copies of it as ran together, because alone it would round otherwise. A run that was interrupted
stops at the same step again, unless --steps is given.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli import stylize
from nst_jax.cli.output_flags import save_options, with_exif
from nst_jax.cli.progress import Interruption, StepsBar, answer, say
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.cli.stylize import add_output_flags, as_far_as_possible
from nst_jax.engine.inputs import canvas, first_image, read_images
from nst_jax.engine.loop import check_intervals
from nst_jax.engine.program import make_program
from nst_jax.engine.pyramid import schedule
from nst_jax.engine.regions import read_regions
from nst_jax.engine.style_images import files_of
from nst_jax.images.encoders import SaveOptions
from nst_jax.images.io import load_image
from nst_jax.records.read import Recorded, differences, read_recorded
from nst_jax.records.reproduce import Images, repeat
from nst_jax.records.resolve_inputs import (
    find_input,
    find_recorded_weights,
    find_styles,
    is_unchanged,
    with_files_found,
)
from nst_jax.records.write import input_files, input_metadata
from nst_jax.settings.settings import INITS, Settings
from nst_jax.settings.settings_file import as_toml
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights


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
    parser.add_argument(
        "--style",
        metavar="FILE",
        action="append",
        help="another painting, or where it is now; of several, give --style for each",
    )
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
    """What is to be run, everything found.

    Attributes:
        settings: of the run.
        content: the file, or None.
        styles: the files, if any.
        weights: of the network.
        stop: number of the last step to be evaluated; None goes to the end.
    """

    settings: Settings
    content: str | None
    styles: tuple[str, ...]
    weights: Weights
    stop: int | None

    @property
    def files(self) -> dict[str, str | Path]:
        """{role: file} of the inputs."""
        return input_files(self.settings, self.content, self.styles)

    def read_images(self) -> Images:
        """The content image and the paintings, as `stylize` takes them.

        Raises:
            ImageError: one of them, or the initial one, cannot be read.
        """
        if self.settings.init not in INITS:
            load_image(self.settings.init)
        return read_images(self.settings, self.content, self.styles)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went as far as it was to go."""
    recorded = read_recorded(options.record, options.lane)
    settings = read_settings(options, dataclasses.asdict(recorded.settings))
    if options.print_settings:
        answer(as_toml(settings))
        return True
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or Path(f"{options.lane or options.record.stem}-rerun.png")
    planned = _plan(recorded, options, settings)
    saving = save_options(options, recorded.output)
    inputs = list(map(str, planned.files.values()))
    stylize.check_outputs(output, options, saving, planned.settings, inputs)
    if planned.content is not None:
        options.copy_exif |= recorded.output["copy_exif"]
        saving = with_exif(saving, options, planned.content)
    return _paint(planned, recorded, output, saving, options, shlex.join(["nst-jax", *arguments]))


def _plan(recorded: Recorded, options: argparse.Namespace, settings: Settings) -> _Run:
    """Find all that is needed.

    Raises:
        NSTError: an input or the weights are gone, or are not what they were.
    """
    if hasattr(options, "weights") or settings.weights != recorded.settings.weights:
        weights = load_weights(find_weights(settings.weights))
    else:
        weights = find_recorded_weights(recorded)
    make_program(settings, weights)  # refuses layers that the network lacks
    settings = with_files_found(settings, recorded, as_given=vars(options))
    stop = None if hasattr(options, "steps") else recorded.stopped_at
    return _Run(
        settings,
        options.content or find_input(recorded, "content"),
        tuple(files_of(options.style)) if options.style else find_styles(recorded),
        weights,
        stop if stop is None or stop < settings.steps else None,
    )


def _paint(
    planned: _Run,
    recorded: Recorded,
    output: Path,
    saving: SaveOptions,
    options: argparse.Namespace,
    command: str,
) -> bool:
    """Run it and save the result; return whether Ctrl-C left it alone."""
    images, inputs = planned.read_images(), input_metadata(planned.files)
    lanes = recorded.lanes if is_unchanged(planned.settings, inputs, recorded) else 0
    for remark in (*differences(recorded), *_remarks(lanes, planned.stop)):
        say(remark)
    settings = as_far_as_possible(planned.settings, planned.weights)
    scales = schedule(settings, canvas(images[0], first_image(images[1])).shape)
    stylize.say_scales(settings, scales)
    regions = read_regions(settings, scales[-1].shape, images[1])
    stylize.say_regions(regions, planned.weights, settings)
    with Interruption() as interruption:
        with StepsBar(settings.steps) as bar:
            result = repeat(
                images,
                settings,
                planned.weights,
                stylize.make_callback(output, saving, interruption, bar, scales[-1].shape),
                lanes=lanes,
                stop=planned.stop,
                report_every=options.report_every,
                save_every=options.save_every,
            )
        interruption.saving = True
        if result.compiled_lanes != lanes:
            say(f"not {lanes} copies fit into memory: the picture may come out a little different")
        stylize.save_result(result, output, saving, command, inputs)
    return not interruption.requested


def _remarks(lanes: int, stop: int | None) -> list[str]:
    """What is done in order to come out the same, where that is not what one would expect."""
    remarks = []
    if lanes:
        remarks.append(
            f"{lanes} copies at once, since a program of another number rounds otherwise"
        )
    if stop is not None:
        remarks.append(f"stops at step {stop}, as the recorded run did, unless --steps is given")
    return remarks
