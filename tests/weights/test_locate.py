"""Which weights file is meant."""

import os
import re
import sys
from pathlib import Path

import platformdirs
import pytest
import reference

from nst_jax.errors import WeightsError
from nst_jax.weights import locate
from nst_jax.weights.locate import (
    available_weights,
    calibration_folder,
    embedded_path,
    find_weights,
    user_folder,
)
from nst_jax.weights.storage import save_weights


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make empty files in the user's folder by their names; give the folder."""
    folder = tmp_path / "installed"
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(folder))
    monkeypatch.chdir(tmp_path)

    def make(*names):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.safetensors").touch()
        return folder

    return make


@pytest.mark.parametrize(
    ("files", "choice", "expected"),
    [
        ([], "auto", None),
        (["vgg16-torchvision", "other", "auto-pilot"], "auto", None),
        (["vgg16-torchvision", "vgg19-keras"], "auto", "vgg19-keras"),
        (["vgg19-torchvision", "vgg19-keras"], "auto", "vgg19-keras"),
        (["vgg19-torchvision", "vgg19"], "auto", "vgg19"),
        (["vgg190"], "auto", None),
        ([".vgg19-keras-x8f", ".vgg19"], "auto", None),  # half-written
        (["vgg19-torchvision"], "vgg19", "vgg19-torchvision"),
        (["vgg19-torchvision", "vgg19"], "vgg19", "vgg19"),
        (["vgg16-torchvision"], "vgg16", None),  # the embedded one has activation means
        ([], "vgg16", None),
        ([], "vgg16-imagenet", None),
        (["mine", "vgg19-keras"], "mine", "mine"),
        (["vgg19-keras", "vgg19-keras-2"], "vgg19-keras", "vgg19-keras"),
    ],
)
def test_find_weights(installed, files, choice, expected):
    folder = installed(*files)
    path = folder / f"{expected}.safetensors" if expected else reference.EMBEDDED
    assert find_weights(choice) == path


def test_find_weights_prefers_what_can_be_normalized(installed, narrow):
    folder = installed("vgg16-a", "vgg19-a", "vgg19-c")
    usable = save_weights(narrow, folder / "vgg19-b.safetensors")
    assert find_weights("auto") == find_weights("vgg19") == usable
    assert find_weights("vgg19-a") == folder / "vgg19-a.safetensors"


def test_find_weights_by_path(installed, tmp_path):
    folder = installed("vgg19-keras")
    for path in (folder / "vgg19-keras.safetensors", embedded_path()):
        assert find_weights(str(path)) == path
    (tmp_path / "here.safetensors").touch()
    assert find_weights("here.safetensors") == Path("here.safetensors")
    (tmp_path / "no_suffix").touch()
    assert find_weights("no_suffix") == Path("no_suffix")
    assert find_weights(os.path.join(".", "no_suffix")) == Path("no_suffix")


@pytest.mark.parametrize("choice", ["none.safetensors", os.path.join("folder", "vgg19")])
def test_paths_without_a_file(installed, choice):
    installed("none", "vgg19")
    with pytest.raises(WeightsError, match=f"^{re.escape(choice)}: no such weights file"):
        find_weights(choice)


@pytest.mark.parametrize("choice", ["vgg19", "vgg", "min", "Mine", ".hidden", ""])
def test_unknown_names(installed, choice):
    installed("mine", ".hidden")
    words = rf"^no weights called '{choice}'; there are mine, vgg16-imagenet"
    remedy = "; get it with: nst-jax weights fetch vgg19" if choice == "vgg19" else ""
    with pytest.raises(WeightsError, match=f"{words}{remedy}$"):
        find_weights(choice)


def test_without_the_embedded_file(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "embedded_path", lambda: tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match="embedded weights are missing: .*gone.*; install again"):
        find_weights("auto")
    folder = installed("vgg19-keras")
    assert find_weights("auto") == folder / "vgg19-keras.safetensors"
    assert available_weights() == [folder / "vgg19-keras.safetensors"]


@pytest.mark.parametrize("missing", [True, False])
def test_the_users_folder(monkeypatch, tmp_path, missing):
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "missing" if missing else tmp_path))
    assert user_folder() == Path(os.environ["NST_JAX_WEIGHTS"])
    assert available_weights() == [reference.EMBEDDED]


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The user has chosen no folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NST_JAX_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's folder")
def test_the_users_folder_unless_chosen(home, monkeypatch):
    assert user_folder() == home / ".cache" / "nst_jax" / "weights"
    monkeypatch.setenv("NST_JAX_WEIGHTS", "")
    assert user_folder() == home / ".cache" / "nst_jax" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    assert user_folder() == home / "cache" / "nst_jax" / "weights"


def test_what_was_installed_with_version_0_2_is_found(home, monkeypatch):
    """Its folder was ~/.cache/nst_jax/weights, whatever the system or XDG_CACHE_HOME says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: home / "Caches/nst_jax")
    older, newer = home / ".cache/nst_jax/weights", home / "Caches/nst_jax/weights"
    older.mkdir(parents=True)
    (older / "vgg19-keras.safetensors").touch()
    (older / "mine.safetensors").touch()
    assert find_weights("auto") == older / "vgg19-keras.safetensors"
    newer.mkdir(parents=True)
    (newer / "mine.safetensors").touch()
    assert find_weights("mine") == newer / "mine.safetensors"
    assert available_weights() == [
        newer / "mine.safetensors",
        older / "mine.safetensors",
        older / "vgg19-keras.safetensors",
        reference.EMBEDDED,
    ]
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(newer))  # a choice means that folder and no other
    assert find_weights("auto") == reference.EMBEDDED


def test_an_installed_copy_holds_the_embedded_file_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "__file__", str(tmp_path / "nst_jax" / "weights" / "locate.py"))
    inside = tmp_path / "nst_jax" / "embedded" / "vgg16-imagenet.safetensors"
    assert embedded_path() == tmp_path / "weights" / inside.name
    inside.parent.mkdir(parents=True)
    inside.touch()
    assert embedded_path() == inside
    assert calibration_folder() == inside.parent / "calibration"


def test_a_user_without_a_home(monkeypatch):
    """Finds the embedded weights, and has no place for others."""
    monkeypatch.delenv("NST_JAX_WEIGHTS", raising=False)
    monkeypatch.setattr(locate, "user_cache", lambda: None)
    assert find_weights("auto") == embedded_path()
    with pytest.raises(WeightsError, match=r"no home folder.*\$NST_JAX_WEIGHTS"):
        locate.user_folder()


def test_a_home_that_is_no_folder_or_another_users(monkeypatch, tmp_path):
    """Permission bits say nothing to root: the error is raised by hand, too."""
    monkeypatch.delenv("NST_JAX_WEIGHTS", raising=False)
    (tmp_path / "file").touch()
    for home in (tmp_path / "missing", tmp_path / "file"):
        monkeypatch.setattr(locate, "user_cache", lambda home=home: home / "nst_jax")
        assert find_weights("auto") == embedded_path()

    def denied(self, pattern):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "glob", denied)
    assert find_weights("auto") == embedded_path()
