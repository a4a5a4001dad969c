"""What a step may cost on an H100, by XLA's account: budgets that a change must not break.

These compile, and want the extra `aot-cuda`; `.ci/run` installs it in an environment of its own.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from nst_jax.engine.problem import prepare_problem
from nst_jax.planning.compile_elsewhere import Compiler
from nst_jax.planning.device_kinds import DEVICE_KINDS
from nst_jax.planning.device_plan import job_of
from nst_jax.settings.settings import Settings

H100 = DEVICE_KINDS["h100"]
SHAPE = (96, 128)
NUMBERS = SHAPE[0] * SHAPE[1] * 3  # of an image
# An H100's step of this size has 133 kernels; with bfloat16 144 (jax 0.10.2).
KERNELS = {"tf32": 135, "bfloat16": 146}
# Every pair of the history is read twice, once for products with it and once for the direction;
# its step and its change, which are written where they stay, do not depend on how many there are.
READS, SLACK = 2 * 2, 1.05

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("jax_plugins") is None or find_spec("jax_plugins.xla_cuda13") is None,
        reason="XLA's compiler for CUDA is the extra aot-cuda",
    ),
]


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    content, style = (random.random((*SHAPE, 3), np.float32) for _ in range(2))
    return prepare_problem(content, style, [Settings(size=max(SHAPE))])


@pytest.fixture(scope="module")
def accounts(problem):
    """{(precision, history, pairs, low memory): account}."""
    cases = [
        ("tf32", "float32", 50, False),
        ("tf32", "float32", 60, False),
        ("bfloat16", "bfloat16", 50, False),
        ("bfloat16", "bfloat16", 60, False),
        ("bfloat16", "float32", 50, False),
        ("float32", "float32", 50, False),
    ]
    with Compiler(H100) as compiler:
        found = {}
        for case in cases:
            names = ("precision", "lbfgs_history", "lbfgs_memory", "low_memory")
            changed = dict(zip(names, case, strict=True))
            found[case] = compiler.account(job_of(problem, H100.backend, 0, **changed))
    return found


@pytest.mark.parametrize(
    ("precision", "history", "size"), [("tf32", "float32", 4), ("bfloat16", "bfloat16", 2)]
)
def test_the_history_is_read_twice_and_never_copied(accounts, precision, history, size):
    few, many = (accounts[precision, history, pairs, False] for pairs in (50, 60))
    for_ten = many.traffic - few.traffic
    assert for_ten <= SLACK * 10 * READS * size * NUMBERS


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_kernels(accounts, precision):
    history = "float32" if precision == "tf32" else precision
    account = accounts[precision, history, 50, False]
    assert account.kernels <= KERNELS[precision]
    assert account.collectives == 0


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_network_computes_in_the_precision_asked_for(accounts, precision):
    flops = accounts[
        precision, "bfloat16" if precision == "bfloat16" else "float32", 50, False
    ].flops
    assert set(flops) == {"float32", precision}
    if precision != "float32":  # Gram matrices and the optimizer stay in float32
        assert flops[precision] > 5 * flops["float32"]


def test_a_history_in_half_the_bits_takes_no_more_temporaries(accounts):
    half, full = (
        accounts["bfloat16", history, 50, False].temporaries for history in ("bfloat16", "float32")
    )
    assert half <= SLACK * full
