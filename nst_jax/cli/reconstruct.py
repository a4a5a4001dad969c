"""`nst-jax reconstruct content|style IMAGE`: a row of the paper's Figure 1 in one call.

What each layer keeps of a photograph; or the texture that the Gram matrices of the first one, two,
… layers make of a painting. All layers at once, from white noise.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from nst_jax.cli.lanes import add_run_flags, paint_lanes
from nst_jax.cli.settings_flags import flags_of, settings_asked
from nst_jax.errors import SettingsError
from nst_jax.files import stem_of
from nst_jax.settings import values
from nst_jax.settings.settings import Settings, without_idle_layers
from nst_jax.sweeps import grid
from nst_jax.sweeps.grid import Grid, Lane, Source

# Gatys et al. 2015, Figure 1. That of CVPR 2016 has conv1_2, conv2_2, … for the content.
LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def add_command(commands: Any) -> None:
    """Add `reconstruct` to the parser's commands."""
    parser = commands.add_parser("reconstruct", description=__doc__)
    parser.add_argument("kind", choices=("content", "style"), help="what to match")
    parser.add_argument("image", metavar="IMAGE", help="an image file")
    parser.add_argument(
        "--layers",
        type=values.LAYERS.read,
        default=LAYERS,
        metavar="L,…",
        help="content: one picture for each; style: one for the first, the first two, … "
        f"[{','.join(LAYERS)}]",
    )
    parser.add_argument(
        "--together", action="store_true", help="one picture only, of all the layers together"
    )
    add_run_flags(parser, "IMAGE-content or IMAGE-style")
    parser.set_defaults(run=run_command)


def run_command(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    kind, image = options.kind, options.image
    options.output = options.output or f"{stem_of(image)}-{kind}"
    asked = settings_asked(options)
    for flag in ("content_layers", "style_layers"):
        if flag in asked:
            raise SettingsError(f"--{flag.replace('_', '-')}: name them with --layers instead")
    options.init = asked.get("init", "noise")
    options.ratio = asked.get("ratio", 1.0)  # a preset's would only scale the loss
    options.content_layers = options.layers if kind == "content" else ()
    options.style_layers = options.layers if kind == "style" else ()

    def make_grid(settings: Settings) -> Grid:
        axes = []
        if kind == "content" and not options.together:
            axes = [grid.content_layer_axis(settings.content_layers)]
        elif not options.together:
            axes = [grid.style_layers_axis(grid.cumulative(settings.style_layers), settings)]
        return grid.make_grid(settings, (Source(kind, image),), axes)

    def command_for_one(grid: Grid, lane: Lane) -> list[str]:
        return ["reconstruct", kind, image, "-o", lane.name, *_flags_of(lane.settings)]

    return paint_lanes(make_grid, command_for_one, options, arguments)


def _flags_of(settings: Settings) -> list[str]:
    """The flags that make one lane again."""
    settings = without_idle_layers(settings)
    layers = ",".join(settings.content_layers or settings.style_layers)
    ratio = [] if settings.ratio == 1.0 else ["--ratio", str(settings.ratio)]
    others = flags_of(settings, without=("init", "ratio", "content_layers", "style_layers"))
    return ["--layers", layers, "--together", "--init", settings.init, *ratio, *others]
