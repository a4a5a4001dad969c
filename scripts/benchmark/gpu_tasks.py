"""What the GPU check has our side's worker do: parity, ceilings, cost of a step, what fits."""

import dataclasses
import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.architecture import block_of, convolutions_up_to, kernel_shapes
from nst_jax.engine import device_memory
from nst_jax.network import vgg
from scripts.benchmark import ours
from scripts.benchmark.problem import Problem, Spec, make_problem, off_content, relative_errors
from scripts.benchmark.worker import serve

TIMED = 10  # calls in a row
TRACED = 5  # steps in a trace
TOP = 12  # kernels that are listed
# Of what memory analysis says would fit: the first try, then less.
TRIES = (0.95, 0.85, 0.7)


def exact(spec: Spec) -> dict[str, Any]:
    """Loss and gradient in float64, into a file; for a worker on CPU."""
    problem = make_problem(spec)
    vgg.PRECISIONS[problem.settings.precision] = (np.float64, jax.lax.Precision.HIGHEST)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda tensor: np.asarray(tensor, np.float64), problem.weights.params)
        weights = dataclasses.replace(problem.weights, params=wide)
        images = problem.content.astype(np.float64), problem.style.astype(np.float64)
        placed = ours.place(Problem(problem.settings, weights, *images))
        arguments = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), placed.arguments)
        image = jnp.asarray(off_content(problem), jnp.float64)
        (loss, _), gradient = ours.gradient_of(placed.program)(image, *arguments)
        np.savez(spec.file, loss=np.asarray(loss), gradient=np.asarray(gradient))
    return {"loss": float(loss)}


def parity(spec: Spec) -> dict[str, Any]:
    """Relative errors of loss and gradient against the exact ones in the file."""
    problem = make_problem(spec)
    placed, image = ours.place(problem), jnp.asarray(off_content(problem))
    (loss, _), gradient = ours.gradient_of(placed.program)(image, *placed.arguments)
    return relative_errors(float(loss), np.asarray(gradient), np.load(spec.file))


def ceilings(spec: Spec) -> dict[str, Any]:
    """TFLOP/s of a matrix product of `size`² in each precision, and GB/s of a copy as large."""
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (spec.size, spec.size)) for key in keys)
    rates = {}
    for name, (dtype, precision) in vgg.PRECISIONS.items():
        product = jax.jit(lambda x, y, p=precision: jnp.dot(x, y, precision=p))
        seconds = _seconds_of(product, a.astype(dtype), b.astype(dtype))
        rates[name] = 2 * spec.size**3 / seconds / 1e12
    many = jnp.tile(a, (4, 1))
    copy = _seconds_of(jax.jit(lambda x: x + 1), many)
    return {"tflops": rates, "gb_per_second": 2 * many.nbytes / copy / 1e9}


def cost(spec: Spec) -> dict[str, Any]:
    """Of one step: operations and bytes, counted; memory that it needs, by XLA's account."""
    problem = make_problem(spec)
    return {
        "counted_flops": counted_flops(problem),
        "counted_bytes": counted_bytes(problem),
        "needed_bytes": device_memory.needed_bytes(ours.compile_step(ours.place(problem))),
    }


def largest(spec: Spec) -> dict[str, Any]:
    """The largest square that fits, up to `steps` px a side, by memory analysis and by trying."""
    free = device_memory.free_bytes((jax.devices()[0],))
    budget = None if free is None else int(device_memory.USABLE * free)
    small, large = (
        device_memory.needed_bytes(ours.compile_step(ours.place(_square(spec, size))))
        for size in (spec.size, 2 * spec.size)
    )
    per_pixel = (large - small) / (3 * spec.size**2)
    if per_pixel <= 0:
        raise ValueError(f"{small} bytes at {spec.size} px, {large} at twice that: too small sizes")
    fixed = small - per_pixel * spec.size**2
    tries: list[dict[str, Any]] = []
    for share in TRIES if budget else ():
        side = int(np.sqrt(share * max((budget or 0) - fixed, 0) / per_pixel))
        side = min(side, spec.steps) // 16 * 16
        tries.append({"size": side, **_try_size(spec, side)})
        if "error" not in tries[-1]:
            break
    facts = {"budget": budget, "bytes_per_pixel": per_pixel, "fixed_bytes": fixed}
    return {**facts, "tries": tries}


def trace(spec: Spec) -> dict[str, Any]:
    """The kernels that take the most time in a step, by the profiler: {name: seconds}."""
    advance = ours.step(make_problem(spec))
    jax.block_until_ready(advance())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(TRACED):
                result = advance()
            jax.block_until_ready(result)
        file = next(Path(folder).rglob("*.trace.json.gz"))
        totals = kernel_seconds(json.loads(gzip.decompress(file.read_bytes()))["traceEvents"])
    top = {name: seconds / TRACED for name, seconds in totals.most_common(TOP)}
    return {"kernels": top, "all_kernels_seconds": sum(totals.values()) / TRACED}


def kernel_seconds(events: list[dict[str, Any]]) -> Counter[str]:
    """Seconds of each kernel on the GPU's streams."""
    named = [event for event in events if event.get("ph") == "M" and "name" in event["args"]]
    processes = {e["pid"]: e["args"]["name"] for e in named if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in named if e["name"] == "thread_name"}
    totals: Counter[str] = Counter()
    for event in events:
        on_gpu = "GPU" in processes.get(event.get("pid"), "")
        thread = threads.get((event.get("pid"), event.get("tid")), "")
        if event.get("ph") == "X" and on_gpu and "Stream" in thread:
            totals[event["name"]] += event.get("dur", 0) / 1e6
    return totals


def counted_flops(problem: Problem) -> int:
    """Of a step's convolutions and Gram products, forward and with respect to the image.

    A convolution's gradient costs as much as itself: none is taken of the kernels. So does a Gram
    matrix's.
    """
    total = 0
    for layer, positions, inputs, outputs in _layers(problem):
        total += 2 * 2 * 9 * positions * inputs * outputs
        if layer in problem.settings.style_layers:
            total += 2 * 2 * positions * outputs**2
    return total


def counted_bytes(problem: Problem) -> int:
    """That a step must move at least, each array read and written once where it is needed.

    Of each layer: input read and output written; backward, the gradient read, the output read (the
    ReLU's mask), the gradient written. Of L-BFGS: its history twice.
    """
    item, total = 2 if problem.settings.precision == "bfloat16" else 4, 0
    for _, positions, inputs, outputs in _layers(problem):
        total += item * positions * (2 * inputs + 3 * outputs)
        total += 2 * item * 9 * inputs * outputs
    history = problem.settings.lbfgs_memory if problem.settings.optimizer == "lbfgs" else 0
    return total + 2 * 2 * history * problem.content.size * 4


def _layers(problem: Problem) -> Iterator[tuple[str, int, int, int]]:
    """Name, positions, inputs and outputs of each convolution that a step needs."""
    architecture, (height, width, _) = problem.weights.architecture, problem.content.shape
    for layer in convolutions_up_to(architecture, problem.settings.layers):
        halvings = block_of(layer) - 1
        _, _, inputs, outputs = kernel_shapes(architecture)[layer]
        yield layer, (height >> halvings) * (width >> halvings), inputs, outputs


def _square(spec: Spec, size: int) -> Problem:
    """A problem of random images, `size` px on each side, the style's 64."""
    problem = make_problem(dataclasses.replace(spec, task="lbfgs", size=64))
    image = np.random.default_rng(0).random((size, size, 3), np.float32)
    return dataclasses.replace(problem, content=image)


def _try_size(spec: Spec, size: int) -> dict[str, Any]:
    """Two steps at this size: seconds of the second, and the device's peak; or the error."""
    try:
        advance = ours.step(_square(spec, size))
        jax.block_until_ready(advance())
        began = time.perf_counter()
        jax.block_until_ready(advance())
        seconds = time.perf_counter() - began
    except jax.errors.JaxRuntimeError as error:
        return {"error": str(error).splitlines()[0][:200]}
    return {"seconds": seconds, "peak": ours.device_peak()}


def _seconds_of(function: Callable[..., jax.Array], *arguments: jax.Array) -> float:
    jax.block_until_ready(function(*arguments))
    began = time.perf_counter()
    for _ in range(TIMED):
        result = function(*arguments)
    jax.block_until_ready(result)
    return (time.perf_counter() - began) / TIMED


class Side(ours.Side):
    """Our side, which can do these, too."""

    runs = {
        **ours.Side.runs,
        **{run.__name__: run for run in (exact, parity, ceilings, cost, largest, trace)},
    }


if __name__ == "__main__":
    serve(Side)
