import os
import subprocess
import sys

import jax
import jaxlib
import pytest

from nst_jax.engine import compilation_cache
from nst_jax.errors import SettingsError

# Compiles once; says how many entries of the cache JAX took.
SCRIPT = """
import sys
from pathlib import Path
import jax
from nst_jax.engine.compilation_cache import keep_compilations
own = keep_compilations(Path(sys.argv[1]))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None
)
jax.block_until_ready(jax.jit(lambda x: jax.numpy.sin(x) + 41)(1.0))
print(len(hits), own.name)
"""


def compile_in_a_process(folder):
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    # Without the suite's own cache.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    hits, name = process.stdout.split()
    return int(hits), name


@pytest.mark.slow
def test_the_second_process_compiles_nothing(tmp_path):
    hits, name = compile_in_a_process(tmp_path / "new" / "cache")
    assert hits == 0
    assert f"jax-{jax.__version__}-jaxlib-{jaxlib.__version__}-" in name
    assert compile_in_a_process(tmp_path / "new" / "cache") == (1, name)


@pytest.fixture
def config():
    """JAX's configuration, put back."""
    names = (
        "jax_compilation_cache_dir",
        "jax_compilation_cache_max_size",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_other_machines_and_versions_have_other_folders(config, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(compilation_cache, "CPUINFO", str(cpuinfo))
    folders = set()
    for flags in ("sse avx2", "sse avx2 avx512f"):
        cpuinfo.write_text(f"processor: 0\nmodel name: one\nflags: {flags}\ncpu MHz: 1\n")
        folders.add(compilation_cache.keep_compilations(tmp_path / "cache"))
    cpuinfo.write_text("processor: 0\nmodel name: one\nflags: sse avx2\ncpu MHz: 2\n")
    folders.add(compilation_cache.keep_compilations(tmp_path / "cache"))  # the first one again
    monkeypatch.setattr(jaxlib, "__version__", "99")
    folders.add(compilation_cache.keep_compilations(tmp_path / "cache"))
    cpuinfo.unlink()
    folders.add(compilation_cache.keep_compilations(tmp_path / "cache"))
    assert len(folders) == 4 and all(folder.is_dir() for folder in folders)


def test_what_a_killed_process_left_is_removed(config, tmp_path):
    own = compilation_cache.keep_compilations(tmp_path)
    for name in ("whole-cache", "whole-atime", "half-cache"):
        (own / name).write_bytes(b"0")
    compilation_cache.keep_compilations(tmp_path)
    assert sorted(entry.name for entry in own.iterdir()) == ["whole-atime", "whole-cache"]


def test_the_users_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.default_folder().is_relative_to(tmp_path)


def test_no_home(monkeypatch):
    monkeypatch.setattr(compilation_cache, "user_cache", lambda: None)
    with pytest.raises(SettingsError, match="no home folder"):
        compilation_cache.default_folder()


def test_a_folder_that_cannot_be_written(config, monkeypatch, tmp_path):
    """As of another user; root can write any, so that it is raised by hand."""

    def denied(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(compilation_cache.tempfile, "TemporaryFile", denied)
    with pytest.raises(SettingsError, match="compilation cache .*: Permission denied"):
        compilation_cache.keep_compilations(tmp_path)


def test_a_file_in_the_way(config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="compilation cache"):
        compilation_cache.keep_compilations(tmp_path / "file")
