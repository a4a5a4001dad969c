"""Give `nst-jax` thousands of damaged and strange images and masks, and count what comes of it.

    python -m scripts.robustness.hostile_inputs --cases 10000

Every case is a command in this process, on images of 32 px: exit 0 with a picture and its record,
or exit 2 with one line and nothing left behind. Anything else (another code, an exception, more
than 10 s) is printed with the file that did it, which is kept; then this exits 1.
"""

import argparse
import contextlib
import io
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from nst_jax.cli.main import main as nst_jax
from scripts.robustness.hostile_images import damaged

SIDES = st.sampled_from((20, 40))  # px: few shapes, each of which is compiled
ROLES = ("content", "style", "init", "content mask", "style mask", "record in a picture")
FLAGS = (
    *("--size", "32", "--steps", "1", "--optimizer", "adam"),
    *("--content-layers", "conv1_1", "--style-layers", "conv1_1"),
)
MAX_SECONDS = 10


def command_for(role: str, hostile: str) -> list[str]:
    """The arguments of a run that reads the hostile file in a role."""
    if role == "record in a picture":
        return ["rerun", hostile, "-o", "out/picture.png"]
    content = hostile if role == "content" else "photo.png"
    style = hostile if role == "style" else "painting.png"
    masks = {
        "content mask": ["--content-mask", hostile, "--region-styles", "1"],
        "style mask": ["--content-mask", "mask.png", "--style-mask", hostile],
        "init": ["--init", hostile],
    }
    return ["stylize", content, style, "-o", "out/picture.png", *FLAGS, *masks.get(role, [])]


def try_one(role: str, data: bytes) -> str:
    """The outcome of one case, in a folder with `photo.png`, `painting.png` and `mask.png`."""
    Path("out").mkdir(exist_ok=True)
    hostile = Path("hostile.jpg" if len(data) % 2 else "hostile")
    hostile.write_bytes(data)
    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = nst_jax(command_for(role, str(hostile)))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"exception: {traceback.format_exception_only(error)[-1].strip()}"
    seconds, left = time.monotonic() - began, sorted(path.name for path in Path("out").iterdir())
    for path in Path("out").iterdir():
        path.unlink()
    hostile.unlink()
    lines = err.getvalue().splitlines()
    if seconds > MAX_SECONDS:
        return f"wrong: {seconds:.0f} s"
    if code == 0 and left == ["picture.json", "picture.png"]:
        return "0: painted"
    if code == 2 and not left and lines[-1].startswith("nst-jax") and "; " in lines[-1]:
        return f"2: {_kind_of(lines[-1])}"
    return f"wrong: exit {code}, {left} left, {lines[-1:]}"


def _kind_of(line: str) -> str:
    """A complaint without names, numbers and what stands in parentheses."""
    told = re.sub(r"\(.*?\)", "(…)", line.split(": ", 2)[-1].split("; ")[0])
    return re.sub(r"#?\b[0-9a-f]*\d[0-9a-f.]*\b", "N", told)[:70]


def main() -> None:
    """Run the cases, and print the counts by outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that")
    asked = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    kept = Path(tempfile.mkdtemp(prefix="hostile-"))
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in ("photo.png", "painting.png"):
            Image.effect_noise((40, 40), 60).convert("RGB").save(name)
        Image.new("L", (40, 40), 255).save("mask.png")

        @seed(asked.seed)
        @settings(
            max_examples=asked.cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(ROLES), damaged(SIDES))
        def case(role: str, data: bytes) -> None:
            if time.monotonic() > end:
                return
            outcome = try_one(role, data)
            counts[role, outcome] += 1
            if outcome.startswith(("wrong", "exception")):
                file = kept / f"{sum(counts.values())}-{role.replace(' ', '-')}"
                file.write_bytes(data)
                print(f"{file}: {outcome}", flush=True)

        case()
    bad = 0
    for (role, outcome), count in sorted(counts.items()):
        print(f"{count:6d}  {role:20s} {outcome}")
        bad += count * outcome.startswith(("wrong", "exception"))
    by_code = Counter[str]()
    for (_, outcome), count in counts.items():
        by_code[outcome.split(":")[0]] += count
    print(f"{sum(counts.values())} cases: {dict(by_code)}, {bad} wrong")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
