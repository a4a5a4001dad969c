"""Fetch official weight files, or find them where other programs have put them.

Nothing here is converted; the file lies as published, under its own name.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from nst_jax.errors import WeightsError
from nst_jax.files import replacing
from nst_jax.weights.locate import weight_folders

TIMEOUT = 30.0  # seconds without an answer or a byte
CHUNK = 1 << 18  # bytes between two calls of `progress`
ATTEMPTS = 2  # at every address whose connection fails
HEADERS = {"User-Agent": "nst-jax", "Accept-Encoding": "identity"}

GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications/"
CHOLLET = "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
TORCHVISION = "https://download.pytorch.org/models/"
JCJOHNSON = "https://web.eecs.umich.edu/~justincj/models/"
MATCONVNET = "https://www.vlfeat.org/matconvnet/models/"

ReportBytes = Callable[[int, int | None], None]


class Download(NamedTuple):
    """A published file."""

    file_name: str
    checksum: str  # "md5:" or "sha256:" and its hexadecimal digits, as many as are published
    folders: tuple[str, ...]  # the official addresses without the name, the first tried first


# The plain names are the files that need no PyTorch: Keras's, with Oxford's values. Gatys's
# vgg_conv.pth can be converted but not fetched: no checksum was published, its address is gone.
# Checksums: Keras's from keras-applications; PyTorch's begin in the files' own names.
SOURCES = {
    "vgg19": Download(
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:253f8cb515780f3b799900260a226db6",
        (GOOGLE + "vgg19/", CHOLLET),
    ),
    "vgg16": Download(
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:6d6bbae143d832006294945121d1f1fc",
        (GOOGLE + "vgg16/", CHOLLET),
    ),
    "vgg19-torchvision": Download(
        "vgg19-dcbb9e9d.pth",
        "sha256:dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        (TORCHVISION,),
    ),
    "vgg16-torchvision": Download(
        "vgg16-397923af.pth",
        "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        (TORCHVISION,),
    ),
    "vgg19-jcjohnson": Download("vgg19-d01eb7cb.pth", "sha256:d01eb7cb", (JCJOHNSON,)),
    "vgg16-jcjohnson": Download("vgg16-00b39a1b.pth", "sha256:00b39a1b", (JCJOHNSON,)),
    "vgg19-matconvnet": Download(
        "imagenet-vgg-verydeep-19.mat",
        "sha256:abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
        (MATCONVNET,),
    ),
}


def fetch(name: str, folder: str | Path, progress: ReportBytes = lambda done, total: None) -> Path:
    """Fetch one of `SOURCES`, or find it there, or where Keras or PyTorch keep such files.

    A file appears under its name when it is whole and its checksum is right; else nothing does.

    Args:
        name: a key of `SOURCES`.
        folder: where to put the file; made where missing.
        progress: called as progress(bytes_done, bytes_total) after every chunk; the total is None
            where the server does not tell.

    Returns:
        The path of the verified file.

    Raises:
        WeightsError: there is no such source; every address failed; the folder or disk cannot be
            written.
    """
    if name not in SOURCES:
        raise WeightsError(f"no weights to fetch called {name!r}; there are {', '.join(SOURCES)}")
    source, folder = SOURCES[name], Path(folder)
    for place in dict.fromkeys((folder, *weight_folders(), *_folders_of_other_programs())):
        path = place / source.file_name
        if os.access(path, os.R_OK) and path.is_file() and not _difference(path, source):
            return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _download(name, folder, progress)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _folders_of_other_programs() -> tuple[Path, Path]:
    """Where keras.utils.get_file and torch.hub.load_state_dict_from_url keep their downloads."""
    home = Path(os.path.expanduser("~"))  # which stays as it is where the user has none
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    torch = Path(os.path.expanduser(os.environ.get("TORCH_HOME") or cache / "torch"))
    return keras / "models", torch / "hub" / "checkpoints"


def _download(name: str, folder: Path, progress: ReportBytes) -> Path:
    """Get the file from the first address that has it.

    pooch.retrieve would do it, were it not for checksums of which only the first digits are known,
    and for the files' permissions: they would be their owner's only.
    """
    from pooch import HTTPDownloader
    from requests import HTTPError, RequestException

    source = SOURCES[name]
    target, failures = folder / source.file_name, dict[str, Exception]()
    for address in source.folders * ATTEMPTS:
        if isinstance(failures.get(address), HTTPError | ValueError):
            continue  # asked again, it would say the same
        try:
            with replacing(target) as temporary, ExitStack() as responses:
                # Closed here: pooch leaves the response to a failed request open.
                hooks = {"response": lambda response, **_: responses.enter_context(response)}
                get = HTTPDownloader(
                    _Bar(progress), CHUNK, timeout=TIMEOUT, headers=HEADERS, hooks=hooks
                )
                get(address + source.file_name, str(temporary), None)
                if difference := _difference(temporary, source):
                    raise ValueError(f"{difference}; the file was removed")
            return target
        except (RequestException, ValueError) as error:
            failures[address] = error
    reasons = "; ".join(f"{urlsplit(a).netloc}: {_reason(e)}" for a, e in failures.items())
    raise WeightsError(
        f"cannot fetch {name} ({reasons}); download {source.folders[0] + source.file_name} by hand "
        f"into {folder}, then run: nst-jax weights convert {target}"
    )


class _Bar:
    """What pooch takes for a progress bar: it tells `progress` the bytes done and in all."""

    def __init__(self, progress: ReportBytes):
        self.progress, self.done, self.total = progress, 0, 0

    def update(self, size: int) -> None:
        self.done += size  # of a whole chunk, also for the last; at the end once more all of it
        self.progress(min(self.done, self.total or self.done), self.total or None)

    def reset(self) -> None:
        """Nothing is taken back before that last update."""

    close = reset


def _reason(error: BaseException) -> str:
    """What went wrong, in one line; requests wraps the system's error in several others."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
    return reason.partition(" for url")[0]


def _difference(path: Path, source: Download) -> str:
    """Tell the file's checksum if it is not the published one; empty where it is."""
    # Against a changed file, not an attacker: MD5 is all that Keras publishes.
    algorithm, _, wanted = source.checksum.partition(":")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    got = digest.hexdigest()
    return "" if got.startswith(wanted) else f"{algorithm} is {got}; wanted {wanted}"
