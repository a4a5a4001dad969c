"""Records as a run writes them."""

import json
from pathlib import Path

from nst_jax.engine.identity import resolved_settings
from nst_jax.records.write import device_metadata, given_settings, versions
from nst_jax.settings.settings import Settings


def record_of(settings=None, **others):
    """A record, as far as it is read."""
    settings = settings or Settings()
    written = {
        "settings": resolved_settings(settings),
        "settings_given": given_settings(settings),
    }
    return {**written, "versions": versions(), "device": device_metadata(), **others}


def write(record, path="out.json"):
    Path(path).write_text(json.dumps(record), "utf-8")
    return Path(path)
