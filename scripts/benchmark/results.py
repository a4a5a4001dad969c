"""The results: one JSON file that several runs on one machine fill, and statistics of it."""

import hashlib
import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# What must be equal for two runs' results to stand in one file.
SETUP = ("machine", "device", "threads", "allocator", "versions")
# Digits kept of measured numbers: beyond what any clock or float32 loss holds.
DIGITS = 7


class ResultsError(Exception):
    """A file of results cannot be read, or belongs to another machine."""


def open_results(path: Path, setup: dict[str, Any]) -> dict[str, Any]:
    """The results of earlier runs, or empty ones for this setup.

    Raises:
        ResultsError: the file is of another machine, or other versions or threads.
    """
    if not path.exists():
        return {**setup, "cases": {}}
    results = read_results(path)
    for name in SETUP:
        if results.get(name) != setup[name]:
            raise ResultsError(
                f"{path} is of {name} {results.get(name)}, and this run of {setup[name]}: give "
                f"another --output, or move the file away"
            )
    return results


def read_results(path: Path) -> dict[str, Any]:
    """Read a file of results.

    Raises:
        ResultsError: it is none.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(results["cases"], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise ResultsError(f"{path}: no results of this benchmark ({error!r})") from error
    return results


def add_case(results: dict[str, Any], case: dict[str, Any]) -> None:
    """Put a case in; the same one of an earlier run gives way."""
    results["cases"][key_of(case)] = _rounded(case)


def key_of(case: dict[str, Any]) -> str:
    """The name of a case: what was timed, of what size."""
    parts = [case["case"], case["network"], f"{case['size']}px", case["precision"]]
    if "history" in case:
        parts.insert(1, f"m{case['history']}")
    if "task" in case:
        parts.insert(1, case["task"])
    parts += [f"{name}={value}" for name, value in case.get("ours", {}).items()]
    return " ".join(parts)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the file as a whole: an interruption leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    # Lists of numbers on one line each.
    text = re.sub(r"\[[-+\d.eE,\s]+\]", lambda match: re.sub(r"\s+", "", match[0]), text)
    half = path.with_name(path.name + ".part")
    half.write_text(text + "\n", encoding="utf-8")
    half.replace(path)


def fingerprint(results: dict[str, Any]) -> str:
    """A checksum of all that was measured, by which a plot can be told to be of these results."""
    text = json.dumps(results["cases"], sort_keys=True)
    return f"results sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, least, and quartiles (of the sorted values, interpolated)."""
    if len(seconds) == 1:
        return dict.fromkeys(("median", "least", "lower", "upper"), seconds[0])
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": median, "least": min(seconds), "lower": lower, "upper": upper}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The p of seconds = a · sizes^p, by least squares of the logarithms."""
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    return statistics.linear_regression(x, y).slope


def reached(curve: dict[str, list[float]], goal: float) -> float | None:
    """The seconds at which a curve's loss first came to the goal or below; None if never."""
    pairs = zip(curve["seconds"], curve["losses"], strict=True)
    return next((seconds for seconds, loss in pairs if loss <= goal), None)


def goals(curve: dict[str, list[float]], evaluations: Sequence[int]) -> dict[int, float]:
    """The least loss of a curve after so many evaluations, each that it has."""
    losses = curve["losses"]
    return {count: min(losses[:count]) for count in evaluations if count <= len(losses)}


def _rounded(value: Any) -> Any:
    """The same with fewer digits; what is not finite as None, which JSON has."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value
