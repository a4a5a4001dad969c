"""The forms in which a layer's kernel may be kept, and which is the fastest where.

A layer's parameters hold its bias and, under the name of its form, its kernel:

    kernel              (3, 3, I, O)  the plain one, for XLA's convolution
    ohwi_kernel         (O, 3, 3, I)  the same, laid out as cuDNN reads it
    split_kernel        nine (I, O)   for a matrix product at each place
    transformed_kernel  (36, I, O)    for Winograd's products: four times as much to read, a
                                      quarter of the arithmetic
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.network import convolution, winograd

CONVOLUTIONS: Mapping[str, Callable[..., jax.Array]] = {
    "kernel": convolution.conv3x3,
    "ohwi_kernel": partial(convolution.conv3x3, layout="OHWI"),
    "split_kernel": convolution.products3x3,
    "transformed_kernel": winograd.conv3x3,
}
TRANSFORMS: Mapping[str, Callable[[jax.Array], Any]] = {
    "kernel": lambda kernel: kernel,
    "ohwi_kernel": lambda kernel: kernel.transpose(3, 0, 1, 2),
    "split_kernel": lambda kernel: tuple(kernel.reshape(9, *kernel.shape[2:])),
    "transformed_kernel": winograd.transform_kernel,
}
# On a CPU, of float32. Up to so many positions reading the kernel is what takes the time, and with
# so few channels on either side Winograd's transforms do. Both directions of one layer, in ms (2
# cores of an Intel Xeon with AVX-512, jaxlib 0.10.2, 2026-11-25):
#                          split  transformed  plain
#   10×16 px, 512 channels   6.2      6.4       9.0
#   16×16 px, 512 channels   9.0      6.0      11
# 171×256 px,  64 channels              28       21
#  85×128 px, 128 channels    58        20       23
FEW_POSITIONS = 192
FEW_CHANNELS = 64
# Of bfloat16, with AMX, where one side has so many channels and the other at least a half; one
# direction, in ms:
#                          split  plain
#  42×64 px,  256 channels   3.3   11
#  42×64 px,  128 to 256     3.0    5.7
#  85×128 px, 256 channels  50     48
#  85×128 px, 128 channels  21     11
MANY_CHANNELS = 256


def choose_form(
    platform: str, dtype: jnp.dtype, kernel_shape: tuple[int, ...], positions: int
) -> str:
    """The form that is fastest.

    Args:
        platform: where the convolution will run, "cpu", "gpu" or "tpu".
        dtype: of the activations.
        kernel_shape: (3, 3, I, O).
        positions: h·w, of the layer's features.
    """
    if platform == "gpu":
        return "ohwi_kernel"
    narrowest, widest = sorted(kernel_shape[2:])
    if platform != "cpu" or narrowest <= FEW_CHANNELS:
        return "kernel"
    if dtype == jnp.bfloat16:
        many = widest >= MANY_CHANNELS and has_matrix_units()
        return "split_kernel" if many else "kernel"
    return "split_kernel" if positions <= FEW_POSITIONS else "transformed_kernel"


@cache
def has_matrix_units() -> bool:
    """Whether this machine's processor multiplies matrices of bfloat16 (AMX); known on Linux."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def in_form(tensors: Mapping[str, Any], form: str, dtype: jnp.dtype) -> dict[str, Any]:
    """Parameters of a layer, of which the plain kernel is given, with it in a form and type."""
    kernel = jnp.asarray(tensors["kernel"], dtype)
    return {form: TRANSFORMS[form](kernel), "bias": jnp.asarray(tensors["bias"])}
