"""A flag for every setting, and the settings that flags, a settings file and a preset give."""

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nst_jax.errors import SettingsError
from nst_jax.settings.layer_weights import LAYER_WEIGHTS
from nst_jax.settings.settings import (
    COLOR_MAPS,
    COLORS,
    CONVENTIONS,
    HISTORIES,
    INITS,
    LEARNING_RATES,
    OPTIMIZERS,
    PADDINGS,
    POOLINGS,
    PRECISIONS,
    PRESETS,
    PULL_FROM_IMAGE,
    PULL_FROM_NOISE,
    RATIO_FROM_IMAGE,
    RATIO_FROM_NOISE,
    Settings,
    without_idle_layers,
)
from nst_jax.settings.settings_file import SettingsFile, read_settings_file, stacked

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


def layer_groups(text: str) -> tuple[tuple[str, ...], ...]:
    """Split conv1_1,conv2_1/conv3_1."""
    return tuple(names(part) for part in text.split("/"))


def region_styles(text: str) -> tuple[int, ...]:
    """Split 1,none,2; none is 0."""
    return tuple(0 if part == "none" else int(part) for part in text.split(","))


def layer_weights(text: str) -> str | dict[str, float] | tuple[float, ...]:
    """Split 1,0.5 or conv1_1=1,conv4_1=0.5; the name of a preset stays as it is."""
    if text.isalpha():
        return text
    if "=" not in text:
        return numbers(text)
    pairs = [part.split("=") for part in text.split(",")]
    weights = {layer.strip(): float(weight) for layer, weight in pairs}
    if len(weights) < len(pairs):
        raise ValueError("a layer is named twice")
    return weights


# Flag, how its text is read, placeholder, help; the flag's name is the setting's.
FLAGS: dict[str, tuple[tuple[str, Callable[[str], Any], str, str], ...]] = {
    "picture": (
        ("--size", int, "PX", "long side of the result"),
        (
            "--ratio",
            float,
            "α/β",
            f"content against style (default: {RATIO_FROM_NOISE:g} from noise, "
            f"else {RATIO_FROM_IMAGE:g})",
        ),
        ("--init", str, "|".join((*INITS, "FILE")), "where to start; style: the first"),
        ("--init-noise", float, "F", "part of the start that is noise instead, 0 to 1"),
        ("--seed", int, "N", "of the noise"),
        ("--tv-weight", float, "W", "smoothness: weight of the total variation"),
        ("--tv-l1-weight", float, "W", "the same with absolute differences: spares edges"),
        (
            "--colors",
            str,
            "|".join(COLORS),
            "of the painting, of the photograph (only luminance is painted), or of the painting "
            "moved to the photograph's",
        ),
        ("--color-map", str, "|".join(COLOR_MAPS), "how --colors match moves them"),
    ),
    "paintings": (
        ("--style-size", int, "PX", "long side of each (default: as --size)"),
        ("--style-scale", numbers, "S,…", "size against that, for strokes; several are mixed"),
        ("--style-blend", numbers, "W,…", "weight of each STYLE (default: equal)"),
        (
            "--layers-per-style",
            layer_groups,
            "L,…/L,…",
            "style layers that each STYLE carries (default: all)",
        ),
    ),
    "regions": (
        (
            "--content-mask",
            str,
            "FILE",
            "a region, white on black; again for each further one (or one picture, a colour each)",
        ),
        (
            "--style-mask",
            str,
            "FILE|none",
            "the part of its STYLE that a region takes; once for each (default: all of it)",
        ),
        (
            "--region-styles",
            region_styles,
            "N|none,…",
            "number of each region's STYLE, or none (default: 1,2,…)",
        ),
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
        ("--lbfgs-history", str, "|".join(HISTORIES), "their type; bfloat16 takes half of that"),
        ("--scales", int, "N", "sizes to go through, from coarse to fine, with all the steps"),
        ("--average", int, "N", "take the mean of about the last N images; 0: the best image"),
    ),
    "network and losses": (
        ("--weights", str, "auto|vgg19|vgg16|NAME|FILE", "the network"),
        ("--content-layers", names, "L,…", "layers that keep the content"),
        (
            "--content-layer-weights",
            layer_weights,
            "W,…|L=W,…",
            "one per content layer (default: equal, sum 1)",
        ),
        ("--style-layers", names, "L,…", "layers that carry the style"),
        (
            "--style-layer-weights",
            layer_weights,
            "W,…|L=W,…|NAME",
            f"likewise of the style, or one of {', '.join(LAYER_WEIGHTS)} (default: paper: equal)",
        ),
        ("--pooling", str, "|".join(POOLINGS), "of the network"),
        ("--padding", str, "|".join(PADDINGS), "of the network, at the image's borders"),
        ("--convention", str, "|".join(CONVENTIONS), "what the ratio multiplies"),
        ("--precision", str, "|".join(PRECISIONS), "of the network; losses are float32 always"),
    ),
}
# Typed once for each value.
REPEATED = ("--content-mask", "--style-mask")
# Other spellings.
ALIASES = {"--style-layer-weights": ["--layer-weights"]}

# Flag without a value, its setting, what it sets that to, help.
SWITCHES = (
    (
        "--no-normalize",
        "normalize",
        False,
        "filters as trained, not scaled to a mean activation of 1",
    ),
    (
        "--no-precondition",
        "precondition",
        False,
        "plain gradients: the same loss, later; broad areas last",
    ),
    (
        "--low-memory",
        "low_memory",
        True,
        "large images in bands: less memory, a quarter slower",
    ),
    (
        "--normalize-gradients",
        "normalize_gradients",
        True,
        "each layer's term pulls as its weight says, however large it is (the default ratio is "
        f"then {PULL_FROM_NOISE:g} from noise, else {PULL_FROM_IMAGE:g})",
    ),
)


def add_settings_flags(parser: argparse.ArgumentParser, with_defaults: bool = True) -> None:
    """Add a flag for every setting; what is not typed is not in the namespace."""
    for title, flags in FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, read, placeholder, meaning in flags:
            default = getattr(DEFAULTS, flag.strip("-").replace("-", "_"))
            if not with_defaults:
                meaning = meaning.split(" (default: ")[0]
            elif default not in (None, ()):
                meaning += f" (default: {as_typed(default)})"
            group.add_argument(
                flag,
                *ALIASES.get(flag, []),
                type=read,
                metavar=placeholder,
                help=meaning,
                default=argparse.SUPPRESS,
                action="append" if flag in REPEATED else "store",
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
        help="keep compiled programs there, for the next time",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, help="paper: as Gatys et al. 2015; other flags on top"
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        type=Path,
        help="TOML, such as size = 1024; on top of the preset, below other flags",
    )


def read_settings(
    options: argparse.Namespace, recorded: Mapping[str, Any] | None = None
) -> Settings:
    """The settings typed, on top of the file's, on top of the preset, on top of the defaults.

    Args:
        options: of the command line.
        recorded: settings that take the place of the defaults.

    Raises:
        SettingsError: the file cannot be read; a value is unknown or out of range.
    """
    file, typed = _settings_file(options), _typed_settings(options)
    preset = options.preset or (file.preset if file else None)
    below = PRESETS[preset] if preset else {}

    def settle(written: Mapping[str, Any]) -> Settings:
        return Settings(**stacked(recorded or {}, below, written, typed))

    try:
        return settle(file.values if file else {})
    except SettingsError as error:
        if file is None:
            raise
        raise SettingsError(file.blamed(error, settle)) from error


def settings_asked(options: argparse.Namespace) -> dict[str, Any]:
    """{name: value} of the settings typed or in the settings file, without presets and defaults."""
    file = _settings_file(options)
    return stacked(file.values if file else {}, _typed_settings(options))


def _settings_file(options: argparse.Namespace) -> SettingsFile | None:
    return None if options.settings is None else read_settings_file(options.settings)


def _typed_settings(options: argparse.Namespace) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(Settings)}
    return {name: value for name, value in vars(options).items() if name in names}


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
            typed = value if flag in REPEATED else (value,)
            flags += [text for each in typed for text in (flag, as_typed(each))]
    switches = [flag for flag, name, value, _ in SWITCHES if getattr(settings, name) == value]
    return flags + switches


def as_typed(value: Any) -> str:
    """The text of a flag: 1,0.5 or conv1_1,conv2_1/conv3_1."""
    if not isinstance(value, tuple):
        return str(value)
    is_nested = any(isinstance(part, tuple) for part in value)
    return ("/" if is_nested else ",").join(as_typed(part) for part in value)
