"""docs/settings.md, from what the settings declare: python -m nst_jax.settings.table FILE."""

import sys
from collections.abc import Iterator
from pathlib import Path

from nst_jax.settings.declaration import Setting
from nst_jax.settings.settings import GROUPS, SETTINGS

HEAD = """# Settings

Each is a field of `nst_jax.Settings`, a key of a settings file (`--settings FILE`, in TOML) and a
flag. `python -m nst_jax.settings.table docs/settings.md` writes this page.

Lanes of one sweep may differ in those marked *. An axis is the flag of `sweep` that takes several
values of the setting.
"""
COLUMNS = ("setting", "flag", "default", "values", "meaning", "axis", "since")


def document() -> str:
    """The page, in Markdown: a table for each group of the help."""
    return HEAD + "".join(f"\n## {group.capitalize()}\n\n{_table(group)}\n" for group in GROUPS)


def _table(group: str) -> str:
    rows = (_cells(one) for one in SETTINGS.values() if one.group == group)
    lines = (COLUMNS, ["---"] * len(COLUMNS), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(setting: Setting) -> Iterator[str]:
    yield f"`{setting.name}`" + ("\\*" if setting.lanes_may_differ else "")
    yield ", ".join(f"`{flag}`" for flag in (setting.flag, *setting.aliases))
    yield setting.shown_default or "none"
    yield setting.value.limits or setting.value.word
    yield setting.meaning
    yield f"`{setting.axis.flag}`" if setting.axis else ""
    yield setting.since


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), "utf-8")
