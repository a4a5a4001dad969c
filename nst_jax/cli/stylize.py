"""`nst-jax stylize CONTENT STYLE …`: one photograph, one painting or several, one picture."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli.messages import say
from nst_jax.cli.network import describe_network, without_impossible
from nst_jax.cli.output_flags import add_output_flags, save_options, with_exif
from nst_jax.cli.picture import Picture, check_outputs, paint_picture
from nst_jax.cli.settings_flags import add_settings_flags, check_transfer, read_settings
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.runner import check_intervals
from nst_jax.engine.style_images import list_files
from nst_jax.records.write import input_files, input_metadata
from nst_jax.weights.locate import find_weights
from nst_jax.weights.storage import load_weights


def add_command(commands: Any) -> None:
    """Add `stylize` to the parser's commands."""
    parser = commands.add_parser("stylize", description=__doc__)
    parser.add_argument("content", metavar="CONTENT", help="the photograph, an image file")
    parser.add_argument(
        "styles",
        metavar="STYLE",
        nargs="+",
        help="the painting, an image file; of several, or a folder of them, a mixture",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help=".png, .tif or .jpg to write [CONTENT-STYLE.png here]",
    )
    add_settings_flags(parser)
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    wanted = read_settings(options)
    check_transfer(wanted)
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or default_output(options.content, options.styles)
    styles = tuple(list_files(options.styles))
    files = input_files(wanted, options.content, styles)
    saving = save_options(options)
    check_outputs(output, options, saving, wanted, [str(file) for file in files.values()])
    weights = load_weights(find_weights(wanted.weights))
    settings = without_impossible(wanted, weights)
    problem = prepare_problem(options.content, (styles,), (settings,), weights)
    saving = with_exif(saving, options, options.content)
    command = shlex.join(["nst-jax", *arguments])
    picture = Picture(output, saving, command, input_metadata(files))
    say(describe_network(weights, wanted))
    for line in problem.describe():
        say(line)
    return paint_picture(problem, picture, options)[1]


def default_output(content: str, styles: Sequence[str]) -> Path:
    """CONTENT-STYLE.png here; of several, CONTENT-STYLE+STYLE.png or CONTENT-STYLE+4-more.png."""
    stems = [Path(style).stem for style in styles]
    if len(stems) > 2:
        stems = [stems[0], f"{len(stems) - 1}-more"]
    return Path(f"{Path(content).stem}-{'+'.join(stems)}.png")
