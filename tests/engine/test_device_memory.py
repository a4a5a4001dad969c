"""What a program needs against closed forms, and what there is against made-up machines."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from nst_jax import host_memory
from nst_jax.engine import device_memory
from nst_jax.engine.program import compiler_options
from nst_jax.network import vgg
from nst_jax.network.gram import gram_matrix

COUNT = 100_000  # float32, 400 kB
# Beyond its arrays XLA counts a few words, such as a table of results.
WORDS = 4096


@pytest.mark.parametrize(("donate", "arrays"), [((), 2), ((0,), 1)])
def test_what_is_donated_counts_once(donate, arrays):
    compiled = jax.jit(lambda x: x + 1, donate_argnums=donate).lower(jnp.zeros(COUNT)).compile()
    assert device_memory.needed_bytes(compiled) == pytest.approx(4 * COUNT * arrays, abs=WORDS)


def test_temporaries_count():
    """A product cannot be made in place, nor be fused away: (n, n) floats in between."""
    side = 512

    def twice(a):
        return jnp.sin(a @ a) @ a

    compiled = jax.jit(twice).lower(jnp.zeros((side, side))).compile()
    needed = device_memory.needed_bytes(compiled)
    assert needed >= 3 * 4 * side**2


def test_the_gradient_of_what_is_observed_waits(normalized):
    """Without that XLA keeps one array as large as the features for each Gram matrix."""
    layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    network = vgg.VGG("vgg16", ("conv4_2",), normalized.mean)
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)

    def observed(image, params):
        observers = dict.fromkeys(layers, (gram_matrix,))
        features, grams = vgg.observe_features(network, params, image, observers)
        return sum(jnp.sum(a**2) for a in (*features.values(), *grams.values()))

    def read(image, params):
        whole = vgg.VGG("vgg16", (*layers, "conv4_2"), normalized.mean)
        features = vgg.extract_features(whole, params, image)
        grams = [gram_matrix(features[layer]) for layer in layers]
        return sum(jnp.sum(a**2) for a in (features["conv4_2"], *grams))

    def temporaries(loss):
        gradient = jax.jit(jax.grad(loss), compiler_options=compiler_options("cpu"))
        compiled = gradient.lower(image, normalized.params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(observed) < 0.8 * temporaries(read)


def device(**stats):
    return SimpleNamespace(memory_stats=lambda: stats or None)


def test_a_device_with_memory_of_its_own():
    free = device_memory.free_bytes((device(bytes_limit=10**9, bytes_in_use=10**8), device()))
    assert free == 9 * 10**8


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine with so much free memory (kB), and a container with a limit and usage."""
    for name in ("MEMINFO", "CGROUP"):
        monkeypatch.setattr(host_memory, name, str(tmp_path / name))
    for name in ("CGROUPS_2", "CGROUPS_1"):
        monkeypatch.setattr(host_memory, name, (str(tmp_path),))
    monkeypatch.setattr(device_memory, "COMPILED", 0)

    def make(free, limit=None, usage=0):
        text = f"MemTotal: 9 kB\nMemAvailable:   {free} kB\nSwapFree: 1000 kB\n"
        (tmp_path / "MEMINFO").write_text(text)
        (tmp_path / "CGROUP").write_text("0::/\n")
        if limit is not None:
            write_group(tmp_path, usage, **{"memory.max": limit})

    return make


def write_group(folder, usage, file="memory.current", **limits):
    """A control group: its usage, and its limits by their files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {file: usage, **limits}.items():
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("limit", "usage", "free"),
    [
        (None, 0, 8_000_000 * 1024),
        ("max", 0, 8_000_000 * 1024),
        (3 * 10**9, 10**9, 2 * 10**9),
        (10**9, 2 * 10**9, 0),
        (9 * 10**18, 0, 8_000_000 * 1024),
    ],
)
@pytest.mark.parametrize("devices", [1, 4])
def test_devices_that_share_the_machine(machine, limit, usage, free, devices):
    machine(8_000_000, limit, usage)
    assert device_memory.free_bytes((device(),) * devices) == free // devices


@pytest.mark.parametrize("prefix", ["", "total_"])
def test_a_containers_file_cache_counts_as_free(machine, tmp_path, prefix):
    machine(8_000_000, 3 * 10**9, 2 * 10**9)
    facts = {"anon": 5, f"{prefix}inactive_file": 6 * 10**8, f"{prefix}active_file": 4 * 10**8}
    text = "".join(f"{name} {value}\n" for name, value in facts.items())
    (tmp_path / "memory.stat").write_text(text)
    assert device_memory.free_bytes((device(),)) == 2 * 10**9


def test_swapping_counts_where_it_is_asked_for(machine):
    machine(8_000_000)
    assert device_memory.free_bytes((device(),), swap=True) == 8_001_000 * 1024


GB = 10**9
SLURM = "slurm/uid_1000/job_7/step_0"


@pytest.mark.parametrize(
    ("groups", "free"),
    [
        ({SLURM: {"memory.max": 4 * GB}}, 3 * GB),
        ({SLURM: {"memory.max": "max"}, "slurm/uid_1000/job_7": {"memory.max": 3 * GB}}, 2 * GB),
        ({SLURM: {"memory.max": 4 * GB}, "slurm": {"memory.max": 5 * GB}}, 3 * GB),
        ({SLURM: {"memory.max": 4 * GB, "memory.high": 2 * GB}}, GB),
        ({"": {"memory.max": 2 * GB}}, GB),
        ({"slurm/uid_1000/job_8": {"memory.max": GB}}, 8_000_000 * 1024),  # another job's
    ],
)
def test_the_least_of_all_groups_above(machine, tmp_path, groups, free):
    """Of version 2; each group has 1 GB in use."""
    machine(8_000_000)
    (tmp_path / "CGROUP").write_text(f"0::/{SLURM}\n")
    for name, limits in groups.items():
        write_group(tmp_path / name, GB, **limits)
    assert device_memory.free_bytes((device(),)) == free


@pytest.mark.parametrize("seen", [SLURM, ""])
def test_groups_of_version_1(machine, tmp_path, seen):
    """A container sees its own group at the root, whatever path its /proc gives."""
    machine(8_000_000)
    lines = f"12:cpu,cpuacct:/other\n7:memory:/{SLURM}\n1:name=systemd:/x\n"
    (tmp_path / "CGROUP").write_text(lines)
    limits = {"memory.limit_in_bytes": 3 * GB}
    write_group(tmp_path / "other", 0, "memory.usage_in_bytes", **{"memory.limit_in_bytes": 5})
    write_group(tmp_path / seen, GB, "memory.usage_in_bytes", **limits)
    assert device_memory.free_bytes((device(),)) == 2 * GB


def test_a_group_outside_of_the_namespace(machine, tmp_path):
    machine(8_000_000, 3 * GB, GB)
    (tmp_path / "CGROUP").write_text("0::/../../job\n")
    assert device_memory.free_bytes((device(),)) == 2 * GB


@pytest.mark.parametrize("name", host_memory.RLIMITS)
def test_limits_of_the_process(machine, monkeypatch, tmp_path, name):
    """What it has already counts, and what compiling will take for good."""
    resource = pytest.importorskip("resource")
    used, compiling = host_memory.RLIMITS[name]
    machine(8_000_000)
    (tmp_path / "status").write_text(f"Name:\tpython\n{used}:\t 1000000 kB\nVmPeak: 5 kB\n")
    monkeypatch.setattr(host_memory, "STATUS", str(tmp_path / "status"))
    size = 3 * GB + 1_024_000_000 + compiling
    limits = {getattr(resource, name): (size, size)}
    unlimited = (resource.RLIM_INFINITY,) * 2
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits.get(kind, unlimited))
    assert device_memory.free_bytes((device(),)) == 3 * GB


def test_where_there_is_no_meminfo(monkeypatch, tmp_path):
    monkeypatch.setattr(device_memory, "COMPILED", 0)
    monkeypatch.setattr(host_memory, "MEMINFO", str(tmp_path / "missing"))
    monkeypatch.setattr(host_memory, "CGROUP", str(tmp_path / "missing"))
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(host_memory.os, "sysconf", pages.__getitem__)
    assert device_memory.free_bytes((device(),)) == 2_048_000
    monkeypatch.delattr(host_memory.os, "sysconf")
    assert device_memory.free_bytes((device(),)) is None


@pytest.mark.parametrize(
    ("size", "text"), [(512_000_000, "512 MB"), (1_540_000_000, "1.54 GB"), (3_000, "0.003 MB")]
)
def test_text(size, text):
    assert host_memory.as_text(size) == text


def test_what_compiling_leaves_counts_on_the_host(machine, monkeypatch):
    machine(4_000_000)
    monkeypatch.setattr(device_memory, "COMPILED", GB)
    assert device_memory.free_bytes((device(),)) == 4_000_000 * 1024 - GB
    assert host_memory.free_on_host() == 4_000_000 * 1024
    machine(1000)
    assert device_memory.free_bytes((device(),)) == 0
