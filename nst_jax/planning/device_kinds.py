"""The devices that a plan can be made for, and their figures, each with its source.

All are peaks of dense arithmetic and of memory by the maker's own data sheets: what is computed
from them is a bound, and no device reaches it.
"""

import difflib
import re
from typing import NamedTuple

from nst_jax.errors import SettingsError

HERE = "here"  # this machine's own device, whatever it is

# What a kernel in a CUDA graph takes beside its own work: 3.4 µs for one of 2.9 µs on a V100
# (https://developer.nvidia.com/blog/cuda-graphs/).
GAP = 0.5e-6


class DeviceKind(NamedTuple):
    """A device that programs are compiled for without having it.

    Attributes:
        name: as it is typed.
        title: the maker's.
        platform: "cuda" or "tpu", as JAX's lowering calls them.
        memory: bytes.
        bandwidth: of its memory, bytes per second.
        peaks: {precision: FLOP/s} of matrix products.
        gap: seconds between two kernels.
        target: of a GPU, XLA's GpuTargetConfig, a text proto; of a TPU, the name of a topology.
        source: of the figures.
        link: bytes per second that a device sends to others of its kind in the same machine.
        devices: how many of it.
    """

    name: str
    title: str
    platform: str
    memory: float
    bandwidth: float
    peaks: dict[str, float]
    gap: float
    target: str
    source: str
    link: float
    devices: int = 1

    @property
    def label(self) -> str:
        """Name and number, as they may be typed: h100, 8xh100."""
        return self.name if self.devices == 1 else f"{self.devices}x{self.name}"

    @property
    def topology(self) -> str:
        """What XLA calls these devices: of GPUs machines, processes and devices."""
        if self.platform == "cuda":
            return f"1x1x{self.devices}"
        return f"{self.target}:{_TPU_SHAPES[self.devices]}"

    @property
    def backend(self) -> str:
        """What JAX calls the platform where it runs: "gpu" or "tpu"."""
        return "gpu" if self.platform == "cuda" else self.platform


# Of this many TPUs; fewer than four are some of these.
_TPU_SHAPES = {1: "2x2", 2: "2x2", 4: "2x2", 8: "2x4"}


class _Chip(NamedTuple):
    """What XLA wants to know of a GPU: CUDA C++ Programming Guide, "Compute Capabilities"."""

    capability: tuple[int, int]
    cores: int
    clock_ghz: float
    l2_bytes: int
    shared_per_core: int
    threads_per_core: int
    fpus_per_core: int


_TARGET = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: {shared} threads_per_core_limit: {threads} core_count: {cores}
  fpus_per_core: {fpus} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: {bandwidth:.0f} l2_cache_size: {l2}
  clock_rate_ghz: {clock} device_memory_size: {memory:.0f} shared_memory_per_block_optin: {optin}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 minor: 0 }} device_description_str: "{title}"
"""


def _gpu(
    name: str, title: str, memory: float, bandwidth: float, tflops: dict[str, float], chip: _Chip,
    link: float, source: str,
) -> DeviceKind:  # fmt: skip
    target = _TARGET.format(
        shared=chip.shared_per_core,
        optin=chip.shared_per_core - 1024,
        threads=chip.threads_per_core,
        cores=chip.cores,
        fpus=chip.fpus_per_core,
        bandwidth=bandwidth,
        l2=chip.l2_bytes,
        clock=chip.clock_ghz,
        memory=memory,
        major=chip.capability[0],
        minor=chip.capability[1],
        title=title,
    )
    peaks = {precision: 1e12 * each for precision, each in tflops.items()}
    return DeviceKind(name, title, "cuda", memory, bandwidth, peaks, GAP, target, source, link)


def _tpu(
    name: str, title: str, memory: float, bandwidth: float, bfloat16: float, link: float,
    source: str,
) -> DeviceKind:  # fmt: skip
    # What `--precision tf32` multiplies is one product of bfloat16 there; of float32, six.
    peaks = {"bfloat16": bfloat16, "tf32": bfloat16, "float32": bfloat16 / 6}
    return DeviceKind(name, title, "tpu", memory, bandwidth, peaks, 0.0, name, source, link)


_NVIDIA, _CLOUD = "https://www.nvidia.com/en-us/data-center", "https://cloud.google.com/tpu/docs"
_HOPPER = _Chip((9, 0), 132, 1.98, 50 * 2**20, 233472, 2048, 128)
_AMPERE = _Chip((8, 0), 108, 1.41, 40 * 2**20, 167936, 2048, 64)
_HOPPER_TFLOPS = {"float32": 67, "tf32": 494.7, "bfloat16": 989.4}
_AMPERE_TFLOPS = {"float32": 19.5, "tf32": 156, "bfloat16": 312}

DEVICE_KINDS = {
    kind.name: kind
    for kind in (
        _gpu("h100", "NVIDIA H100 80GB HBM3", 84942979072, 3.352e12, _HOPPER_TFLOPS, _HOPPER,
             450e9, f"{_NVIDIA}/h100/ (SXM5)"),
        _gpu("h200", "NVIDIA H200", 150754820096, 4.8e12, _HOPPER_TFLOPS, _HOPPER,
             450e9, f"{_NVIDIA}/h200/"),
        _gpu("a100-40", "NVIDIA A100-SXM4-40GB", 42331013120, 1.555e12, _AMPERE_TFLOPS, _AMPERE,
             300e9, f"{_NVIDIA}/a100/"),
        _gpu("a100-80", "NVIDIA A100-SXM4-80GB", 84937474048, 2.039e12, _AMPERE_TFLOPS, _AMPERE,
             300e9, f"{_NVIDIA}/a100/"),
        _gpu("l4", "NVIDIA L4", 23.0e9, 0.3e12,
             {"float32": 30.3, "tf32": 60, "bfloat16": 121},
             _Chip((8, 9), 58, 2.04, 48 * 2**20, 102400, 1536, 128),
             32e9, f"{_NVIDIA}/l4/"),
        _gpu("rtx-4090", "NVIDIA GeForce RTX 4090", 25.3e9, 1.008e12,
             {"float32": 82.6, "tf32": 82.6, "bfloat16": 165.2},
             _Chip((8, 9), 128, 2.52, 72 * 2**20, 102400, 1536, 128),
             32e9,
             "https://images.nvidia.com/aem-dam/Solutions/Data-Center/l4/"
             "nvidia-ada-gpu-architecture-whitepaper-v2.1.pdf"),
        _tpu("v5e", "TPU v5e", 17.2e9, 0.819e12, 197e12, 200e9, f"{_CLOUD}/v5e"),
        _tpu("v6e", "TPU v6e", 34.4e9, 1.64e12, 918e12, 448e9, f"{_CLOUD}/v6e"),
    )
}  # fmt: skip


def find_device_kind(name: str) -> DeviceKind:
    """The kind of a name that `device_kinds` returns, and how many of it: "8xh100" is "h100-8".

    Raises:
        SettingsError: it is not known; with the nearest that is.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(.+?)(?:-(\d+))?", name)
    plain = found[2] if found else name
    if found and f"{found[2]}-{found[3]}" in DEVICE_KINDS:  # a number that is part of the name
        plain, found = f"{found[2]}-{found[3]}", re.fullmatch(r"(?:(\d+)x)?(.+)()", name)
    if plain not in DEVICE_KINDS or not found:
        known = (*DEVICE_KINDS, HERE)
        near = difflib.get_close_matches(plain, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"no device {name!r}{hint} There are {', '.join(known)}, and 8xh100")
    kind, count = DEVICE_KINDS[plain], int(found[1] or found[3] or 1)
    if count not in (_TPU_SHAPES if kind.platform == "tpu" else range(1, 1025)):
        raise SettingsError(f"{name}: {count} of {kind.title}; of TPUs there are 1, 2, 4 or 8")
    return kind._replace(devices=count)


def device_kinds(names: str) -> tuple[str, ...]:
    """Split what was typed: "h100,8xh100,v5e-8,here".

    Raises:
        SettingsError: one is not known; with the nearest that is.
    """
    wanted = tuple(name.strip().lower() for name in names.split(",") if name.strip())
    for name in wanted:
        if name != HERE:
            find_device_kind(name)
    if not wanted:
        raise SettingsError(f"no device; there are {', '.join((*DEVICE_KINDS, HERE))}")
    return tuple(dict.fromkeys(wanted))
