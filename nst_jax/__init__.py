"""Neural style transfer after Gatys, Ecker & Bethge (2015), in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"  # scales begin otherwise than in 0.1

if TYPE_CHECKING:
    from nst_jax.engine.api import stylize, sweep
    from nst_jax.engine.results import Progress, Result, SweepProgress
    from nst_jax.errors import ImageError, NSTError, SettingsError, WeightsError
    from nst_jax.images.encoders import SaveOptions
    from nst_jax.images.io import load_image, read_exif, save_image
    from nst_jax.records.write import make_record
    from nst_jax.settings.settings import PRESETS, Settings
    from nst_jax.sweeps.watch_page import WatchPage
    from nst_jax.weights.locate import find_weights
    from nst_jax.weights.parameters import Weights, normalize
    from nst_jax.weights.storage import load_weights

# The module of each public name. They are imported when first used: JAX takes a second, in which
# `nst-jax --version` should be done and Ctrl-C should not end in a traceback.
_MODULES = {
    "ImageError": "errors",
    "NSTError": "errors",
    "PRESETS": "settings.settings",
    "SaveOptions": "images.encoders",
    "Progress": "engine.results",
    "Result": "engine.results",
    "Settings": "settings.settings",
    "SettingsError": "errors",
    "SweepProgress": "engine.results",
    "WatchPage": "sweeps.watch_page",
    "Weights": "weights.parameters",
    "WeightsError": "errors",
    "find_weights": "weights.locate",
    "load_image": "images.io",
    "load_weights": "weights.storage",
    "make_record": "records.write",
    "normalize": "weights.parameters",
    "read_exif": "images.io",
    "save_image": "images.io",
    "stylize": "engine.api",
    "sweep": "engine.api",
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
    "WatchPage",
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
