"""Several processes, on one machine or many: who is there, what each has, and who has gone.

Lanes do not depend on each other, so processes with lanes of their own meet only between rounds, to
gather results. Where an image is shared by the devices of all processes they take each step
together. They are joined with JAX's own `jax.distributed`.
"""

import atexit
import ctypes
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.errors import NSTError, PeerLostError, SettingsError

T = TypeVar("T")

# What to pass to `jax.distributed.initialize` where no cluster's scheduler tells it.
ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
JOIN_SECONDS = 300  # for which each waits until all are there
# After which a process that is gone ends the others; also that one which ends waits for them.
HEARTBEAT_SECONDS = 30  # JAX: 100 and 300
PART = 2**26  # bytes that are sent at once
AGAIN = "run the same command again in all of them to go on"
LOST = f"another process of this run is gone; {AGAIN}"
ABORTED = (
    f"JAX ended this process, as it does when another of the run is gone or never came; {AGAIN}"
)


def join() -> None:
    """Join the other processes, as the environment says; must come before any use of a device.

    Raises:
        SettingsError: the environment says nothing, or what it says does not work.
    """
    _keep_stdout_for_answers()
    _say_what_to_do_when_jax_aborts()
    # Nothing here asks it, and it says much when the first process is gone.
    jax.config.update("jax_enable_preemption_service", False)
    count, index = os.environ.get(COUNT), os.environ.get(INDEX)
    try:
        jax.distributed.initialize(
            num_processes=None if count is None else int(count),
            process_id=None if index is None else int(index),
            initialization_timeout=JOIN_SECONDS,
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
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    answers = os.fdopen(os.dup(1), "w", encoding=encoding, errors=errors, buffering=1)
    os.dup2(2, 1)
    sys.stdout = answers


def silence_libraries() -> None:
    """Let `sys.stderr` alone write to standard error from now on, and no library."""
    sys.stderr = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, buffering=1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


def _say_what_to_do_when_jax_aborts() -> None:
    """When the first process is gone, JAX aborts the others at once, from a thread of its own.

    A handler in Python would come too late: it runs in the main thread, once that is back from XLA.
    """
    if os.name != "posix":
        return

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def end(_: int) -> None:
        os.write(sys.stderr.fileno(), f"nst-jax: {ABORTED}\n".encode())
        os._exit(1)

    libc = ctypes.CDLL(None)
    libc.signal(signal.SIGABRT, end)
    # It keeps `end` alive, and comes after JAX's own, which waits for the others.
    atexit.register(lambda handler: libc.signal(signal.SIGABRT, signal.SIG_DFL), end)


def is_first() -> bool:
    """Whether this is the process that writes the results."""
    return jax.process_index() == 0


def own(path: Path) -> Path:
    """Where this process keeps what each has of its own: the first at the path, others beside."""
    index = jax.process_index()
    return path.with_stem(f"{path.stem}-{index}") if index else path


def spans_processes(devices: int) -> bool:
    """Whether so many devices, which share an image, are all that all processes have."""
    return devices > jax.local_device_count()


def gather(mine: T) -> list[T]:
    """What each process brings, pickled, in their order. All of them must call this.

    Raises:
        PeerLostError: one of them is not there any more.
    """
    if jax.process_count() == 1:
        return [mine]
    data = np.frombuffer(pickle.dumps(mine), np.uint8)
    with peers_needed():
        sizes = multihost_utils.process_allgather(np.int32(data.size))
        padded = np.zeros(int(sizes.max()), np.uint8)
        padded[: data.size] = data
        every = multihost_utils.process_allgather(padded)
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(every, sizes, strict=True)]


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, or its error; in all of them, which must call this.

    It is sent in parts, so that it may be larger than what devices have room for.

    Raises:
        NSTError: `make` does.
        PeerLostError: one of them is not there any more.
    """
    if jax.process_count() == 1:
        return make()
    outcome: T | NSTError | None = None
    try:
        outcome = make() if is_first() else None
    except NSTError as error:
        outcome = error
    arrays: list[Any] = []
    sent = pickle.dumps(outcome, protocol=5, buffer_callback=arrays.append)
    with peers_needed():
        count = int(_broadcast(np.int32(1 + len(arrays))))
        sends = [sent, *(each.raw() for each in arrays)] if is_first() else [b""] * count
        received = [_send(data) for data in sends]
    if not is_first():
        outcome = pickle.loads(received[0], buffers=received[1:])
    if isinstance(outcome, NSTError):
        raise outcome
    return outcome  # type: ignore[return-value]


def _send(data: Any) -> bytearray:
    """The first process's bytes, in the others."""
    mine = np.frombuffer(data, np.uint8)
    parts, rest = (int(n) for n in _broadcast(np.array(divmod(mine.size, PART), np.int32)))
    received = bytearray(0 if is_first() else parts * PART + rest)
    for number in range(parts + bool(rest)):
        place = slice(number * PART, (number + 1) * PART if number < parts else None)
        if is_first():
            _broadcast(mine[place])
        else:
            part = np.frombuffer(received, np.uint8)[place]
            part[...] = _broadcast(np.zeros_like(part))
    return received


def _broadcast(array: Any) -> np.ndarray:
    return np.asarray(multihost_utils.broadcast_one_to_all(array))


@contextmanager
def peers_needed() -> Iterator[None]:
    """What is done here needs the others: where it fails, they are taken to be gone.

    Raises:
        PeerLostError: the network's library fails, or the devices do.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in reason:
            raise
        raise PeerLostError(f"{LOST} ({reason})") from error
