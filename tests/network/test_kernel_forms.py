"""Every form of a kernel convolves alike, in both directions, and each place gets the quickest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.network import convolution, kernel_forms
from nst_jax.network.kernel_forms import CONVOLUTIONS, TRANSFORMS, choose_form, in_form

EXACT = 1e-12  # of the largest number, in float64: the same sums in another order
PADS = (0, 1, 2)


def make_problem(size=(6, 7), channels=5, filters=4):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2, *size, channels))
    return inputs, random.normal(size=(3, 3, channels, filters))


def error(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@partial(jax.jit, static_argnums=(0, 3))
def outputs_and_gradient(convolve, inputs, kernel, pad):
    """The outputs, and the gradient of their squares."""
    outputs, pull = jax.vjp(lambda x: convolve(x, kernel, pad=pad), inputs)
    return outputs, *pull(2 * outputs)


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_forms_agree(form, pad):
    with jax.enable_x64(True):
        inputs, kernel = map(jnp.asarray, make_problem())
        in_this_form = jax.jit(TRANSFORMS[form])(kernel)
        found = outputs_and_gradient(CONVOLUTIONS[form], inputs, in_this_form, pad)
        wanted = outputs_and_gradient(convolution.conv3x3, inputs, kernel, pad)
    for one, other in zip(found, wanted, strict=True):
        assert error(one, other) < EXACT


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_lanes(form):
    with jax.enable_x64(True):
        inputs, kernel = map(jnp.asarray, make_problem())
        lanes = jnp.stack([inputs, 3 * inputs])
        in_this_form = jax.jit(TRANSFORMS[form])(kernel)

        def of_lanes(convolve, kernel):
            return jax.vmap(lambda x: outputs_and_gradient(convolve, x, kernel, 1))(lanes)

        found = of_lanes(CONVOLUTIONS[form], in_this_form)
        wanted = of_lanes(convolution.conv3x3, kernel)
    for one, other in zip(found, wanted, strict=True):
        assert error(one, other) < EXACT


def test_products_of_bfloat16_are_summed_in_float32():
    inputs, kernel = (jnp.asarray(each, jnp.bfloat16) for each in make_problem(channels=512))
    found = convolution.products3x3(inputs, TRANSFORMS["split_kernel"](kernel))
    assert found.dtype == jnp.bfloat16
    wide = convolution.conv3x3(inputs.astype(jnp.float32), kernel.astype(jnp.float32))
    # Half a unit of bfloat16's last place, and what float32 makes of another order.
    assert error(found.astype(jnp.float32), wide) < 2**-8 + 1e-5


def test_the_kernels_gradient_is_not_believed():
    inputs, kernel = make_problem()
    split = TRANSFORMS["split_kernel"](jnp.asarray(kernel))
    gradient = jax.grad(lambda k: convolution.products3x3(jnp.asarray(inputs), k).sum())(split)
    assert np.isnan(np.stack(gradient)).all()


@pytest.mark.parametrize(
    ("platform", "dtype", "channels", "positions", "form"),
    [
        ("gpu", jnp.float32, (512, 512), 160, "ohwi_kernel"),
        ("gpu", jnp.bfloat16, (3, 64), 10**5, "ohwi_kernel"),
        ("tpu", jnp.bfloat16, (512, 512), 160, "kernel"),
        ("cpu", jnp.float32, (3, 64), 100, "kernel"),
        ("cpu", jnp.float32, (64, 128), 10**5, "kernel"),
        ("cpu", jnp.float32, (128, 128), 10**4, "transformed_kernel"),
        ("cpu", jnp.float64, (512, 512), 10**3, "transformed_kernel"),
        ("cpu", jnp.float32, (512, 512), 160, "split_kernel"),
    ],
)
def test_choice(platform, dtype, channels, positions, form):
    assert choose_form(platform, dtype, (3, 3, *channels), positions) == form


@pytest.mark.parametrize(("there", "form"), [(True, "split_kernel"), (False, "kernel")])
def test_choice_for_bfloat16(monkeypatch, there, form):
    monkeypatch.setattr(kernel_forms, "has_matrix_units", lambda: there)
    choose = partial(choose_form, "cpu", jnp.bfloat16)
    assert choose((3, 3, 128, 256), 2688) == choose((3, 3, 512, 512), 160) == form
    assert choose((3, 3, 128, 128), 10**4) == "kernel"


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_parameters_in_a_form(form):
    _, kernel = make_problem()
    tensors = {"kernel": kernel.astype(np.float32), "bias": np.ones(4, np.float32)}
    found = in_form(tensors, form, jnp.bfloat16)
    assert set(found) == {form, "bias"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found[form])} == {"bfloat16"}
    assert found["bias"].dtype == jnp.float32
