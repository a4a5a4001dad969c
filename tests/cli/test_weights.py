"""`nst-jax weights`: from a file of another program to a picture, and what is refused."""

import errno
import json
import os
import shutil
import socket
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from command import draw, listing, nst, refused
from layouts import KERAS, random_network

from nst_jax import architecture
from nst_jax.files import sha256_of
from nst_jax.weights import activation_means
from nst_jax.weights.fetch import SOURCES, Download
from nst_jax.weights.locate import embedded_path
from nst_jax.weights.storage import load_weights

PHOTOGRAPHS = 24  # the fewest that `normalize` takes
SHIPPED = 50  # with the package
REFLECT = ("--padding", "reflect")
NOT = "--no-normalize"


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """A file as Keras published VGG-16, with random values; a folder of photographs beside it."""
    folder = tmp_path_factory.mktemp("keras")
    KERAS.write(folder / "vgg16.h5", KERAS.convention(random_network("vgg16")), "vgg16")
    (folder / "photographs").mkdir()
    for number in range(PHOTOGRAPHS):
        draw(folder / "photographs" / f"{number}.png", seed=number)
    yield folder
    shutil.rmtree(folder)  # pytest would keep 60 MB of each run


@pytest.fixture(scope="module")
def converted(keras, tmp_path_factory):
    """The same, converted."""
    path = tmp_path_factory.mktemp("converted") / "mine.safetensors"
    assert nst("weights", "convert", keras / "vgg16.h5", "-o", path, "--no-normalize").code == 0
    yield path
    shutil.rmtree(path.parent)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Where weights are installed: a folder that is not there yet. The current one is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "cache" / "weights"))
    return tmp_path / "cache" / "weights"


@pytest.mark.slow
def test_from_a_file_to_a_picture(keras, installed, monkeypatch):
    """Convert and install without means, list, verify, paint, normalize, paint."""
    monkeypatch.setattr(activation_means, "CROP", 16)  # for speed
    convert = ("weights", "convert", keras / "vgg16.h5", "--no-normalize")
    code, out, err = nst(*convert)
    path = installed / "vgg16-keras.safetensors"
    assert (code, out) == (0, f"{path}\n")
    assert err.startswith("Keras vgg16, CC BY") and err.endswith("; no mean activations\n")
    refused(convert, (f"{path}: exists already", "--overwrite"))
    assert nst(*convert, "--overwrite")[:2] == (0, f"{path}\n")

    code, out, err = nst("weights", "list")
    assert code == 0 and err == ""
    mine, embedded, fetchable = out.splitlines()
    assert mine.split()[:2] == ["vgg16-keras", "vgg16"] and mine.endswith(str(path))
    assert "no mean activations" in mine and "can be normalized (average and max)" in embedded
    assert all(name in fetchable for name in SOURCES)
    assert f"vgg16-keras ({path})" in nst("info").out

    code, out, err = nst("weights", "verify", "vgg16-keras")
    assert code == 0 and err == ""
    assert "13 convolutions, 14714688 values" in out and "no mean activations" in out

    paint = ("stylize", draw("photo.png"), "photo.png", "--size", 32, "--steps", 0, "--overwrite")
    paint += ("--weights", "vgg16-keras")
    err = nst(*paint).err
    assert "NOT normalized: vgg16-keras: no mean activations of average pooling, so it" in err
    assert f"compute them with: nst-jax weights normalize {path}\n" in err

    normalize = ("weights", "normalize", "vgg16-keras", "--images", keras / "photographs")
    before = load_weights(path)
    code, out, err = nst(*normalize)
    assert (code, out) == (0, f"{path}\n")
    assert err == f"computing mean activations over {PHOTOGRAPHS} photographs\n"
    after = load_weights(path)
    assert not before.activation_means and list(after.activation_means) == ["average", "max"]
    for layer, parts in before.params.items():
        assert np.array_equal(after.params[layer]["kernel"], parts["kernel"])
    for pooling in ("average", "max"):
        assert f"means of {pooling} pooling for every" in nst("weights", "verify", path).out
        code, _, err = nst(*paint, "--pooling", pooling)
        assert code == 0 and f", normalized for {pooling} pooling\n" in err
    assert ", normalized for average pooling and zero padding" in nst(*paint, *REFLECT).err


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    """Serve a folder's files on this machine; give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_from_a_server_to_a_picture(installed, monkeypatch, tmp_path):
    """Two commands: the second one needs no server, and the network is normalized for it."""
    monkeypatch.setattr(activation_means, "CROP", 16)  # for speed
    monkeypatch.setattr(architecture, "FILTERS", (8, 6, 5, 7, 6))  # the file has 60 kB
    monkeypatch.setenv("HOME", str(tmp_path))  # Keras has nothing there
    for variable in ("KERAS_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    theirs = tmp_path / "served" / SOURCES["vgg19"].file_name
    theirs.parent.mkdir()
    network = random_network("vgg19", filters=architecture.FILTERS)
    KERAS.write(theirs, KERAS.convention(network), "vgg19")
    with serving(theirs.parent) as address:
        source = Download(theirs.name, f"sha256:{sha256_of(theirs)}", (address,))
        monkeypatch.setitem(SOURCES, "vgg19", source)
        code, out, err = nst("weights", "fetch", "vgg19")
    assert (code, out) == (0, f"{installed / 'vgg19-keras.safetensors'}\n")
    assert err.splitlines() == [
        f"computing mean activations over {SHIPPED} photographs",
        "Keras vgg19, CC BY 4.0 (Oxford VGG); can be normalized (average and max)",
    ]
    paint = ("stylize", draw("photo.png"), draw("style.png", seed=1), "--size", 32, "--steps", 1)
    for pooling in ("average", "max"):
        picture = Path(f"{pooling}.png")
        code, out, err = nst(*paint, "-o", picture, "--pooling", pooling)
        assert (code, out) == (0, f"{picture}\n") and picture.exists()
        assert err.startswith("network: vgg19, weights vgg19-keras (Keras vgg19), normalized for ")
        record = json.loads(picture.with_suffix(".json").read_text())
        assert record["weights"]["normalized"] and record["weights"]["normalized_for"] == pooling


@pytest.fixture(scope="module")
def shelf(converted):
    """A folder of files that are refused, which refused commands must leave as it is."""
    folder, whole = converted.parent, converted.read_bytes()
    (folder / "torn.safetensors").write_bytes(whole[:100_000])
    (folder / "headless.safetensors").write_bytes(whole[:5])
    flipped = whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]
    (folder / "flipped.safetensors").write_bytes(flipped)
    (folder / "empty.h5").touch()
    (folder / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99)
    (folder / "taken.safetensors").touch()
    (folder / "box.safetensors").mkdir()
    (folder / "few").mkdir()
    draw(folder / "few" / "one.png")
    return folder


IN_PLACE = ("--images", "few")
REFUSED = [
    (("verify", "missing.safetensors"), ("missing.safetensors", "no such weights file")),
    (("verify", "missing"), ("no weights called 'missing'", "there are vgg16-imagenet")),
    (("verify", "few"), ("'few'",)),
    (("verify", "box.safetensors"), ("box.safetensors: no such weights file",)),
    (("verify", "torn.safetensors"), ("torn.safetensors: not a readable weights file",)),
    (("verify", "headless.safetensors"), ("headless.safetensors: not a readable weights",)),
    (("verify", "flipped.safetensors"), ("flipped.safetensors: damaged", "get it again")),
    (("verify", "few/one.png"), ("few/one.png: not a readable weights", "weights convert")),
    (("convert", "missing.h5"), ("missing.h5: cannot be read",)),
    (("convert", "few"), ("few: cannot be read",)),
    (("convert", "empty.h5"), ("empty.h5: the file is empty", "get it again")),
    (("convert", "torn.h5"), ("torn.h5", "HDF5", "get it again")),
    (("convert", "few/one.png"), ("few/one.png: starts with", "wanted Keras HDF5")),
    (("convert", "mine.safetensors"), ("mine.safetensors: a safetensors file", "--weights")),
    (("normalize", "missing", *IN_PLACE), ("no weights called 'missing'",)),
    (("normalize", "mine.safetensors", *IN_PLACE), ("few: 1 images", "at least 24")),
    (("normalize", "mine.safetensors", "--images", "nowhere"), ("nowhere: no such folder",)),
    (("convert", "mine.safetensors", "--images", "few"), ("mine.safetensors: a safetensors file",)),
    (("fetch", "vgg11"), ("'vgg11'", "there are vgg19, vgg16")),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_refused(shelf, installed, monkeypatch, arguments, words):
    monkeypatch.chdir(shelf)
    refused(("weights", *arguments), words)
    assert not installed.exists()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("taken.safetensors", ("taken.safetensors: exists already", "--overwrite")),
        ("box.safetensors", ("box.safetensors: is a folder", "another name")),
        ("mine.safetensors/a.safetensors", ("mine.safetensors: cannot be made", "another folder")),
        ("weights.h5", ("weights.h5: wanted a name that ends in .safetensors",)),
    ],
)
def test_bad_outputs(shelf, installed, keras, monkeypatch, output, words):
    monkeypatch.chdir(shelf)
    refused(("weights", "convert", keras / "vgg16.h5", "-o", output), words)
    photographs = ("--images", keras / "photographs")
    refused(("weights", "normalize", "mine.safetensors", *photographs, "-o", output), words)


def test_a_folder_that_is_made(keras, installed):
    """Also where the slash says that it is one; not where the run is refused."""
    arguments = ("weights", "convert", keras / "vgg16.h5", NOT, "-o", "new/here/")
    refused((*arguments[:2], "missing.h5", *arguments[3:]), ("missing.h5",))
    code, out, err = nst(*arguments)
    assert code == 0 and Path(out.strip()).parent == Path("new/here")
    assert Path(out.strip()).is_file() and "made the folder new/here" in err.splitlines()


def test_the_embedded_file_is_never_changed(keras, installed):
    before = embedded_path().stat()
    relative = os.path.relpath(embedded_path())
    for file in ("auto", "vgg16", embedded_path(), relative):
        arguments = ("weights", "normalize", file, "--images", keras / "photographs")
        refused(arguments, ("comes with the package", "-o"))
        refused((*arguments, "-o", relative, "--overwrite"), ("comes with the package", "-o"))
    assert embedded_path().stat().st_mtime_ns == before.st_mtime_ns


def test_list_goes_on_after_a_bad_file(installed, converted):
    installed.mkdir(parents=True)
    (installed / "bad.safetensors").write_text("no weights at all")
    shutil.copy(converted, installed / "vgg16-good.safetensors")
    code, out, err = nst("weights", "list")
    assert code == 0 and "vgg16-good" in out and "vgg16-imagenet" in out
    assert len(err.splitlines()) == 1 and "bad.safetensors: not a readable weights file" in err


def test_a_wrong_folder_of_photographs_is_told_before_a_download(installed, monkeypatch):
    def never(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    code, out, err = nst("weights", "fetch", "vgg19", "--images", "nowhere")
    assert (code, out) == (2, "") and "nowhere: no such folder" in err
    assert not installed.exists() or not list(installed.iterdir())


@pytest.mark.parametrize("name", SOURCES)
def test_fetch_without_a_network(installed, monkeypatch, tmp_path, name):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("HOME", str(tmp_path))  # Keras and PyTorch have nothing there
    for variable in ("KERAS_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    code, out, err = nst("weights", "fetch", name)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    url = SOURCES[name].folders[0] + SOURCES[name].file_name
    remedy = (
        f"{url} by hand into {installed}",
        f"weights convert {installed / url.split('/')[-1]}",
    )
    for word in (f"nst-jax: cannot fetch {name}", "Name or service not known", *remedy):
        assert word in err
    assert listing(installed) == []


@pytest.mark.slow
def test_fetch_where_keras_has_the_file(installed, monkeypatch, tmp_path):
    monkeypatch.setattr(activation_means, "CROP", 16)  # for speed
    monkeypatch.setattr(architecture, "FILTERS", (8, 6, 5, 7, 6))
    theirs = tmp_path / "models" / "vgg16.h5"
    theirs.parent.mkdir()
    network = random_network("vgg16", seed=1, filters=architecture.FILTERS)
    KERAS.write(theirs, KERAS.convention(network), "vgg16")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(SOURCES, "vgg16", Download("vgg16.h5", f"sha256:{sha256_of(theirs)}", ()))
    code, out, err = nst("weights", "fetch", "vgg16")
    path = installed / "vgg16-keras.safetensors"
    assert (code, out) == (0, f"{path}\n")
    assert err.startswith(
        f"computing mean activations over {SHIPPED} photographs\nKeras vgg16, CC BY"
    )
    assert "\nKeras vgg16, CC BY" in err and err.endswith(
        f"\nNothing was downloaded: {theirs} is the same file.\n"
    )
    assert load_weights(path).source_sha256 == sha256_of(theirs)
    assert os.listdir(installed) == [path.name]
    refused(("weights", "fetch", "vgg16"), (f"{path}: exists already", "--overwrite"))
    assert f"over {SHIPPED} photographs" in nst("weights", "normalize", "vgg16-keras").err


def test_no_room_for_weights(installed, keras, monkeypatch):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    arguments = ("weights", "convert", keras / "vgg16.h5", "-o", "a.safetensors")
    refused(
        (*arguments, "--no-normalize"),
        ("a.safetensors: cannot be written (No space left on device)",),
    )
