"""What a program needs against closed forms, and what there is against made-up machines."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

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
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def observed(image):
        observers = dict.fromkeys(layers, (gram_matrix,))
        features, grams = vgg.observe_features(network, normalized.params, image, observers)
        return sum(jnp.sum(a**2) for a in (*features.values(), *grams.values()))

    def read(image):
        whole = vgg.VGG("vgg16", (*layers, "conv4_2"), normalized.mean)
        features = vgg.extract_features(whole, normalized.params, image)
        grams = [gram_matrix(features[layer]) for layer in layers]
        return sum(jnp.sum(a**2) for a in (features["conv4_2"], *grams))

    def temporaries(loss):
        compiled = jax.jit(jax.grad(loss), compiler_options=compiler_options("cpu")).lower(image)
        return compiled.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(observed) < 0.8 * temporaries(read)


def device(**stats):
    return SimpleNamespace(memory_stats=lambda: stats or None)


def test_a_device_with_memory_of_its_own():
    free = device_memory.usable_bytes((device(bytes_limit=10**9, bytes_in_use=10**8), device()))
    assert free == int(device_memory.USABLE * 9 * 10**8)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine with so much free memory (kB), and a container with a limit and usage."""

    def make(free, limit=None, usage=0):
        (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:   {free} kB\n")
        monkeypatch.setattr(device_memory, "MEMINFO", str(tmp_path / "meminfo"))
        files = (tmp_path / "max", tmp_path / "current")
        monkeypatch.setattr(device_memory, "CGROUP_LIMITS", (tuple(map(str, files)),))
        if limit is not None:
            files[0].write_text(f"{limit}\n"), files[1].write_text(f"{usage}\n")

    return make


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
    assert (
        device_memory.usable_bytes((device(),) * devices)
        == int(device_memory.USABLE * free) // devices
    )


@pytest.mark.parametrize("prefix", ["", "total_"])
def test_a_containers_file_cache_counts_as_free(machine, tmp_path, prefix):
    machine(8_000_000, 3 * 10**9, 2 * 10**9)
    facts = {"anon": 5, f"{prefix}inactive_file": 6 * 10**8, f"{prefix}active_file": 4 * 10**8}
    text = "".join(f"{name} {value}\n" for name, value in facts.items())
    (tmp_path / "memory.stat").write_text(text)
    assert device_memory.usable_bytes((device(),)) == int(device_memory.USABLE * 2 * 10**9)


def test_where_there_is_no_meminfo(monkeypatch, tmp_path):
    monkeypatch.setattr(device_memory, "MEMINFO", str(tmp_path / "missing"))
    monkeypatch.setattr(device_memory, "CGROUP_LIMITS", ())
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(device_memory.os, "sysconf", pages.__getitem__)
    assert device_memory.usable_bytes((device(),)) == int(device_memory.USABLE * 2_048_000)
    monkeypatch.delattr(device_memory.os, "sysconf")
    assert device_memory.usable_bytes((device(),)) is None


@pytest.mark.parametrize(
    ("size", "text"), [(512_000_000, "512 MB"), (1_540_000_000, "1.54 GB"), (3_000, "0.003 MB")]
)
def test_text(size, text):
    assert device_memory.as_text(size) == text
