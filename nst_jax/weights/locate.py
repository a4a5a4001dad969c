"""Which weights file is meant, by a name or a path; where the installed ones live."""

import os
from pathlib import Path

from nst_jax.errors import WeightsError
from nst_jax.weights.storage import SUFFIX, has_means

EMBEDDED_NAME = "vgg16-imagenet"


def user_folder() -> Path:
    """Where fetched and converted weights live: $NST_JAX_WEIGHTS, or a folder of the user's."""
    chosen = os.environ.get("NST_JAX_WEIGHTS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "nst_jax" / "weights"


def embedded_path() -> Path:
    """The VGG-16 that comes with the package, in an installed copy or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "embedded" / (EMBEDDED_NAME + SUFFIX)
    return installed if installed.exists() else package.parent / "weights" / installed.name


def available_weights() -> list[Path]:
    """Every weights file that can be named without its folder: the user's, then the embedded."""
    found = sorted(user_folder().glob("[!.]*" + SUFFIX))  # hidden: half-written, left by a kill
    return found + [embedded_path()] * embedded_path().exists()


def find_weights(choice: str) -> Path:
    """Find the file that `--weights` means.

    Args:
        choice: "auto" (a VGG-19 that was fetched or converted, else the embedded VGG-16), a
            network ("vgg19", "vgg16"), the name of an installed file, or a path.

    Raises:
        WeightsError: there is no such file.
    """
    if Path(choice).suffix == SUFFIX or os.sep in choice or Path(choice).is_file():
        path = Path(choice)
        if path.is_file():
            return path
        raise WeightsError(f"{choice}: no such weights file")
    files = available_weights()
    if not files:
        raise WeightsError(f"the embedded weights are missing: {embedded_path()}; install again")
    # Not any VGG-16 of the user's for "auto": the embedded one can be normalised for sure.
    names = ("vgg19", EMBEDDED_NAME) if choice == "auto" else (choice,)
    for name in names:
        for path in files:
            if path.stem == name:
                return path
        family = [path for path in files if path.stem.startswith(name + "-")]
        if family:  # one that can be normalised first: the paper's ratios want that
            return max(family, key=has_means)
    known = ", ".join(path.stem for path in files)
    remedy = "; get it with: nst-jax weights fetch vgg19" if choice == "vgg19" else ""
    raise WeightsError(f"no weights called {choice!r}; there are {known}{remedy}")
