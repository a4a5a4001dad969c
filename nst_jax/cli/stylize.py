"""`nst-jax stylize CONTENT STYLE …`: one photograph, one painting or several, one picture.

Of a folder of photographs, or of a video's frames, a picture for each.
"""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli.folder import PREVIOUS, paint_folder
from nst_jax.cli.messages import say
from nst_jax.cli.output_flags import (
    add_devices_flag,
    add_output_flags,
    join_if_asked,
    output_file,
    save_options,
)
from nst_jax.cli.picture import Picture, check_picture, paint_picture
from nst_jax.cli.settings_flags import add_settings_flags, check_transfer, read_settings
from nst_jax.engine.sharing import AUTO
from nst_jax.engine.style_images import list_files
from nst_jax.errors import SettingsError
from nst_jax.files import stem_of
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights


def add_command(commands: Any) -> None:
    """Add `stylize` to the parser's commands."""
    parser = commands.add_parser("stylize", description=__doc__)
    parser.add_argument(
        "content", metavar="CONTENT", help="the photograph, an image file, or a folder of them"
    )
    parser.add_argument(
        "styles",
        metavar="STYLE",
        nargs="+",
        help="the painting, an image file; of several, or a folder of them, a mixture",
    )
    add_settings_flags(parser)
    meaning = ".png, .tif, .webp or .jpg to write, of a folder another [CONTENT-STYLE.png here]"
    add_devices_flag(parser)
    add_output_flags(parser, "OUT", meaning)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    join_if_asked(options)
    wanted = read_settings(options)
    check_transfer(wanted)
    default = default_output(options.content, options.styles)
    if os.path.isdir(options.content):
        if options.devices != AUTO or options.distributed:
            flag = "--distributed" if options.distributed else "--devices"
            raise SettingsError(f"{flag} is for one picture; those of a folder are dealt to all")
        output = Path(options.output or default.with_suffix(""))
        return paint_folder(wanted, output, options, arguments)
    if wanted.init == PREVIOUS and not os.path.exists(PREVIOUS):
        raise SettingsError(f"--init {PREVIOUS} is for the frames of a folder; give one as CONTENT")
    path = output_file(options.output, default)

    def prepare() -> tuple[Picture, Weights]:
        styles = tuple(list_files(options.styles, say))
        command = shlex.join(["nst-jax", *arguments])
        picture = Picture(path, wanted, options.content, styles, save_options(options), command)
        check_picture(picture, options)
        return picture, load_weights(find_weights(wanted.weights))

    return paint_picture(prepare, options)


def default_output(content: str, styles: Sequence[str]) -> Path:
    """CONTENT-STYLE.png here; of several, CONTENT-STYLE+STYLE.png or CONTENT-STYLE+4-more.png."""
    stems = [stem_of(style) for style in styles]
    if len(stems) > 2:
        stems = [stems[0], f"{len(stems) - 1}-more"]
    return Path(f"{stem_of(content)}-{'+'.join(stems)}.png")
