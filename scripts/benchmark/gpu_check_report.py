"""The results of `gpu_check.py` in words and tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.benchmark.plan import LEAN
from scripts.benchmark.report import OURS, PYTORCH, as_seconds, flags, markdown
from scripts.benchmark.results import summary


def write_summary(results: dict[str, Any], folder: Path) -> None:
    """Write results.md."""
    (folder / "results.md").write_text(text_of(results), encoding="utf-8")


def text_of(results: dict[str, Any]) -> str:
    """All sections that have something to say."""
    machine = results["machine"]
    lines = [f"# {machine['gpu'] or machine['cpu']}", ""]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines += [f"{results['date'][:10]}, commit {results['commit']}; {versions}", ""]
    sections = {
        "Ceilings": _ceilings,
        "Errors against float64 on CPU": _parity,
        "Share of the roofline": _roofline,
        "From file to file": _files,
        "The largest image": _largest,
        "Where the time goes": _trace,
        "What was not measured": _gaps,
    }
    for title, section in sections.items():
        if found := list(section(results)):
            lines += [f"## {title}", "", *found, ""]
    if results["cases"]:
        lines += ["## Against PyTorch", "", markdown(results)]
    return "\n".join(lines).rstrip() + "\n"


def _outcome(results: dict[str, Any], name: str) -> dict[str, Any]:
    """Of a check; empty where it failed or was left out."""
    outcome = results["checks"].get(name, {})
    return {} if "error" in outcome or "skipped" in outcome else outcome


def _ceilings(results: dict[str, Any]) -> Iterator[str]:
    outcome = _outcome(results, "ceilings")
    for name, rate in outcome.get("tflops", {}).items():
        yield f"- matrix product, {name}: {rate:.3g} TFLOP/s"
    if outcome:
        yield f"- copy, read and written: {outcome['gb_per_second']:.4g} GB/s"


def _parity(results: dict[str, Any]) -> Iterator[str]:
    outcome = _outcome(results, "parity")
    sides = {name: o for name, o in outcome.items() if isinstance(o, dict)}
    if sides:
        yield "| side, precision | loss | gradient |"
        yield "|---|---|---|"
    for name, errors in sides.items():
        if "error" in errors:
            yield f"| {name} | {errors['error']} | |"
        else:
            yield f"| {name} | {errors['loss_error']:.1e} | {errors['gradient_error']:.1e} |"


def roofline(results: dict[str, Any], precision: str) -> dict[str, float] | None:
    """What a step reaches of the measured ceilings; None where something is missing.

    The roofline's time is the longer of: its operations at the matrix product's rate, its bytes at
    the copy's. The share is that over the time measured.
    """
    ceilings, cost = _outcome(results, "ceilings"), _outcome(results, f"cost {precision}")
    cases = [
        case
        for case in results["cases"].values()
        if case["case"] == "lbfgs" and case["precision"] == precision
    ]
    sides = min(cases, key=lambda case: case["size"])["sides"] if cases else {}
    seconds = sides.get(OURS, {}).get("seconds")
    if not (ceilings and cost and seconds):
        return None
    median = summary(seconds)["median"]
    arithmetic = cost["counted_flops"] / 1e12 / ceilings["tflops"][precision]
    traffic = cost["counted_bytes"] / 1e9 / ceilings["gb_per_second"]
    return {
        "seconds": median,
        "tflops": cost["counted_flops"] / median / 1e12,
        "gb_per_second": cost["counted_bytes"] / median / 1e9,
        "xla_gb_per_second": (cost["xla_bytes"] or 0) / median / 1e9,
        "arithmetic_seconds": arithmetic,
        "traffic_seconds": traffic,
        "share": max(arithmetic, traffic) / median,
    }


def _roofline(results: dict[str, Any]) -> Iterator[str]:
    found = {p: roofline(results, p) for p in ("float32", "tf32", "bfloat16")}
    if not any(found.values()):
        return
    yield "| precision | step | TFLOP/s | GB/s, least | GB/s, by XLA's count | roofline | share |"
    yield "|---|---|---|---|---|---|---|"
    for precision, r in found.items():
        if r:
            bound = "arithmetic" if r["arithmetic_seconds"] > r["traffic_seconds"] else "memory"
            least = max(r["arithmetic_seconds"], r["traffic_seconds"])
            yield (
                f"| {precision} | {as_seconds(r['seconds'])} | {r['tflops']:.3g} | "
                f"{r['gb_per_second']:.3g} | {r['xla_gb_per_second']:.3g} | "
                f"{as_seconds(least)}, {bound} | {r['share']:.0%} |"
            )


def _files(results: dict[str, Any]) -> Iterator[str]:
    outcome = _outcome(results, "files")
    for name in (f"{side} {turn}" for side in (OURS, PYTORCH) for turn in ("cold", "warm")):
        if name in outcome:
            run = outcome[name]
            yield (
                f"- {name}, {outcome['steps']} evaluations at {outcome['size']} px: "
                f"{as_seconds(run['seconds'])}, {run['peak'] / 1e6:.0f} MB of the host's memory"
            )


def _largest(results: dict[str, Any]) -> Iterator[str]:
    yield from _largest_by(results, "largest", "")
    yield from _largest_by(results, "largest, lean", f"With `{flags({'ours': LEAN})}`: by")


def _largest_by(results: dict[str, Any], name: str, how: str) -> Iterator[str]:
    outcome = _outcome(results, name)
    if outcome:
        yield (
            f"{how or 'By'} memory analysis {outcome['bytes_per_pixel']:.0f} bytes per pixel and "
            f"{outcome['fixed_bytes'] / 1e6:.0f} MB; {(outcome['budget'] or 0) / 1e9:.1f} GB free."
        )
        yield ""
    for one in outcome.get("tries", ()):
        said = one.get("error") or f"a step takes {as_seconds(one['seconds'])}"
        peak = f", peak {one['peak'] / 1e9:.1f} GB" if one.get("peak") else ""
        yield f"- {one['size']}×{one['size']} px: {said}{peak}"
    if outcome:
        yield ""


def _trace(results: dict[str, Any]) -> Iterator[str]:
    outcome = _outcome(results, "trace")
    whole = outcome.get("all_kernels_seconds")
    for name, seconds in outcome.get("kernels", {}).items() if whole else ():
        yield f"- {seconds / whole:.1%} ({as_seconds(seconds)}): `{name[:90]}`"


def _gaps(results: dict[str, Any]) -> Iterator[str]:
    for name, outcome in results["checks"].items():
        for word in ("error", "skipped"):
            if word in outcome:
                yield f"- {name}: {word}: {outcome[word]}"
        for side, error in outcome.get("errors", {}).items():
            yield f"- {name}: {side}: {error}"
