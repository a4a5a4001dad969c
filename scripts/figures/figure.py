"""What the figures have in common: commands that are run as they are shown, and files of sheets."""

import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nst_jax import load_image
from nst_jax.cli import main as cli
from nst_jax.files import write_bytes
from nst_jax.images.color_management import srgb_profile
from nst_jax.images.encoders import quantize
from nst_jax.images.resize import resize
from nst_jax.sweeps.results_folder import RECORD
from scripts import say

MAX_BYTES = 700_000  # of a sheet: a page of the documents has several
QUALITY = 88  # of a JPEG, colors at half the resolution; text has no colored fringes yet
SHRINK = 0.95  # from one attempt to the next


def command_text(command: Sequence[str]) -> str:
    """What to type for these arguments of nst-jax."""
    return shlex.join(["nst-jax", *command])


def run(command: Sequence[str]) -> None:
    """Say a command, and run it; a sweep goes on where it was interrupted.

    Raises:
        SystemExit: it was interrupted or failed; with its exit code.
    """
    say(command_text(command))
    code = cli.main(command)
    if code != cli.DONE:
        raise SystemExit(code)


def load_pictures(folder: Path) -> list[np.ndarray]:
    """The pictures of a sweep that is done, each (H, W, 3), in its order."""
    lanes = json.loads((folder / RECORD).read_text("utf-8"))["lanes"]
    return [load_image(folder / lane["file"]) for lane in lanes]


def save_sheet(sheet: np.ndarray, path: Path) -> None:
    """Write (H, W, 3) float in [0, 1] as a JPEG of `MAX_BYTES` at most, scaled down to fit."""
    scale, profile = 1.0, srgb_profile()
    while True:
        shape = round(scale * sheet.shape[0]), round(scale * sheet.shape[1])
        stream, image = io.BytesIO(), Image.fromarray(quantize(resize(sheet, shape), 8))
        image.save(stream, "JPEG", quality=QUALITY, icc_profile=profile, optimize=True)
        if stream.tell() <= MAX_BYTES:
            break
        scale *= SHRINK
    write_bytes(path, stream.getvalue())
    print(path)
