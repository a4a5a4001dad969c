"""Neural style transfer after Gatys, Ecker & Bethge (2015), in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"  # scales begin otherwise than in 0.1

if TYPE_CHECKING:
    from nst_jax.errors import ImageError, NSTError, SettingsError, WeightsError
    from nst_jax.image_writing import SaveOptions
    from nst_jax.images import load_image, read_exif, save_image
    from nst_jax.record import make_record
    from nst_jax.rounds import SweepProgress
    from nst_jax.settings import PRESETS, Settings
    from nst_jax.sweeps import sweep
    from nst_jax.transfer import Progress, Result, stylize
    from nst_jax.weights import Weights, normalize
    from nst_jax.weights_file import load_weights
    from nst_jax.weights_search import find_weights

# The module of each public name. They are imported when first used: JAX takes a second, in which
# `nst-jax --version` should be done and Ctrl-C should not end in a traceback.
_MODULES = {
    "ImageError": "errors",
    "NSTError": "errors",
    "PRESETS": "settings",
    "Progress": "transfer",
    "Result": "transfer",
    "SaveOptions": "image_writing",
    "Settings": "settings",
    "SettingsError": "errors",
    "SweepProgress": "rounds",
    "Weights": "weights",
    "WeightsError": "errors",
    "find_weights": "weights_search",
    "load_image": "images",
    "load_weights": "weights_file",
    "make_record": "record",
    "normalize": "weights",
    "read_exif": "images",
    "save_image": "images",
    "stylize": "transfer",
    "sweep": "sweeps",
}
__all__ = [  # noqa: F822
    "PRESETS",
    "ImageError",
    "NSTError",
    "Progress",
    "Result",
    "SaveOptions",
    "Settings",
    "SettingsError",
    "SweepProgress",
    "Weights",
    "WeightsError",
    "find_weights",
    "load_image",
    "load_weights",
    "make_record",
    "normalize",
    "read_exif",
    "save_image",
    "stylize",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
