"""A file of settings: the flags of the command line, written down as TOML.

    preset = "paper"
    size = 1024
    ratio = 3e-5
    content_layers = ["conv4_2"]

    [style_layer_weights]  # those that are not named weigh 0
    conv1_1 = 1.0
    conv3_1 = 0.5

A key is the name of a setting, with dashes or underscores, and means what its flag means: a path is
relative to the current folder. Presets stand below the file, flags above it.
"""

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nst_jax.errors import SettingsError
from nst_jax.settings.settings import PRESETS, SETTINGS, Settings

# {weights: the layers that they are of}
LAYERS = {"content_layer_weights": "content_layers", "style_layer_weights": "style_layers"}
KEY = re.compile(r"""\s*(?:\[\s*["']?(?P<table>[\w-]+)["']?\s*\]|["']?(?P<key>[\w-]+)["']?\s*=)""")


@dataclasses.dataclass(frozen=True)
class SettingsFile:
    """What a settings file says.

    Attributes:
        path: of the file.
        preset: that it builds on, or None.
        values: {name of a setting: value}.
        places: {key: (line, column)}, where known.
    """

    path: Path
    preset: str | None
    values: Mapping[str, Any]
    places: Mapping[str, tuple[int, int]]

    def blamed(self, error: SettingsError, check: Callable[[Mapping[str, Any]], object]) -> str:
        """What an error says, with the place of the key that causes it.

        Args:
            error: that the settings of this file led to, together with others.
            check: raises a SettingsError unless these of the settings lead to none.
        """
        for key in (*self.values, None):
            try:
                check(_without(self.values, key))
            except SettingsError:
                continue
            return f"{_where(self.path, self.places.get(key or ''))}: {error}"
        return str(error)


def read_settings_file(path: Path) -> SettingsFile:
    """Read a file of settings; of values only the type is checked.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has an unknown key or a value of
            another type; with the line and the column where they are known.
    """
    text = _read_text(path)
    places = _places_of(text)
    values: dict[str, Any] = {}
    for written, value in _parse(path, text).items():
        name = written.replace("-", "_")
        where = _where(path, places.get(name))
        if name in values:
            raise SettingsError(f"{where}: {name} is there twice, with a dash and an underscore")
        if name == "preset":
            _check_preset(where, value)
        else:
            check_type(where, name, value, others=("preset",))
        values[name] = value
    return SettingsFile(path, values.pop("preset", None), values, places)


def stacked(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of several levels, each on top of those before.

    A level that names layers does not keep the weights of the layers that others have named.
    """
    settings: dict[str, Any] = {}
    for level in levels:
        for weights, layers in LAYERS.items():
            if layers in level:
                settings.pop(weights, None)
        settings |= level
    return settings


def _without(values: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    """All but a key, and the weights of the layers that it names; None leaves nothing."""
    gone = values if key is None else {key, *(w for w, layers in LAYERS.items() if layers == key)}
    return {name: value for name, value in values.items() if name not in gone}


def as_toml(settings: Settings) -> str:
    """The text of a file with these settings; those whose default depends on others are left out.

    TOML's texts, numbers, truth values and lists of them are written as those of JSON are.
    """
    values = dataclasses.asdict(settings).items()
    written = [(name, json.dumps(v, ensure_ascii=False)) for name, v in values if v is not None]
    return "\n".join(f"{name} = {value}" for name, value in written)


def check_type(where: str, name: str, value: Any, others: tuple[str, ...] = ()) -> None:
    """Refuse a key that is no setting, or a value that is not of the setting's type.

    Args:
        where: it was read, for the message.
        name: of the setting, with underscores.
        value: as a reader of TOML or JSON gives it.
        others: keys that are known, but have another meaning.

    Raises:
        SettingsError: it is one of these.
    """
    if name not in SETTINGS:
        known = [*others, *SETTINGS]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise SettingsError(f"{where}: there is no setting {name!r}; {hint}")
    setting = SETTINGS[name]
    if not (setting.value.fits(value) or (value is None and setting.default is None)):
        shown = json.dumps(value, default=str, ensure_ascii=False)
        raise SettingsError(f"{where}: {name} is {shown}; wanted {setting.value.word}")


def _check_preset(where: str, value: Any) -> None:
    if not isinstance(value, str) or value not in PRESETS:
        raise SettingsError(f"{where}: preset is {value!r}; wanted one of {', '.join(PRESETS)}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")  # Windows' editors begin with a byte order mark
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such settings file; check the path") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); give a file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text in UTF-8; give a TOML file") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        reason, place = str(error), None
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", reason, re.DOTALL):
            reason, place = found[1], (int(found[2]), int(found[3]))
        raise SettingsError(
            f"{_where(path, place)}: is no TOML ({reason}); write NAME = VALUE, texts in quotes"
        ) from error


def _places_of(text: str) -> dict[str, tuple[int, int]]:
    """Line and column of each key where it comes first; a reader of TOML does not tell."""
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if found := KEY.match(line):
            name = str(found.lastgroup)
            places.setdefault(found[name].replace("-", "_"), (number, found.start(name) + 1))
    return places


def _where(path: Path, place: tuple[int, int] | None) -> str:
    return f"{path}, line {place[0]}, column {place[1]}" if place else str(path)
