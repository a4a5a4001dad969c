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

from nst_jax.cli.messages import answer, say
from nst_jax.cli.network import describe_network, without_impossible
from nst_jax.cli.output_flags import add_output_flags, save_options, with_exif
from nst_jax.cli.picture import Picture, check_outputs, paint_picture
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.runner import check_intervals
from nst_jax.engine.style_images import list_files
from nst_jax.records.read import Recorded, differences, read_recorded
from nst_jax.records.resolve_inputs import (
    find_input,
    find_recorded_weights,
    find_styles,
    is_unchanged,
    with_files_found,
)
from nst_jax.records.write import input_files, input_metadata
from nst_jax.settings.settings import Settings
from nst_jax.settings.settings_file import as_toml
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights


def add_command(commands: Any) -> None:
    """Add `rerun` to the parser's commands."""
    parser = commands.add_parser("rerun", description=__doc__)
    parser.add_argument("record", metavar="RECORD", type=Path, help="a .json or a picture")
    parser.add_argument("--lane", metavar="NAME", help="which picture of a sweep.json")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help=".png or .jpg to write [RECORD-rerun.png or LANE-rerun.png here]",
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


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went as far as it was to go."""
    recorded = read_recorded(options.record, options.lane)
    wanted = read_settings(options, dataclasses.asdict(recorded.settings))
    if options.print_settings:
        answer(as_toml(wanted))
        return True
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or Path(f"{options.lane or options.record.stem}-rerun.png")
    weights = _find_weights(recorded, options, wanted)
    wanted = with_files_found(wanted, recorded, as_given=vars(options))
    content = options.content or find_input(recorded, "content")
    styles = tuple(list_files(options.style)) if options.style else find_styles(recorded)
    files = input_files(wanted, content, styles)
    saving = save_options(options, recorded.output)
    check_outputs(output, options, saving, wanted, [str(file) for file in files.values()])
    if content is not None:
        options.copy_exif |= recorded.output["copy_exif"]
        saving = with_exif(saving, options, content)
    inputs = input_metadata(files)
    # A program of one lane, which 0.2 had, rounded as one without lanes does.
    together = recorded.lanes > 1 and is_unchanged(wanted, inputs, recorded)
    lanes = recorded.lanes if together else 0
    stop = None if hasattr(options, "steps") else recorded.stopped_at
    stop = stop if stop is None or stop < wanted.steps else None
    copies = max(lanes, 1)
    settings = (without_impossible(wanted, weights),) * copies
    problem = prepare_problem(content, (styles,) * copies, settings, weights)
    for remark in (*differences(recorded), *_remarks(lanes, stop)):
        say(remark)
    say(describe_network(weights, wanted))
    for line in problem.describe():
        say(line)
    picture = Picture(output, saving, shlex.join(["nst-jax", *arguments]), inputs)
    result, undisturbed = paint_picture(problem, picture, options, stop)
    if result.compiled_lanes != lanes:
        say(f"not {lanes} copies fit into memory: the picture may come out a little different")
    return undisturbed


def _find_weights(recorded: Recorded, options: argparse.Namespace, settings: Settings) -> Weights:
    """The recorded weights, or those that were asked for instead.

    Raises:
        WeightsError: they are gone, or are not what they were.
    """
    if hasattr(options, "weights") or settings.weights != recorded.settings.weights:
        return load_weights(find_weights(settings.weights))
    return find_recorded_weights(recorded)


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
