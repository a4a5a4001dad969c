"""Give `nst-jax` thousands of damaged and strange files of all kinds, and count what comes of it.

    python -m scripts.robustness.hostile_inputs --cases 10000

Images, masks, settings files, records and weights. Every case is a command in this process, on
images of 32 px and a narrow network: exit 0 with what it makes, or exit 2 with one line and nothing
left behind. Anything else (another code, an exception, more
than 10 s) is printed with the file that did it, which is kept; then this exits 1.
"""

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from nst_jax import architecture
from nst_jax.cli.main import main as nst_jax
from scripts.robustness.hostile_files import FILTERS, narrow_weights, records, settings_files
from scripts.robustness.hostile_images import damaged, spoiled

SIDES = st.sampled_from((20, 40))  # px: few shapes, each of which is compiled
IMAGES = ("content", "style", "init", "content mask", "style mask", "record in a picture")
# {role: the suffix of its file}
SUFFIXES = {
    "settings": ".toml",
    "record": ".json",
    "weights": ".safetensors",
    "Keras weights": ".h5",
    "pickled weights": ".ckpt",
}
ROLES = (*IMAGES, *SUFFIXES)
FLAGS = (
    *("--size", "32", "--steps", "1", "--optimizer", "adam"),
    *("--content-layers", "conv1_1", "--style-layers", "conv1_1"),
    *("--weights", "narrow.safetensors", "--no-normalize"),
)
MAX_SECONDS = 10


def command_for(role: str, hostile: str) -> list[str]:
    """The arguments of a run that reads the hostile file in a role."""
    if role in ("record in a picture", "record"):
        return ["rerun", hostile, "-o", "out/picture.png"]
    if role in ("Keras weights", "pickled weights"):
        return ["weights", "convert", hostile, "--no-normalize", "-o", "out/weights.safetensors"]
    content = hostile if role == "content" else "photo.png"
    style = hostile if role == "style" else "painting.png"
    masks = {
        "content mask": ["--content-mask", hostile, "--region-styles", "1"],
        "style mask": ["--content-mask", "mask.png", "--style-mask", hostile],
        "init": ["--init", hostile],
        "settings": ["--settings", hostile],
        "weights": ["--weights", hostile],
    }
    return ["stylize", content, style, "-o", "out/picture.png", *FLAGS, *masks.get(role, [])]


def try_one(role: str, data: bytes) -> str:
    """The outcome of one case, in a folder with `photo.png`, `painting.png` and `mask.png`."""
    Path("out").mkdir(exist_ok=True)
    image = "hostile.jpg" if len(data) % 2 else "hostile"
    hostile = Path(f"hostile{SUFFIXES[role]}" if role in SUFFIXES else image)
    hostile.write_bytes(data)
    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = nst_jax(command_for(role, str(hostile)))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"exception: {traceback.format_exception_only(error)[-1].strip()}"
    finally:
        hostile.unlink()
    seconds, left = time.monotonic() - began, sorted(path.name for path in Path("out").iterdir())
    for path in Path("out").iterdir():
        path.unlink()
    lines = err.getvalue().splitlines()
    if seconds > MAX_SECONDS:
        return f"wrong: {seconds:.0f} s"
    if code == 0 and left in (["picture.json", "picture.png"], ["weights.safetensors"]):
        return f"0: {'painted' if len(left) == 2 else 'converted'}"
    if code == 2 and not left and lines[-1].startswith("nst-jax") and "; " in lines[-1]:
        return f"2: {_kind_of(lines[-1])}"
    return f"wrong: exit {code}, {left} left, {lines[-1:]}"


def _kind_of(line: str) -> str:
    """A complaint without names, numbers and what stands in parentheses."""
    told = re.sub(r"\(.*?\)", "(…)", line.split(": ", 2)[-1].split("; ")[0])
    return re.sub(r"#?\b[0-9a-f]*\d[0-9a-f.]*\b", "N", told)[:70]


def make_sound_files() -> None:
    """What the cases are made with, in the current folder: images, and a record of a run."""
    for name in ("photo.png", "painting.png"):
        Image.effect_noise((40, 40), 60).convert("RGB").save(name)
    Image.new("L", (40, 40), 255).save("mask.png")
    Path("narrow.safetensors").write_bytes(narrow_weights()[".safetensors"])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert nst_jax(["stylize", "photo.png", "painting.png", "-o", "sound.png", *FLAGS]) == 0


def cases() -> st.SearchStrategy[tuple[str, bytes]]:
    """A role, and bytes for it; after `make_sound_files`, in its folder."""
    weights, sound = narrow_weights(), json.loads(Path("sound.json").read_text("utf-8"))
    by_role = dict.fromkeys(IMAGES, damaged(SIDES)) | {
        role: spoiled(st.just(weights[suffix]))
        for role, suffix in SUFFIXES.items()
        if suffix in weights
    }
    by_role |= {"settings": settings_files(), "record": records(sound)}
    return st.sampled_from(ROLES).flatmap(lambda role: st.tuples(st.just(role), by_role[role]))


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
        mock.patch.object(architecture, "FILTERS", FILTERS).start()
        make_sound_files()

        @seed(asked.seed)
        @settings(
            max_examples=asked.cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def case(drawn: tuple[str, bytes]) -> None:
            role, data = drawn
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
