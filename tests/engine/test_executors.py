"""The compiled lanes: how many at once, and that lanes cost what they must and no more."""

import dataclasses
import re
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from nst_jax import Settings, stylize
from nst_jax.engine import executors
from nst_jax.engine.device_memory import TooLargeError, even_share, plan_lanes
from nst_jax.engine.executors import jitted_on, shape_of_lanes
from nst_jax.engine.program import jitted, make_program, take_lanes
from nst_jax.engine.targets import compute_targets
from nst_jax.losses.terms import LossWeights

FIXED, EACH = 1_000, 100  # bytes of the made-up program


def compiler(calls, each=EACH, devices=1):
    """Each device needs FIXED bytes, and so many for each of its lanes."""

    def needed_for(count):
        assert count % devices == 0
        calls.append(count)
        return FIXED + each * count // devices

    return needed_for


def plan(wanted, needed_for, devices, lane, fixed, budget):
    return plan_lanes(
        wanted,
        needed_for,
        devices,
        lane_bytes=lane,
        fixed_bytes=fixed,
        budget=budget,
        limit=sys.maxsize if budget is None else budget,
    )


@pytest.mark.parametrize(
    ("wanted", "devices", "budget", "lanes"),
    [
        (20, 1, None, 20),
        (20, 1, FIXED + 20 * EACH, 20),
        (20, 1, FIXED + 20 * EACH - 1, 19),
        (20, 1, FIXED + 7 * EACH, 7),
        (20, 1, FIXED + EACH, 1),
        (20, 4, None, 20),
        (20, 4, FIXED + 3 * EACH, 12),
        (5, 4, None, 8),  # two each, of which three idle
        (1, 4, FIXED + EACH, 4),
    ],
)
def test_as_many_as_fit(wanted, devices, budget, lanes):
    calls = []
    needed_for = compiler(calls, devices=devices)
    assert plan(wanted, needed_for, devices, EACH // 2, FIXED, budget) == lanes
    assert len(calls) <= 3


def test_nothing_is_compiled_that_cannot_fit():
    """A GPU's compiler allocates what it tries out."""
    calls = []
    plan(1000, compiler(calls), 1, EACH, FIXED, FIXED + 10 * EACH)
    assert max(calls) == 10


def test_lanes_that_need_more_when_they_are_few():
    """XLA's temporaries per lane shrink with their number: the first guess may not fit."""

    def needed_for(count):
        return compiler([], each=EACH + 300 // count)(count)

    lanes = plan(20, needed_for, 1, EACH // 4, FIXED, FIXED + 900)
    assert lanes == 6 and needed_for(lanes) <= FIXED + 900


def test_a_compiler_that_runs_out_of_memory():
    """As XLA:TPU does; half as many are tried then."""
    calls = []

    def needed_for(count):
        if count > 6:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: ran out of memory in hbm")
        return compiler(calls)(count)

    assert plan(20, needed_for, 1, 1, FIXED, 10**9) == 5
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):

        def fail(count):
            raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

        plan(20, fail, 1, 1, FIXED, None)


@pytest.mark.parametrize(
    ("least", "compiled", "words"), [(EACH, 0, "needed at the least"), (1, 1, "needed")]
)
def test_a_budget_too_small_for_one_lane(least, compiled, words):
    """Known at once where the least that it needs is too much."""
    million, calls = 1_000_000, []

    def needed_for(count):
        calls.append(count)
        return (FIXED + EACH * count) * million

    with pytest.raises(TooLargeError) as caught:
        plan(1, needed_for, 1, least * million, FIXED * million, (FIXED + 36) * million)
    assert str(caught.value) == f"1.1 GB of memory are {words}, and 1.04 GB are free"
    assert len(calls) == compiled


def test_one_lane_may_take_what_is_spared_for_others():
    lanes = plan_lanes(
        9, compiler([]), 1, lane_bytes=1, fixed_bytes=FIXED, budget=FIXED, limit=FIXED + EACH
    )
    assert lanes == 1


@pytest.mark.parametrize(
    ("wanted", "at_once", "devices", "even"),
    [(20, 20, 1, 20), (20, 12, 1, 10), (20, 3, 1, 3), (20, 19, 1, 10), (7, 4, 1, 4)]
    + [(20, 12, 4, 12), (9, 8, 4, 8), (10, 12, 4, 12), (6, 4, 2, 4)],
)
def test_even_rounds(wanted, at_once, devices, even):
    assert even_share(wanted, at_once, devices) == even


LAYERS = {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_1",)}
SETTINGS = Settings(lbfgs_memory=3, **LAYERS)


@pytest.fixture(scope="module")
def problem(normalized, photograph, painting):
    program = make_program(SETTINGS, normalized)
    targets = compute_targets(program, normalized.params, photograph, painting)
    return program, normalized.params, targets


def lower(problem, count):
    program, params, targets = problem
    programs = jitted_on(program, (jax.devices()[0],))
    images = jax.ShapeDtypeStruct((count, 64, 96, 3), np.float32)
    carry = jax.eval_shape(programs.start, images)
    arguments = shape_of_lanes(count, (targets, LossWeights.from_settings(SETTINGS)))
    return programs.step.lower(carry, params, *arguments)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_each_lane_is_evaluated_once_per_step(problem, photograph, optimizer):
    """As many convolutions as one image's step has, each over all lanes, and none in a loop."""
    program, params, targets = problem
    static = dataclasses.replace(program.static, optimizer=optimizer)
    program = dataclasses.replace(program, static=static)
    carry = jax.eval_shape(jitted(program).start, photograph)
    one = (
        jitted(program)
        .step.lower(carry, params, targets, LossWeights.from_settings(SETTINGS))
        .as_text()
    )
    many = lower((program, params, targets), 7).as_text()
    convolutions = one.count("stablehlo.convolution")
    assert convolutions >= 2 * 3  # forward and backward, to conv2_1
    assert many.count("stablehlo.convolution") == convolutions
    assert [text.count("stablehlo.while") for text in (one, many)] == [0, 0]


def test_pairs_are_stored_at_one_place_for_all_lanes(problem):
    """One index for the history of steps and of changes; not one for each lane, (7, 1 or 2)."""
    text = lower(problem, 7).as_text()
    pair = r"tensor<7x3x18432xf32>, (tensor<[^>]*>), tensor<7x18432xf32>"
    assert re.findall(rf"\({pair}\) -> tensor<7x3x18432xf32>", text) == ["tensor<1xi32>"] * 2


def test_the_carry_is_donated(problem):
    sizes = lower(problem, 7).compile().memory_analysis()
    history = 2 * 3 * 7 * 64 * 96 * 3 * 4
    assert sizes.alias_size_in_bytes > history


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_taking_lanes(problem, optimizer):
    static = dataclasses.replace(problem[0].static, optimizer=optimizer)
    program = dataclasses.replace(problem[0], static=static)
    images = np.arange(3 * 32 * 32 * 3, dtype=np.float32).reshape(3, 32, 32, 3)
    carry = jax.device_get(jitted_on(program, (jax.devices()[0],)).start(images))
    taken = take_lanes(program, carry, [2, 0])
    assert np.array_equal(taken.image, images[[2, 0]])
    shapes = [leaf.shape[:1] for leaf in jax.tree.leaves(taken)]
    shared = 1 if optimizer == "lbfgs" else 0  # L-BFGS's slot
    assert sorted(shapes) == [()] * shared + [(2,)] * (len(shapes) - shared)


@pytest.fixture
def no_programs():
    executors._seen.clear()
    jitted.cache_clear(), jitted_on.cache_clear()


@pytest.mark.slow
def test_pictures_of_many_sizes(normalized, no_programs):
    """Only the last compiled programs are kept; counted, which is steadier than bytes."""
    counts, program = [], make_program(SETTINGS, normalized)
    image = np.random.default_rng(0).random((64, 48, 3), np.float32)
    for height in range(32, 32 + 2 * (executors.MAX_SHAPES + 4), 2):
        settings = dataclasses.replace(SETTINGS, steps=0)
        stylize(image[:height], image, settings, weights=normalized)
        counts.append(sum(one._cache_size() for one in jitted(program)))
    assert max(counts) <= 3 * executors.MAX_SHAPES  # targets of content, start
    assert counts[executors.MAX_SHAPES] < counts[executors.MAX_SHAPES - 1]
    assert len(executors._seen) == 4


def test_the_same_sizes_again_are_kept(no_programs):
    program = make_program(SETTINGS, SimpleNamespace(architecture="vgg16", mean=(0, 0, 0)))
    first = jitted(program)
    for _ in range(2):
        for number in range(executors.MAX_SHAPES):
            executors.remember_shapes((program, (number, 1, 3)))
    assert jitted(program) is first
    executors.remember_shapes((program, (99, 1, 3)))
    assert jitted(program) is not first and len(executors._seen) == 1
