"""The kinds of values that settings take: how a flag's text is read, and what is refused."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nst_jax.architecture import canonical_layer
from nst_jax.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Value:
    """A kind of values.

    Attributes:
        word: what a message calls one of them.
        words: what it calls several.
        fits: whether a value that a reader of TOML or JSON gives is one.
        read: text of a flag → value; a ValueError where it means none.
        canonical: (name of the setting, value) → the value as `Settings` keeps it; a SettingsError
            where it is unknown or out of range.
        placeholder: of the value in a flag's help.
        names: those allowed, where there are but a few.
        limits: which are allowed, for the documentation.
    """

    word: str
    words: str
    fits: Callable[[Any], bool]
    read: Callable[[str], Any] = str
    canonical: Callable[[str, Any], Any] = lambda name, value: value
    placeholder: str = "NAME"
    names: tuple[str, ...] = ()
    limits: str = ""


def text(placeholder: str) -> Value:
    """A text; of a path, its text is kept."""
    return Value(
        "text",
        "texts",
        lambda value: isinstance(value, str),
        canonical=lambda name, value: str(value),
        placeholder=placeholder,
    )


def choice(*names: str) -> Value:
    """One of these names."""
    limits = ", ".join(names)

    def canonical(name: str, value: Any) -> str:
        if value in names:
            return value
        close = difflib.get_close_matches(str(value), names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"{name} is {value!r}; wanted one of {limits}{hint}")

    return dataclasses.replace(text("NAME"), canonical=canonical, names=names, limits=limits)


def whole(minimum: int, maximum: int, placeholder: str = "N") -> Value:
    """A whole number, from a minimum to a maximum."""
    return _number(int, minimum, maximum, placeholder, ("a whole number", "whole numbers"))


def real(minimum: float, maximum: float, placeholder: str = "W") -> Value:
    """A number, from a minimum to a maximum."""
    return _number(float, minimum, maximum, placeholder, ("a number", "numbers"))


def _number(
    kind: type, minimum: float, maximum: float, placeholder: str, words: tuple[str, str]
) -> Value:
    """A Python number, whatever kind came in: records are JSON, which has no NumPy's."""
    limits = f"{minimum:.10g} to {maximum:.10g}"

    def fits(value: Any) -> bool:  # a whole number is a number, but true is neither
        return isinstance(value, int | kind) and not isinstance(value, bool)

    def canonical(name: str, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if minimum <= number <= maximum and kind(number) == number:
            return kind(number)
        wanted = f"a whole number, {limits}" if kind is int else limits
        raise SettingsError(f"{name} is {value}; wanted {wanted}")

    return Value(*words, fits, kind, canonical, placeholder, limits=limits)


def many(item: Value, separator: str = ",", alone: tuple[type, ...] = ()) -> Value:
    """A sequence of values.

    Args:
        item: the kind of each.
        separator: between them, in the text of a flag.
        alone: types of a value that may stand for a sequence of one.
    """

    def fits(value: Any) -> bool:  # one value, {layer: value} or a preset may do: `Settings` knows
        values = tuple(value.values()) if isinstance(value, dict) else value
        if isinstance(values, list | tuple):
            return all(item.fits(one) for one in values)
        return isinstance(value, str) or item.fits(value)

    def read(text: str) -> tuple:
        parts = text.split(separator)
        return tuple(item.read(part) for part in parts if part or item.read is not str)

    def canonical(name: str, value: Any) -> tuple:
        values = (value,) if isinstance(value, alone) else sequence(name, value)
        return tuple(item.canonical(name, one) for one in values)

    return Value(
        f"a list of {item.words}",
        f"lists of {item.words}",
        fits,
        read,
        canonical,
        f"{item.placeholder}{separator}{item.placeholder if separator == '/' else '…'}",
        limits=item.limits,
    )


def sequence(name: str, value: Any) -> tuple:
    """The values of a setting that has several.

    Raises:
        SettingsError: it is one text, or no sequence.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SettingsError(f"{name} is {value!r}; wanted a sequence, such as a tuple")
    return tuple(value)


def _canonical_layers(name: str, layers: Iterable[str]) -> tuple[str, ...]:
    """Names as VGG-19 has them; whether a network has the layer is checked once it is known."""
    layers = tuple(canonical_layer(str(layer), "vgg19") for layer in sequence(name, layers))
    if len(set(layers)) != len(layers):
        raise SettingsError(f"{name} names a layer twice: {', '.join(layers)}")
    return layers


def as_typed(value: Any) -> str:
    """The text of a flag: 1,0.5 or conv1_1,conv2_1/conv3_1."""
    if not isinstance(value, tuple):
        return str(value)
    is_nested = any(isinstance(part, tuple) for part in value)
    return ("/" if is_nested else ",").join(as_typed(part) for part in value)


SWITCH = Value("true or false", "values of true or false", lambda value: isinstance(value, bool))


def _switch_or_auto(name: str, value: Any) -> Any:
    if value in (False, True, "auto"):
        return value if value == "auto" else bool(value)
    raise SettingsError(f"{name} is {value!r}; wanted true, false or auto")


SWITCH_OR_AUTO = Value(
    "true, false or auto",
    "values of true, false or auto",
    lambda value: isinstance(value, bool) or value == "auto",
    lambda text: {"true": True, "false": False}.get(text, text),
    _switch_or_auto,
    placeholder="auto",
    limits="true, false or auto",
)
WEIGHT = real(0, 1e38)  # float32 ends there
LAYERS = dataclasses.replace(many(text("L")), canonical=_canonical_layers)
# Each with a flag of its own, since their names may hold commas.
FILES = dataclasses.replace(many(text("FILE"), alone=(str, Path)), read=str, placeholder="FILE")
