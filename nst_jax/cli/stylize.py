"""`nst-jax stylize CONTENT STYLE …`: one photograph, one painting or several, one picture."""

import argparse
import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.cli.output_flags import add_file_flags, save_options, with_exif
from nst_jax.cli.progress import Interruption, StepsBar, answer, say
from nst_jax.cli.settings_flags import add_settings_flags, read_settings
from nst_jax.engine.inputs import read_images
from nst_jax.engine.loop import check_intervals
from nst_jax.engine.program import make_program
from nst_jax.engine.pyramid import LEAST_SIDE, Scale, enlarge, scale_at, schedule
from nst_jax.engine.regions import Regions, describe, read_regions
from nst_jax.engine.style_images import Painting, files_of
from nst_jax.engine.transfer import Callback, Progress, Result, stylize
from nst_jax.errors import ImageError, SettingsError
from nst_jax.images import io
from nst_jax.images.encoders import SaveOptions
from nst_jax.losses.terms import Losses
from nst_jax.records.write import (
    image_text,
    input_files,
    input_metadata,
    make_record,
    save_record,
)
from nst_jax.settings.settings import INITS, Settings
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights, cannot_normalize
from nst_jax.weights.storage import load_weights


def check_transfer(settings: Settings) -> None:
    """Refuse settings that match one of the two images only.

    Raises:
        SettingsError: there are no content layers, or no style layers.
    """
    for kind in ("content", "style"):
        if not getattr(settings, f"{kind}_layers"):
            other = "style" if kind == "content" else "content"
            raise SettingsError(
                f"{kind}_layers is empty; name at least one layer, such as conv1_1, or match the "
                f"{other} alone with: nst-jax reconstruct {other} IMAGE"
            )


def add_command(commands: Any) -> None:
    """Add `stylize` to the parser's commands."""
    parser = commands.add_parser(
        "stylize", help="paint a photograph in the manner of a painting", description=__doc__
    )
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
        help=".png, .tif or .jpg to write (default: CONTENT-STYLE.png here)",
    )
    add_settings_flags(parser)
    add_output_flags(parser)
    parser.set_defaults(run=run)


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags on what is written."""
    group = parser.add_argument_group("output")
    group.add_argument("--overwrite", action="store_true", help="replace a result that exists")
    group.add_argument(
        "--save-every", type=int, metavar="N", help="also save the best image every N steps"
    )
    group.add_argument(
        "--report-every",
        type=int,
        metavar="N",
        default=10,
        help="steps between entries of the record's history (default: 10)",
    )
    add_file_flags(group)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    settings = read_settings(options)
    check_transfer(settings)
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or default_output(options.content, options.styles)
    styles = files_of(options.styles)
    saving = save_options(options)
    files = input_files(settings, options.content, styles)
    check_outputs(output, options, saving, settings, [str(file) for file in files.values()])
    content, paintings, weights = _read_inputs(options.content, styles, settings)
    regions = read_regions(settings, content.shape, paintings)
    saving = with_exif(saving, options, options.content)
    inputs = input_metadata(files)
    settings = as_far_as_possible(settings, weights)
    scales = schedule(settings, content.shape)
    say_scales(settings, scales)
    say_regions(regions, weights, settings)
    with Interruption() as interruption:
        with StepsBar(settings.steps) as bar:
            result = stylize(
                content,
                paintings,
                settings,
                weights=weights,
                callback=make_callback(output, saving, interruption, bar, scales[-1].shape),
                report_every=options.report_every,
                save_every=options.save_every,
            )
        interruption.saving = True
        save_result(result, output, saving, shlex.join(["nst-jax", *arguments]), inputs)
    return result.completed


def say_scales(settings: Settings, scales: Sequence[Scale]) -> None:
    """Say which sizes the run goes through, where more than one was asked for."""
    if settings.scales > 1:
        sizes = ", ".join(f"{scale.steps} steps at {scale.size} px" for scale in scales)
        left_out = settings.scales - len(scales)
        why = f"; {left_out} left out, for less than {LEAST_SIDE} px or want of steps"
        say(f"scales: {sizes}" + (why if left_out else ""))


def say_regions(regions: Regions | None, weights: Weights, settings: Settings) -> None:
    """Say how large the regions are, what they leave out, and which are small."""
    if regions is not None:
        for line in describe(regions, weights.architecture, settings.style_layers):
            say(line)


def make_callback(
    output: Path,
    saving: SaveOptions,
    interruption: Interruption,
    bar: StepsBar,
    shape: tuple[int, int],
) -> Callback:
    """A callback that shows each step, saves pictures on the way, and stops after Ctrl-C.

    Args:
        output: of the run; those on the way are called after it.
        saving: how they are written.
        interruption: of the run.
        bar: that shows the steps.
        shape: (H, W) of the pictures.
    """

    def callback(progress: Progress) -> None:
        interruption.stoppable = True
        bar.show(progress)
        if progress.image is not None and 0 < progress.step < progress.steps:
            path = intermediate_path(output, progress.step)
            io.save_image(enlarge(progress.image, shape), path, options=saving)
            answer(path)
        if interruption.requested:
            raise StopIteration

    return callback


def default_output(content: str, styles: Sequence[str]) -> Path:
    """CONTENT-STYLE.png here; of several, CONTENT-STYLE+STYLE.png or CONTENT-STYLE+4-more.png."""
    stems = [Path(style).stem for style in styles]
    if len(stems) > 2:
        stems = [stems[0], f"{len(stems) - 1}-more"]
    return Path(f"{Path(content).stem}-{'+'.join(stems)}.png")


def record_path(output: Path) -> Path:
    """Where the record of an image stands: beside it, with the suffix .json."""
    return output.with_suffix(".json")


def intermediate_path(output: Path, step: int) -> Path:
    """Where the best image of the first `step` steps is saved: OUT-00100.png beside OUT.png."""
    return output.with_stem(f"{output.stem}-{step:05d}")


def check_outputs(
    output: Path,
    options: argparse.Namespace,
    saving: SaveOptions,
    settings: Settings,
    inputs: Sequence[str],
) -> None:
    """Refuse, before any work is done, to write over a result, an input or a folder.

    Raises:
        ImageError: the picture, its record or one on the way would do that.
    """
    io.check_writable(output, options.overwrite, saving)
    every = options.save_every or max(settings.steps, 1)
    intermediates = (intermediate_path(output, n) for n in range(every, settings.steps, every))
    for path in (output, record_path(output), *intermediates):
        if not os.path.lexists(path):
            continue
        if path.is_dir():
            raise ImageError(f"{path}: is a folder; choose another name")
        if not options.overwrite:
            raise ImageError(f"{path}: exists already; choose another name or add --overwrite")
        if any(_are_same(path, name) for name in inputs):
            raise ImageError(f"{path}: is one of the inputs; choose another name")


def _are_same(path: Path, name: str) -> bool:
    return os.path.exists(path) and os.path.exists(name) and path.samefile(name)


def _read_inputs(
    content: str, styles: Sequence[str], settings: Settings
) -> tuple[np.ndarray, tuple[Painting, ...], Weights]:
    """Read every file and check that they go together, so that a mistake costs one line."""
    weights = load_weights(find_weights(settings.weights))
    make_program(settings, weights)  # refuses layers that the network lacks
    photograph, paintings = read_images(settings, content, tuple(styles))
    assert photograph is not None
    if settings.init not in INITS:
        io.load_image(settings.init)
    return photograph, paintings, weights


def save_result(
    result: Result, output: Path, saving: SaveOptions, command: str, inputs: Mapping[str, Any]
) -> None:
    """Write the image and its record, and answer with the image's path."""
    record = make_record(result, command, inputs, saving)
    io.save_image(result.image, output, image_text(record), saving)
    save_record(record, record_path(output))
    timing, begun = record["timing"], _first_at_this_size(result)
    at_size = f" at {record['result']['size']} px" if "size" in record["result"] else ""
    say(
        f"loss {begun.total:.4g} → {result.losses.total:.4g}{at_size} in "
        f"{result.evaluations} evaluations, {timing['run_s']:.1f} s "
        f"(and {timing['compile_s']:.1f} s compiling)"
        + (f", {result.restarts} restarts" if result.restarts else "")
    )
    answer(output)


def _first_at_this_size(result: Result) -> Losses:
    """What the losses of the result can be compared with."""
    scale = scale_at(result.scales, result.evaluations - 1)
    return next(each for step, each in result.history if scale_at(result.scales, step) == scale)


def as_far_as_possible(settings: Settings, weights: Weights) -> Settings:
    """Say which network will be used; the settings, not normalised where that cannot be."""
    say(describe_weights(weights, settings))
    if settings.normalize and not can_normalize(weights):
        return dataclasses.replace(settings, normalize=False)
    return settings


def can_normalize(weights: Weights) -> bool:
    """Whether the weights are, or can be, normalised."""
    return weights.normalized or weights.activation_means is not None


def describe_weights(weights: Weights, settings: Settings) -> str:
    """One line on the network that will be used."""
    how = "not normalised"
    if weights.normalized or (settings.normalize and can_normalize(weights)):
        how = "normalised"
    elif settings.normalize:
        how = f"NOT normalised: {cannot_normalize(weights)}"
    return f"network: {weights.architecture}, weights {weights.name} ({weights.source}), {how}"
