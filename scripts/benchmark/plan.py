"""Which cases a benchmark has, and of which sizes."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scripts.benchmark.problem import Spec

CASES = ("evaluation", "lbfgs", "adam", "memory", "compile", "files", "reach", "sweep")
NETWORKS = ("vgg16", "vgg19")
PRECISIONS = ("float32", "tf32", "bfloat16")


HALVED: dict[str, Any] = {"lbfgs_history": "bfloat16"}
LEAN: dict[str, Any] = {**HALVED, "low_memory": True}
GPU_SIZES = 2048  # px; what is as large is measured on GPUs only
Plan = list[tuple[str, Spec]]


def grid(
    case: str,
    *sizes: int,
    histories: tuple[int, ...] = (100,),
    tasks: tuple[str, ...] = ("",),
    **spec: Any,
) -> Plan:
    """One case at several sizes and lengths of history."""
    return [
        (case, Spec(task or case, size=size, history=history, **spec))
        for size, history, task in itertools.product(sizes, histories, tasks)
    ]


FULL = [
    *grid("evaluation", 128, 256, 512, 1024, GPU_SIZES),
    *grid("evaluation", 256, 512, network="vgg19"),
    *grid("lbfgs", 128, 256, 512, 1024, GPU_SIZES),
    *grid("lbfgs", 256, 512, histories=(1, 10, 50)),
    *grid("lbfgs", 256, 512, network="vgg19"),
    *grid("lbfgs", 256, 512, ours=HALVED),
    *grid("lbfgs", 1024, ours=LEAN),
    *grid("adam", 256, 512),
    *grid("memory", 128, 256, 512, 1024, GPU_SIZES, tasks=("evaluation", "lbfgs")),
    *grid("memory", 512, 1024, tasks=("lbfgs",), ours=HALVED),
    *grid("memory", 512, 1024, tasks=("evaluation",), ours={"low_memory": True}),
    *grid("memory", 512, 1024, tasks=("lbfgs",), ours=LEAN),
    *grid("compile", 512),
    *grid("sweep", 128, histories=(50,), steps=100),
    *grid("reach", 512),
    *grid("files", 512),
]
QUICK = [
    *grid("evaluation", 48, 64, 96),
    *grid("evaluation", 48, network="vgg19"),
    *grid("lbfgs", 64, histories=(1, 10, 100)),
    *grid("adam", 64),
    *grid("memory", 64, tasks=("lbfgs",)),
    *grid("compile", 64),
    *grid("sweep", 48, histories=(10,), steps=5, lanes=4),
    *grid("reach", 96, steps=30),
    *grid("files", 64, steps=10),
]


def make_plan(
    quick: bool = False,
    gpu: bool = False,
    only: Sequence[str] = CASES,
    sizes: Sequence[int] | None = None,
    networks: Sequence[str] = NETWORKS,
    precision: str = "float32",
    steps: int | None = None,
) -> Plan:
    """The cases to be measured, in order: (case, what to time)."""
    plan: Plan = []
    for case, spec in QUICK if quick else FULL:
        skipped = not gpu and spec.size >= GPU_SIZES
        if skipped or case not in only or spec.network not in networks:
            continue
        for size in sizes or (spec.size,):
            wanted = replace(spec, size=size, precision=precision, steps=steps or spec.steps)
            if (case, wanted) not in plan:
                plan.append((case, wanted))
    return plan


def evaluations_of(steps: int) -> list[int]:
    """After how many of PyTorch's evaluations its loss is a goal: 100, 250 and 500 of 500."""
    return sorted({max(1, steps // 5), max(1, steps // 2), steps})
