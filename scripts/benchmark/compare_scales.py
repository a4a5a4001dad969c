"""From coarse to fine against the full size alone: which schedule comes to a loss the soonest.

    python -m scripts.benchmark.compare_scales --size 512 --steps 300 --shares 1,2 1,2,9

prints, for each way of sharing the steps among scales (the coarsest first), how long it took to
bring the loss at the full size down to what the full size alone came to after a quarter, half and
all of its steps, as a part of the time that the full size alone took; compilation is not counted. A
dash: the loss was never so low. Schedules get as many steps as cost the same by their pixels. This
is how `SHARES` in `engine/pyramid.py` is chosen; let nothing else run.
"""

from nst_jax.engine.pyramid import SHARES
from scripts.benchmark.curves import (
    Point,
    changed,
    comparison_parser,
    first_at,
    read_problem,
    run_curve,
)
from scripts.benchmark.problem import Problem


def of_equal_work(alone: Problem, shares: tuple[float, ...]) -> Problem:
    """With as many scales as shares; from now on `SHARES` holds them."""
    count = len(shares)
    SHARES[count] = shares
    cost = sum(share / 4 ** (count - 1 - scale) for scale, share in enumerate(shares))
    return changed(alone, scales=count, steps=round(alone.settings.steps * sum(shares) / cost))


def run_and_print(problem: Problem) -> list[Point]:
    """Run, and print what came of it."""
    points, result = run_curve(problem)
    sizes = " + ".join(f"{scale.steps} at {scale.size} px" for scale in result.scales)
    print(f"  {sizes}: loss {result.losses.total:.6g} in {result.run_seconds:.1f} s", flush=True)
    return points


def main() -> None:
    """Run the full size alone, then every schedule; print each one's times."""
    parser = comparison_parser(__doc__, size=256, steps=200)
    usual = [",".join(map(str, SHARES[count])) for count in (2, 3, 4)]
    parser.add_argument("--shares", nargs="+", default=["1,1", "1,1,1", *usual])
    parser.add_argument("--init", default="content", help="image that the runs start from")
    options = parser.parse_args()
    alone = read_problem(options, init=options.init)
    run_curve(changed(alone, steps=2))  # warms up
    points = run_and_print(alone)
    parts = [points[: 1 + options.steps * part // 4] for part in (1, 2, 4)]
    goals = [min(part, key=lambda point: point.loss) for part in parts]
    shown = (f"{goal.loss:.5g} in {goal.seconds:.1f} s" for goal in goals)
    print("1/4, 1/2, all the steps of the full size alone: " + ", ".join(shown))
    for shares in options.shares:
        points = run_and_print(of_equal_work(alone, tuple(map(float, shares.split(",")))))
        pairs = [(first_at(points, goal.loss), goal) for goal in goals]
        quotients = [f"{one.seconds / goal.seconds:.2f} ×" if one else "—" for one, goal in pairs]
        print(f"{shares}: {'  '.join(quotients)}", flush=True)


if __name__ == "__main__":
    main()
