"""The record of a run: everything needed to understand it and to do it again, as JSON."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import nst_jax
from nst_jax.engine import distributed
from nst_jax.engine.identity import resolved_settings
from nst_jax.engine.pyramid import scale_at
from nst_jax.engine.results import Result
from nst_jax.errors import ImageError, NSTError
from nst_jax.files import sha256_of, write_bytes
from nst_jax.images import io
from nst_jax.images.encoders import PLAIN, SaveOptions
from nst_jax.images.opening import hold, is_path, name_of
from nst_jax.losses.terms import Losses
from nst_jax.settings.settings import INITS, SETTINGS, Settings

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
OF_WEIGHTS = ("name", "architecture", "source", "licence", "sha256", "normalized", "normalized_for")
# Enough to run it again; the history would be long, and the timing differs each time.
IN_IMAGES = (
    *("command", "inputs", "settings", "settings_given", "output", "weights", "versions"),
    *("device", "compiled_lanes", "evaluations", "completed", "result"),
)


def versions() -> dict[str, str]:
    """Versions of this package, Python, and the libraries that decide the numbers."""
    known = {"nst_jax": nst_jax.__version__, "python": platform.python_version()}
    known |= dict.fromkeys(LIBRARIES, "unknown")  # as builds that go by other names: pillow-simd
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known[name] = importlib.metadata.version(name)
    return known


def device_metadata() -> dict[str, Any]:
    """Platform, kind and number of the devices that JAX computes on."""
    devices = jax.local_devices()
    return {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}


def _sharing(result: Result) -> dict[str, int]:
    """How many devices shared the image, and of how many processes, where several did."""
    if result.devices == 1:
        return {}
    several = distributed.spans_processes(result.devices)
    processes = {"processes": jax.process_count()} if several else {}
    return {"shared_by": result.devices, **processes}


def make_record(
    result: Result,
    command: str = "",
    inputs: Mapping[str, Any] | None = None,
    saving: SaveOptions = PLAIN,
) -> dict[str, Any]:
    """The record of one run, for JSON.

    Args:
        result: of the run.
        command: as it was typed, or whatever made the call.
        inputs: {role: image}, as they were given to the run, or from `input_metadata`.
        saving: how the image is written.

    Returns:
        `settings` with the defaults filled in, and `settings_given`, those that are not defaults;
        `output` (`bits`; `dpi`, null if not said; `copy_exif`, whether there was EXIF data to
        copy; `text`, whether the picture carries its settings); `timing`, seconds of all the
        `lanes` that ran together; `device`, with `shared_by` where several shared the image;
        `compiled_lanes` of the program; `history`, a list, the initial
        image first; `result`, of the image of least loss, or the average if the settings ask for
        one, before it was clipped to [0, 1]; and more. The terms of losses are those before α, β
        and w_l; `style` is Σ w_l · term; one that is not finite is null. Where there were several
        scales also `scales`, and the `size` that each entry of `history`, and `result`, was
        evaluated at.
    """
    scales = [{"size": each.size, "steps": each.steps} for each in result.scales]
    several = len(scales) > 1

    def size_at(step: int) -> dict[str, int]:
        return {"size": scale_at(result.scales, step).size} if several else {}

    return {
        "command": command,
        "inputs": {
            role: one if isinstance(one, Mapping) else file_metadata(one)
            for role, one in (inputs or {}).items()
        },
        "settings": resolved_settings(result.settings),
        "settings_given": given_settings(result.settings),
        "output": saving.metadata(),
        "weights": {name: getattr(result.weights, name) for name in OF_WEIGHTS},
        "versions": versions(),
        "device": device_metadata() | _sharing(result),
        "timing": {
            "compile_s": round(result.compile_seconds, 4),
            "run_s": round(result.run_seconds, 4),
            "s_per_step": round(result.run_seconds / result.evaluations, 6),
            "lanes": result.lanes,
        },
        "compiled_lanes": result.compiled_lanes,
        "evaluations": result.evaluations,
        "completed": result.completed,
        **({"scales": scales} if several else {}),
        "history": [
            {"step": step, **size_at(step), **_losses_metadata(losses)}
            for step, losses in result.history
        ],
        "result": {
            **size_at(result.evaluations - 1),
            **_losses_metadata(result.losses),
            "restarts": result.restarts,
            "improved": result.improved,
        },
    }


def input_files(
    settings: Settings, content: str | Path | None, styles: Sequence[str | Path]
) -> dict[str, str | Path]:
    """The files that a run reads, by the roles that a record has them under.

    Returns:
        {role: file}: content; style, style_2, style_3, …; init; content_mask, content_mask_2, …;
        style_mask, …; those that there are.
    """
    masks = {"content_mask": settings.content_mask, "style_mask": settings.style_mask}
    kinds = {
        "content": () if content is None else (content,),
        "style": styles,
        "init": () if settings.init in INITS else (settings.init,),
        **masks,
    }
    return {
        f"{kind}_{number}" if number > 1 else kind: file
        for kind, files in kinds.items()
        for number, file in enumerate(files, 1)
        if file != "none" or kind not in masks
    }


def input_metadata(files: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{role: {file, sha256}} of {role: file}; errors as in `file_metadata`."""
    return {role: file_metadata(file) for role, file in files.items()}


def file_metadata(given: Any) -> dict[str, Any]:
    """{file, sha256} of an image, however it was given: as a path, as `stylize` takes it else.

    Of what has no name `file` is None, and the checksum that of its bytes; of an array, or an image
    of Pillow's, that of its pixels.

    Raises:
        ImageError: it cannot be read.
    """
    if not is_path(given) and os.path.isfile(name := name_of(given)):
        given = name  # an open file, which was read to its end, or an image of Pillow's
    if not is_path(given):
        if hasattr(given, "read"):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                given.seek(0)  # the run has read it to its end
        content = hold(given)
        pixels = content if isinstance(content, bytes) else np.asarray(content).tobytes()
        return {"file": None, "sha256": hashlib.sha256(pixels).hexdigest()}
    try:
        return {"file": os.fspath(given), "sha256": sha256_of(Path(given))}
    except (OSError, NSTError):
        io.load_image(given)  # says what is wrong
        raise


def given_settings(settings: Settings) -> dict[str, Any]:
    """{name: value} of the settings that are not their defaults."""
    values = dataclasses.asdict(settings).items()
    return {name: value for name, value in values if value != SETTINGS[name].default}


def _losses_metadata(losses: Losses) -> dict[str, Any]:
    terms = jax.tree.map(_finite, losses)._asdict()
    return {"loss": terms.pop("total"), **terms}


def _finite(value: jax.Array | float) -> float | None:
    """The value, or None: JSON has neither infinity nor NaN."""
    return float(value) if math.isfinite(value) else None


def image_text(record: dict[str, Any]) -> dict[str, str]:
    """What is written inside the image: the record in short."""
    short = {key: record[key] for key in IN_IMAGES}
    return {"Software": f"nst_jax {nst_jax.__version__}", "nst_jax": json.dumps(short)}


def save_record(record: dict[str, Any], path: Path) -> None:
    """Write a record, whole or not at all; errors as in `save_bytes`."""
    save_bytes((json.dumps(record, indent=2) + "\n").encode(), path)


def save_bytes(data: bytes, path: Path) -> None:
    """Write what stands beside pictures, whole or not at all.

    Raises:
        ImageError: the file cannot be written.
    """
    try:
        write_bytes(path, data)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error


def check_replaceable(
    outputs: Iterable[Path], inputs: Iterable[str | Path], overwrite: bool
) -> None:
    """Refuse to write over an input or a folder; or, without `overwrite`, over anything.

    Raises:
        ImageError: one of the outputs would do that.
    """
    inputs = [file for file in inputs if os.path.exists(file)]
    for path in filter(os.path.lexists, outputs):
        if path.is_dir():
            raise ImageError(f"{path}: is a folder; choose another name")
        if not overwrite:
            raise ImageError(f"{path}: exists already; choose another name or add --overwrite")
        if path.exists() and any(path.samefile(file) for file in inputs):
            raise ImageError(f"{path}: is one of the inputs; choose another name")
