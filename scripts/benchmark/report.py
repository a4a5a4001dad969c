"""The benchmark's results as a Markdown table, for the README, and as a plot.

Both are made from results.json alone, so that they can be checked against it.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nst_jax.cli.settings_flags import flags_of
from nst_jax.settings.settings import Settings
from scripts.benchmark.plan import CASES, evaluations_of
from scripts.benchmark.results import exponent, goals, reached, summary

OURS, PYTORCH = "nst_jax", "pytorch"
# Beside those two, sides that get a column where they were measured.
OTHERS = ("pytorch compiled", "peer")
TITLES = {PYTORCH: "PyTorch", "pytorch compiled": "PyTorch compiled", "peer": "peer"}
NETWORKS = {"vgg16": "VGG-16", "vgg19": "VGG-19"}
TASKS = {"evaluation": "loss and gradient", "lbfgs": "L-BFGS step"}

PRECISIONS = ("float32", "tf32", "bfloat16")

Case = dict[str, Any]
# What was measured, and what each side needed, as text and as a number.
Row = tuple[str, dict[str, tuple[str, float]]]


def write_report(results: dict[str, Any], folder: Path, say: Callable[[str], object]) -> None:
    """Write results.md and the plot."""
    table = folder / "results.md"
    table.write_text(markdown(results), encoding="utf-8")
    say(str(table))
    write_plot(results, folder, say)


def write_plot(results: dict[str, Any], folder: Path, say: Callable[[str], object]) -> None:
    """Write speed.png and speed.svg, where there is matplotlib."""
    try:
        from scripts.benchmark.plot import plot
    except ImportError:
        say("no matplotlib, no plot; it comes with the extra benchmark")
        return
    for path in plot(results, folder):
        say(str(path))


def markdown(results: dict[str, Any]) -> str:
    """The machine, the table, and how times grow with the size."""
    cases = in_order(results)
    others = [name for name in OTHERS if any(name in case["sides"] for case in cases)]
    sides = [OURS, PYTORCH, *others]
    titles = [TITLES.get(side, side) for side in sides]
    lines = [
        introduction(results),
        "",
        f"| what | {' | '.join(titles)} | nst_jax / PyTorch |",
        "|---" * (len(sides) + 2) + "|",
    ]
    for case in cases:
        lines += [_line(row, sides) for row in rows_of(case)]
    lines += ["", *growth_lines(cases), *note_lines(cases)]
    return "\n".join(lines).rstrip() + "\n"


def introduction(results: dict[str, Any]) -> str:
    """On what machine, with which versions, when."""
    machine, versions = results["machine"], results["versions"]
    dates = sorted(case["date"][:10] for case in results["cases"].values())
    commits = sorted({case["commit"] for case in results["cases"].values()})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else ""
    device = f"{results['threads']} cores of {machine['cpu']}"
    if results["device"] == "gpu":
        device = f"{machine['gpu']}, with {device}"
    named = {"jax": "jax", "torch": "PyTorch", "python": "Python"}
    libraries = ", ".join(
        f"{name} {versions[key]}" for key, name in named.items() if key in versions
    )
    tuned = "" if results["allocator"] == "default" else f"; allocator {results['allocator']}"
    return (
        f"{device}, as many threads on each side; {libraries}; {when}, commit "
        f"{', '.join(commits)}{tuned}. Medians, quartiles in brackets."
    )


def in_order(results: dict[str, Any]) -> list[Case]:
    """The cases in the order of the plan, then by network, size and history."""

    def place(case: Case) -> tuple:
        at = CASES.index(case["case"])
        precision, task = case["precision"], case.get("task", "")
        history = case.get("history", 0), flags(case)
        return at, case["network"], task, *history, case["size"], PRECISIONS.index(precision)

    return sorted(results["cases"].values(), key=place)


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
        yield f"{title(case)}, {where}", {n: _value(case, o) for n, o in measured(case)}


def title(case: Case) -> str:
    """What was measured, in words."""
    steps, history = case.get("steps"), case.get("history")
    what = {
        "evaluation": "loss and gradient",
        "lbfgs": f"one L-BFGS step, history {history}",
        "adam": "one Adam step",
        "memory": f"peak memory beyond libraries and inputs, {TASKS.get(case.get('task', ''), '')}"
        + f", history {history}" * (case.get("task") == "lbfgs"),
        "files": f"{steps} evaluations, file to file",
        "sweep": f"a sweep of {_lanes(case)} settings, {steps} steps",
    }[case["case"]]
    return what + (f" (ours: `{flags(case)}`)" if flags(case) else "")


def flags(case: Case) -> str:
    """What our side was told beyond what both were."""
    return " ".join(flags_of(Settings(**case.get("ours", {}))))


def measured(case: Case) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sides that have a value."""
    for name, outcome in case["sides"].items():
        if "error" not in outcome:
            yield name, outcome


def _value(case: Case, outcome: dict[str, Any]) -> tuple[str, float]:
    if case["case"] == "memory":
        return _memory(outcome)
    seconds = outcome["seconds"]
    if not isinstance(seconds, list):  # of whole commands the peak memory is known, too
        peak = f", {_megabytes(outcome['peak'])}" if "peak" in outcome else ""
        return as_seconds(seconds) + peak, seconds
    s = summary(seconds)
    spread = f" ({_digits(s['lower'], s['median'])}–{_digits(s['upper'], s['median'])})"
    return as_seconds(s["median"]) + spread * (len(seconds) > 1), s["median"]


def _memory(outcome: dict[str, Any]) -> tuple[str, float]:
    """Of the GPU; or of the process beyond what it held before the task."""
    if outcome["device_peak"] is not None:
        return f"{_megabytes(outcome['device_peak'])} of the GPU", outcome["device_peak"]
    own = outcome["peak"] - outcome["before"]
    parts = [f"whole process {_megabytes(outcome['peak'])}"]
    if outcome["peak_of_steps"] is not None:
        parts.insert(
            0, f"after the first {_megabytes(outcome['peak_of_steps'] - outcome['before'])}"
        )
    return f"{_megabytes(own)} ({', '.join(parts)})", own


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def _reach_rows(case: Case, where: str) -> Iterator[Row]:
    """Seconds to PyTorch's loss after so many evaluations; ours also coarse to fine."""
    curves = {name: outcome for name, outcome in measured(case) if outcome.get("losses")}
    if PYTORCH not in curves:
        return
    coarse = [name for name in curves if name.startswith(f"{OURS} --scales")]
    for count, goal in goals(curves[PYTORCH], evaluations_of(case["steps"])).items():
        theirs = reached(curves[PYTORCH], goal)
        what = f"to PyTorch's loss after {count} evaluations, {where}"
        for label, names in (("", [OURS]), (", coarse to fine", coarse)):
            times = [reached(curves[name], goal) for name in names if name in curves]
            found = next((seconds for seconds in times if seconds is not None), None)
            if times and theirs is not None:
                ours = (as_seconds(found), found) if found else ("not reached", float("nan"))
                yield what + label, {OURS: ours, PYTORCH: (as_seconds(theirs), theirs)}


def _compile_rows(case: Case, where: str) -> Iterator[Row]:
    """The first evaluation in a fresh process, compilation and targets included."""
    names = {OURS: "", "nst_jax, cache filled": ", compilation cache filled"}
    theirs = {n: _value(case, o) for n, o in measured(case) if n == PYTORCH}
    for name, outcome in measured(case):
        if name in names:
            what = f"first evaluation in a fresh process{names[name]}, {where}"
            compiling = f" (step compiled in {as_seconds(outcome['compile_seconds'])})"
            seconds = outcome["seconds"]
            yield what, {OURS: (as_seconds(seconds) + compiling, seconds), **theirs}


def growth_lines(cases: Iterable[Case]) -> list[str]:
    """The exponent of seconds against pixels, wherever there are three sizes or more."""
    groups: dict[tuple, list[Case]] = {}
    for case in cases:
        if case["case"] in ("evaluation", "lbfgs", "adam"):
            key = (title(case), NETWORKS[case["network"]], case["precision"])
            groups.setdefault(key, []).append(case)
    lines = []
    for (what, network, _), group in groups.items():
        if len(group) < 3:
            continue
        powers = [
            f"{TITLES.get(side, side)} {power:.2f}"
            for side in (OURS, PYTORCH)
            if (power := growth(group, side)) is not None
        ]
        sizes = f"{group[0]['width']}×{group[0]['height']} to {group[-1]['width']}×"
        sizes += f"{group[-1]['height']} px"
        lines.append(f"- Seconds grow with the pixels to the power of, {what}, {network}, {sizes}: "
                     + ", ".join(powers))  # fmt: skip
    return lines


def growth(group: list[Case], side: str) -> float | None:
    """The exponent of one side; None where it was not measured at every size."""
    outcomes = [case["sides"].get(side, {}) for case in group]
    if not all("seconds" in outcome for outcome in outcomes):
        return None
    medians = [summary(outcome["seconds"])["median"] for outcome in outcomes]
    return exponent([case["width"] * case["height"] for case in group], medians)


def note_lines(cases: Iterable[Case]) -> list[str]:
    """What a reader must know: random weights, and what failed."""
    cases = list(cases)
    lines = []
    if any(case["weights"].endswith("-random") for case in cases):
        lines.append("- VGG-19 with random weights, which cost the same time.")
    for case in cases:
        for name, outcome in case["sides"].items():
            if "error" in outcome:
                where = f"{NETWORKS[case['network']]}, {case['size']} px"
                lines.append(f"- {case['case']}, {where}: {name} failed: {outcome['error']}")
    return lines


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
    ratio = "–"
    if OURS in values and PYTORCH in values:
        quotient = values[OURS][1] / values[PYTORCH][1] if values[PYTORCH][1] > 0 else float("nan")
        ratio = f"{quotient:.2f} ×" if quotient == quotient else "–"
    return f"| {what} | {' | '.join(texts)} | {ratio} |"


def _lanes(case: Case) -> int:
    losses = [len(outcome["losses"]) for _, outcome in measured(case) if "losses" in outcome]
    return max(losses, default=0)
