"""A flag for every setting, and the settings that flags, a settings file and a preset give."""

import argparse
from collections.abc import Callable, Container, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nst_jax.errors import SettingsError
from nst_jax.settings.declaration import Setting
from nst_jax.settings.settings import GROUPS, PRESETS, SETTINGS, Settings, without_idle_layers
from nst_jax.settings.settings_file import SettingsFile, read_settings_file, stacked
from nst_jax.settings.values import FILES, SWITCH, SWITCH_OR_AUTO, Value, as_typed


def add_settings_flags(parser: argparse.ArgumentParser, with_defaults: bool = True) -> None:
    """Add a flag for every setting; what is not typed is not in the namespace."""
    for title in GROUPS:
        group = parser.add_argument_group(title)
        for setting in SETTINGS.values():
            if setting.group == title:
                _add_flag(group, setting, with_defaults)
    add = partial(add_value, parser)
    add("--compilation-cache", str, "DIR", "of compiled programs; none: keep none [the user's]")
    parser.add_argument(
        "--preset", choices=PRESETS, help="paper: as Gatys et al. 2015; other flags on top"
    )
    meaning = "TOML, such as size = 1024; on top of the preset, below other flags"
    add("--settings", Path, "FILE", meaning)


def add_value(
    group: argparse._ActionsContainer,
    flag: str,
    read: Callable[[str], Any],
    placeholder: str,
    meaning: str,
    default: Any = None,
) -> None:
    """Add a flag that takes a value, to a parser or to a group of one."""
    group.add_argument(flag, type=read, metavar=placeholder, default=default, help=meaning)


def _add_flag(group: argparse._ArgumentGroup, setting: Setting, with_default: bool) -> None:
    options: dict[str, Any] = {"action": "append" if setting.value is FILES else "store"}
    if setting.value is SWITCH:
        options = {"action": "store_const", "const": not setting.default}
    else:
        if setting.value is SWITCH_OR_AUTO:  # the value may be left out
            options |= {"nargs": "?", "const": True}
        options |= {"type": reader(setting.value), "metavar": setting.value.placeholder}
    group.add_argument(
        setting.flag,
        *setting.aliases,
        dest=setting.name,
        default=argparse.SUPPRESS,
        help=setting.help_text(with_default),
        **options,
    )


def reader(value: Value) -> Callable[[str], Any]:
    """What argparse reads such values with."""

    def read(text: str) -> Any:
        try:
            return value.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {value.word}") from error

    return read


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
    return {name: value for name, value in vars(options).items() if name in SETTINGS}


def flags_of(settings: Settings, without: Container[str] = ()) -> list[str]:
    """The flags that give these settings, where they are not the defaults.

    Layers without weight are left out, and weights that are equal and sum to 1; and the settings
    whose names are in `without`.
    """
    settings = without_idle_layers(settings)
    flags = []
    for setting in sorted(SETTINGS.values(), key=lambda one: GROUPS.index(one.group)):
        value = getattr(settings, setting.name)
        if value == setting.default or setting.name in without:
            continue
        if setting.value is SWITCH or value is True:
            flags.append(setting.flag)
        else:
            typed = value if setting.value is FILES else (value,)
            flags += [text for each in typed for text in (setting.flag, as_typed(each))]
    return flags


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
