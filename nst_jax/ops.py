"""The public name of the network's operators."""

from nst_jax.network.ops import *  # noqa: F403
