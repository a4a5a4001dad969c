"""Compiled programs kept on disk, so that the next process need not compile them again.

JAX keeps them under a key of the program, its own version and the device. That is not enough for
CPUs: code for a newer one ends an older one's process with an illegal instruction, and entries of
another jaxlib have crashed on loading (jax issue 38445). So each kind of machine and each pair of
versions gets a folder of its own, bounded by JAX, which throws out what was used longest ago.
"""

import hashlib
import platform
import tempfile
from pathlib import Path

import jax
import jaxlib

from nst_jax.errors import SettingsError
from nst_jax.files import user_cache

CPUINFO = "/proc/cpuinfo"
MIN_SECONDS = 0.02  # reading a file takes a tenth of it
MAX_BYTES = 2**29  # of one folder; a step takes 1 to 10 MB
SUFFIX, USED = "-cache", "-atime"  # JAX's, of an entry and of when it was used


def default_folder() -> Path:
    """Where the command keeps what it compiles: the user's cache folder.

    Raises:
        SettingsError: the user has no home.
    """
    if (folder := user_cache()) is None:
        raise SettingsError("there is no home folder to keep compiled programs in")
    return folder / "compilations"


def keep_compilations(folder: Path) -> Path:
    """Keep what is compiled from now on in this folder, which is made, and look there first.

    Returns:
        The folder inside that is for this machine and these versions.

    Raises:
        SettingsError: it cannot be made or written.
    """
    own = folder / f"jax-{jax.__version__}-jaxlib-{jaxlib.__version__}-{_machine()}"
    try:
        own.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=own).close()  # permission bits say little
        _remove_halves(own)
    except OSError as error:
        raise SettingsError(f"compilation cache {folder}: {error.strerror}") from error
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return own


def _remove_halves(folder: Path) -> None:
    """Remove entries that a killed process left: JAX would neither read nor replace them."""
    for entry in folder.glob(f"*{SUFFIX}"):
        if not entry.with_name(entry.name.removesuffix(SUFFIX) + USED).exists():
            entry.unlink(missing_ok=True)


def _machine() -> str:
    """The processor's architecture, and a hash of its kind and of the instructions it knows."""
    try:
        lines = Path(CPUINFO).read_text().splitlines()
        facts = sorted({line for line in lines if line.startswith(("model", "flags", "Features"))})
    except OSError:  # no Linux
        facts = [platform.system(), platform.processor()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return f"{platform.machine()}-{digest[:12]}"
