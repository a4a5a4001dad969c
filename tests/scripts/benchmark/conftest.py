"""Fixtures of the benchmark's tests."""

import numpy as np
import pytest
from benchmark_results import CASES, SETUP

from nst_jax import Settings
from scripts.benchmark.problem import Problem, random_weights
from scripts.benchmark.results import add_case


@pytest.fixture
def results():
    found = {**SETUP, "cases": {}}
    for one in CASES:
        add_case(found, one)
    return found


@pytest.fixture
def problem(random):
    """Small, with random weights."""
    settings = Settings(
        style_layers=("conv1_1", "conv2_1"), content_layers=("conv2_2",), lbfgs_memory=6
    )
    content, style = (random.random((24, 32, 3), np.float32) for _ in range(2))
    return Problem(settings, random_weights("vgg19"), content, style)
