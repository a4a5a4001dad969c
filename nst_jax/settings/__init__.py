"""What a run is told: every setting once."""

from nst_jax.settings.settings import PRESETS, Settings

__all__ = ["PRESETS", "Settings"]
