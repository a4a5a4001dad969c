"""The benchmark's results as a Markdown table, for the documentation.

It is made from results.json alone, as the plot is, so that both can be checked against it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nst_jax import Settings
from nst_jax.cli.settings_flags import flags_of
from scripts.benchmark.machine import describe
from scripts.benchmark.plan import CASES, PRECISIONS, evaluations_of
from scripts.benchmark.results import (
    Case,
    errors,
    exponent,
    goals,
    measured,
    quartiles,
    reached,
)

OURS, PYTORCH = "nst_jax", "pytorch"
# Beside those two, sides that get a column where they were measured.
OTHERS = ("pytorch compiled", "peer")
TITLES = {PYTORCH: "PyTorch", "pytorch compiled": "PyTorch compiled"}
NETWORKS = {"vgg16": "VGG-16", "vgg19": "VGG-19"}
TASKS = {"evaluation": "loss and gradient", "lbfgs": "L-BFGS step"}
# What was measured, and what each side needed, as text and as a number.
Row = tuple[str, dict[str, tuple[str, float]]]


def markdown(results: dict[str, Any]) -> str:
    """The machine, the table, and how times grow with the size."""
    cases = in_order(results)
    sides = [OURS, PYTORCH]
    sides += [name for name in OTHERS if any(name in case["sides"] for case in cases)]
    titles = [TITLES.get(side, side) for side in sides]
    lines = [
        introduction(results),
        "",
        f"| what | {' | '.join(titles)} | nst_jax / PyTorch |",
        "|---" * (len(sides) + 2) + "|",
        *(_line(row, sides) for case in cases for row in rows_of(case)),
        "",
        *growth_lines(cases),
        *note_lines(cases),
    ]
    return "\n".join(lines).rstrip() + "\n"


def side_by_side(machines: Sequence[dict[str, Any]]) -> str:
    """What several machines needed: ours, PyTorch's, and the quotient of the two."""
    columns = [
        {what: values for case in in_order(one) for what, values in rows_of(case)}
        for one in machines
    ]
    titles = [describe(one)[0] for one in machines]
    lines = [
        "Each cell: nst_jax / PyTorch: the quotient. What was measured on one machine only is in",
        "its own table.",
        "",
        *(f"- {introduction(one)}" for one in machines),
        "",
        f"| what | {' | '.join(titles)} |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for what in columns[0]:
        if all({OURS, PYTORCH} <= column.get(what, {}).keys() for column in columns):
            cells = [_quotient(column[what]) for column in columns]
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _quotient(values: dict[str, tuple[str, float]]) -> str:
    """Both sides without their spread, and the quotient."""
    texts = [values[side][0].split(" (")[0] for side in (OURS, PYTORCH)]
    return f"{' / '.join(texts)}: {values[OURS][1] / values[PYTORCH][1]:.2f} ×"


def introduction(results: dict[str, Any]) -> str:
    """On what machine, with which versions, when."""
    processors, libraries = describe(results)
    cases = results["cases"].values()
    dates = sorted(case["date"][:10] for case in cases)
    when = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else ""
    commits = ", ".join(sorted({case["commit"] for case in cases}))
    tuned = "" if results["allocator"] == "default" else f"; allocator {results['allocator']}"
    return (
        f"{processors}, as many threads on each side; {libraries}; {when}, commit {commits}"
        f"{tuned}. Medians, quartiles in brackets."
    )


def in_order(results: dict[str, Any]) -> list[Case]:
    """The cases of the benchmark in its order, then by network, task, history, flags and size."""

    def place(case: Case) -> tuple:
        at, precision = CASES.index(case["case"]), PRECISIONS.index(case["precision"])
        what = case["network"], case.get("task", ""), case.get("history", 0), flags(case)
        return at, *what, case["size"], precision

    cases = results["cases"].values()
    return sorted((case for case in cases if case["case"] in CASES), key=place)


def rows_of(case: Case) -> Iterator[Row]:
    """The rows of a case: one, but for each goal of `reach`."""
    where = f"{NETWORKS[case['network']]}, {case['width']}×{case['height']} px"
    if case["precision"] != "float32":
        where += f", {case['precision']}"
    if case["case"] == "reach":
        yield from _reach_rows(case, where)
    elif case["case"] == "compile":
        yield from _compile_rows(case, where)
    else:
        yield f"{title(case)}, {where}", {n: _value(case, o) for n, o in measured(case).items()}


def title(case: Case) -> str:
    """What was measured, in words."""
    steps, history = case.get("steps"), case.get("history")
    lanes = max((len(o["losses"]) for o in measured(case).values() if "losses" in o), default=0)
    task = TASKS.get(case.get("task", ""), "")
    if case.get("task") == "lbfgs":
        task += f", history {history}"
    what = {
        "evaluation": "loss and gradient",
        "lbfgs": f"one L-BFGS step, history {history}",
        "adam": "one Adam step",
        "memory": f"peak memory beyond libraries and inputs, {task}",
        "files": f"{steps} evaluations, file to file",
        "sweep": f"a sweep of {lanes} settings, {steps} steps",
    }[case["case"]]
    return what + (f" (ours: `{flags(case)}`)" if flags(case) else "")


def flags(case: Case) -> str:
    """What our side was told beyond what both were."""
    return " ".join(flags_of(Settings(**case.get("ours", {}))))


def _value(case: Case, outcome: dict[str, Any]) -> tuple[str, float]:
    if case["case"] == "memory":
        return _memory(outcome)
    seconds = outcome["seconds"]
    if not isinstance(seconds, list):  # of whole commands the peak memory is known, too
        peak = f", {_megabytes(outcome['peak'])}" if "peak" in outcome else ""
        return as_seconds(seconds) + peak, seconds
    lower, median, upper = quartiles(seconds)
    spread = f" ({_digits(lower, median)}–{_digits(upper, median)})" if len(seconds) > 1 else ""
    return as_seconds(median) + spread, median


def _memory(outcome: dict[str, Any]) -> tuple[str, float]:
    """Of the GPU; or of the process beyond what it held before the task."""
    if outcome["device_peak"] is not None:
        return f"{_megabytes(outcome['device_peak'])} of the GPU", outcome["device_peak"]
    own, parts = outcome["peak"] - outcome["before"], []
    if outcome["peak_of_steps"] is not None:
        later = outcome["peak_of_steps"] - outcome["before"]
        parts.append(f"after the first {_megabytes(later)}")
    parts.append(f"whole process {_megabytes(outcome['peak'])}")
    return f"{_megabytes(own)} ({', '.join(parts)})", own


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def _reach_rows(case: Case, where: str) -> Iterator[Row]:
    """Seconds to PyTorch's loss after so many evaluations; ours also coarse to fine."""
    curves = {name: outcome for name, outcome in measured(case).items() if outcome.get("losses")}
    if PYTORCH not in curves:
        return
    ways = {
        "": [curves[name] for name in curves if name == OURS],
        ", coarse to fine": [curves[name] for name in curves if f"{OURS} --scales" in name],
    }
    for count, goal in goals(curves[PYTORCH], evaluations_of(case["steps"])).items():
        theirs = reached(curves[PYTORCH], goal)
        for way, ours in ways.items():
            times = [reached(curve, goal) for curve in ours]
            found = next((seconds for seconds in times if seconds is not None), None)
            if times and theirs is not None:
                value = (as_seconds(found), found) if found else ("not reached", float("nan"))
                what = f"to PyTorch's loss after {count} evaluations, {where}{way}"
                yield what, {OURS: value, PYTORCH: (as_seconds(theirs), theirs)}


def _compile_rows(case: Case, where: str) -> Iterator[Row]:
    """The first evaluation in a fresh process, compilation and targets included."""
    names = {OURS: "", "nst_jax, cache filled": ", compilation cache filled"}
    theirs = {n: _value(case, o) for n, o in measured(case).items() if n == PYTORCH}
    for name, outcome in measured(case).items():
        if name in names:
            text, seconds = _value(case, outcome)
            text += f" (step compiled in {as_seconds(outcome['compile_seconds'])})"
            what = f"first evaluation in a fresh process{names[name]}, {where}"
            yield what, {OURS: (text, seconds), **theirs}


def growth_lines(cases: Iterable[Case]) -> Iterator[str]:
    """The exponent of seconds against pixels, wherever there are three sizes or more."""
    groups: dict[tuple, list[Case]] = {}
    for case in cases:
        if case["case"] in ("evaluation", "lbfgs", "adam"):
            key = (title(case), NETWORKS[case["network"]], case["precision"])
            groups.setdefault(key, []).append(case)
    for (what, network, _), group in groups.items():
        powers = []
        for side in (OURS, PYTORCH):
            if len(group) > 2 and all(side in measured(case) for case in group):
                pixels = [case["width"] * case["height"] for case in group]
                medians = [quartiles(case["sides"][side]["seconds"])[1] for case in group]
                powers.append(f"{TITLES.get(side, side)} {exponent(pixels, medians):.2f}")
        first, last = (f"{case['width']}×{case['height']}" for case in (group[0], group[-1]))
        if powers:
            yield (
                f"- Seconds grow with the pixels to the power of, {what}, {network}, {first} to "
                f"{last} px: {', '.join(powers)}"
            )


def note_lines(cases: list[Case]) -> Iterator[str]:
    """What a reader must know: random weights, and what failed."""
    if any(case["weights"].endswith("-random") for case in cases):
        yield "- VGG-19 with random weights, which cost the same time."
    for case in cases:
        for side, error in errors(case).items():
            where = f"{case['case']}, {NETWORKS[case['network']]}, {case['size']} px"
            yield f"- {where}: {side} failed: {error}"


def as_seconds(seconds: float) -> str:
    """Three digits: 1.39 s, 36.4 ms."""
    return f"{_digits(seconds, seconds)} {'s' if seconds >= 1 else 'ms'}"


def _digits(seconds: float, unit_of: float) -> str:
    """A number of seconds in the unit that `unit_of` gets, with as many decimals."""
    scale = 1 if unit_of >= 1 else 1000
    decimals = 2 if unit_of * scale < 10 else 1 if unit_of * scale < 100 else 0
    return f"{seconds * scale:.{decimals}f}"


def _line(row: Row, sides: list[str]) -> str:
    what, values = row
    texts = [values[side][0] if side in values else "–" for side in sides]
    ours, theirs = (values.get(side, ("", float("nan")))[1] for side in (OURS, PYTORCH))
    ratio = f"{ours / theirs:.2f} ×" if ours == ours and theirs > 0 else "–"
    return f"| {what} | {' | '.join(texts)} | {ratio} |"
