"""The public names of the network's operators."""

from nst_jax.network.convolution import (
    BORDERS,
    average_pool2x2,
    bias_relu,
    conv3x3,
    max_pool2x2,
    pad_border,
)
from nst_jax.network.gram import BLOCK, gram_matrix, guided_gram_matrix, observe

__all__ = ["BORDERS", "average_pool2x2", "bias_relu", "conv3x3", "max_pool2x2", "pad_border"]
__all__ += ["BLOCK", "gram_matrix", "guided_gram_matrix", "observe"]
