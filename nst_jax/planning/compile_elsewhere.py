"""Compiles steps for a device that is not there, in a process of its own.

XLA's compilers for NVIDIA GPUs and TPUs run on any machine. They want to be chosen before JAX is
imported, and one that fails may end the process: so the process that plans starts another one,
`python -m nst_jax.planning.compile_elsewhere`, hands it what is to be compiled, and reads one
account after the other.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

from nst_jax.errors import SettingsError
from nst_jax.planning.account import Account, account_of
from nst_jax.planning.device_kinds import DeviceKind, find_device_kind

# Module that must be there for each platform, the extra that brings it, and the environment.
NEEDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "cuda": (
        "jax_plugins.xla_cuda13",
        "aot-cuda",
        # Autotuning would want to run kernels.
        {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_gpu_autotune_level=0"},
    ),
    "tpu": (
        "libtpu",
        "aot-tpu",
        {
            "JAX_PLATFORMS": "cpu",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # another plan may be under way
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_WORKER_HOSTNAMES": "localhost",
        },
    ),
}


class Job(NamedTuple):
    """A step to be compiled: shapes only.

    Attributes:
        program: an `engine.program.Program`.
        shape: (H, W) of the images.
        lanes: at once, on all devices; 0 for a step without an axis of lanes.
        params: {layer: {"kernel", "bias"}}, `jax.ShapeDtypeStruct` of the network's parameters.
        targets: of one lane, a tree of `jax.ShapeDtypeStruct`.
        weights: of one lane, as `targets`.
    """

    program: Any
    shape: tuple[int, int]
    lanes: int
    params: Any
    targets: Any
    weights: Any


def check_installed(kind: DeviceKind) -> None:
    """Refuse a kind of device whose compiler is not installed.

    Raises:
        SettingsError: it is not; with the extra to install.
    """
    module, extra, _ = NEEDS[kind.platform]
    found = None
    with contextlib.suppress(ModuleNotFoundError):  # of the parent package
        found = find_spec(module)
    if found is None:
        raise SettingsError(
            f"XLA's compiler for {kind.title} is not installed: pip install 'nst-jax[{extra}]'"
        )


class Compiler:
    """XLA for one kind of device, in a process of its own; a context manager."""

    def __init__(self, kind: DeviceKind):
        """Start the process.

        Raises:
            SettingsError: what compiles for this kind is not installed.
        """
        check_installed(kind)
        self._kind = kind
        as_it_will_be = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
        environment = {**os.environ, **as_it_will_be, **NEEDS[kind.platform][2]}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "nst_jax.planning.compile_elsewhere",
                kind.label,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def __enter__(self) -> "Compiler":
        return self

    def __exit__(self, *_: Any) -> None:
        with self._process:  # which closes its pipes
            self._process.kill()

    def account(self, job: Job) -> Account | str:
        """What XLA says of a job, or why it cannot be compiled, in one line."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        try:
            pickle.dump(job, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)  # our own process: nothing from outside
        except (EOFError, OSError, pickle.UnpicklingError):
            lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            return f"XLA ended: {lines[-1] if lines else 'without a word'}"


def serve(kind: DeviceKind) -> None:
    """Compile the jobs that come in on standard input, and answer on standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what compilers print
    devices = find_devices(kind)
    for job in _jobs():
        began = time.perf_counter()
        try:
            compiled = compile_step(job, kind, devices)
            answer: Account | str = account_of(compiled, kind, time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  any that XLA raises is the answer
            answer = str(error).splitlines()[0]
        pickle.dump(answer, answers)
        answers.flush()


def find_devices(kind: DeviceKind) -> tuple[Any, ...]:
    """Devices of this kind, for which can be compiled; this process has the right environment."""
    from jax.experimental import topologies

    if kind.platform == "tpu":
        found = topologies.get_topology_desc(kind.topology, platform="tpu")
        return tuple(found.devices[: kind.devices])
    import jax_plugins.xla_cuda13

    with contextlib.suppress(Exception):  # JAX has registered it already, or does so now
        jax_plugins.xla_cuda13.initialize()
    options = {"topology": kind.topology, "target_config": kind.target}
    return tuple(topologies.get_topology_desc(kind.topology, platform="cuda", **options).devices)


def compile_step(job: Job, kind: DeviceKind, devices: tuple[Any, ...]) -> Any:
    """The `jax.stages.Compiled` of a job's step."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import SingleDeviceSharding

    from nst_jax.engine import executors
    from nst_jax.engine import program as steps

    prepare = partial(steps.prepare_parameters, job.program, shape=job.shape)
    params = jax.eval_shape(prepare, job.params)
    if job.lanes or job.program.rows.devices > 1:
        one_lane = job.targets, job.weights
        programs, carry, others = executors.on_mesh(
            job.program, devices, job.lanes, job.shape, one_lane
        )
        function, arguments = programs.step, (carry, params, *others)
    else:
        function = jax.jit(partial(steps.step, job.program), donate_argnums=0)
        image = jax.ShapeDtypeStruct((*job.shape, 3), jnp.float32)
        carry = jax.eval_shape(partial(steps.start, job.program), image)
        sharding = SingleDeviceSharding(devices[0])
        arguments = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            (carry, params, job.targets, job.weights),
        )
    return function.trace(*arguments).lower(lowering_platforms=(kind.platform,)).compile()


def _jobs() -> Iterator[Job]:
    while True:
        try:
            yield pickle.load(sys.stdin.buffer)
        except EOFError:
            return


if __name__ == "__main__":
    serve(find_device_kind(sys.argv[1]))
