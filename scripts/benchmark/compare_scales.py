"""From coarse to fine against the full size alone: which schedule comes to a loss the soonest.

    python -m scripts.benchmark.compare_scales --size 512 --steps 300 --shares 1,2 1,2,9

prints, for each way of sharing the steps among scales (the coarsest first), how long it took to
bring the loss at the full size down to what the full size alone came to after a quarter, half and
all of its steps, as a part of the time that the full size alone took; compilation is not counted. A
dash: the loss was never so low. Schedules get as many steps as cost the same by their pixels. This
is how `SHARES` in `engine/pyramid.py` is chosen; let nothing else run.
"""

from nst_jax.engine.pyramid import SHARES, schedule
from scripts.benchmark.curves import Curve, changed, comparison_parser, read_problem, run_curve
from scripts.benchmark.problem import Problem


def of_equal_work(alone: Problem, shares: tuple[float, ...]) -> Problem:
    """With as many scales as shares; from now on `SHARES` holds them."""
    count = len(shares)
    SHARES[count] = shares
    cost = sum(share / 4 ** (count - 1 - scale) for scale, share in enumerate(shares))
    return changed(alone, scales=count, steps=round(alone.settings.steps * sum(shares) / cost))


def run_and_print(problem: Problem) -> Curve:
    """Run, and print what came of it."""
    curve = run_curve(problem)
    sizes = " + ".join(f"{scale.steps} at {scale.size} px" for scale in curve.result.scales)
    print(
        f"  {sizes}: loss {curve.result.losses.total:.6g} in {curve.result.run_seconds:.1f} s, "
        f"{curve.result.restarts} restarts",
        flush=True,
    )
    return curve


def main() -> None:
    """Run the full size alone, then every schedule; print each one's times."""
    parser = comparison_parser(__doc__, size=256, steps=200)
    shares = [",".join(map(str, SHARES[count])) for count in (2, 3, 4)]
    parser.add_argument("--shares", nargs="+", default=["1,1", "1,1,1", *shares])
    parser.add_argument("--init", default="content", help="image that the runs start from")
    options = parser.parse_args()
    alone = read_problem(options, init=options.init)
    run_curve(changed(alone, steps=2))  # warms up
    curve = run_and_print(alone)
    goals = [curve.best_until(options.steps * part // 4) for part in (1, 2, 4)]
    reached = [point for goal in goals if (point := curve.first_at(goal))]
    shown = (f"{point.loss:.5g} in {point.seconds:.1f} s" for point in reached)
    print("1/4, 1/2, all the steps of the full size alone: " + ", ".join(shown))
    for shares in options.shares:
        problem = of_equal_work(alone, tuple(map(float, shares.split(","))))
        wanted = problem.settings
        possible = schedule(problem.content.shape, scales=wanted.scales, steps=wanted.steps)
        if len(possible) < wanted.scales:
            print(f"{shares}: too small or too few steps")
            continue
        curve = run_and_print(problem)
        quotients = []
        for point in reached:
            found = curve.first_at(point.loss)
            quotients.append(f"{found.seconds / point.seconds:.2f} ×" if found else "—")
        print(f"{shares}: {'  '.join(quotients)}", flush=True)


if __name__ == "__main__":
    main()
