"""Several processes, on one machine or many: who is there, what each has, and who has gone.

Lanes do not depend on each other, so processes meet only between rounds, to gather results. They
are joined with JAX's own `jax.distributed`.
"""

import os
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.errors import NSTError, PeerLostError, SettingsError

T = TypeVar("T")

# What to pass to `jax.distributed.initialize` where no cluster's scheduler tells it.
ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# After which a process that is gone ends the others; also that one which ends waits for them.
HEARTBEAT_SECONDS = 30  # JAX: 100 and 300
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
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    answers = os.fdopen(os.dup(1), "w", encoding=encoding, errors=errors, buffering=1)
    os.dup2(2, 1)
    sys.stdout = answers


def is_first() -> bool:
    """Whether this is the process that writes the results."""
    return jax.process_index() == 0


def gather(mine: T) -> list[T]:
    """What each process brings, pickled, in their order. All of them must call this.

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
    outcome: T | NSTError | None = None
    try:
        outcome = decide() if is_first() else None
    except NSTError as error:
        outcome = error
    first = gather(outcome)[0]
    if isinstance(first, NSTError):
        raise first
    return first  # type: ignore[return-value]
