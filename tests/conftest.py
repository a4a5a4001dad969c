"""Settings and fixtures of the whole suite."""

import jax
import numpy as np
import pytest

from nst_jax import images, weights

# Strict: two ranks that broadcast by accident, or a silent change of type, are errors.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def embedded():
    """The embedded VGG-16, as it was trained."""
    return weights.load_weights(weights.embedded_path())


@pytest.fixture(scope="session")
def normalized(embedded):
    """The embedded VGG-16, every filter's mean activation 1."""
    return weights.normalize(embedded)


@pytest.fixture(scope="session")
def photograph():
    """(64, 96, 3): neither square nor alike in anything."""
    from reference import SAMPLES

    return images.load_image(SAMPLES / "china.jpg", 96)


@pytest.fixture(scope="session")
def painting():
    """(80, 64, 3): of another size and shape than the photograph."""
    from reference import SAMPLES

    return images.load_image(SAMPLES / "van_gogh_cafe_terrace.jpg", 80)


@pytest.fixture
def random():
    """A generator with a fixed seed."""
    return np.random.default_rng(0)
