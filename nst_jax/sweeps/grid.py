"""The grid of a sweep: axes, their product, and a name for every lane."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nst_jax.architecture import layer_names
from nst_jax.errors import SettingsError
from nst_jax.files import stem_of
from nst_jax.settings.settings import SETTINGS, Settings

MAX_TAG = 40  # bytes of a file's name that one axis may take; systems allow 255 in all


@dataclasses.dataclass(frozen=True)
class Point:
    """One value along an axis.

    Attributes:
        label: for people.
        tag: for file names.
        changes: of the settings; but "content" is the number of a source, and "style" those of the
            style images.
    """

    label: str
    tag: str
    changes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Axis:
    """What varies: a name for files and keys, a title for people, and at least one point."""

    name: str
    title: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """A content or style image, as a file."""

    role: str
    file: str

    @property
    def label(self) -> str:
        """Its name for people."""
        return stem_of(self.file)


@dataclasses.dataclass(frozen=True)
class Lane:
    """One setting of a sweep.

    Attributes:
        name: of its files; says what varies.
        place: {axis's name: index along it}, of the axes with more than one point.
        settings: of the run.
        content: number of the source, or None.
        style: numbers of the sources; none where the content alone is reconstructed.
    """

    name: str
    place: dict[str, int]
    settings: Settings
    content: int | None
    style: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A whole sweep.

    Attributes:
        sources: the images that lanes refer to by number.
        axes: those with more than one point.
        lanes: the product of all axes, the last axis fastest.
    """

    sources: tuple[Source, ...]
    axes: tuple[Axis, ...]
    lanes: tuple[Lane, ...]

    @property
    def title(self) -> str:
        """What it is of: the sources' labels."""
        return " × ".join(source.label for source in self.sources)

    def files_of(self, lane: Lane) -> tuple[str | None, tuple[str, ...]]:
        """A lane's content image, or None, and its style images."""
        content = None if lane.content is None else self.sources[lane.content].file
        return content, tuple(self.sources[number].file for number in lane.style)


def make_grid(settings: Settings, sources: Sequence[Source], axes: Sequence[Axis]) -> Grid:
    """The product of the axes.

    Args:
        settings: of every lane, before the axes' changes.
        sources: lanes take the first of each role unless an axis says otherwise.
        axes: each with at least one point.

    Raises:
        SettingsError: an axis has no point or one twice, or a point makes no sense, alone or for so
            many style images.
    """
    for axis in axes:
        _check_points(axis)
    varying = tuple(axis for axis in axes if len(axis.points) > 1)
    tags = {axis.name: _distinct_tags(axis) for axis in varying}
    contents, styles = (numbers_of(sources, role) for role in ("content", "style"))
    first = {"content": contents[0] if contents else None, "style": styles[:1]}
    lanes = []
    for points in itertools.product(*(enumerate(axis.points) for axis in axes)):
        changes: dict[str, Any] = dict(first)
        for _, point in points:
            changes |= point.changes
        place = {axis.name: at for axis, (at, _) in zip(axes, points, strict=True)}
        place = {axis.name: place[axis.name] for axis in varying}
        name = "_".join(f"{axis}-{tags[axis][at]}" for axis, at in place.items())
        content, style = changes.pop("content"), changes.pop("style")
        lane = dataclasses.replace(settings, **changes)
        lane.style_shares(len(style))
        lanes.append(Lane(name or "result", place, lane, content, style))
    return Grid(tuple(sources), varying, tuple(lanes))


def setting_axis(name: str, values: Iterable[Any]) -> Axis:
    """Values of one setting, whose declaration says what the axis is called."""
    declared = SETTINGS[name].axis
    assert declared is not None
    texts = [(value, _short_text(value)) for value in values]
    points = tuple(Point(text, text, {name: value}) for value, text in texts)
    return Axis(declared.name, declared.title, points)


def style_axis(sources: Sequence[Source], ratios: Sequence[float] | None = None) -> Axis:
    """The style images among the sources, each with a ratio of its own if there are ratios.

    Raises:
        SettingsError: there are not as many ratios as style images.
    """
    styles = numbers_of(sources, "style")
    if ratios is None:
        points = [Point(sources[n].label, sources[n].label, {"style": (n,)}) for n in styles]
        return Axis("style", "style", tuple(points))
    if len(ratios) != len(styles):
        raise SettingsError(
            f"there are {len(ratios)} style ratios for {len(styles)} styles; wanted one each"
        )
    points = []
    for number, ratio in zip(styles, ratios, strict=True):
        label = sources[number].label
        changes = {"style": (number,), "ratio": ratio}
        points.append(Point(f"{label}, α/β {short(ratio)}", label, changes))
    return Axis("style", "style", tuple(points))


def mixture_axis(sources: Sequence[Source]) -> Axis:
    """One point: all the style images together, as the settings mix them."""
    styles = numbers_of(sources, "style")
    label = " + ".join(sources[number].label for number in styles)
    return Axis("style", "style", (Point(label, label, {"style": styles}),))


def blend_axis(sources: Sequence[Source], steps: int) -> Axis:
    """From the first of two style images to the second; labels are the second's weight, 0 to 1.

    Raises:
        SettingsError: there are not two of them, or fewer than two steps.
    """
    styles = numbers_of(sources, "style")
    if len(styles) != 2:
        raise SettingsError(f"--blend-steps goes from one STYLE to another; got {len(styles)}")
    if steps < 2:
        raise SettingsError(f"--blend-steps is {steps}; wanted at least 2, the two STYLEs alone")
    shares = [step / (steps - 1) for step in range(steps)]
    points = [
        Point(f"{share:.3g}", f"{share:.3g}", {"style": styles, "style_blend": (1 - share, share)})
        for share in shares
    ]
    return Axis("blend", f"share of {sources[styles[1]].label}", tuple(points))


def style_layers_axis(sets: Sequence[Sequence[str]], settings: Settings) -> Axis:
    """Subsets of style layers, as weights over all layers that occur in any of them.

    The layers of a set weigh 1 / (their number) each, or what the settings' style_layer_weights
    say.

    Source: Gatys et al. 2015, Figure 3, rows.

    Raises:
        SettingsError: a set is empty.
    """
    if not all(sets):
        raise SettingsError("a set of style layers is empty; name at least one layer in each")
    union = union_of(sets)
    given = settings.style_terms if settings.style_layer_weights else {}
    points = []
    for layers in sets:
        weights = [given.get(layer, 1 / len(layers)) if layer in layers else 0 for layer in union]
        changes = {"style_layers": union, "style_layer_weights": tuple(weights)}
        points.append(Point(*_layers_text(layers, sets), changes))
    return Axis("layers", "style layers", tuple(points))


def content_layer_axis(layers: Sequence[str]) -> Axis:
    """One content layer at a time, as weights over all of them."""
    points = []
    for layer in layers:
        weights = tuple(float(other == layer) for other in layers)
        changes = {"content_layers": tuple(layers), "content_layer_weights": weights}
        points.append(Point(layer, layer, changes))
    return Axis("layer", "content layer", tuple(points))


def cumulative(layers: Sequence[str]) -> list[tuple[str, ...]]:
    """The growing subsets of the paper: the first layer, the first two, …."""
    return [tuple(layers[:count]) for count in range(1, len(layers) + 1)]


def union_of(sets: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Every layer that occurs, in the network's order."""
    found = {layer for layers in sets for layer in layers}
    return tuple(layer for layer in layer_names("vgg19") if layer in found)


def numbers_of(sources: Sequence[Source], role: str) -> tuple[int, ...]:
    """Where the sources of a role stand among all."""
    return tuple(number for number, source in enumerate(sources) if source.role == role)


def short(number: float) -> str:
    """1e-5, 2.5e-3, 0.1, 20: a number as people write it."""
    if number == 0 or 0.1 <= number < 1e4 or not math.isfinite(number):
        return f"{number:g}"
    mantissa, exponent = f"{number:.5e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _short_text(value: float | str) -> str:
    """A number as people write it; a file by its name alone."""
    return stem_of(value) if isinstance(value, str) else short(value)


def _layers_text(layers: Sequence[str], sets: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Label and tag: the growing subsets are told by their last layer."""
    if list(map(tuple, sets)) == cumulative(sets[-1]):
        label = layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
        return label, layers[-1] if len(layers) == 1 else f"to-{layers[-1]}"
    return ", ".join(layers), "+".join(layers)


def _check_points(axis: Axis) -> None:
    if not axis.points:
        raise SettingsError(f"{axis.title} has no value; give at least one")
    seen: list[Mapping] = []
    for point in axis.points:
        if point.changes in seen:
            raise SettingsError(f"{axis.title} has {point.label} twice; give each once")
        seen.append(point.changes)


def _distinct_tags(axis: Axis) -> list[str]:
    """Tags fit for any file system; a number tells apart those that come out the same."""
    tags: list[str] = []
    for point in axis.points:
        tag = re.sub(r"[^\w.+-]+", "-", point.tag)
        tag = tag.encode()[:MAX_TAG].decode(errors="ignore")
        known = {other.lower() for other in tags}
        numbered = itertools.chain([tag], (f"{tag}-{number}" for number in itertools.count(2)))
        tags.append(next(one for one in numbered if one.lower() not in known))
    return tags
