"""What a setting says about itself: everything that flags, files, sweeps and records ask of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from nst_jax.settings.values import FILES, SWITCH, Value, as_typed

FIRST_VERSION = "0.1"


@dataclasses.dataclass(frozen=True)
class SweepAxis:
    """A setting as an axis of a sweep.

    Attributes:
        flag: that gives its values.
        name: for the names of files.
        title: for people.
    """

    flag: str
    name: str
    title: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        name: in `Settings`, settings files and records.
        default: its value where nothing is said.
        value: the kind of its values.
        kind: "static" decides which program is compiled; "traced" is an argument of the program;
            "arrays" changes only the images, targets and parameters that it is given; "loop" only
            how often it runs.
        group: of the help.
        help: of its flag, in one line if that can be.
        notes: what the documentation says beyond that.
        shown: what the help says in the place of a default that is None or empty.
        flag: that sets it; of a switch, the flag that says the opposite of the default.
        aliases: other spellings of the flag.
        lanes_may_differ: whether they may in one sweep; the others share what it decides.
        axis: of a sweep, if it has one.
        since: the version that it came with.
        when_absent: what a record that does not know it means.
    """

    name: str
    default: Any
    value: Value
    group: str
    help: str
    kind: Literal["static", "traced", "arrays", "loop"] = "static"
    notes: str = ""
    shown: str = ""
    flag: str
    aliases: tuple[str, ...] = ()
    lanes_may_differ: bool
    axis: SweepAxis | None = None
    since: str = FIRST_VERSION
    when_absent: Any

    @property
    def is_switch(self) -> bool:
        """Whether its flag has no value."""
        return self.value is SWITCH

    @property
    def is_repeated(self) -> bool:
        """Whether its flag is typed once for each of several values."""
        return self.value is FILES

    @property
    def meaning(self) -> str:
        """In one sentence, with the names that there are."""
        *first, last = self.value.names or ("",)
        return f"{', '.join(first)} or {last}: {self.help}" if first else self.help

    @property
    def shown_default(self) -> str:
        """For people; nothing where nothing is the default."""
        return self.shown or as_typed(self.default).removesuffix(".0")

    def help_text(self, with_default: bool = True) -> str:
        """The help of its flag."""
        if with_default and self.shown_default and not self.is_switch:
            return f"{self.meaning} [{self.shown_default}]"
        return self.meaning


def setting(group: str, default: Any, value: Value, help: str, **others: Any) -> Any:
    """A field of `Settings`; `others` are what `Setting` does not derive from the rest."""
    known = {"group": group, "default": default, "value": value, "help": help}
    return dataclasses.field(default=default, metadata=known | others)


def declarations(settings: type) -> dict[str, Setting]:
    """{name: declaration} of a class whose fields are made with `setting`."""
    return {
        field.name: _complete(field.name, field.metadata) for field in dataclasses.fields(settings)
    }


def _complete(name: str, given: Mapping[str, Any]) -> Setting:
    no = "no-" if given["default"] is True else ""
    derived = {
        "name": name,
        "flag": f"--{no}{name.replace('_', '-')}",
        "lanes_may_differ": given.get("kind") in ("traced", "arrays"),
        "when_absent": given["default"],
    }
    return Setting(**{**derived, **given})
