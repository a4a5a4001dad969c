"""The public name of L-BFGS as an optax transformation."""

from nst_jax.optim.lbfgs import lbfgs

__all__ = ["lbfgs"]
