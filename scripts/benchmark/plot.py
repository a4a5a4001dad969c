"""The benchmark's plot: time against size, and loss against seconds, for both sides."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from scripts import say
from scripts.benchmark.report import NETWORKS, OURS, PYTORCH, TITLES, in_order, title
from scripts.benchmark.results import Case, fingerprint, measured, quartiles

COLORS = {PYTORCH: "tab:orange", "pytorch compiled": "tab:red"}
OUR_COLOR = "tab:blue"
LINES = ("-", "--", ":", "-.")
# The same file for the same results.
METADATA: dict[str, dict[str, str | None]] = {"png": {"Software": None}, "svg": {"Date": None}}


def write_plot(results: dict[str, Any], folder: Path) -> None:
    """Write speed.png and speed.svg, where there is something to show and matplotlib to do it.

    Both tell of which results they are.
    """
    cases = in_order(results)
    if not cases:
        return
    try:
        import matplotlib
    except ImportError:
        say("no matplotlib, no plot; it comes with the extra benchmark")
        return
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "nst_jax"
    from matplotlib import pyplot

    runs = [case for case in cases if case["case"] == "reach"]
    panels = 2 if runs else 1
    size = (5.5 * panels, 4.2)
    figure, axes_of = pyplot.subplots(1, panels, figsize=size, layout="constrained", squeeze=False)
    _times(axes_of[0, 0], cases)
    if runs:
        _curves(axes_of[0, 1], runs)
    for axes in axes_of.flat:
        axes.grid(alpha=0.3, which="both", linewidth=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    for suffix, metadata in METADATA.items():
        path = folder / f"speed.{suffix}"
        described = {**metadata, "Description": fingerprint(results)}
        figure.savefig(path, dpi=120, metadata=described)
        say(str(path))
    pyplot.close(figure)


def _times(axes: Any, cases: list[Case]) -> None:
    """Medians with quartiles, of what was measured at several sizes."""
    usual = [
        case
        for case in cases
        if case["case"] in ("evaluation", "lbfgs")
        and case["precision"] == "float32"
        and "ours" not in case
    ]
    series: dict[str, list[Case]] = {}
    for case in usual:
        series.setdefault(f"{title(case)}, {NETWORKS[case['network']]}", []).append(case)
    several = [item for item in series.items() if len(item[1]) > 1]
    longest = sorted(several, key=lambda item: -len(item[1]))
    for (what, group), style in zip(longest, LINES, strict=False):
        for side in dict.fromkeys(itertools.chain.from_iterable(map(measured, group))):
            there = [case for case in sorted(group, key=_pixels) if side in measured(case)]
            seconds = [quartiles(case["sides"][side]["seconds"]) for case in there]
            lower, medians, upper = np.transpose(seconds)
            pixels, spread = [_pixels(case) for case in there], (medians - lower, upper - medians)
            axes.errorbar(
                pixels, medians, spread, label=f"{TITLES.get(side, side)}: {what}",
                linestyle=style, marker="o", markersize=3, color=COLORS.get(side, OUR_COLOR),
                capsize=2,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="seconds", title="Time and size")
    shapes = {_pixels(case): f"{case['width']}×{case['height']}" for case in cases}
    axes.set_xticks(list(shapes), list(shapes.values()))
    axes.set_xticks([], minor=True)


def _pixels(case: Case) -> int:
    return case["width"] * case["height"]


def _curves(axes: Any, runs: list[Case]) -> None:
    """Loss against seconds, of the largest size that was run."""
    for case in sorted(runs, key=_pixels)[-1:]:
        others = itertools.cycle(LINES[1:])
        for side, outcome in measured(case).items():
            style = "-" if side in (OURS, PYTORCH) else next(others)
            label, color = TITLES.get(side, side), COLORS.get(side, OUR_COLOR)
            curve = outcome["seconds"], outcome["losses"]
            axes.plot(*curve, style, color=color, label=label, linewidth=1.2)
        axes.set(title=f"Loss and time, {case['width']}×{case['height']} px")
    axes.set(yscale="log", xlabel="seconds, compilation not counted", ylabel="loss")
