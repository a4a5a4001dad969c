"""The files of a recorded run, found again and still what they were, by their checksums.

A file counts as found where the record has it, or beside the record. Roles of inputs are those of
`input_metadata`: content; style, style_2, …; and the settings that name files, such as init, with a
number from the second on.
"""

import dataclasses
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from nst_jax.errors import ImageError, WeightsError
from nst_jax.files import sha256_of
from nst_jax.records.read import Recorded
from nst_jax.records.write import file_metadata
from nst_jax.settings.settings import Settings
from nst_jax.weights.locate import available_weights, find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights


def find_input(recorded: Recorded, role: str) -> str | None:
    """The file of a role, unchanged; None where there was none.

    Raises:
        ImageError: it is gone, or another by now.
    """
    if role not in recorded.inputs:
        return None
    file, digest = (recorded.inputs[role][key] for key in ("file", "sha256"))
    folder, flag = recorded.path.parent, "--" + _kind(role).replace("_", "-")
    for path in (Path(file), folder / file, folder / Path(file).name):
        if path.is_file() and file_metadata(path)["sha256"] == digest:
            return str(path)
    if Path(file).exists():
        raise ImageError(
            f"{file}: is not what it was when {recorded.path} was made; give the {role} image of "
            f"then with {flag} FILE, or {flag} {file} to take it as it is"
        )
    raise ImageError(f"{file}: is not there any more; say where it is with {flag} FILE")


def find_styles(recorded: Recorded) -> tuple[str, ...]:
    """The files of all style images, in order; errors as in `find_input`."""
    roles = [role for role in recorded.inputs if _kind(role) == "style"]
    return tuple(file for role in roles if (file := find_input(recorded, role)) is not None)


def with_files_found(settings: Settings, recorded: Recorded, as_given: Container[str]) -> Settings:
    """Settings in which the files that they share with the record's are where they are now.

    Args:
        settings: of the run to be.
        recorded: the other run.
        as_given: names of the settings whose files are taken as they are.

    Raises:
        ImageError: one is gone, or another by now.
    """
    changes: dict[str, Any] = {}
    for name in _file_settings(recorded):
        value = getattr(settings, name)
        if name in as_given or value != getattr(recorded.settings, name):
            continue
        roles = [role for role in recorded.inputs if _kind(role) == name]
        found = {recorded.inputs[role]["file"]: find_input(recorded, role) for role in roles}
        if isinstance(value, tuple):
            changes[name] = tuple(found.get(part, part) for part in value)
        else:
            changes[name] = found.get(value, value)
    return dataclasses.replace(settings, **changes)


def is_unchanged(settings: Settings, inputs: Mapping[str, Any], recorded: Recorded) -> bool:
    """Whether a run with these settings and inputs is the recorded one, wherever its files are.

    Args:
        settings: of the run.
        inputs: from `input_metadata`.
        recorded: the other run.
    """
    then, now = (
        {role: file["sha256"] for role, file in files.items()}
        for files in (recorded.inputs, inputs)
    )
    there = {name: getattr(recorded.settings, name) for name in _file_settings(recorded)}
    return then == now and dataclasses.replace(settings, **there) == recorded.settings


def _kind(role: str) -> str:
    """A role without its number."""
    return re.sub(r"_\d+$", "", role)


def _file_settings(recorded: Recorded) -> set[str]:
    """Names of the settings that are, or hold, files among the inputs."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    return fields & {_kind(role) for role in recorded.inputs}


def find_recorded_weights(recorded: Recorded) -> Weights:
    """The weights of the run, by their checksum: other names may mean others by now.

    Raises:
        WeightsError: they are not here.
    """
    wanted = recorded.weights.get("sha256")
    for path in _candidates(recorded):
        if wanted is None or sha256_of(path) == wanted:
            return load_weights(path)
    raise WeightsError(
        f"the weights that {recorded.path} was made with ({recorded.weights.get('name')}, sha256 "
        f"{str(wanted)[:12]}…) are not here, or not what they were; name others with --weights"
    )


def _candidates(recorded: Recorded) -> Iterable[Path]:
    """Files that may be the weights, the likeliest first."""
    try:
        yield find_weights(recorded.settings.weights)
    except WeightsError:
        pass
    yield from available_weights()
