"""Settings and fixtures of the whole suite."""

import os
import signal
from functools import cache

import jax
import jaxlib
import numpy as np
import pytest
from layouts import layers_of

from nst_jax import architecture
from nst_jax.cli import folder, lanes, rerun, stylize
from nst_jax.engine import problem
from nst_jax.engine.compilation_cache import keep_compilations
from nst_jax.engine.pyramid import SHARES
from nst_jax.images import io
from nst_jax.records import resolve_inputs
from nst_jax.weights import parameters
from nst_jax.weights.locate import embedded_path
from nst_jax.weights.storage import load_weights

# Strict: two ranks that broadcast by accident are an error.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """What must be set before the first program is compiled, here and in workers and children."""
    compile_sooner()
    share_compilations(config)
    take_one_core()
    if hasattr(signal, "SIGHUP"):  # under nohup it would be ignored in children, too
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def compile_sooner():
    """XLA:CPU compiles in an eighth of the time with its older emitters and few of LLVM's passes.

    XLA's own passes, and the memory that a program needs, are the same; it takes twice the time, of
    which small images take little. As users compile:
    `XLA_FLAGS=--xla_cpu_use_fusion_emitters=true JAX_DISABLE_MOST_OPTIMIZATIONS=false`.
    """
    if jaxlib.__version__.startswith("0.10."):  # a flag that a version lacks ends the process
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:  # read when JAX is imported
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
        jax.config.update("jax_disable_most_optimizations", True)


def share_compilations(config):
    """Compile each program once for all workers, their child processes and later suites.

    JAX writes an entry in place: one that was half there when it was read, or that a killed process
    left, is compiled again with a warning, which nothing in the suite minds (`pyproject.toml`).
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # a worker's, from the process that started it
        return
    folder = config.cache.mkdir("compilations")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(keep_compilations(folder))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["PYTHONWARNINGS"] = "ignore:Error reading persistent compilation cache"


def take_one_core():
    """Give each worker of pytest-xdist a core of its own.

    On all cores at once, the threads of JAX's processes would fight: two are slower than one then.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Whatever looks at a page in the browser is slow."""
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


@cache
def read_embedded():
    return load_weights(embedded_path())


@cache
def normalize_embedded(pooling):
    return parameters.normalize(read_embedded(), pooling)


@pytest.fixture(scope="session", autouse=True)
def one_network():
    """What paints takes the embedded network from memory, once it has been read and normalized.

    Both are half of a short run's time. `nst-jax weights`, and the tests of files, read them.
    """

    def load(path):
        return read_embedded() if str(path) == str(embedded_path()) else load_weights(path)

    def normalize(weights, pooling="average"):
        if weights is read_embedded():
            return normalize_embedded(pooling)
        return parameters.normalize(weights, pooling)

    with pytest.MonkeyPatch.context() as patch:
        for module in (problem, resolve_inputs, folder, lanes, rerun, stylize):
            patch.setattr(module, "load_weights", load)
        for module in (problem, resolve_inputs):
            patch.setattr(module, "normalize", normalize)
        yield


@pytest.fixture(scope="session")
def embedded():
    """The embedded VGG-16, as it was trained."""
    return read_embedded()


@pytest.fixture(scope="session")
def normalized():
    """The embedded VGG-16, every filter's mean activation 1."""
    return normalize_embedded("average")


@pytest.fixture(scope="session")
def photograph():
    """(64, 96, 3): neither square nor alike in anything."""
    from reference import SAMPLES

    return io.load_image(SAMPLES / "china.jpg", 96)


@pytest.fixture(scope="session")
def painting():
    """(80, 64, 3): of another size and shape than the photograph."""
    from reference import SAMPLES

    return io.load_image(SAMPLES / "van_gogh_cafe_terrace.jpg", 80)


@pytest.fixture
def random():
    """A generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def equal_shares(monkeypatch):
    """Every scale gets as many steps, whatever was measured to be best."""
    for count in SHARES:
        monkeypatch.setitem(SHARES, count, (1,) * count)


FILTERS = (2, 3, 4, 5, 6)  # of the narrow networks, whose files have 12 kB


@pytest.fixture
def narrow(monkeypatch):
    """A VGG-16 so narrow that its file can be damaged byte by byte."""
    monkeypatch.setattr(architecture, "FILTERS", FILTERS)
    random = np.random.default_rng(7)
    params, means, inputs = {}, {"average": {}, "max": {}}, 3
    for layer in layers_of("vgg16"):
        filters = FILTERS[int(layer[4]) - 1]
        params[layer] = {
            "kernel": random.standard_normal((3, 3, inputs, filters), np.float32),
            "bias": random.standard_normal(filters, np.float32),
        }
        for values in means.values():
            values[layer] = random.random(filters, np.float32)
        inputs = filters
    return parameters.Weights(
        "vgg16", params, (0.485, 0.456, 0.406), "chance", "0" * 64, "none", means, name="narrow"
    )
