"""What a compiled step holds, moves and computes, and the least time that a device needs for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nst_jax.planning.device_kinds import DeviceKind
from nst_jax.planning.program_text import Kernel, ProgramText


class Account(NamedTuple):
    """XLA's account of one compiled program, for one device.

    Attributes:
        memory: bytes that the device holds while it runs: arguments, results that are not in the
            place of one, and temporaries.
        temporaries: bytes, of these.
        kernels: how many run in one call.
        collectives: of these, how many speak to other devices.
        received: {what these do, such as "all-reduce": bytes that they bring from other devices}.
        traffic: bytes that the kernels read and write in the device's memory.
        flops: {precision: FLOPs of matrix products and convolutions}.
        least_seconds: of one call, by the device's peaks; None where they are not known.
        compile_seconds: that it took to compile.
    """

    memory: int
    temporaries: int
    kernels: int
    collectives: int
    received: Mapping[str, float]
    traffic: float
    flops: Mapping[str, float]
    least_seconds: float | None
    compile_seconds: float = 0.0


def account_of(compiled: Any, kind: DeviceKind, compile_seconds: float) -> Account:
    """Account for a `jax.stages.Compiled` that was compiled for this kind of device.

    A GPU's kernels wait for each other; a TPU moves what the next one reads while one computes.
    """
    sizes = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    memory = kept + sizes.temp_size_in_bytes
    kernels = ProgramText(compiled.as_text()).kernels
    count = sum(kernel.runs for kernel in kernels)
    collectives, received = 0, dict[str, float]()
    for each in (kernel for kernel in kernels if kernel.collective):
        collectives += each.runs
        before = received.get(each.collective, 0.0)
        received[each.collective] = before + each.runs * each.received
    flops = flops_of(kernels)
    traffic = sum(kernel.runs * kernel.bytes for kernel in kernels)
    least = least_seconds(kernels, kind)
    if kind.platform == "tpu":
        busy = sum(each / kind.peaks.get(p, min(kind.peaks.values())) for p, each in flops.items())
        least = max(traffic / kind.bandwidth, busy)
    temporaries = sizes.temp_size_in_bytes
    least += sum(received.values()) / kind.link  # nothing is computed meanwhile
    counts = memory, temporaries, count, collectives
    return Account(*counts, received, traffic, flops, least, compile_seconds)


def flops_of(kernels: Sequence[Kernel]) -> dict[str, float]:
    """{precision: FLOPs} of all matrix products and convolutions."""
    totals: dict[str, float] = {}
    for kernel in kernels:
        if kernel.flops:
            totals[kernel.precision] = (
                totals.get(kernel.precision, 0.0) + kernel.runs * kernel.flops
            )
    return totals


def least_seconds(kernels: Sequence[Kernel], kind: DeviceKind) -> float:
    """The roofline: Σ max(bytes / bandwidth, FLOPs / peak), and what lies between the kernels.

    Source: Williams, Waterman & Patterson 2009, "Roofline".
    """
    return sum(
        kernel.runs
        * (max(kernel.bytes / kind.bandwidth, _product_seconds(kernel, kind)) + kind.gap)
        for kernel in kernels
    )


def _product_seconds(kernel: Kernel, kind: DeviceKind) -> float:
    if not kernel.flops:
        return 0.0
    return kernel.flops / kind.peaks.get(kernel.precision, kind.peaks["float32"])
