"""From coarse to fine against the full size alone: which schedule comes to a loss the soonest.

    python -m scripts.benchmark.compare_scales CONTENT STYLE --size 512 --steps 300 --scales 2 3 4

prints, for each number of scales and each rule of sharing the steps, how long it took to bring the
loss at the full size down to what the full size alone came to after a quarter, half and all of its
steps, as a part of the time that the full size alone took; compilation is not counted. A dash: the
loss was never so low. Schedules get as many steps as cost the same by their pixels, unless there is
`--equal steps`. This is how `SHARES` in `engine/pyramid.py` is chosen; let nothing else run.

A rule is `equal`; `double` or `halve`, each scale gets twice or half the steps of the one before;
`last=0.25`, the full size gets a quarter and the others equal parts of the rest; or a list, the
coarsest first, such as 1,1,2 for three scales.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import nst_jax
from nst_jax import Progress, Settings, Weights
from nst_jax.engine.pyramid import SHARES, schedule
from nst_jax.records.write import device_metadata, versions

Curve = list[tuple[int, float, float]]  # step, seconds and loss, at the full size


def make_shares(rule: str, count: int) -> tuple[float, ...] | None:
    """The shares of so many scales; None where the rule is a list for another number."""
    if rule == "equal":
        return (1.0,) * count
    if rule in ("double", "halve"):
        return tuple((2.0 if rule == "double" else 0.5) ** scale for scale in range(count))
    if rule.startswith("last="):
        last = float(rule.removeprefix("last="))
        return (*[(1 - last) / (count - 1)] * (count - 1), last)
    listed = tuple(float(share) for share in rule.split(","))
    return listed if len(listed) == count else None


def schedules(options: argparse.Namespace, base: Settings) -> Iterator[tuple[str, Settings]]:
    """Each rule with its settings, while `SHARES` holds what it means."""
    for count in options.scales:
        for rule in options.shares:
            shares = make_shares(rule, count)
            if shares is None:
                continue
            SHARES[count] = shares
            cost = sum(share / 4 ** (count - 1 - scale) for scale, share in enumerate(shares))
            more = sum(shares) / cost if options.equal == "work" else 1.0
            steps = round(more * base.steps)
            yield rule, dataclasses.replace(base, scales=count, steps=steps)


def run(content: Any, style: Any, settings: Settings, weights: Weights) -> Curve:
    """Run, print what came of it, and return the losses of the full size."""
    curve: Curve = []

    def watch(progress: Progress) -> None:
        if progress.size == max(content.shape):
            curve.append((progress.step, progress.seconds, float(progress.losses.total)))

    result = nst_jax.stylize(content, style, settings, weights=weights, callback=watch)
    sizes = " + ".join(f"{scale.steps} at {scale.size} px" for scale in result.scales)
    print(
        f"  {sizes}: loss {result.losses.total:.6g} in {result.run_seconds:.1f} s "
        f"(and {result.compile_seconds:.1f} s compiling), {result.restarts} restarts",
        flush=True,
    )
    return curve


def seconds_to(curve: Curve, loss: float) -> float:
    """Until the loss was no more than this; infinite if it never was."""
    return next((seconds for _, seconds, reached in curve if reached <= loss), math.inf)


def main() -> None:
    """Run the full size alone, then every schedule; print each one's times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200, help="of the full size alone")
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--shares", nargs="+", default=["equal", "double", "last=0.25"])
    parser.add_argument("--equal", choices=("work", "steps"), default="work")
    parser.add_argument("--init", default="content")
    parser.add_argument("--ratio", type=float)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    names = ("size", "steps", "init", "ratio", "precision")
    base = Settings(**{name: getattr(options, name) for name in names})
    weights = nst_jax.normalize(nst_jax.load_weights(nst_jax.find_weights(base.weights)))
    content = nst_jax.load_image(options.content, base.size)
    style = nst_jax.load_image(options.style, base.size)
    print(f"{weights.name}, {base.size} px, from {base.init}; {device_metadata()}, {versions()}")

    run(content, style, dataclasses.replace(base, steps=2), weights)  # the first warms up
    alone = run(content, style, base, weights)
    parts = (base.steps // 4, base.steps // 2, base.steps)
    losses = [min(loss for step, _, loss in alone if step <= part) for part in parts]
    times = [seconds_to(alone, loss) for loss in losses]
    shown = (f"{loss:.5g} in {each:.1f} s" for loss, each in zip(losses, times, strict=True))
    print("1/4, 1/2, all the steps of the full size alone: " + ", ".join(shown))
    for rule, settings in schedules(options, base):
        if len(schedule(settings, content.shape)) < settings.scales:
            print(f"{settings.scales} scales, {rule}: too small or too few steps")
            continue
        curve = run(content, style, settings, weights)
        needed = [seconds_to(curve, loss) / each for loss, each in zip(losses, times, strict=True)]
        quotients = (f"{each:.2f} ×" if each < math.inf else "—" for each in needed)
        print(f"{settings.scales} scales, {rule}: {'  '.join(quotients)}", flush=True)


if __name__ == "__main__":
    main()
