"""One lane and the memory there is: what makes it fit, taken where that was asked for, or told."""

import dataclasses
import itertools
import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.architecture import FILTERS
from nst_jax.engine import device_memory, distributed
from nst_jax.engine.checkpoint import identities_in
from nst_jax.engine.device_memory import TooLargeError
from nst_jax.engine.executors import executor_of_one, forget_compiled
from nst_jax.engine.problem import CompiledStep, Problem
from nst_jax.engine.program import prepare_parameters, start
from nst_jax.network.vgg import PRECISIONS
from nst_jax.settings.settings import SETTINGS, Settings

# What needs less memory, in the order of what it costs the picture: time, rounding, more steps.
SPARING: tuple[dict[str, Any], ...] = (
    {"low_memory": True},
    {"low_memory": True, "lbfgs_history": "bfloat16"},
    {"low_memory": True, "lbfgs_history": "bfloat16", "lbfgs_memory": 10},
)
MIN_SIZE, ROUND_SIZE = 64, 16  # px, the least that is offered, and of which it is a multiple
# What compiling takes for a while, on the host: at 256 px 250 MB, at 1024 480 (jaxlib 0.10.2).
COMPILING = 5 * 10**8
SPARE = 0.95  # of the size that would fit if memory went with the pixels
# Of features and gradients, beside the carry: 1600 on a CPU at 512 and at 1024 px (jaxlib 0.10.2).
BYTES_OF_PIXEL = 1700


def free_for_one(problem: Problem, memory: int | None = None) -> int | None:
    """What a lane may take of each device that it or others run on; None where nothing tells.

    Args:
        problem: whose lanes they are; one alone runs on the first devices.
        memory: bytes that a device may use; None means what is free, what is swapped to included.
    """
    devices = jax.local_devices()
    count = len(problem.settings) * problem.program.rows.devices
    here = memory or device_memory.free_bytes(tuple(devices[:count]), swap=True)
    return min((free for free in distributed.gather(here) if free is not None), default=None)


def fitted(problem: Problem, memory: int | None = None, going_on: Path | None = None) -> Problem:
    """The problem; with `low_memory` "auto", in bands and with less history as far as needed.

    Nothing of it is done where all of it would not do: the runner then says so.

    Args:
        problem: of any number of lanes, of which one must fit.
        memory: bytes that a device may use; None means what is free.
        going_on: the checkpoint that the run may go on from: what was taken then, which decides
            the result, comes first.
    """
    tried = alternatives(problem)
    plain = tried[0]
    if problem is plain:
        return problem
    if going_on is not None:
        there = list(itertools.chain(*distributed.gather(identities_in(going_on))))
        tried.sort(key=lambda each: not any(one in there for one in each.identities))
    for each in tried:
        limit = free_for_one(problem, memory)  # trying has taken some
        if limit is None:
            return tried[0]
        if fits := step_that_fits(each, limit):
            return dataclasses.replace(each, fits=fits)
    return plain


def alternatives(problem: Problem) -> list[Problem]:
    """What is tried in this order where `low_memory` is "auto"; else the problem alone."""
    if problem.settings[0].low_memory != "auto":
        return [problem]
    plain = problem.changed(low_memory=False)
    return [plain, *(plain.changed(**way) for way in _ways(plain))]


def as_it_came_to(settings: Settings, then: Mapping[str, Any]) -> Settings:
    """The settings; with `low_memory` "auto", with what that had come to.

    Args:
        settings: as they were given.
        then: {name: value} of the settings of a result.
    """
    if settings.low_memory != "auto":
        return settings
    taken = {n: then[n] for n, most in SPARING[-1].items() if n in then and then[n] == most}
    return dataclasses.replace(settings, **{"low_memory": False} | taken)


def what_was_taken(given: Problem, problem: Problem) -> str:
    """The flags that `fitted` has set; nothing where it has set none."""
    before, now = given.program.static, problem.program.static
    names = SPARING[-1]
    return flags_text({n: getattr(now, n) for n in names if getattr(now, n) != getattr(before, n)})


def remedy(problem: Problem, error: TooLargeError) -> str:
    """The flags with which one lane of a problem would fit, by compiling it with them."""
    fitting = (w for w in _ways(problem) if step_that_fits(problem.changed(**w), error.limit))
    offers = [flags_text(way) for way in itertools.islice(fitting, 1)]
    height, width, _ = problem.shape
    usual = _carry_bytes(problem) + BYTES_OF_PIXEL * height * width
    usual //= problem.program.rows.devices
    share = max(0, error.limit - error.fixed) / max(usual, error.needed - error.fixed)
    side = int(SPARE * math.sqrt(share) * max(problem.shape)) // ROUND_SIZE * ROUND_SIZE
    offers += [f"--size {side}"] if side >= MIN_SIZE else []
    if not offers:
        network = device_memory.as_text(error.fixed)
        return f"the network alone takes {network}: free some, or take another device"
    return f"it fits with {', or with '.join(offers)}"


def flags_text(changed: Mapping[str, Any]) -> str:
    """The flags that change these settings, as they are typed."""
    flags = {SETTINGS[name].flag: value for name, value in changed.items()}
    return " ".join(flag if value is True else f"{flag} {value}" for flag, value in flags.items())


def _ways(problem: Problem) -> list[dict[str, Any]]:
    """Those of `SPARING` that go with the problem's settings, without what is so already."""
    one = problem.settings[0]
    idle = [name for name in SPARING[-1] if name.startswith("lbfgs") and one.optimizer != "lbfgs"]
    if one.normalize_gradients:  # which bands do not go with
        idle.append("low_memory")
    if one.lbfgs_memory <= SPARING[-1]["lbfgs_memory"]:
        idle.append("lbfgs_memory")
    ways = [
        {n: value for n, value in way.items() if n not in idle and getattr(one, n) != value}
        for way in SPARING
    ]
    return [way for number, way in enumerate(ways) if way and way not in ways[:number]]


def least_bytes(problem: Problem) -> int:
    """What one lane needs of each device at the least, beside the network.

    The carry, and the features of a first layer; known without computing or compiling anything.
    """
    height, width, _ = problem.shape
    static = problem.program.static
    filters = 0 if static.low_memory else FILTERS[0]
    size = jnp.dtype(PRECISIONS[static.precision][0]).itemsize
    whole = _carry_bytes(problem) + size * filters * height * width
    return whole // problem.program.rows.devices


def _carry_bytes(problem: Problem) -> int:
    image = jax.ShapeDtypeStruct(problem.shape, jnp.float32)
    return bytes_of(jax.eval_shape(partial(start, problem.program), image))


def bytes_of(tree: Any) -> int:
    """Of all arrays in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def step_that_fits(problem: Problem, limit: int) -> CompiledStep | None:
    """The step of one lane at full size; None where it needs more bytes or cannot be compiled."""
    program, scale = problem.program, problem.scales[-1]
    room = device_memory.free_on_host()
    crowded = room is not None and COMPILING > room
    if least_bytes(problem) > limit or any(distributed.gather(crowded)):
        return None
    began = time.perf_counter()
    try:
        prepare = partial(prepare_parameters, program, problem.weights.params, problem.shape)
        arguments = problem.target_shapes(), problem.loss_weights(0)
        compiled = executor_of_one(program, prepare).compile(scale.shape, arguments)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    if device_memory.needed_bytes(compiled) <= limit:
        return CompiledStep(compiled, time.perf_counter() - began)
    del compiled
    forget_compiled()  # or it would take memory beside what is tried next
    return None
