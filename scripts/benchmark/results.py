"""The results: one JSON file that several runs on one machine fill, and statistics of it."""

import hashlib
import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Digits kept of measured numbers: beyond what any clock or float32 loss holds.
DIGITS = 7
Case = dict[str, Any]


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
    for name, value in setup.items():
        if results.get(name) != value:
            raise ResultsError(
                f"{path} is of {name} {results.get(name)}, and this run of {value}: give "
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


def add_case(results: dict[str, Any], case: Case) -> None:
    """Put a case in; the same one of an earlier run gives way."""
    results["cases"][key_of(case)] = _rounded(case)


def key_of(case: Case) -> str:
    """The name of a case: what was timed, of what size."""
    history = [f"m{case['history']}"] if "history" in case else []
    task = [case["task"]] if "task" in case else []
    ours = [f"{name}={value}" for name, value in case.get("ours", {}).items()]
    where = [case["network"], f"{case['size']}px", case["precision"]]
    return " ".join([case["case"], *task, *history, *where, *ours])


def measured(case: Case) -> dict[str, dict[str, Any]]:
    """The sides that have a value."""
    return {name: side for name, side in case["sides"].items() if "error" not in side}


def errors(case: Case) -> dict[str, str]:
    """Why the others have none."""
    return {name: side["error"] for name, side in case["sides"].items() if "error" in side}


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


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The lower one, the median and the upper one, of the sorted values, interpolated."""
    if len(seconds) == 1:
        return (seconds[0],) * 3
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return lower, median, upper


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
    return json.loads(
        json.dumps(value),
        parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"),
        parse_constant=lambda text: None,
    )
