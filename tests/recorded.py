"""Records as a run writes them."""

import json
from pathlib import Path

from nst_jax.records.write import device_metadata, resolved_settings, versions
from nst_jax.settings.settings import Settings


def record_of(settings=None, **others):
    """A record, as far as it is read."""
    facts = resolved_settings(settings or Settings())
    return {"settings": facts, "versions": versions(), "device": device_metadata(), **others}


def write(record, path="out.json"):
    Path(path).write_text(json.dumps(record), "utf-8")
    return Path(path)
