"""Room for pictures is reckoned by what they hold."""

from types import SimpleNamespace

import pytest

from nst_jax.cli.checkpoints import picture_bytes
from nst_jax.images.encoders import SaveOptions


@pytest.mark.parametrize(
    ("alphas", "bits", "size"),
    [((None,), 8, 3 * 48), ((None, "opaque"), 8, 4 * 48), (("opaque",), 16, 8 * 48)],
)
def test_picture_bytes(alphas, bits, size):
    problem = SimpleNamespace(shape=(6, 8, 3), alphas=alphas)
    assert picture_bytes(problem, SaveOptions(bits=bits)) == size
