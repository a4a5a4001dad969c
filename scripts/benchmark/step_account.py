"""XLA's account of a step on devices that are not there: a table, for the documentation.

    python -m scripts.benchmark.step_account --on h100 -o docs/benchmark/step_account.md

compiles the step of the sample images for each precision and size, and for lanes of a sweep; it
wants the extra `aot-cuda` for NVIDIA's GPUs, `aot-tpu` for TPUs (minutes a program on two cores).
Nothing is measured: kernels, memory and traffic are what the compiler says, and milliseconds the
least that the device's peaks allow (`nst_jax.planning.account`).
"""

import datetime
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from nst_jax import Settings
from nst_jax.engine.problem import Problem, prepare_problem
from nst_jax.host_memory import as_text
from nst_jax.planning.account import Account
from nst_jax.planning.compile_elsewhere import Compiler
from nst_jax.planning.device_kinds import DeviceKind, device_kinds, find_device_kind
from nst_jax.planning.device_plan import job_of
from scripts import CONTENT, STYLE, make_parser, publish, say

HALF = {"precision": "bfloat16", "lbfgs_history": "bfloat16"}
SPARING = {**HALF, "low_memory": True}


class Row(NamedTuple):
    """One program: its image (H, W), its lanes (0: without an axis of lanes), its settings."""

    shape: tuple[int, int]
    lanes: int
    settings: dict[str, Any]


ROWS = (
    Row((384, 512), 0, {"precision": "float32"}),
    Row((384, 512), 0, {"precision": "tf32"}),
    Row((384, 512), 0, {"precision": "bfloat16"}),
    Row((384, 512), 0, HALF),
    Row((256, 256), 0, {"precision": "tf32"}),
    Row((256, 256), 20, {"precision": "tf32"}),
    Row((512, 512), 0, {"precision": "tf32"}),
    Row((512, 512), 20, {"precision": "tf32"}),
    Row((2048, 2048), 0, {"precision": "tf32"}),
    Row((4096, 4096), 0, {"precision": "tf32"}),
    Row((8192, 8192), 0, SPARING),
    Row((16384, 16384), 0, {**SPARING, "optimizer": "adam"}),
)
HEAD = (
    "image", "lanes", "settings", "kernels", "traffic", "temporaries", "memory", "GFLOP", "least",
)  # fmt: skip


def rows_for(kind: DeviceKind, rows: Sequence[Row]) -> Iterator[tuple[Row, Account | str]]:
    """The account of each program, or why there is none."""
    problems: dict[tuple, Problem] = {}
    with Compiler(kind) as compiler:
        for row in rows:
            adam = row.settings.get("optimizer", "lbfgs")
            if adam not in problems:
                one = Settings(size=128, optimizer=adam)
                problems[adam] = prepare_problem(CONTENT, STYLE, [one])
            say(f"{kind.name}: {row}")
            changed = {k: v for k, v in row.settings.items() if k != "optimizer"}
            job = job_of(problems[adam], kind.backend, row.lanes, row.shape, **changed)
            yield row, compiler.account(job)


def line(row: Row, found: Account | str) -> str:
    """A row of the table."""
    height, width = row.shape
    settings = ", ".join(f"{name} {value}" for name, value in row.settings.items())
    cells = [f"{width}×{height}", str(row.lanes or 1), settings.replace(" True", "")]
    if isinstance(found, str):
        return f"| {' | '.join([*cells, found])} |" + " |" * (len(HEAD) - len(cells) - 1)
    flops = ", ".join(f"{name} {each / 1e9:.0f}" for name, each in found.flops.items())
    least = "" if found.least_seconds is None else f"{1e3 * found.least_seconds:.3g} ms"
    cells += [
        str(found.kernels),
        as_text(found.traffic),
        as_text(found.temporaries),
        as_text(found.memory),
        flops,
        least,
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables, or write them into a document."""
    parser = make_parser(__doc__)
    parser.add_argument("--on", metavar="DEVICE,…", default="h100", help="devices")
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help="only these, from 0")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file")
    options = parser.parse_args()
    rows = [ROWS[number] for number in options.rows or range(len(ROWS))]
    today = datetime.date.today().isoformat()
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib"))
    text = f"{__doc__}\nMade {today} with {versions}; VGG-16, history 50.\n"
    for name in device_kinds(options.on):
        kind = find_device_kind(name)
        text += f"\n## {kind.title}\n\nPeaks: {kind.source}\n\n| {' | '.join(HEAD)} |\n"
        text += "|---" * len(HEAD) + "|\n"
        text += "".join(f"{line(*each)}\n" for each in rows_for(kind, rows))
    publish(text, options.output)


if __name__ == "__main__":
    main()
