"""`nst-jax sweep CONTENT STYLE …`: many settings at once, on a sheet and a page."""

import argparse
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from nst_jax.cli.lanes import add_run_flags, paint_lanes
from nst_jax.cli.messages import say
from nst_jax.cli.settings_flags import add_value, check_transfer, flags_of, reader
from nst_jax.engine.style_images import list_files
from nst_jax.errors import SettingsError
from nst_jax.files import stem_of
from nst_jax.settings.settings import SETTINGS, Settings
from nst_jax.settings.values import LAYERS, WEIGHT, Value, many
from nst_jax.sweeps import grid
from nst_jax.sweeps.grid import Axis, Grid, Lane, Source

# Times the default ratio, where nothing else is asked for: from noise the columns of the paper's
# Figure 3, from an image pictures from more painted to less.
FACTORS_FROM_NOISE, FACTORS_FROM_IMAGE = (0.01, 0.1, 1.0, 10.0), (0.1, 1.0, 10.0, 100.0)


# The axes of single settings, in the order of lanes' names; the last, of the ratio, makes columns.
AXES = {name: one.axis for name, one in SETTINGS.items() if one.axis is not None}
AXES["ratio"] = AXES.pop("ratio")
TOGETHER = (  # flags that say the same thing differently
    *((SETTINGS[name].flag, axis.flag) for name, axis in AXES.items()),
    ("--ratio", "--style-ratios"),
    ("--ratios", "--style-ratios"),
    ("--style-blend", "--blend-steps"),
)


def layer_sets(text: str) -> str | tuple[tuple[str, ...], ...]:
    """Split conv1_1/conv1_1,conv2_1; "cumulative" stays as it is."""
    return text if text == "cumulative" else many(LAYERS, "/").read(text)


def add_command(commands: Any) -> None:
    """Add `sweep` to the parser's commands."""
    parser = commands.add_parser("sweep", description=__doc__)
    add_inputs_and_axes(parser)
    add_run_flags(parser, "CONTENT-sweep")
    parser.set_defaults(run=run_command)


def add_inputs_and_axes(parser: argparse.ArgumentParser) -> None:
    """Add what `grid_of` reads: the images, and the flags of the axes."""
    parser.add_argument("content", metavar="CONTENT", help="the photograph, an image file")
    parser.add_argument(
        "styles",
        metavar="STYLE",
        nargs="+",
        help="paintings, image files or folders of them; one after the other, unless mixed",
    )
    group = parser.add_argument_group(
        "axes", "every combination is painted; without any: four ratios around the default"
    )
    _add_axis_flags(group)
    group.add_argument(
        "--mix",
        action="store_true",
        help="all STYLEs in every picture (so do --style-blend, --layers-per-style, "
        "--blend-steps, --content-mask)",
    )


def _add_axis_flags(group: argparse._ArgumentGroup) -> None:
    add = partial(add_value, group)
    for name, axis in AXES.items():
        value = _values_along(name)
        add(axis.flag, reader(value), value.placeholder, f"values of {SETTINGS[name].flag}")
    ratios = reader(many(WEIGHT))
    add("--style-ratios", ratios, "α/β,…", "one for each STYLE, in the place of --ratios")
    sets = "style layers: cumulative (as the paper), or L,…/L,…"
    add("--style-layer-sets", layer_sets, "SETS", sets)
    add("--blend-steps", int, "N", "N pictures from the first of two STYLEs to the second")


def _values_along(name: str) -> Value:
    """What the flag of a setting's axis takes: several of the setting's values."""
    value = SETTINGS[name].value
    return value if isinstance(SETTINGS[name].default, tuple) else many(value)


def run_command(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    options.output = options.output or f"{stem_of(options.content)}-sweep"
    return paint_lanes(partial(grid_of, options), _command_for_one, options, arguments)


def asks_for_axes(options: argparse.Namespace) -> bool:
    """Whether any flag of an axis was typed."""
    flags = (*(axis.flag for axis in AXES.values()), "--style-ratios", "--style-layer-sets")
    return any(_asked(options, flag) is not None for flag in (*flags, "--blend-steps"))


def grid_of(options: argparse.Namespace, settings: Settings, default_ratios: bool = True) -> Grid:
    """The lanes that a command line asks for, around the settings that have no axis.

    Args:
        options: of the command line.
        settings: of all lanes, but for their axes.
        default_ratios: whether several ratios are painted where nothing else is asked for.
    """
    styles = tuple(Source("style", style) for style in list_files(options.styles, say))
    sources = (Source("content", options.content), *styles)
    return grid.make_grid(settings, sources, _axes(options, settings, sources, default_ratios))


def _axes(
    options: argparse.Namespace,
    settings: Settings,
    sources: tuple[Source, ...],
    default_ratios: bool,
) -> list[Axis]:
    _refuse_both(options)
    check_transfer(settings)
    axes = [_style_axis(options, sources)]
    if options.style_layer_sets is not None:
        axes.append(grid.style_layers_axis(_sets(options.style_layer_sets, settings), settings))
    if options.color_maps and "match" not in (settings.colors, *(options.color_modes or ())):
        raise SettingsError("--color-maps is of --colors match; add that, or leave it out")
    given = {name: _asked(options, axis.flag) for name, axis in AXES.items()}
    alone = len(axes) == 1 and len(axes[0].points) == 1 and options.style_ratios is None
    if default_ratios and alone and all(values is None for values in given.values()):
        factors = FACTORS_FROM_NOISE if settings.starts_from_noise else FACTORS_FROM_IMAGE
        given["ratio"] = [factor * settings.content_weight for factor in factors]
    axes += [grid.setting_axis(name, each) for name, each in given.items() if each is not None]
    return axes


def _style_axis(options: argparse.Namespace, sources: Sequence[Source]) -> Axis:
    """The style images, one after the other; or together, where a flag makes sense of that only."""
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
    for flags in TOGETHER:
        if all(_asked(options, flag) is not None for flag in flags):
            raise SettingsError(f"{' and '.join(flags)} do not go together; give one of them")


def _asked(options: argparse.Namespace, flag: str) -> Any:
    """What was typed after a flag, or None."""
    return getattr(options, flag.strip("-").replace("-", "_"), None)


def _sets(sets: str | tuple[tuple[str, ...], ...], settings: Settings) -> list[tuple[str, ...]]:
    if isinstance(sets, str):
        return grid.cumulative(settings.style_layers)
    # A Settings with these layers knows their canonical names, and which there are.
    plain = dataclasses.replace(settings, style_layer_weights=None, layers_per_style=None)
    return [dataclasses.replace(plain, style_layers=layers).style_layers for layers in sets]


def _command_for_one(grid: Grid, lane: Lane) -> list[str]:
    content, styles = grid.files_of(lane)
    assert content is not None
    return ["stylize", content, *styles, "-o", f"{lane.name}.png", *flags_of(lane.settings)]
