"""The results of the GPU check in words and tables."""

from collections.abc import Iterator
from typing import Any

from scripts.benchmark.plan import PRECISIONS
from scripts.benchmark.report import OURS, as_seconds, in_order, markdown
from scripts.benchmark.results import measured, quartiles

Results = dict[str, Any]


def text_of(results: Results) -> str:
    """The roofline, every number of the GPU's own cases, and the benchmark's table."""
    shared = in_order(results)
    lines = [f"# {results['machine']['gpu'] or results['machine']['cpu']}", *_roofline(results)]
    for key, case in results["cases"].items():
        if case not in shared:
            lines += ["", f"## {key}", "", *_numbers(case["sides"])]
        elif case["case"] == "files":
            lines += ["", "## from file to file", "", *_numbers(case["sides"])]
    lines += ["", "## Against PyTorch", "", markdown(results)]
    return "\n".join(lines).rstrip() + "\n"


def _numbers(value: Any, name: str = "") -> Iterator[str]:
    """One line for each number or text, with the names that lead to it."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _numbers(entry, f"{name}, {key}" if name else key)
    elif isinstance(value, list):
        for number, entry in enumerate(value, 1):
            yield from _numbers(entry, f"{name} {number}")
    elif isinstance(value, float):
        yield f"- {name}: {value:.4g}"
    else:
        yield f"- {name}: {value}"


def roofline(results: Results, precision: str) -> dict[str, float] | None:
    """What a step reaches of the measured ceilings; None where something is missing.

    The roofline's time is the longer of: its operations at the matrix product's rate, its bytes at
    the copy's. The share is that over the time measured.
    """

    def find(case: str, precision: str) -> dict[str, Any] | None:
        same = [
            one
            for one in results["cases"].values()
            if (one["case"], one["precision"]) == (case, precision) and OURS in measured(one)
        ]
        return min(same, key=lambda one: one["size"])["sides"][OURS] if same else None

    ceilings = find("ceilings", "float32")
    step, cost = find("lbfgs", precision), find("cost", precision)
    if not (ceilings and step and cost):
        return None
    _, seconds, _ = quartiles(step["seconds"])
    arithmetic = cost["counted_flops"] / 1e12 / ceilings["tflops"][precision]
    traffic = cost["counted_bytes"] / 1e9 / ceilings["gb_per_second"]
    return {
        "seconds": seconds,
        "tflops": cost["counted_flops"] / seconds / 1e12,
        "gb_per_second": cost["counted_bytes"] / seconds / 1e9,
        "arithmetic_seconds": arithmetic,
        "traffic_seconds": traffic,
        "share": max(arithmetic, traffic) / seconds,
    }


def _roofline(results: Results) -> Iterator[str]:
    found = {precision: roofline(results, precision) for precision in PRECISIONS}
    if any(found.values()):
        yield from ("", "## Share of the roofline", "")
        yield "| precision | step | TFLOP/s | GB/s, at least | roofline | share |"
        yield "|---|---|---|---|---|---|"
    for precision, r in found.items():
        if r:
            bound = "arithmetic" if r["arithmetic_seconds"] > r["traffic_seconds"] else "memory"
            limit = max(r["arithmetic_seconds"], r["traffic_seconds"])
            yield (
                f"| {precision} | {as_seconds(r['seconds'])} | {r['tflops']:.3g} | "
                f"{r['gb_per_second']:.3g} | {as_seconds(limit)}, {bound} | {r['share']:.0%} |"
            )
