"""Kill runs with SIGKILL at random moments, let the same command go on, and compare all bits.

    python -m scripts.robustness.kill_and_resume 100

Each trial kills a run once or twice, at moments that are even over the time from where it compiles
to its end. Prints how many trials came to the same picture and record,
and what the killed runs had left. Exit code 1 where any did not.
"""

import collections
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts import CONTENT, STYLE, make_parser, say

LAYERS = ("--content-layers", "conv2_1", "--style-layers", "conv1_1,conv2_1")
FLAGS = ("--steps", "150", "--lbfgs-memory", "10", "--report-every", "1", *LAYERS)
MAX_KILLS = 2
# Of a record, what differs from run to run.
TIMES = ("command", "timing")


class Trials:
    """Runs of one command in a folder.

    Attributes:
        counts: {what happened: how often}.
    """

    def __init__(self, folder: Path, size: int, every: str, seed: int):
        """Make the whole run that all others are compared with, once compiled and once timed."""
        self.counts: collections.Counter[str] = collections.Counter()
        self._folder, self._random = folder, random.Random(seed)
        self._checkpoint, self._record = folder / "out.png.checkpoint", folder / "out.json"
        command = ("stylize", str(CONTENT), str(STYLE), "--size", str(size), *FLAGS)
        self._command = (*command, "--checkpoint-every", every)
        self._end(self._start("first.png"))
        self._end(self._start("whole.png"))
        self._seconds = time.monotonic() - self._began

    def run(self) -> bool:
        """Kill a run, let it go on, and say whether it came to the same."""
        for path in (*self._folder.glob("out*"), *self._folder.glob(".*")):
            path.unlink()
        for _ in range(self._random.randint(1, MAX_KILLS)):
            process = self._start("out.png")
            time.sleep(self._random.uniform(0, self._seconds))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kept = self._checkpoint.exists()
            if process.returncode != -signal.SIGKILL or (self._record.exists() and not kept):
                break
            self.counts["killed with a checkpoint" if kept else "killed without one"] += 1
        if self._record.exists() and not self._checkpoint.exists():
            self.counts["finished before it was killed"] += 1
            left = []
        else:
            self.counts["went on" if self._checkpoint.exists() else "began anew"] += 1
            self._end(self._start("out.png"))
            left = [*self._folder.glob(".*"), *self._folder.glob("*.checkpoint")]
        outcome, whole = self._outcome("out.png"), self._outcome("whole.png")
        others = [name for name, value in whole.items() if outcome.get(name) != value]
        for what in (*(f"OTHER {name}" for name in others), *(f"LEFT {one.name}" for one in left)):
            self.counts[what] += 1
            say(what)
        same = not others and not left
        self.counts["the same bits"] += same
        return same

    def _start(self, output: str) -> subprocess.Popen[str]:
        """Start a run, and wait until it compiles, or ends."""
        command = [sys.executable, "-m", "nst_jax", *self._command, "-o", output]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=self._folder, text=True, **pipes)
        assert process.stderr is not None
        self._first = ""
        for line in process.stderr:
            self._first += line
            if line == "compiling\n":
                break
        self._began = time.monotonic()
        return process

    def _end(self, process: subprocess.Popen[str]) -> None:
        said = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {self._first}{said}")

    def _outcome(self, name: str) -> dict[str, Any]:
        """The pixels and the record."""
        with Image.open(self._folder / name) as image:
            pixels = np.asarray(image).tobytes()
        record = json.loads((self._folder / name).with_suffix(".json").read_text("utf-8"))
        return {"pixels": pixels} | {key: v for key, v in record.items() if key not in TIMES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts."""
    parser = make_parser(__doc__)
    parser.add_argument("trials", type=int, nargs="?", default=100)
    parser.add_argument("--size", type=int, default=64, help="long side, in px [64]")
    parser.add_argument("--every", default="5", help="--checkpoint-every of the runs [5]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), options.size, options.every, options.seed)
        same = []
        for number in range(1, options.trials + 1):
            same.append(trials.run())
            say(f"{number}: {sum(same)} the same")
        for what, count in sorted(trials.counts.items()):
            print(f"{count:5} {what}")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
