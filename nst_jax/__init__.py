"""Neural style transfer after Gatys, Ecker & Bethge (2015), in JAX."""

__version__ = "0.1.0"

from nst_jax.errors import ImageError, NSTError, SettingsError, WeightsError
from nst_jax.images import load_image, save_image
from nst_jax.settings import PRESETS, Settings
from nst_jax.transfer import Progress, Result, stylize
from nst_jax.weights import Weights, normalize
from nst_jax.weights_file import load_weights
from nst_jax.weights_search import find_weights

__all__ = [
    "PRESETS",
    "ImageError",
    "NSTError",
    "Progress",
    "Result",
    "Settings",
    "SettingsError",
    "Weights",
    "WeightsError",
    "find_weights",
    "load_image",
    "load_weights",
    "normalize",
    "save_image",
    "stylize",
]
