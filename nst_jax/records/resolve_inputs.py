"""The files of a recorded run, found again and still what they were, by their checksums.

A file counts as found where the record has it, or beside the record. Kinds of inputs are the roles
of `input_files` without their numbers: content, style, and the settings that name files.
"""

import contextlib
import dataclasses
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from nst_jax.engine.identity import resolved_settings
from nst_jax.errors import ImageError, WeightsError
from nst_jax.files import sha256_of
from nst_jax.records.read import Recorded
from nst_jax.records.write import file_metadata
from nst_jax.settings.settings import SETTINGS, Settings
from nst_jax.weights.locate import OLDER_FILES, available_weights, find_weights
from nst_jax.weights.parameters import Weights, normalize
from nst_jax.weights.storage import load_weights


def find_inputs(recorded: Recorded, kind: str) -> tuple[str, ...]:
    """The files of a kind, unchanged, in the record's order.

    Raises:
        ImageError: one is gone, or another by now.
    """
    files = _files_of(recorded, kind)
    return tuple(_find(recorded, kind, each["file"], each["sha256"]) for each in files)


def _files_of(recorded: Recorded, kind: str) -> list[Mapping[str, str]]:
    return [file for role, file in recorded.inputs.items() if _kind(role) == kind]


def _kind(role: str) -> str:
    return re.sub(r"_\d+$", "", role)


def _find(recorded: Recorded, kind: str, file: str | None, sha256: str) -> str:
    folder, flag = recorded.path.parent, f"--{kind.replace('_', '-')}"
    if file is None:  # bytes, an array
        raise ImageError(
            f"{recorded.path}: its {kind} image was given without a name; say where it is with "
            f"{flag} FILE"
        )
    for path in (Path(file), folder / file, folder / Path(file).name):
        if path.is_file() and file_metadata(path)["sha256"] == sha256:
            return str(path)
    if Path(file).exists():
        raise ImageError(
            f"{file}: is not what it was when {recorded.path} was made; give the {kind} image of "
            f"then with {flag} FILE, or {flag} {file} to take it as it is"
        )
    raise ImageError(f"{file}: is not there any more; say where it is with {flag} FILE")


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
        if name not in as_given and value == getattr(recorded.settings, name):
            files = [file["file"] for file in _files_of(recorded, name)]
            found = dict(zip(files, find_inputs(recorded, name), strict=True))
            parts = value if isinstance(value, tuple) else (value,)
            moved = tuple(found.get(part, part) for part in parts)
            changes[name] = moved if isinstance(value, tuple) else moved[0]
    return dataclasses.replace(settings, **changes)


def _file_settings(recorded: Recorded) -> set[str]:
    """Names of the settings that are, or hold, files among the inputs."""
    return {_kind(role) for role in recorded.inputs} & SETTINGS.keys()


def is_unchanged(settings: Settings, inputs: Mapping[str, Any], recorded: Recorded) -> bool:
    """Whether a run with these settings, and inputs as of `input_metadata`, is the recorded one.

    Wherever the files are.
    """
    then, now = (
        {role: file["sha256"] for role, file in files.items()}
        for files in (recorded.inputs, inputs)
    )
    there = {name: getattr(recorded.settings, name) for name in _file_settings(recorded)}
    settings = dataclasses.replace(settings, **there)
    return then == now and resolved_settings(settings) == resolved_settings(recorded.settings)


def find_recorded_weights(recorded: Recorded, settings: Settings) -> Weights:
    """The weights of the run, by their checksum: other names may mean others by now.

    Args:
        recorded: the run.
        settings: of the run to be.

    Returns:
        The weights as their file has them; where the run had them normalized for another pooling
        than its own, and the settings ask for the same, normalized so.

    Raises:
        WeightsError: they are not here.
    """
    wanted, paths = recorded.weights.get("sha256"), available_weights()
    with contextlib.suppress(WeightsError):  # the likeliest first
        paths.insert(0, find_weights(recorded.settings.weights))
    for path in paths:
        if wanted in (None, digest := sha256_of(path), OLDER_FILES.get(digest)):
            return _as_then(load_weights(path), recorded, settings)
    raise WeightsError(
        f"the weights that {recorded.path} was made with ({recorded.weights.get('name')}, sha256 "
        f"{str(wanted)[:12]}…) are not here, or not what they were; name others with --weights"
    )


def _as_then(weights: Weights, recorded: Recorded, settings: Settings) -> Weights:
    """Version 0.2 normalized for average pooling, and recorded no pooling, whatever it was."""
    pooling, then = recorded.settings.pooling, recorded.weights
    made_for = then.get("normalized_for", "average") if then.get("normalized") else pooling
    is_alike = settings.normalize and settings.pooling == pooling
    return normalize(weights, made_for) if is_alike and made_for != pooling else weights
