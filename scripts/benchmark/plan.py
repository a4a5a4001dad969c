"""Which cases a benchmark has, and of which sizes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.benchmark.problem import Spec

CASES = ("evaluation", "lbfgs", "adam", "memory", "compile", "files", "reach", "sweep")


@dataclasses.dataclass(frozen=True)
class Grid:
    """One case at several sizes and lengths of history."""

    case: str
    sizes: tuple[int, ...]
    network: str = "vgg16"
    histories: tuple[int, ...] = (100,)
    ours: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tasks: tuple[str, ...] = ("",)
    steps: int = 500
    lanes: int = 20


HALVED: dict[str, Any] = {"lbfgs_history": "bfloat16"}
LEAN: dict[str, Any] = {**HALVED, "low_memory": True}
FULL = (
    Grid("evaluation", (128, 256, 512, 1024)),
    Grid("evaluation", (256, 512), "vgg19"),
    Grid("lbfgs", (128, 256, 512, 1024)),
    Grid("lbfgs", (256, 512), histories=(1, 10, 50)),
    Grid("lbfgs", (256, 512), "vgg19"),
    Grid("lbfgs", (256, 512), ours=HALVED),
    Grid("lbfgs", (1024,), ours=LEAN),
    Grid("adam", (256, 512)),
    Grid("memory", (128, 256, 512, 1024), tasks=("evaluation", "lbfgs")),
    Grid("memory", (512, 1024), tasks=("lbfgs",), ours=HALVED),
    Grid("memory", (512, 1024), tasks=("evaluation",), ours={"low_memory": True}),
    Grid("memory", (512, 1024), tasks=("lbfgs",), ours=LEAN),
    Grid("compile", (512,)),
    Grid("sweep", (128,), histories=(50,), steps=100),
    Grid("reach", (512,)),
    Grid("files", (512,)),
)
LARGE_FOR_GPU = 2048
QUICK = (
    Grid("evaluation", (48, 64, 96)),
    Grid("evaluation", (48,), "vgg19"),
    Grid("lbfgs", (64,), histories=(1, 10, 100)),
    Grid("adam", (64,)),
    Grid("memory", (64,), tasks=("lbfgs",)),
    Grid("compile", (64,)),
    Grid("sweep", (48,), histories=(10,), steps=5, lanes=4),
    Grid("reach", (96,), steps=30),
    Grid("files", (64,), steps=10),
)


def make_plan(
    quick: bool = False,
    gpu: bool = False,
    only: Sequence[str] = CASES,
    sizes: Sequence[int] | None = None,
    networks: Sequence[str] = ("vgg16", "vgg19"),
    precision: str = "float32",
    steps: int | None = None,
) -> Iterator[tuple[str, Spec]]:
    """The cases to be measured, in order: (case, what to time)."""
    for grid in QUICK if quick else FULL:
        if grid.case not in only or grid.network not in networks:
            continue
        large = gpu and not quick and len(grid.sizes) > 2
        for size in sizes or grid.sizes + (LARGE_FOR_GPU,) * large:
            for history in grid.histories:
                for task in grid.tasks:
                    yield (
                        grid.case,
                        Spec(
                            task=task or grid.case,
                            network=grid.network,
                            size=size,
                            history=history,
                            ours=grid.ours,
                            steps=steps or grid.steps,
                            precision=precision,
                            lanes=grid.lanes,
                        ),
                    )


def evaluations_of(steps: int) -> list[int]:
    """After how many of PyTorch's evaluations its loss is a goal: 100, 250 and 500 of 500."""
    return sorted({max(1, steps // 5), max(1, steps // 2), steps})
