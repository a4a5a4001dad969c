"""The public name of the network."""

from nst_jax.network.vgg import *  # noqa: F403
