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

import jax

from nst_jax.cli.messages import answer, say
from nst_jax.cli.output_flags import (
    add_devices_flag,
    add_output_flags,
    join_if_asked,
    output_file,
    save_options,
)
from nst_jax.cli.picture import Picture, check_picture, paint_picture
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.engine import distributed
from nst_jax.engine.sharing import AUTO
from nst_jax.engine.style_images import list_files
from nst_jax.records.read import Recorded, differences, read_recorded
from nst_jax.records.resolve_inputs import (
    find_inputs,
    find_recorded_weights,
    is_unchanged,
    with_files_found,
)
from nst_jax.settings.settings_file import as_toml
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights


def add_command(commands: Any) -> None:
    """Add `rerun` to the parser's commands."""
    parser = commands.add_parser("rerun", description=__doc__)
    parser.add_argument("record", metavar="RECORD", type=Path, help="a .json or a picture")
    parser.add_argument("--lane", metavar="NAME", help="which picture of a sweep.json")
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
    meaning = ".png, .tif, .webp or .jpg to write [RECORD-rerun.png or LANE-rerun.png here]"
    add_devices_flag(parser)
    add_output_flags(parser, "OUT", meaning)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went as far as it was to go."""
    join_if_asked(options)
    recorded = distributed.from_first(lambda: read_recorded(options.record, options.lane))
    wanted = read_settings(options, dataclasses.asdict(recorded.settings))
    if options.print_settings:
        answer(as_toml(wanted))
        return True
    options.copy_exif |= recorded.output["copy_exif"]
    if options.devices == AUTO:  # as many as before sum alike
        before = recorded.devices
        options.devices = before if 1 < before <= jax.local_device_count() else AUTO

    def prepare() -> tuple[Picture, Weights]:
        if hasattr(options, "weights") or wanted.weights != recorded.settings.weights:
            weights = load_weights(find_weights(wanted.weights))
        else:
            weights = find_recorded_weights(recorded, wanted)
        picture = Picture(
            output_file(options.output, Path(f"{options.lane or options.record.stem}-rerun.png")),
            with_files_found(wanted, recorded, as_given=vars(options)),
            options.content or next(iter(find_inputs(recorded, "content")), None),
            tuple(list_files(options.style, say))
            if options.style
            else find_inputs(recorded, "style"),
            save_options(options, recorded.output),
            shlex.join(["nst-jax", *arguments]),
        )
        check_picture(picture, options)
        return _as_recorded(picture, recorded, anew=hasattr(options, "steps")), weights

    return paint_picture(prepare, options)


def _as_recorded(picture: Picture, recorded: Recorded, anew: bool) -> Picture:
    """The picture among as many copies as then, and stopped at the same step; not `anew`."""
    remarks = differences(recorded)
    # A program of one lane, which 0.2 had, rounded as one without lanes does.
    together = recorded.lanes > 1 and is_unchanged(picture.settings, picture.inputs, recorded)
    copies = recorded.lanes if together else 1
    if together:
        remarks.append(
            f"{copies} copies at once, since a program of another number rounds otherwise"
        )
    stop = None if anew else recorded.stopped_at
    stop = stop if stop is None or stop < picture.settings.steps else None
    if stop is not None:
        remarks.append(f"stops at step {stop}, as the recorded run did, unless --steps is given")
    return dataclasses.replace(picture, copies=copies, stop=stop, remarks=tuple(remarks))
