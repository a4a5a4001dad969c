"""Fetching from a server on this machine that misbehaves on request."""

import hashlib
import os
import re
import resource
import socket
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from layouts import LAYOUTS, LPIPS, random_network

from nst_jax import architecture
from nst_jax.errors import WeightsError
from nst_jax.weights import fetch as fetching
from nst_jax.weights.convert import convert
from nst_jax.weights.fetch import SOURCES, Download, fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four chunks
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the server's content; the first folder of the path says how."""

    def do_GET(self):
        self.server.requests.append(self.path)
        behavior, content = self.path.split("/")[1], self.server.content
        half = content[: len(content) // 2]
        is_first = self.server.requests.count(self.path) == 1
        if behavior == "missing":
            self.send_error(404)
        elif behavior == "wrong":
            self.answer(content[::-1])
        elif behavior == "breaking" or (behavior == "stumbling" and is_first):
            self.answer(content, sent=half)
        else:
            self.answer(content, says_size=behavior != "sizeless")

    def answer(self, body, sent=None, says_size=True):
        self.send_response(200)
        if says_size:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else sent)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without any weights, so that nothing is found in that of whoever runs the tests."""
    for name in ("NST_JAX_WEIGHTS", "KERAS_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def publish(server, monkeypatch):
    """Make "tiny" a source with one mirror per behavior; give the list of requests."""
    server.requests, server.content = [], CONTENT
    monkeypatch.setenv("no_proxy", "*")

    def make(*behaviors, checksum=SHA256):
        base = f"http://127.0.0.1:{server.server_port}"
        folders = tuple(b if b.startswith("http") else f"{base}/{b}/" for b in behaviors)
        monkeypatch.setitem(SOURCES, "tiny", Download("tiny.bin", checksum, folders))
        return server.requests

    return make


@pytest.fixture
def folder(tmp_path):
    """Where the files go."""
    return tmp_path / "made" / "here"


@pytest.fixture
def nobody():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/"


def refused(folder, words):
    """Fetch what fails: its message is one line that matches, and nothing is left behind."""
    with pytest.raises(WeightsError, match=words) as caught:
        fetch("tiny", folder)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_a_fetched_file_is_whole_and_progress_is_told(publish, folder):
    publish("good")
    seen = []
    path = fetch("tiny", folder, lambda *pair: seen.append(pair))
    assert path == folder / "tiny.bin" and path.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [path]
    assert len(seen) >= 4 and seen == sorted(seen)
    assert {total for _, total in seen} == {len(CONTENT)} and seen[-1][0] == len(CONTENT)


def test_others_may_read_the_file_as_the_umask_allows(publish, folder):
    publish("good")
    before = os.umask(0o027)
    try:
        mode = fetch("tiny", folder).stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o640


def test_a_server_that_tells_no_size_will_do(publish, folder):
    publish("sizeless")
    seen = []
    assert fetch("tiny", folder, lambda *pair: seen.append(pair)).read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


@pytest.mark.parametrize(
    "checksum", ["md5:" + hashlib.md5(CONTENT).hexdigest(), SHA256[: len("sha256:") + 8]]
)
def test_checksums_may_be_md5_or_the_first_digits(checksum, publish, folder):
    requests = publish("wrong", "good", checksum=checksum)
    assert fetch("tiny", folder).read_bytes() == CONTENT
    assert len(requests) == 2


# Files that are there already


def test_a_file_that_is_there_is_not_requested_again(publish, nobody, folder):
    publish(nobody)
    folder.mkdir(parents=True)
    (folder / "tiny.bin").write_bytes(CONTENT)
    assert fetch("tiny", folder) == folder / "tiny.bin"


def test_a_wrong_file_that_is_there_is_replaced(publish, folder):
    publish("good")
    folder.mkdir(parents=True)
    (folder / "tiny.bin").write_bytes(b"old")
    assert fetch("tiny", folder).read_bytes() == CONTENT


PLACES = [
    ({}, "home/.keras/models"),
    ({"KERAS_HOME": "keras"}, "keras/models"),
    ({}, "home/.cache/torch/hub/checkpoints"),
    ({"XDG_CACHE_HOME": "cache"}, "cache/torch/hub/checkpoints"),
    ({"TORCH_HOME": "torch"}, "torch/hub/checkpoints"),
    ({"TORCH_HOME": "~/torch"}, "home/torch/hub/checkpoints"),
    ({"XDG_CACHE_HOME": "cache"}, "cache/nst_jax/weights"),
    ({"XDG_CACHE_HOME": "cache"}, "home/.cache/nst_jax/weights"),  # version 0.2's
]


@pytest.mark.parametrize(("environment", "place"), PLACES)
@pytest.mark.parametrize("is_right", [True, False])
def test_what_other_programs_have_downloaded_is_used_if_it_is_right(
    environment, place, is_right, publish, folder, tmp_path, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value if value[0] == "~" else str(tmp_path / value))
    requests = publish("good")
    theirs = tmp_path / place / "tiny.bin"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT if is_right else b"of an older version")
    assert fetch("tiny", folder) == (theirs if is_right else folder / "tiny.bin")
    assert len(requests) == (not is_right)
    assert theirs.exists() and folder.exists() != is_right  # it is theirs, also where it is wrong


# Mirrors and failures


@pytest.mark.parametrize("first", ["missing", "wrong", "breaking"])
def test_the_next_mirror_is_tried(first, publish, folder):
    requests = publish(first, "good")
    assert fetch("tiny", folder).read_bytes() == CONTENT
    assert requests == [f"/{first}/tiny.bin", "/good/tiny.bin"]
    assert list(folder.iterdir()) == [folder / "tiny.bin"]


def test_an_address_whose_connection_broke_off_is_asked_again(publish, folder):
    requests = publish("stumbling")
    assert fetch("tiny", folder).read_bytes() == CONTENT
    assert requests == ["/stumbling/tiny.bin"] * 2


def test_a_connection_that_always_breaks_off(publish, folder):
    requests = publish("breaking", "missing")
    refused(folder, r"cannot fetch tiny \(127.*: .*524288 bytes read.*; 127.*: 404 .*Not Found\)")
    assert requests == ["/breaking/tiny.bin", "/missing/tiny.bin", "/breaking/tiny.bin"]


def test_a_wrong_checksum_is_told(publish, folder):
    requests = publish("wrong")
    wanted = SHA256.partition(":")[2]
    refused(folder, f"sha256 is [0-9a-f]{{64}}; wanted {wanted}; the file was removed")
    assert len(requests) == 1


def test_without_a_server_one_line_says_what_to_do(publish, nobody, folder):
    publish(nobody)
    message = refused(folder, "Connection refused")
    assert f"download {nobody}tiny.bin by hand into {folder}" in message
    assert f"nst-jax weights convert {folder / 'tiny.bin'}" in message


def test_without_a_network_the_reason_is_the_systems(publish, folder, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    publish("https://weights.example/")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    refused(folder, r"^cannot fetch tiny \(weights.example: Name or service not known\); download")


def test_a_silent_server_is_given_up(publish, folder, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        publish(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        refused(folder, "timed out")


def test_an_interrupted_fetch_leaves_nothing(publish, folder):
    def interrupt(done, total):
        raise KeyboardInterrupt

    publish("good")
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", folder, interrupt)
    assert list(folder.iterdir()) == []


def test_a_disk_without_room_is_told(publish, folder):
    publish("good")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        refused(folder, re.escape(f"{folder}: cannot be written (File too large)"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_that_is_a_file_is_told(publish, tmp_path):
    publish("good")
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="file: cannot be written"):
        fetch("tiny", tmp_path / "file")


def test_an_unknown_source_is_told(tmp_path):
    with pytest.raises(WeightsError, match="'vgg11'; there are vgg19, vgg16"):
        fetch("vgg11", tmp_path)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_names_and_checksums_agree(source):
    """PyTorch's names end in the first digits of the checksum."""
    assert all(re.fullmatch("https://.*/", folder) for folder in source.folders)
    assert re.fullmatch("md5:[0-9a-f]{32}|sha256:([0-9a-f]{8}|[0-9a-f]{64})", source.checksum)
    if digits := re.search(r"-([0-9a-f]{8})\.pth$", source.file_name):
        assert source.checksum.startswith(f"sha256:{digits[1]}")


# Narrow networks, as every maker would publish them

FILTERS = (4, 5, 6, 7, 8)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_fetched_file_can_be_converted(layout, server, publish, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(architecture, "FILTERS", FILTERS)
    if layout.suffix == ".pth":
        pytest.importorskip("torch")
    name = "vgg16" if layout is LPIPS else "vgg19"
    network = random_network(name, filters=FILTERS)
    layout.write(tmp_path / "theirs", layout.convention(network), name)
    server.content = (tmp_path / "theirs").read_bytes()
    publish("good", checksum="sha256:" + hashlib.sha256(server.content).hexdigest())
    converted = convert(fetch("tiny", folder))
    assert converted.name == f"{name}-{layout.name}"
    for layer, parts in network.items():
        np.testing.assert_array_equal(converted.params[layer]["bias"], parts["bias"])
