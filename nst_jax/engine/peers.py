"""Processes that take every step together: where one is gone, the others end at once.

In the middle of such a step nothing may come back to Python, and JAX would abort the process with a
stack trace: at once where the first is gone, after `HEARTBEAT_SECONDS` where another is. A
connection that breaks tells in one line.
"""

import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator

import jax

from nst_jax.engine.distributed import ADDRESS, LOST, gather, is_first, silence_libraries

SECONDS = 10.0  # to connect; after that it goes without
GRACE = 1.0  # seconds in which a process may end by itself, of the same error
TOKEN, FAREWELL = 16, b"."  # bytes


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What all processes do here they do together; a process whose peer is gone ends with 1."""
    if jax.process_count() == 1:
        yield
        return
    connections, ended = _connect(), threading.Event()
    for connection in connections:
        threading.Thread(target=_watch, args=(connection, ended), daemon=True).start()
    try:
        yield
        _say_farewell(connections)
    finally:
        ended.set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _connect() -> list[socket.socket]:
    """The first process with each of the others; fewer where there is no way."""
    found: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        offer = None
        if is_first():
            server = stack.enter_context(socket.create_server(("", 0)))
            server.settimeout(SECONDS)
            host = os.environ.get(ADDRESS, "").rpartition(":")[0] or socket.gethostname()
            offer = host, server.getsockname()[1], secrets.token_bytes(TOKEN)
        host, port, token = gather(offer)[0]  # type: ignore[misc]
        with contextlib.suppress(OSError):
            if not is_first():
                found.append(socket.create_connection((host, port), SECONDS))
                found[0].sendall(token)
            while is_first() and len(found) < jax.process_count() - 1:
                connection, _ = server.accept()
                connection.settimeout(SECONDS)
                known = connection.recv(TOKEN, socket.MSG_WAITALL) == token
                found.append(connection) if known else connection.close()
    for connection in found:
        connection.settimeout(None)
    return found


def _watch(connection: socket.socket, ended: threading.Event) -> None:
    with contextlib.suppress(OSError):
        if connection.recv(len(FAREWELL)) == FAREWELL:
            return
    if ended.is_set():
        return
    silence_libraries()  # JAX is about to abort, with a stack trace
    if not ended.wait(GRACE):
        print(f"nst-jax: {LOST}", file=sys.stderr, flush=True)
        os._exit(1)


def _say_farewell(connections: list[socket.socket]) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(FAREWELL)
