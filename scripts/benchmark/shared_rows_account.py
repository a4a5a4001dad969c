"""XLA's account of one image that several devices share: tables, for the documentation.

    python -m scripts.benchmark.shared_rows_account -o docs/benchmark/shared_rows.md

compiles the step for H100s and TPUs v5e that are not there; it wants the extras `aot-cuda` and
`aot-tpu` (minutes a program on two cores). Nothing is measured: memory and bytes are of each
device, and what the compiler says; milliseconds are the least that its peaks allow, with nothing
computed while devices speak to each other.
"""

import datetime
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from nst_jax import Settings
from nst_jax.engine.problem import prepare_problem
from nst_jax.host_memory import as_text
from nst_jax.planning.account import Account
from nst_jax.planning.compile_elsewhere import Compiler
from nst_jax.planning.device_kinds import find_device_kind
from nst_jax.planning.device_plan import job_of
from scripts import CONTENT, STYLE, make_parser, publish, say

# What a GPU sends to other machines: 400 Gb/s each (NVIDIA DGX H100 data sheet, ConnectX-7).
NETWORK = 50e9
BANDS = {"low_memory": True}
TEN = {"lbfgs_memory": 10}
HALF = {"lbfgs_history": "bfloat16", "precision": "bfloat16"}


class Row(NamedTuple):
    """One program: the devices, the image (H, W), its settings."""

    devices: str
    shape: tuple[int, int]
    settings: dict[str, Any]


SIZES = (
    Row("8xh100", (4096, 4096), {}),
    Row("8xh100", (4093, 4096), {}),
    Row("8xh100", (8192, 8192), {}),
    Row("8xh100", (8192, 8192), TEN),
    Row("8xh100", (16384, 16384), {**TEN}),
    Row("8xh100", (16384, 16384), {**TEN, **BANDS}),
    Row("8xh100", (16384, 16384), BANDS),
    Row("h100", (16384, 16384), {**TEN, **BANDS, **HALF}),
    Row("8xv5e", (4096, 4096), {}),
    Row("8xv5e", (4096, 4096), BANDS),
    Row("8xv5e", (8192, 8192), {**TEN, **BANDS}),
    Row("8xv5e", (8192, 8192), BANDS),
    Row("8xv5e", (16384, 16384), {**TEN, **BANDS}),
)
SCALING = (
    Row("h100", (4096, 4096), {}),
    Row("2xh100", (8192, 4096), {}),
    Row("4xh100", (8192, 8192), {}),
    Row("8xh100", (16384, 8192), {}),
    Row("16xh100", (16384, 16384), {}),
)
HEAD = (
    "devices", "image", "settings", "memory", "temporaries", "kernels", "traffic", "from others",
    "share of the traffic", "least",
)  # fmt: skip


def accounts(rows: Sequence[Row]) -> Iterator[tuple[Row, Account | str]]:
    """The account of each program, or why there is none."""
    problem = prepare_problem(CONTENT, STYLE, [Settings(size=128)])
    for row in rows:
        say(f"{row}")
        kind = find_device_kind(row.devices)
        with Compiler(kind) as compiler:
            job = job_of(problem, kind.backend, 0, row.shape, kind.devices, **row.settings)
            yield row, compiler.account(job)


def line(row: Row, found: Account | str) -> str:
    """A row of the table of sizes."""
    height, width = row.shape
    settings = ", ".join(f"{name} {value}" for name, value in row.settings.items())
    cells = [row.devices, f"{width}×{height}", settings.replace(" True", "")]
    if isinstance(found, str):
        return f"| {' | '.join([*cells, found])} |" + " |" * (len(HEAD) - len(cells) - 1)
    received = ", ".join(f"{name} {as_text(each)}" for name, each in found.received.items())
    share = sum(found.received.values()) / found.traffic
    cells += [as_text(found.memory), as_text(found.temporaries), str(found.kernels)]
    cells += [as_text(found.traffic), received, f"{100 * share:.2g} %"]
    cells += [f"{1e3 * (found.least_seconds or 0):.3g} ms"]
    return f"| {' | '.join(cells)} |"


def scaling_line(row: Row, found: Account | str, alone: float) -> str:
    """A row of the table of scaling, with the time beside that of one device."""
    if isinstance(found, str):
        return f"| {row.devices} | {found} | | | | |"
    height, width = row.shape
    seconds, received = found.least_seconds or 0.0, sum(found.received.values())
    over_network = seconds + received * (1 / NETWORK - 1 / find_device_kind(row.devices).link)
    cells = [row.devices, f"{width}×{height}", f"{1e3 * seconds:.3g} ms"]
    cells += [f"{100 * alone / seconds:.0f} %", f"{1e3 * over_network:.3g} ms"]
    cells += [f"{100 * alone / over_network:.0f} %"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables, or write them into a document."""
    parser = make_parser(__doc__)
    parser.add_argument("-o", "--output", type=Path, help="Markdown file")
    options = parser.parse_args()
    today = datetime.date.today().isoformat()
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "libtpu"))
    text = f"{__doc__}\nMade {today} with {versions}; VGG-16, history 50 where nothing is said.\n"
    text += f"\n## Sizes\n\n| {' | '.join(HEAD)} |\n" + "|---" * len(HEAD) + "|\n"
    text += "".join(f"{line(*each)}\n" for each in accounts(SIZES))
    scaling = list(accounts(SCALING))
    first = scaling[0][1]
    alone = 0.0 if isinstance(first, str) else first.least_seconds or 0.0
    text += (
        "\n## As many pixels for each device\n\nWithin one machine over NVLink, 450 GB/s each way; "
        "and if all that devices send went over a network of 400 Gb/s for each, as between two "
        "machines.\n\n| devices | image | least | of one's speed | over the network | of one's "
        "speed |\n" + "|---" * 6 + "|\n"
    )
    text += "".join(f"{scaling_line(*each, alone)}\n" for each in scaling)
    publish(text, options.output)


if __name__ == "__main__":
    main()
