"""What processes of one run send each other, and how one that is gone is told."""

import socket
import threading

import numpy as np
import pytest

from nst_jax import SettingsError
from nst_jax.engine import distributed, peers


@pytest.fixture
def connection(monkeypatch):
    """Both ends, and the codes with which this process would have ended."""
    codes = []
    monkeypatch.setattr(peers, "GRACE", 0)
    monkeypatch.setattr(peers, "silence_libraries", lambda: None)  # pytest is one
    monkeypatch.setattr(peers.os, "_exit", codes.append)
    here, there = socket.socketpair()
    yield here, there, codes
    here.close(), there.close()


def test_a_peer_that_is_gone_ends_the_process(connection, capsys):
    here, there, codes = connection
    there.close()
    peers._watch(here, threading.Event())
    assert codes == [1] and capsys.readouterr().err == f"nst-jax: {distributed.LOST}\n"


@pytest.mark.parametrize("way", ["farewell", "ended"])
def test_a_peer_that_has_finished_does_not(connection, capsys, way):
    """Or whose end comes with this process's own."""
    here, there, codes = connection
    ended = threading.Event()
    peers._say_farewell([there]) if way == "farewell" else ended.set()
    there.close()
    peers._watch(here, ended)
    assert codes == [] and capsys.readouterr().err == ""


@pytest.fixture
def sent(monkeypatch):
    """What the first process has broadcast; a function that begins the second."""
    queue = []
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    monkeypatch.setattr(distributed, "is_first", lambda: True)
    monkeypatch.setattr(distributed, "_broadcast", lambda each: queue.append(each) or each)
    monkeypatch.setattr(distributed, "PART", 10)

    def begin_second():
        monkeypatch.setattr(distributed, "is_first", lambda: False)
        monkeypatch.setattr(distributed, "_broadcast", lambda mine: _taken(queue, mine))

    return queue, begin_second


def _taken(queue, mine):
    assert np.shape(queue[0]) == np.shape(mine)  # or the collective would not work
    return queue.pop(0)


@pytest.mark.parametrize("size", [0, 1, 5, 9, 10, 25])
def test_arrays_are_sent_in_parts(sent, size):
    queue, begin_second = sent
    made = {"image": np.arange(size, dtype=np.float32), "name": "photo"}
    assert distributed.from_first(lambda: made) is made
    assert max(np.size(each) for each in queue) <= 10
    begin_second()
    received = distributed.from_first(lambda: pytest.fail("the second has made it, too"))
    assert received["name"] == "photo" and queue == []
    assert np.array_equal(received["image"], made["image"])
    received["image"][:1] = 0  # which is its own


def test_errors_are_sent(sent):
    _, begin_second = sent

    def fail():
        raise SettingsError("photo.png: there is no such file")

    for begin in (lambda: None, begin_second):
        begin()
        with pytest.raises(SettingsError, match="no such file"):
            distributed.from_first(fail)
