"""Products with a stored history against NumPy float64, both ways of taking them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.optim import lbfgs_history

PRODUCTS = 1e-5  # float32 sums over 300 numbers


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("way", ["at_once", "by_rows", ""])
@pytest.mark.parametrize("lanes", [0, 3])
def test_products(random, dtype, way, lanes):
    """Of what is stored, also for lanes; "" is the way this device takes."""
    shape = (lanes,) if lanes else ()
    rows = jnp.asarray(random.standard_normal((*shape, 7, 300)), dtype)
    vectors = jnp.float32(random.standard_normal((*shape, 2, 300)))
    weights = jnp.float32(random.standard_normal((*shape, 7)))
    stored = lbfgs_history.narrow(rows.astype(jnp.float32), lbfgs_history.stored_type(dtype))
    assert stored.dtype.itemsize == jnp.dtype(dtype).itemsize
    times = getattr(lbfgs_history, f"_times_{way}") if way else lbfgs_history.times
    whole = partial(lbfgs_history.combine, size=300)
    combine = getattr(lbfgs_history, f"_combine_{way}") if way else whole
    if lanes:
        times, combine = jax.vmap(times), jax.vmap(combine)
    exact = np.asarray(rows, np.float64)
    wanted = np.einsum("...mn,...kn->...km", exact, np.asarray(vectors, np.float64))
    assert np.asarray(jax.jit(times)(stored, vectors)) == pytest.approx(wanted, abs=10 * PRODUCTS)
    wanted = np.einsum("...m,...mn->...n", np.asarray(weights, np.float64), exact)
    assert np.asarray(jax.jit(combine)(weights, stored)) == pytest.approx(wanted, abs=PRODUCTS)


def test_bfloat16_comes_back_as_it_was(random):
    values = jnp.asarray([0.0, -0.0, 1e-40, 3e38, -1.5, *random.standard_normal(50)], jnp.float32)
    rounded = values.astype(jnp.bfloat16).astype(jnp.float32)
    stored = lbfgs_history.narrow(values, lbfgs_history.stored_type(jnp.bfloat16))
    assert np.array_equal(lbfgs_history.widen(stored, jnp.float32), rounded)
