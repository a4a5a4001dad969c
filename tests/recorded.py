"""Records as a run writes them."""

import json
from pathlib import Path

from nst_jax.records.write import device_facts, settings_facts, versions
from nst_jax.settings.settings import Settings


def record_of(settings=None, **others):
    """A record, as far as it is read."""
    facts = settings_facts(settings or Settings())
    return {"settings": facts, "versions": versions(), "device": device_facts(), **others}


def write(record, path="out.json"):
    Path(path).write_text(json.dumps(record), "utf-8")
    return Path(path)
