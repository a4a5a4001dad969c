"""Large pictures in every format: memory and seconds of reading and writing them, as a table.

    python -m scripts.benchmark.large_pictures -o docs/benchmark/large_pictures.md

makes a picture of 16384 x 16384 px, smooth with noise, and reads and writes it, each time in
a process of its own. Memory is the most that the process held, the libraries' 0.1 GB included: of
reading with the float32 image that comes of it, of writing with that which is written.
"""

import argparse
import datetime
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.host_memory import as_text
from nst_jax.images.encoders import MAX_WEBP_SIDE, SaveOptions
from nst_jax.images.io import load_image, save_image
from scripts import make_parser, publish, say
from scripts.benchmark import machine

SIDE = 16384
BITS = {".png": (8, 16), ".tif": (8, 16), ".jpg": (8,), ".webp": (8,)}  # of each format
HEAD = ("format", "bits", "size of the file", "what is done", "memory", "seconds")


def draw(side: int) -> np.ndarray:
    """(side, side, 3) float32 in [0, 1]: what a painting compresses like, more or less."""
    random, image = np.random.default_rng(0), np.empty((side, side, 3), np.float32)
    x = np.arange(side, dtype=np.float32) / side
    for row, y in zip(image, x, strict=True):
        row[:] = np.stack([np.sin(9 * x + 3 * y), np.cos(5 * y - x), np.sin(9 * x * y)], axis=-1)
        row *= 0.4
        row += 0.5 + random.normal(0, 0.02, row.shape).astype(np.float32)
    return image


def measured(prepare: Callable[[], Any], work: Callable[[Any], object]) -> tuple[float, int]:
    """Seconds of the work, and the peak of this process's memory, in bytes."""
    given = prepare()
    machine.reset_peak()
    began = time.perf_counter()
    work(given)
    return time.perf_counter() - began, machine.resident("VmHWM") or 0


def write(path: Path, side: int, bits: int) -> tuple[float, int]:
    """Write a picture."""
    options = SaveOptions(bits)
    return measured(partial(draw, side), lambda image: save_image(image, path, options=options))


def read(path: Path, size: int | None) -> tuple[float, int]:
    """Read a picture, at a long side of `size` px or as it is."""
    return measured(lambda: None, lambda _: load_image(path, size))


def in_a_process(function: Callable[..., tuple[float, int]], *arguments: Any) -> tuple[float, int]:
    """What a function comes to in a process that does nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def lines(folder: Path, side: int, suffixes: list[str]) -> Iterator[str]:
    """The rows of the table, as Markdown."""
    for suffix, bits in ((each, bits) for each in suffixes for bits in BITS[each]):
        longest = min(side, MAX_WEBP_SIDE) if suffix == ".webp" else side
        path = folder / f"large{suffix}"
        works: dict[str, Callable[[], tuple[float, int]]] = {
            f"written, {longest} px": partial(in_a_process, write, path, longest, bits),
            "read": partial(in_a_process, read, path, None),
            f"read at {side // 2} px": partial(in_a_process, read, path, side // 2),
            "read at 512 px": partial(in_a_process, read, path, 512),
        }
        for words, work in works.items():
            say(f"{suffix}, {bits} bits: {words}")
            seconds, peak = work()
            cells = (suffix[1:].upper(), str(bits), as_text(path.stat().st_size), words)
            yield f"| {' | '.join((*cells, as_text(peak), f'{seconds:.1f}'))} |\n"
        path.unlink()


def main() -> None:
    """Print the table, or write it into a document."""
    parser = make_parser(__doc__)
    parser.add_argument("--side", type=int, default=SIDE, help="of the picture, in px")
    parser.add_argument("--formats", nargs="+", choices=BITS, default=list(BITS), metavar="SUFFIX")
    parser.add_argument("--folder", type=Path, help="for the pictures [a temporary one]")
    parser.add_argument("--note", default="", help="what readers should know of these figures")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file")
    options: argparse.Namespace = parser.parse_args()
    setup = machine.setup("cpu", os.cpu_count() or 1)
    processors, memory = machine.describe(setup)[0], setup["machine"]["memory_gb"]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("pillow", "tifffile", "numpy"))
    text = (
        f"{__doc__}\nMade {datetime.date.today().isoformat()} on {processors}, {memory} GB, with "
        f"{libraries}. {options.note}".rstrip()
        + f"\n\n| {' | '.join(HEAD)} |\n"
        + "|---" * len(HEAD)
        + "|\n"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        text += "".join(lines(Path(folder), options.side, options.formats))
    publish(text, options.output)


if __name__ == "__main__":
    main()
