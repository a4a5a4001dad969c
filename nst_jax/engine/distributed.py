"""Several processes, on one machine or many: who is there, what each has, and who has gone.

Lanes do not depend on each other, so processes meet only between rounds, to gather results. They
are joined with JAX's own `jax.distributed`.
"""

import contextlib
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.errors import NSTError, PeerLostError, SettingsError

T = TypeVar("T")

# What to pass to `jax.distributed.initialize` where no cluster's scheduler tells it.
ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
HEARTBEAT_SECONDS = 30  # also that a process which ends waits for the others; JAX: 100 and 300
PATIENCE_SECONDS = 5.0  # for a connection between two processes
FAREWELL = b"."
LOST = "another process of this run is gone; run the same command again in all of them to go on"


def join() -> None:
    """Join the other processes, as the environment says; must come before any use of a device.

    Raises:
        SettingsError: the environment says nothing, or what it says does not work.
    """
    _keep_stdout_for_answers()
    count, index = os.environ.get(COUNT), os.environ.get(INDEX)
    try:
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if index is None else int(index),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"--distributed: {reason}; start each process with {ADDRESS}=HOST:PORT, {COUNT} and "
            f"{INDEX} in its environment, or under Slurm, MPI or on a TPU pod, which tell"
        ) from error


def _keep_stdout_for_answers() -> None:
    """Let `sys.stdout` alone write to standard output; what libraries print goes to stderr.

    Gloo tells of its connections in a buffer of its own, which is written when the process ends.
    """
    sys.stdout.flush()
    answers = os.fdopen(
        os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, buffering=1
    )
    os.dup2(2, 1)
    sys.stdout = answers


def is_first() -> bool:
    """Whether this is the process that writes the results."""
    return jax.process_index() == 0


def gather(mine: T) -> list[T]:
    """What each process brings, in their order. All of them must call this; then all get all.

    Objects travel pickled, between the processes of one run only.

    Raises:
        PeerLostError: one of them is not there any more.
    """
    if jax.process_count() == 1:
        return [mine]
    data = np.frombuffer(pickle.dumps(mine), np.uint8)
    try:
        sizes = multihost_utils.process_allgather(np.int32(data.size))
        padded = np.zeros(int(sizes.max()), np.uint8)
        padded[: data.size] = data
        every = multihost_utils.process_allgather(padded)
    except (ValueError, RuntimeError) as error:  # of the network's library
        raise PeerLostError(f"{LOST} ({str(error).splitlines()[0]})") from error
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(every, sizes, strict=True)]


def decided_by_first(decide: Callable[[], T]) -> T:
    """What the first process decides, or its error; in all of them."""
    if jax.process_count() == 1:
        return decide()
    outcome: T | NSTError | None = None
    if is_first():
        try:
            outcome = decide()
        except NSTError as error:
            outcome = error
    first = gather(outcome)[0]
    if isinstance(first, NSTError):
        raise first
    return first  # type: ignore[return-value]


@contextlib.contextmanager
def watching(when_lost: Callable[[], None]) -> Iterator[None]:
    """Call `when_lost` in a thread as soon as another process dies, not at the next `gather`.

    Each process keeps a connection to the first. Where none can be made, JAX's own heartbeat ends
    the run after `HEARTBEAT_SECONDS`.
    """
    connections = _connect() if jax.process_count() > 1 else []
    ending = threading.Event()
    for one in connections:
        watcher = threading.Thread(target=_wait_for_end, args=(one, ending, when_lost), daemon=True)
        watcher.start()
    try:
        yield
        for one in connections:
            with contextlib.suppress(OSError):  # that process has ended as well
                one.sendall(FAREWELL)
    finally:  # after an error without a farewell: the others are not to wait for this process
        ending.set()
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)


def _connect() -> list[socket.socket]:
    """Connections to the first process, or from the first to all others; or none."""
    listener = socket.create_server(("", 0)) if is_first() else None
    address = (socket.gethostname(), listener.getsockname()[1]) if listener else ("", 0)
    host, port = gather(address)[0]
    connections = []
    with contextlib.suppress(OSError), listener or contextlib.nullcontext():
        if listener is None:
            connections.append(socket.create_connection((host, port), PATIENCE_SECONDS))
        else:
            listener.settimeout(PATIENCE_SECONDS)
            while len(connections) < jax.process_count() - 1:
                connections.append(listener.accept()[0])
    for one in connections:
        one.settimeout(None)
    return connections


def _wait_for_end(
    connection: socket.socket, ending: threading.Event, when_lost: Callable[[], None]
) -> None:
    """Wait until the other side closes; a farewell before that says that all is well."""
    try:
        last = connection.recv(1)
    except OSError:
        last = b""
    if last != FAREWELL and not ending.is_set():
        when_lost()
