"""The public names of the network and of its tables."""

from nst_jax.architecture import (
    BLOCKS,
    FILTERS,
    block_of,
    canonical_layer,
    convolutions_up_to,
    kernel_shapes,
    last_layer,
    layer_names,
    smallest_side,
)
from nst_jax.network.vgg import (
    PADDINGS,
    POOLINGS,
    VGG,
    Convolution,
    check_images,
    extract_features,
    observe_features,
    subtract_mean,
)

__all__ = ["BLOCKS", "FILTERS", "block_of", "canonical_layer", "convolutions_up_to"]
__all__ += ["kernel_shapes", "last_layer", "layer_names", "smallest_side"]
__all__ += ["PADDINGS", "POOLINGS", "VGG", "Convolution", "check_images", "extract_features"]
__all__ += ["observe_features", "subtract_mean"]
