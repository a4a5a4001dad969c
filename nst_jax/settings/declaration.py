"""What a setting says about itself: everything that flags, files, sweeps and records ask of it."""

import dataclasses
from functools import partialmethod
from typing import Any, Literal, NamedTuple

from nst_jax.settings.values import Value, as_typed

FIRST_VERSION = "0.1"


class SweepAxis(NamedTuple):
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
    kind: Literal["static", "traced", "arrays", "loop"]
    group: str
    help: str
    notes: str = ""
    shown: str = ""
    flag: str
    aliases: tuple[str, ...] = ()
    lanes_may_differ: bool
    axis: SweepAxis | None = None
    since: str = FIRST_VERSION
    when_absent: Any

    @property
    def shown_default(self) -> str:
        """For people; nothing where nothing is the default."""
        return self.shown or as_typed(self.default).removesuffix(".0")

    @property
    def meaning(self) -> str:
        """For the documentation; of a switch that is on by default, what it is without."""
        only = "False: " if self.default is True else ""
        return only + self.help + (f"; {self.notes}" if self.notes else "")

    def help_text(self, with_default: bool = True) -> str:
        """The help of its flag, with the names that there are and the default."""
        *first, last = self.value.names or ("",)
        text = f"{', '.join(first)} or {last}: {self.help}" if first else self.help
        if with_default and self.shown_default and not isinstance(self.default, bool):
            return f"{text} [{self.shown_default}]"
        return text


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of settings, with a title in the help; makes fields of `Settings` of each kind."""

    title: str

    def declare(self, kind: str, default: Any, value: Value, help: str, **others: Any) -> Any:
        """A field; `others` are what `Setting` does not derive from the rest."""
        known = {"kind": kind, "default": default, "value": value, "help": help}
        return dataclasses.field(default=default, metadata={"group": self.title, **known, **others})

    static = partialmethod(declare, "static")
    traced = partialmethod(declare, "traced")
    arrays = partialmethod(declare, "arrays")
    loop = partialmethod(declare, "loop")


def declarations(settings: type) -> dict[str, Setting]:
    """{name: declaration} of a class whose fields groups have made."""
    declared = {}
    for field in dataclasses.fields(settings):
        no = "no-" if field.default is True else ""
        derived = {
            "flag": f"--{no}{field.name.replace('_', '-')}",
            "lanes_may_differ": field.metadata["kind"] in ("traced", "arrays"),
            "when_absent": field.default,
        }
        declared[field.name] = Setting(**{"name": field.name, **derived, **field.metadata})
    return declared
