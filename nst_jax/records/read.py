"""A record read back: what a run was told, and by whom it was made."""

import contextlib
import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.engine.identity import resolved_settings
from nst_jax.errors import SettingsError
from nst_jax.images import io
from nst_jax.images.encoders import PLAIN
from nst_jax.records.write import device_metadata, versions
from nst_jax.settings.settings import SETTINGS, Settings, settings_of_record
from nst_jax.settings.settings_file import check_type

# The settings whose defaults depend on others.
DERIVED = tuple(name for name, one in SETTINGS.items() if one.default is None)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One run, as its record tells it.

    Attributes:
        path: of the file that holds the record.
        settings: as they were given: a default that depends on other settings follows them again.
        inputs: {role: {file, sha256}}.
        weights: {name, sha256, …} of the network.
        versions: of the libraries.
        device: {platform, kind, count}.
        output: how the picture was written, as `SaveOptions.metadata`.
        lanes: of the program that made it; 0 is one without lanes.
        stopped_at: number of the last step that was evaluated, where the run was interrupted.
        error: why there is no picture, where the run came to nothing.
        devices: that shared the image.
    """

    path: Path
    settings: Settings
    inputs: Mapping[str, Mapping[str, str]]
    weights: Mapping[str, Any]
    versions: Mapping[str, str]
    device: Mapping[str, Any]
    output: Mapping[str, Any]
    lanes: int
    stopped_at: int | None
    error: str | None
    devices: int


def read_recorded(path: Path, lane: str | None = None) -> Recorded:
    """Read the record of one run.

    Args:
        path: of a record, a sweep.json, or a picture that carries its settings.
        lane: name of a lane of a sweep; None where there is but one.

    Raises:
        SettingsError: it is no record, or one of a newer version; there is no such lane.
        ImageError: the picture cannot be read.
    """
    record = _choose_lane(path, _read_json(path), lane)
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise SettingsError(
            f"{path}: is no record of nst-jax; give OUT.json, a sweep.json, or a picture that it "
            f"wrote"
        )
    made_by = record.get("versions", {})
    try:
        return Recorded(
            path,
            _read_settings(path, record, made_by.get("nst_jax")),
            {role: _read_input(file) for role, file in record.get("inputs", {}).items()},
            {**record.get("weights", {})},
            {**made_by},
            {**record.get("device", {})},
            _read_output(record.get("output", {})),
            _lanes_of(record),
            None if record.get("completed", True) else int(record["evaluations"]) - 1,
            record.get("error"),
            int(record.get("device", {}).get("shared_by", 1)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: the record is damaged ({error!r}); take another") from error


def _read_input(file: Mapping[str, Any]) -> dict[str, Any]:
    """A file's name, null where it was an array, and its checksum; and what else is said of it."""
    if not isinstance(file["file"], str | None) or not isinstance(file["sha256"], str):
        raise TypeError("an input has no name or checksum")
    return {**file}


def _read_output(output: Mapping[str, Any]) -> dict[str, Any]:
    """How the picture was written, as far as it is said: numbers, and what was or was not."""
    written = {**PLAIN.metadata(), **output}
    for name, plain in PLAIN.metadata().items():
        kind = bool if isinstance(plain, bool) else int if plain is not None else int | None
        if not isinstance(written[name], kind):
            raise TypeError(f"{name} of the output is {written[name]!r}")
    return written


def _read_json(path: Path) -> Any:
    """What a .json holds, or the text in a picture."""
    try:
        if path.suffix.lower() == ".json":
            text = path.read_text("utf-8")
        else:
            text = io.load_text(path).get("nst_jax", "")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text; give a record of nst-jax") from error
    if not text:
        raise SettingsError(f"{path}: carries no settings; give the record beside it, OUT.json")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{path}, line {error.lineno}, column {error.colno}: the record is damaged "
            f"({error.msg}); take another"
        ) from error


def _choose_lane(path: Path, record: Any, name: str | None) -> Any:
    """The record of one lane, where there are lanes."""
    lanes = record.get("lanes") if isinstance(record, dict) else None
    if not isinstance(lanes, list):
        if name is not None:
            raise SettingsError(f"{path}: is no sweep.json and has no lanes; leave out --lane")
        return record
    by_name = {one["name"]: one for one in lanes if isinstance(one, dict) and "name" in one}
    if name is None and len(by_name) == 1:
        return next(iter(by_name.values()))
    if name not in by_name:
        problem = "choose one with --lane" if name is None else f"there is no lane {name!r}"
        close = difflib.get_close_matches(name or "", by_name, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"{path}: {problem}{hint}; there are: {', '.join(by_name) or 'none'}")
    return by_name[name]


def _lanes_of(record: Mapping[str, Any]) -> int:
    """Of the program; a lane that came to nothing is run alone, which says why."""
    if record.get("error") is not None:
        return 0
    older = record["timing"]["lanes"] if "timing" in record and "place" in record else 0
    return int(record.get("compiled_lanes", older))


def _read_settings(path: Path, record: Mapping[str, Any], made_by: str | None) -> Settings:
    """The settings; those that an older version did not know are as its runs were."""
    unknown = [name for name in record["settings"] if name not in SETTINGS]
    if unknown:
        raise SettingsError(
            f"{path}: was made by nst_jax {made_by or 'of an unknown version'}, whose settings "
            f"{', '.join(unknown)} are not known here (nst_jax {versions()['nst_jax']}); install "
            f"that version"
        )
    values = settings_of_record(record["settings"])
    given = record.get("settings_given", DERIVED)  # the others follow other settings again
    derived = [name for name in DERIVED if name not in given and name in record["settings"]]
    values |= dict.fromkeys(derived)
    for name, value in values.items():
        check_type(str(path), name, value)
    try:
        settings = Settings(**values)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    return settings if "settings_given" in record else _guess_given(settings)


def _guess_given(settings: Settings) -> Settings:
    """With None for all that is what None would mean: records of 0.2 do not say what was given."""
    resolved = resolved_settings(settings)
    for name in DERIVED:
        without: dict[str, Any] = {name: None}
        with contextlib.suppress(SettingsError):  # in some conventions the ratio has no default
            plain = dataclasses.replace(settings, **without)
            settings = plain if resolved_settings(plain) == resolved else settings
    return settings


def differences(recorded: Recorded) -> list[str]:
    """One line for each thing that is not as it was, and may change the picture's rounding."""
    now, device, changes = versions(), device_metadata(), []
    names = [name for name in now if name != "python" and recorded.versions.get(name) != now[name]]
    if names and recorded.versions:
        then = ", ".join(f"{name} {recorded.versions.get(name, 'unknown')}" for name in names)
        changes.append((f"with {then}", ", ".join(now[name] for name in names)))
    then_on = {name: recorded.device.get(name) for name in device}  # not by how many together
    if recorded.device and then_on != device:
        changes.append((f"on {_device_text(recorded.device)}", _device_text(device)))
    alike = "the picture may come out a little different"
    return [f"made {then}; here {here}: {alike}" for then, here in changes]


def _device_text(device: Mapping[str, Any]) -> str:
    return f"{device.get('count')} × {device.get('platform')} ({device.get('kind')})"
