"""Files appear whole or not at all."""

import contextlib
import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from nst_jax import files
from nst_jax.errors import NSTError
from nst_jax.files import made_folder, remove_abandoned, replacing, write_bytes


class Broken(BaseException):  # noqa: N818
    """Any error, Ctrl-C included, in the middle of writing."""


@pytest.fixture
def old(tmp_path):
    """A file that is there already, alone in its folder."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    return path


def test_write(tmp_path):
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_replace(old):
    write_bytes(old, b"new")
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == ["a.png"]


def test_old_file_stays_until_the_new_one_is_whole(old):
    with replacing(old) as temporary:
        temporary.write_bytes(b"ne")
        assert old.read_bytes() == b"old"
        assert temporary.parent == old.parent and temporary.suffix == ".png"
        assert temporary.name.startswith(".")  # hidden from globs and from users
        temporary.write_bytes(b"new")
    assert old.read_bytes() == b"new" and not temporary.exists()


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), Broken()])
def test_nothing_half_written(old, error):
    with pytest.raises(type(error)), replacing(old) as temporary:
        temporary.write_bytes(b"ne")
        raise error
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["a.png"]


def test_two_writers_do_not_meet(old):
    with replacing(old) as first, replacing(old) as second:
        assert first != second
        first.write_bytes(b"first"), second.write_bytes(b"second")
    assert old.read_bytes() == b"first"  # whoever ends last
    assert os.listdir(old.parent) == ["a.png"]


def test_what_killed_writers_left_is_removed(tmp_path):
    """Of this file only, whatever its name holds."""
    path = tmp_path / "a[1] b.png"
    with pytest.raises(Broken), replacing(path) as temporary:
        left = temporary.name
        raise Broken
    for name in (left, "a[1] b.png", ".a[1] b-short.png", f"{left}.tif", ".a1 b-12345678.png"):
        (tmp_path / name).write_bytes(b"ne")
    remove_abandoned(path)
    assert left not in os.listdir(tmp_path) and len(os.listdir(tmp_path)) == 4


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "a", b"new")
    assert os.listdir(tmp_path) == []


def test_folder_in_the_way(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):
        write_bytes(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == []


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_the_users(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "a", b"new")
        assert os.umask(mask) == mask  # reading the mask left it as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("ending", [None, OSError(28, "full")])
def test_folders_that_stay_empty_are_removed(tmp_path, ending):
    with contextlib.suppress(OSError), made_folder(tmp_path / "a" / "b" / "c") as is_new:
        assert is_new and (tmp_path / "a" / "b" / "c").is_dir()
        (tmp_path / "a" / "kept").touch()
        if ending:
            raise ending
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "kept"]
    with made_folder(tmp_path / "a") as is_new:
        assert not is_new


def test_a_folder_that_cannot_be_made(old):
    with pytest.raises(NSTError, match="a.png.b: cannot be made .*; choose another folder"):
        with made_folder(old / "b"):
            pass


@pytest.fixture
def pipe(monkeypatch):
    """A function: bytes → the name of a pipe through which they come."""
    opened = []
    monkeypatch.setattr(files, "_piped", {})

    def make(content):
        reader, writer = os.pipe()
        opened.append(reader)
        os.write(writer, content), os.close(writer)
        return f"/dev/fd/{reader}"

    yield make
    for reader in opened:
        os.close(reader)


needs_dev_fd = pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")


@needs_dev_fd
def test_a_pipe_is_read_once_and_remembered(pipe, tmp_path):
    name = pipe(b"once")
    assert [files.from_pipe(name), files.from_pipe(Path(name))] == [b"once", b"once"]
    assert files.sha256_of(Path(name)) == hashlib.sha256(b"once").hexdigest()
    (tmp_path / "file").write_bytes(b"file")
    assert files.from_pipe(tmp_path / "file") is None
    with pytest.raises(FileNotFoundError):
        files.from_pipe(tmp_path / "missing")


@needs_dev_fd
def test_a_pipe_that_never_ends(pipe, monkeypatch):
    monkeypatch.setattr(files, "MAX_PIPE", 3)
    with pytest.raises(NSTError, match="save the image to a file"):
        files.from_pipe(pipe(b"four"))


@pytest.mark.parametrize("name", files.STDIN)
def test_standard_input(pipe, name):
    reader = int(pipe(b"told").rpartition("/")[2])
    before = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert files.from_pipe(name) == b"told"
    finally:
        os.dup2(before, 0), os.close(before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
def test_standard_input_that_is_a_terminal(monkeypatch):
    monkeypatch.setattr(files, "_piped", {})
    other, terminal = os.openpty()
    before = os.dup(0)
    os.dup2(terminal, 0)
    try:
        with pytest.raises(NSTError, match="is a terminal; pipe an image into it"):
            files.from_pipe("-")
    finally:
        os.dup2(before, 0)
        for descriptor in (before, other, terminal):
            os.close(descriptor)


@pytest.mark.parametrize(
    ("file", "stem"),
    [("-", "stdin"), ("/dev/stdin", "stdin"), ("/dev/fd/63", "pipe"), ("/proc/self/fd/3", "pipe")]
    + [("a/b.c.png", "b.c"), ("-.png", "-")],
)
def test_stems(file, stem):
    assert files.stem_of(file) == stem


def no_home(*_, **__):
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("answer", [no_home, lambda *_, **__: Path("~/.cache/nst_jax")])
def test_a_user_without_a_home(monkeypatch, answer):
    """As in a container whose user is a number; platformdirs raises, or gives the tilde back."""
    monkeypatch.setattr(files.platformdirs, "user_cache_path", answer)
    assert files.user_cache() is None
