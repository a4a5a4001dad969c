"""PyTorch's side of the benchmark."""

import numpy as np
import pytest

pytest.importorskip("torch")
from scripts.benchmark.pytorch_objective import Objective  # noqa: E402
from scripts.benchmark.pytorch_reference import make_lbfgs  # noqa: E402
from scripts.benchmark.theirs import fill_history  # noqa: E402


def test_the_history_is_full_and_used(problem):
    objective = Objective(problem.settings, problem.weights, problem.content, problem.style)
    stepper = make_lbfgs(objective, problem.content, history=6)
    stepper.step()
    fill_history(stepper, objective.start(problem.content))
    (state,) = stepper.optimizer.state.values()
    before = list(state["old_stps"])
    losses = [float(stepper.step()) for _ in range(10)]
    assert len(before) == len(state["old_stps"]) == 6
    assert not any(step is state["old_stps"][-1] for step in before)
    assert np.isfinite(losses).all() and max(losses) < 2 * losses[0]
