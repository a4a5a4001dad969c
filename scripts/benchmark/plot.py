"""The benchmark's plot: time against size, and loss against seconds, for both sides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

from scripts.benchmark.report import NETWORKS, OURS, PYTORCH, TITLES, in_order, measured, title
from scripts.benchmark.results import fingerprint, summary

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import NullLocator  # noqa: E402

COLORS = {OURS: "tab:blue", PYTORCH: "tab:orange", "pytorch compiled": "tab:red"}
LINES = ("-", "--", ":", "-.")
# The same file for the same results.
METADATA: dict[str, dict[str, str | None]] = {"png": {"Software": None}, "svg": {"Date": None}}


def plot(results: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Write speed.png and speed.svg; both tell of which results they are."""
    matplotlib.rcParams["svg.hashsalt"] = "nst_jax"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _times(left, results)
    _curves(right, results)
    for suffix, metadata in METADATA.items():
        path = folder / f"speed.{suffix}"
        described = {**metadata, "Description": fingerprint(results)}
        figure.savefig(path, dpi=120, metadata=described)
        yield path
    pyplot.close(figure)


def _times(axes: Any, results: dict[str, Any]) -> None:
    """Medians with quartiles, of what was measured at several sizes."""
    series: dict[tuple[str, str], dict[str, list[tuple[int, dict[str, float]]]]] = {}
    for case in in_order(results):
        usual = case["precision"] == "float32" and "ours" not in case
        if case["case"] not in ("evaluation", "lbfgs") or not usual:
            continue
        for side, outcome in measured(case):
            what = (title(case), NETWORKS[case["network"]])
            point = (case["width"] * case["height"], summary(outcome["seconds"]))
            series.setdefault(what, {}).setdefault(side, []).append(point)
    longest = sorted(series.items(), key=lambda pair: -len(pair[1].get(OURS, ())))
    several = [(what, sides) for what, sides in longest if len(sides.get(OURS, ())) > 1]
    for (what, sides), style in zip(several, LINES, strict=False):
        for side, points in sides.items():
            label = f"{TITLES.get(side, side)}: {', '.join(what)}"
            _errorbars(axes, sorted(points, key=lambda point: point[0]), label, style, side)
    axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="seconds", title="Time and size")
    shapes = {case["width"] * case["height"]: case for case in results["cases"].values()}
    labels = [f"{case['width']}×{case['height']}" for case in shapes.values()]
    axes.set_xticks(list(shapes), labels)
    axes.xaxis.set_minor_locator(NullLocator())
    _finish(axes)


def _errorbars(axes: Any, points: list, label: str, style: str, side: str) -> None:
    medians = [s["median"] for _, s in points]
    spread = [
        [s["median"] - s["lower"] for _, s in points],
        [s["upper"] - s["median"] for _, s in points],
    ]
    pixels = [count for count, _ in points]
    axes.errorbar(
        pixels, medians, spread, label=label, linestyle=style, marker="o", markersize=3,
        color=COLORS.get(side), capsize=2,
    )  # fmt: skip


def _curves(axes: Any, results: dict[str, Any]) -> None:
    """Loss against seconds, of the largest size that was run."""
    runs = [case for case in in_order(results) if case["case"] == "reach"]
    if runs:
        case = max(runs, key=lambda run: run["size"])
        for number, (side, outcome) in enumerate(measured(case)):
            style = {OURS: "-", PYTORCH: "-"}.get(side, LINES[1:][number % 3])
            color = COLORS.get(side, COLORS[OURS])
            label = TITLES.get(side, side)
            axes.plot(
                outcome["seconds"],
                outcome["losses"],
                style,
                color=color,
                label=label,
                linewidth=1.2,
            )
        axes.set(title=f"Loss and time, {case['width']}×{case['height']} px")
    axes.set(yscale="log", xlabel="seconds, compilation not counted", ylabel="loss")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
