"""`nst-jax stylize CONTENT STYLE`: one photograph, one painting, one picture."""

import argparse
import dataclasses
import itertools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax import images
from nst_jax.errors import ImageError, SettingsError
from nst_jax.loop import check_intervals
from nst_jax.losses import CONVENTIONS, Losses
from nst_jax.program import make_program
from nst_jax.progress import Interruption, StepsBar, answer, say
from nst_jax.record import image_text, input_facts, make_record, save_record
from nst_jax.scales import LEAST_SIDE, Scale, enlarge, scale_at, schedule
from nst_jax.settings import (
    INITS,
    LEARNING_RATES,
    OPTIMIZERS,
    PRECISIONS,
    PRESETS,
    PULL_FROM_IMAGE,
    PULL_FROM_NOISE,
    RATIO_FROM_IMAGE,
    RATIO_FROM_NOISE,
    Settings,
    without_idle_layers,
)
from nst_jax.transfer import Callback, Progress, Result, stylize
from nst_jax.vgg import PADDINGS, POOLINGS
from nst_jax.weights import Weights, cannot_normalize
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

DEFAULTS = Settings()


def names(text: str) -> tuple[str, ...]:
    """Split conv1_1,conv2_1."""
    return tuple(name for name in text.split(",") if name)


def numbers(text: str) -> tuple[float, ...]:
    """Split 1,0.5."""
    return tuple(float(number) for number in text.split(","))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Split 0,1,2."""
    return tuple(int(number) for number in text.split(","))


# Flag, how its text is read, placeholder, help; the flag's name is the setting's.
FLAGS: dict[str, tuple[tuple[str, Callable[[str], Any], str, str], ...]] = {
    "picture": (
        ("--size", int, "PX", "long side of the result"),
        ("--style-size", int, "PX", "long side of the painting (default: as --size)"),
        (
            "--ratio",
            float,
            "α/β",
            f"content against style (default: {RATIO_FROM_NOISE:g} from noise, "
            f"else {RATIO_FROM_IMAGE:g})",
        ),
        ("--init", str, "|".join((*INITS, "FILE")), "where to start"),
        ("--seed", int, "N", "of the noise"),
        ("--tv-weight", float, "W", "smoothness: weight of the total variation"),
        ("--tv-l1-weight", float, "W", "the same with absolute differences: spares edges"),
    ),
    "optimisation": (
        ("--steps", int, "N", "updates of the image"),
        ("--optimizer", str, "|".join(OPTIMIZERS), "L-BFGS or Adam"),
        (
            "--learning-rate",
            float,
            "R",
            "length of a step (default: "
            + ", ".join(f"{v:g} for {k}" for k, v in LEARNING_RATES.items())
            + ")",
        ),
        ("--lbfgs-memory", int, "M", "pairs of history; each costs two images of memory"),
        ("--scales", int, "N", "sizes to go through, from coarse to fine, with all the steps"),
        ("--average", int, "N", "take the mean of about the last N images; 0: the best image"),
    ),
    "network and losses": (
        ("--weights", str, "auto|vgg19|vgg16|NAME|FILE", "the network"),
        ("--content-layers", names, "L,…", "layers that keep the content"),
        (
            "--content-layer-weights",
            numbers,
            "W,…",
            "one per content layer (default: equal, sum 1)",
        ),
        ("--style-layers", names, "L,…", "layers that carry the style"),
        ("--style-layer-weights", numbers, "W,…", "one per style layer (default: equal, sum 1)"),
        ("--pooling", str, "|".join(POOLINGS), "of the network"),
        ("--padding", str, "|".join(PADDINGS), "of the network, at the image's borders"),
        ("--convention", str, "|".join(CONVENTIONS), "what the ratio multiplies"),
        ("--precision", str, "|".join(PRECISIONS), "of the network; losses are float32 always"),
    ),
}

# Flag without a value, its setting, what it sets that to, help.
SWITCHES = (
    (
        "--no-normalize",
        "normalize",
        False,
        "use the network's filters as they are, not scaled to a mean activation of 1",
    ),
    (
        "--normalize-gradients",
        "normalize_gradients",
        True,
        "each layer's term pulls as its weight says, however large it is (the default ratio is "
        f"then {PULL_FROM_NOISE:g} from noise, else {PULL_FROM_IMAGE:g})",
    ),
)


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting; what is not typed is not in the namespace."""
    for title, flags in FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, read, placeholder, meaning in flags:
            default = getattr(DEFAULTS, flag.strip("-").replace("-", "_"))
            if default is not None:
                shown = ",".join(default) if isinstance(default, tuple) else default
                meaning += f" (default: {shown})"
            group.add_argument(
                flag, type=read, metavar=placeholder, help=meaning, default=argparse.SUPPRESS
            )
    for flag, name, value, meaning in SWITCHES:
        group.add_argument(
            flag,
            dest=name,
            action="store_const",
            const=value,
            default=argparse.SUPPRESS,
            help=meaning,
        )
    parser.add_argument(
        "--compilation-cache",
        metavar="DIR",
        type=Path,
        help="keep compiled programs there, and take them from there the next time",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, help="paper: as Gatys et al. 2015; other flags go on top"
    )


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings typed, on top of the preset, on top of the defaults."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    typed = {name: value for name, value in vars(options).items() if name in fields}
    return Settings(**{**PRESETS.get(options.preset, {}), **typed})


def flags_of(settings: Settings) -> list[str]:
    """The flags that give these settings, where they are not the defaults.

    Layers without weight are left out, and weights that are equal and sum to 1.
    """
    settings = without_idle_layers(settings)
    flags = []
    for flag, *_ in itertools.chain(*FLAGS.values()):
        name = flag.strip("-").replace("-", "_")
        value = getattr(settings, name)
        if value != getattr(DEFAULTS, name):
            parts = value if isinstance(value, tuple) else (value,)
            flags += [flag, ",".join(str(part) for part in parts)]
    switches = [flag for flag, name, value, _ in SWITCHES if getattr(settings, name) == value]
    return flags + switches


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
    parser.add_argument("style", metavar="STYLE", help="the painting, an image file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help=".png or .jpg to write (default: CONTENT-STYLE.png here)",
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


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Do what the command line says; return whether it went to its end."""
    settings = read_settings(options)
    check_transfer(settings)
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    output = options.output or Path(f"{Path(options.content).stem}-{Path(options.style).stem}.png")
    _check_outputs(output, options, settings)
    content, style, weights = _read_inputs(options, settings)
    inputs = input_facts(
        content=options.content,
        style=options.style,
        init=None if settings.init in INITS else settings.init,
    )
    settings = as_far_as_possible(settings, weights)
    scales = schedule(settings, content.shape)
    say_scales(settings, scales)
    with Interruption() as interruption:
        with StepsBar(settings.steps) as bar:
            result = stylize(
                content,
                style,
                settings,
                weights=weights,
                callback=_make_callback(output, interruption, bar, scales[-1].shape),
                report_every=options.report_every,
                save_every=options.save_every,
            )
        interruption.saving = True
        save_result(result, output, shlex.join(["nst-jax", *arguments]), inputs)
    return result.completed


def say_scales(settings: Settings, scales: Sequence[Scale]) -> None:
    """Say which sizes the run goes through, where more than one was asked for."""
    if settings.scales > 1:
        sizes = ", ".join(f"{scale.steps} steps at {scale.size} px" for scale in scales)
        left_out = settings.scales - len(scales)
        why = f"; {left_out} left out, for less than {LEAST_SIDE} px or want of steps"
        say(f"scales: {sizes}" + (why if left_out else ""))


def _make_callback(
    output: Path, interruption: Interruption, bar: StepsBar, shape: tuple[int, int]
) -> Callback:
    def callback(progress: Progress) -> None:
        interruption.stoppable = True
        bar.show(progress)
        if progress.image is not None and 0 < progress.step < progress.steps:
            path = intermediate_path(output, progress.step)
            images.save_image(enlarge(progress.image, shape), path)
            answer(path)
        if interruption.requested:
            raise StopIteration

    return callback


def record_path(output: Path) -> Path:
    """Where the record of an image stands: beside it, with the suffix .json."""
    return output.with_suffix(".json")


def intermediate_path(output: Path, step: int) -> Path:
    """Where the best image of the first `step` steps is saved: OUT-00100.png beside OUT.png."""
    return output.with_stem(f"{output.stem}-{step:05d}")


def _check_outputs(output: Path, options: argparse.Namespace, settings: Settings) -> None:
    """Refuse, before any work is done, to write over a result, an input or a folder."""
    images.check_writable(output, options.overwrite)
    every = options.save_every or max(settings.steps, 1)
    intermediates = (intermediate_path(output, n) for n in range(every, settings.steps, every))
    inputs = [options.content, options.style, settings.init]
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
    options: argparse.Namespace, settings: Settings
) -> tuple[np.ndarray, np.ndarray, Weights]:
    """Read every file and check that they go together, so that a mistake costs one line."""
    weights = load_weights(find_weights(settings.weights))
    make_program(settings, weights)  # refuses layers that the network lacks
    content = images.load_image(options.content, settings.size)
    style = images.load_image(options.style, settings.style_size or settings.size)
    if settings.init not in INITS:
        images.load_image(settings.init)
    return content, style, weights


def save_result(result: Result, output: Path, command: str, inputs: Mapping[str, Any]) -> None:
    """Write the image and its record, and answer with the image's path."""
    record = make_record(result, command, inputs)
    images.save_image(result.image, output, image_text(record))
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
