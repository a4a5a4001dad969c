"""Fetching from a server on this machine that misbehaves on request."""

import hashlib
import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nst_jax.errors import WeightsError
from nst_jax.weights import fetch as download
from nst_jax.weights.fetch import fetch
from nst_jax.weights.sources import SOURCES, Source

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the file; the first folder of the path says how."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        behaviour = self.path.split("/")[1]
        start = int((re.findall(r"\d+", self.headers.get("Range") or "") or ["0"])[0])
        if behaviour == "missing":
            self.send_error(404)
        elif behaviour == "wrong":
            self.answer(200, CONTENT[::-1])
        elif start >= len(CONTENT):
            self.send_error(416)
        elif behaviour == "breaking" and not start:
            self.answer(200, CONTENT, sent=CONTENT[:300_000])
        elif behaviour == "shifted" and start:
            self.answer(206, CONTENT[start + 1 :], first=start + 1)
        elif start and behaviour != "rangeless":
            self.answer(206, CONTENT[start:], first=start)
        else:
            self.answer(200, CONTENT, told=behaviour != "sizeless")

    def answer(self, status, body, sent=None, first=0, told=True):
        self.send_response(status)
        if told:
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            last = len(CONTENT) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body if sent is None else sent)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server.requests
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def publish(address, monkeypatch):
    """Make "tiny" a source with one mirror per behaviour; give the list of requests."""
    base, requests = address
    requests.clear()
    monkeypatch.setenv("no_proxy", "*")

    def make(*behaviours, algorithm="sha256", digest=DIGEST):
        folders = tuple(b if b.startswith("http") else f"{base}/{b}/" for b in behaviours)
        monkeypatch.setitem(SOURCES, "tiny", Source("tiny.bin", folders, algorithm, digest))
        return requests

    return make


@pytest.fixture
def nobody():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_a_fetched_file_is_whole_and_progress_is_told(publish, tmp_path):
    publish("good")
    seen = []
    path = fetch("tiny", tmp_path / "made" / "here", lambda *pair: seen.append(pair))
    assert path == tmp_path / "made" / "here" / "tiny.bin"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_a_file_that_is_there_is_not_requested_again(publish, tmp_path):
    requests = publish("good")
    (tmp_path / "tiny.bin").write_bytes(CONTENT)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert requests == []


def test_a_wrong_file_that_is_there_is_replaced(publish, tmp_path):
    publish("good")
    (tmp_path / "tiny.bin").write_bytes(b"old")
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_only_renamed(publish, tmp_path):
    requests = publish("good")
    (tmp_path / "tiny.bin.part").write_bytes(CONTENT)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert requests == []


def test_a_part_is_resumed_where_it_ends(publish, tmp_path):
    requests = publish("good")
    (tmp_path / "tiny.bin.part").write_bytes(CONTENT[:700_001])
    seen = []
    assert fetch("tiny", tmp_path, lambda *pair: seen.append(pair)).read_bytes() == CONTENT
    assert requests == [("/good/tiny.bin", "bytes=700001-")]
    assert seen[0] == (700_001, len(CONTENT))


@pytest.mark.parametrize("behaviour", ["rangeless", "shifted"])
def test_a_server_that_does_not_resume_sends_the_whole_file(behaviour, publish, tmp_path):
    publish(behaviour)
    (tmp_path / "tiny.bin.part").write_bytes(CONTENT[:1000])
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_started_over(publish, tmp_path):
    requests = publish("good")
    (tmp_path / "tiny.bin.part").write_bytes(CONTENT + b"more")
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in requests] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_part_of_another_file_is_started_over(publish, tmp_path):
    requests = publish("good")
    (tmp_path / "tiny.bin.part").write_bytes(b"x" * 1000)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in requests] == ["bytes=1000-", None]


def test_a_server_that_tells_no_size_will_do(publish, tmp_path):
    publish("sizeless")
    seen = []
    assert fetch("tiny", tmp_path, lambda *pair: seen.append(pair)).read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


@pytest.mark.parametrize("first", ["missing", "wrong", "breaking"])
def test_the_next_mirror_is_tried(first, publish, tmp_path):
    requests = publish(first, "good")
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in requests] == [f"/{first}/tiny.bin", "/good/tiny.bin"]


def test_a_connection_that_breaks_off_is_resumed_by_the_next_fetch(publish, tmp_path):
    requests = publish("breaking")
    with pytest.raises(WeightsError, match=r"broke off after 300000 of 1048576 bytes"):
        fetch("tiny", tmp_path)
    assert (tmp_path / "tiny.bin.part").read_bytes() == CONTENT[:300_000]
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert requests[-1] == ("/breaking/tiny.bin", "bytes=300000-")


def test_a_wrong_checksum_leaves_nothing_behind(publish, tmp_path):
    publish("wrong")
    with pytest.raises(WeightsError, match=f"sha256 is [0-9a-f]{{64}}; wanted {DIGEST}"):
        fetch("tiny", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("md5", hashlib.md5(CONTENT).hexdigest()), ("sha256", DIGEST[:8])],
)
def test_checksums_may_be_md5_or_the_first_digits(algorithm, digest, publish, tmp_path):
    publish("good", algorithm=algorithm, digest=digest)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT


def test_without_a_network_one_line_says_what_to_do(publish, nobody, tmp_path):
    publish(nobody)
    with pytest.raises(WeightsError) as caught:
        fetch("tiny", tmp_path)
    message = str(caught.value)
    assert "\n" not in message and "Connection refused" in message
    assert f"download {nobody}tiny.bin by hand into {tmp_path}" in message
    assert f"nst-jax weights convert {tmp_path / 'tiny.bin'}" in message


def test_a_file_put_there_by_hand_is_found(publish, nobody, tmp_path):
    publish(nobody)
    (tmp_path / "tiny.bin").write_bytes(CONTENT)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT


def test_an_interrupted_fetch_keeps_its_part(publish, tmp_path):
    requests = publish("good")

    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", tmp_path, interrupt)
    kept = (tmp_path / "tiny.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert fetch("tiny", tmp_path).read_bytes() == CONTENT
    assert requests[-1] == ("/good/tiny.bin", f"bytes={kept}-")


def test_a_silent_server_is_given_up(publish, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        publish(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(WeightsError, match="timed out"):
            fetch("tiny", tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told(publish, tmp_path):
    publish("good")
    (tmp_path / "tiny.bin.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match="cannot be written .No space left"):
        fetch("tiny", tmp_path)


def test_a_folder_that_is_a_file_is_told(publish, tmp_path):
    publish("good")
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch("tiny", tmp_path / "file")


def test_an_unknown_source_is_told(tmp_path):
    with pytest.raises(WeightsError, match="'vgg11'; there are vgg19, vgg16"):
        fetch("vgg11", tmp_path)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_table_is_well_formed(source):
    assert source.urls and all(url.startswith("https://") for url in source.urls)
    assert all(url.endswith("/" + source.file_name) for url in source.urls)
    assert re.fullmatch("[0-9a-f]{8,64}", source.digest)
    if source.algorithm == "md5":
        assert len(source.digest) == 32
    elif "-" in source.file_name and source.file_name.endswith(".pth"):
        assert source.digest.startswith(source.file_name.split("-")[1].removesuffix(".pth"))
