"""`nst-jax sweep CONTENT STYLE …`: many settings at once, on one sheet and one page."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli.lanes import Plan, add_folder_flag, add_lane_flags, paint_lanes
from nst_jax.cli.picture import add_output_flags
from nst_jax.cli.settings_flags import (
    add_settings_flags,
    flags_of,
    layer_groups,
    names,
    numbers,
    whole_numbers,
)
from nst_jax.cli.stylize import check_transfer
from nst_jax.engine.style_images import list_files
from nst_jax.errors import SettingsError
from nst_jax.settings.settings import COLOR_MAPS, COLORS, INITS, Settings
from nst_jax.sweeps import grid
from nst_jax.sweeps.grid import Axis, Grid, Lane, Source

# Times the default ratio, where nothing else is asked for: the columns of the paper's Figure 3.
RATIOS = (0.1, 1.0, 10.0, 100.0)


def layer_sets(text: str) -> str | tuple[tuple[str, ...], ...]:
    """Split conv1_1/conv1_1,conv2_1; "cumulative" stays as it is."""
    return text if text == "cumulative" else layer_groups(text)


AXES = (
    ("--ratios", numbers, "α/β,…", "ratios of content against style"),
    ("--style-ratios", numbers, "α/β,…", "one for each STYLE, in the place of --ratios"),
    (
        "--style-layer-sets",
        layer_sets,
        "cumulative|L,…/L,…",
        "subsets of style layers: the paper's growing five, or a list",
    ),
    ("--style-scales", numbers, "S,…", "sizes of the painting against the photograph"),
    (
        "--blend-steps",
        int,
        "N",
        "from the first of two STYLEs to the second, in N pictures with both",
    ),
    ("--seeds", whole_numbers, "N,…", "seeds of the noise"),
    ("--inits", names, "|".join((*INITS, "FILE")) + ",…", "where to start"),
    ("--init-noises", numbers, "F,…", "parts of it that are noise, 0 to 1"),
    ("--tv-weights", numbers, "W,…", "weights of the total variation"),
    ("--tv-l1-weights", numbers, "W,…", "weights of the absolute total variation"),
    ("--color-modes", names, "|".join(COLORS) + ",…", "values of --colors"),
    ("--color-maps", names, "|".join(COLOR_MAPS) + ",…", "of --colors match"),
)


def add_command(commands: Any) -> None:
    """Add `sweep` to the parser's commands."""
    parser = commands.add_parser(
        "sweep", help="many settings at once: a sheet, a page, a picture each", description=__doc__
    )
    parser.add_argument("content", metavar="CONTENT", help="the photograph, an image file")
    parser.add_argument(
        "styles",
        metavar="STYLE",
        nargs="+",
        help="paintings, image files or folders of them; one after the other, unless mixed",
    )
    add_folder_flag(parser, "CONTENT-sweep")
    group = parser.add_argument_group(
        "axes", "every combination is painted; without any: four ratios around the default"
    )
    for flag, read, placeholder, meaning in AXES:
        group.add_argument(flag, type=read, metavar=placeholder, help=meaning)
    group.add_argument(
        "--mix",
        action="store_true",
        help="all STYLEs in every picture (so do --style-blend, --layers-per-style, "
        "--blend-steps, --content-mask)",
    )
    add_settings_flags(parser)
    add_lane_flags(parser)
    add_output_flags(parser)
    parser.set_defaults(run=run_command)


def run_command(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    output = options.output or Path(f"{Path(options.content).stem}-sweep")

    def make_grid(settings: Settings) -> Grid:
        styles = tuple(Source("style", style) for style in list_files(options.styles))
        sources = (Source("content", options.content), *styles)
        return grid.make_grid(settings, sources, _axes(options, settings, sources))

    return paint_lanes(Plan(make_grid, _command_for_one, output), options, arguments)


def _axes(
    options: argparse.Namespace, settings: Settings, sources: tuple[Source, ...]
) -> list[Axis]:
    _refuse_both(options)
    check_transfer(settings)
    axes = [_style_axis(options, sources)]
    if options.style_layer_sets is not None:
        axes.append(grid.style_layers_axis(_sets(options.style_layer_sets, settings), settings))
    if options.style_scales is not None:
        axes.append(grid.style_scale_axis(options.style_scales))
    if options.inits is not None:
        axes.append(grid.init_axis(options.inits))
    if options.init_noises is not None:
        axes.append(grid.noise_axis(options.init_noises))
    if options.seeds is not None:
        axes.append(grid.seed_axis(options.seeds))
    if options.tv_weights is not None:
        axes.append(grid.tv_axis(options.tv_weights))
    if options.tv_l1_weights is not None:
        axes.append(grid.tv_l1_axis(options.tv_l1_weights))
    if options.color_modes is not None:
        axes.append(grid.colors_axis(options.color_modes))
    if options.color_maps is not None:
        if "match" not in (settings.colors, *(options.color_modes or ())):
            raise SettingsError("--color-maps is of --colors match; add that, or leave it out")
        axes.append(grid.color_map_axis(options.color_maps))
    ratios = options.ratios
    alone = len(axes) == 1 and len(axes[0].points) == 1 and options.style_ratios is None
    if ratios is None and alone:
        ratios = [factor * settings.content_weight for factor in RATIOS]
    if ratios is not None:
        axes.append(grid.ratio_axis(ratios))
    return axes


def _style_axis(options: argparse.Namespace, sources: Sequence[Source]) -> Axis:
    """The paintings, one after the other; or together, where a flag makes sense of that only."""
    together = ("style_blend", "layers_per_style", "content_mask")
    blended = any(hasattr(options, name) for name in together)
    if options.blend_steps is None and not options.mix and not blended:
        return grid.style_axis(sources, options.style_ratios)
    if options.style_ratios is not None:
        raise SettingsError("--style-ratios has one ratio for each STYLE, and these are mixed")
    if options.blend_steps is not None:
        return grid.blend_axis(sources, options.blend_steps)
    return grid.mixture_axis(sources)


def _refuse_both(options: argparse.Namespace) -> None:
    """Refuse two flags that say the same thing differently."""
    pairs = [("ratio", "ratios"), ("ratio", "style_ratios"), ("ratios", "style_ratios")]
    pairs += [("seed", "seeds"), ("init", "inits"), ("tv_weight", "tv_weights")]
    pairs += [("style_scale", "style_scales"), ("init_noise", "init_noises")]
    pairs += [("style_blend", "blend_steps")]
    pairs += [("colors", "color_modes"), ("color_map", "color_maps")]
    pairs += [("tv_l1_weight", "tv_l1_weights")]
    for one, other in pairs:
        if getattr(options, one, None) is not None and getattr(options, other) is not None:
            flags = " and ".join("--" + name.replace("_", "-") for name in (one, other))
            raise SettingsError(f"{flags} do not go together; give one of them")


def _sets(sets: str | tuple[tuple[str, ...], ...], settings: Settings) -> list[tuple[str, ...]]:
    if isinstance(sets, str):
        return grid.cumulative(settings.style_layers)
    # A Settings with these layers knows their canonical names, and which there are.
    plain = dataclasses.replace(settings, style_layer_weights=None, layers_per_style=None)
    return [dataclasses.replace(plain, style_layers=layers).style_layers for layers in sets]


def _command_for_one(lane: Lane, sources: Sequence[Source]) -> list[str]:
    assert lane.content is not None
    files = [sources[number].file for number in (lane.content, *lane.style)]
    return ["stylize", *files, "-o", f"{lane.name}.png", *flags_of(lane.settings)]
