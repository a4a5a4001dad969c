"""The public names of L-BFGS as an optax transformation."""

from nst_jax.optim.lbfgs import (
    CURVATURE_FLOOR,
    LANE_AXES,
    LBFGSState,
    Preconditioner,
    forget,
    lbfgs,
    scale_by_lbfgs,
)

__all__ = ["CURVATURE_FLOOR", "LANE_AXES", "LBFGSState", "Preconditioner"]
__all__ += ["forget", "lbfgs", "scale_by_lbfgs"]
