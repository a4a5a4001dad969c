"""With a preconditioner against plain gradients: how many steps to the same loss.

    python -m scripts.benchmark.compare_preconditioning

prints, for each start and optimizer, the least loss of so many plain steps, and how many
preconditioned ones come as low. Steps, not seconds: a preconditioned one takes some 2 % longer. A
dash: not within as many. This is how `CORNER` and `FLOOR` in `nst_jax/optim/preconditioner.py` were
chosen, and `--corner` and `--floor` try others.
"""

import itertools

from nst_jax.optim import preconditioner
from scripts.benchmark.curves import changed, comparison_parser, first_at, read_problem, run_curve


def main() -> None:
    """Compare, and print a line for each case."""
    parser = comparison_parser(__doc__, size=192, steps=100)
    parser.add_argument("--starts", nargs="+", default=("content", "noise"))
    parser.add_argument("--optimizers", nargs="+", default=("lbfgs", "adam"))
    parser.add_argument("--corner", type=float, default=preconditioner.CORNER)
    parser.add_argument("--floor", type=float, default=preconditioner.FLOOR)
    options = parser.parse_args()
    preconditioner.CORNER, preconditioner.FLOOR = options.corner, options.floor
    problem = read_problem(options)
    print(f"corner {options.corner}, floor {options.floor}")
    for start, optimizer in itertools.product(options.starts, options.optimizers):
        case = changed(problem, init=start, optimizer=optimizer)
        plain, _ = run_curve(changed(case, precondition=False))
        goal = min(point.loss for point in plain)
        found = first_at(run_curve(case, goal)[0], goal)
        print(
            f"from {start}, {optimizer}: {goal:.4g} after {options.steps} plain steps, or "
            + (f"{found.step} steps" if found else "—"),
            flush=True,
        )


if __name__ == "__main__":
    main()
