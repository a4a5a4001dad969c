"""Which weights file is meant, by a name or a path; where the installed ones live."""

import os
from contextlib import suppress
from pathlib import Path

from nst_jax.errors import WeightsError
from nst_jax.files import user_cache
from nst_jax.weights.storage import SUFFIX, has_means

EMBEDDED_NAME = "vgg16-imagenet"
# {sha256 of a file: that of an older one, which lacks the means of maximum pooling and no more}
OLDER_FILES = {
    "1d02d1c707e47602d358871823bf6e9657acfc2e401f8a9491fc36758985697c": (
        "3e3fadf437129909b98defa2852e0050d323b99a4087623f1a619c130eef9a56"  # versions 0.1 and 0.2
    )
}


def weight_folders() -> list[Path]:
    """The folders of installed weights; the first is the one that is written to.

    $NST_JAX_WEIGHTS alone where it is set; else the user's cache folder as the system has it, and
    the one of version 0.2, which knew Linux's only; none where the user has no home.
    """
    chosen = os.environ.get("NST_JAX_WEIGHTS")
    if chosen:
        return [Path(chosen)]
    if (cache := user_cache()) is None:
        return []
    older = Path(os.path.expanduser("~"), ".cache", "nst_jax")
    return [folder / "weights" for folder in dict.fromkeys((cache, older))]


def user_folder() -> Path:
    """Where fetched and converted weights are put.

    Raises:
        WeightsError: the user has no home.
    """
    if folders := weight_folders():
        return folders[0]
    raise WeightsError("there is no home folder for weights; name another in $NST_JAX_WEIGHTS")


def embedded_path() -> Path:
    """The VGG-16 that comes with the package, in an installed copy or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "embedded" / (EMBEDDED_NAME + SUFFIX)
    return installed if installed.exists() else package.parent / "weights" / installed.name


def calibration_folder() -> Path:
    """The photographs that come with the package, for activation means of other weights."""
    return embedded_path().parent / "calibration"


def available_weights() -> list[Path]:
    """Every weights file that can be named without its folder: the user's, then the embedded."""
    found: list[Path] = []
    for folder in weight_folders():
        with suppress(OSError):  # it may be another user's
            found += sorted(folder.glob("[!.]*" + SUFFIX))  # hidden: half-written, left by a kill
    return [*found, embedded_path()] if embedded_path().exists() else found


def find_weights(choice: str) -> Path:
    """Find the file that `--weights` means.

    Args:
        choice: "auto" (a VGG-19 that was fetched or converted, else the embedded VGG-16), a
            network ("vgg19", "vgg16"), the name of an installed file, or a path.

    Raises:
        WeightsError: there is no such file.
    """
    path = Path(choice)
    if path.suffix == SUFFIX or os.sep in choice or path.is_file():
        if path.is_file():
            return path
        raise WeightsError(f"{choice}: no such weights file")
    files = available_weights()
    if not files:
        raise WeightsError(f"the embedded weights are missing: {embedded_path()}; install again")
    # Not any VGG-16 of the user's for "auto": the embedded one can be normalized for sure.
    names = ("vgg19", EMBEDDED_NAME) if choice == "auto" else (choice,)
    for name in names:
        for path in files:
            if path.stem == name:
                return path
        network = [path for path in files if path.stem.startswith(name + "-")]
        if network:  # one that can be normalized first: the paper's ratios want that
            return max(network, key=has_means)
    known = ", ".join(path.stem for path in files)
    remedy = "; get it with: nst-jax weights fetch vgg19" if choice == "vgg19" else ""
    raise WeightsError(f"no weights called {choice!r}; there are {known}{remedy}")
