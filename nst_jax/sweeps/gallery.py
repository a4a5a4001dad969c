"""The contact sheet of a sweep: which lane goes where, under which titles."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from nst_jax.images.resize import resize
from nst_jax.sweeps.grid import Axis, Grid, Lane
from nst_jax.sweeps.sheet import Cell, make_sheet

SHEET_PIXELS = 64_000_000  # pictures are scaled down where all together have more


def source_key(*numbers: int) -> str:
    """The name of a source, or of several side by side, in sweep.json and on the page."""
    return "-".join(("source", *map(str, numbers)))


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) side by side, as high as the lowest of them, with white between."""
    height = min(picture.shape[0] for picture in pictures)
    gap = np.ones((height, max(1, height // 50), 3), np.float32)
    parts = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        parts += [gap, resize(picture, (height, width))]
    return np.concatenate(parts[1:], axis=1)


def lay_out(
    grid: Grid,
    notes: Mapping[str, str],
    pictures: Mapping[str, np.ndarray],
    sources: Sequence[np.ndarray],
) -> np.ndarray:
    """The labelled contact sheet: ratios or the longest axis along, all others down.

    Args:
        grid: of the sweep.
        notes: {lane's name: what to say under its picture, or in its place}.
        pictures: {lane's name: (H, W, 3)}, of those that have one.
        sources: (H, W, 3), of the grid's sources.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    along = column_axis(grid.axes)
    down = [axis for axis in grid.axes if axis is not along]
    rows, columns = places(down), places([along] if along else [])
    lanes = {_key(lane.place): lane for lane in grid.lanes}
    scaled = _within(pictures, SHEET_PIXELS)

    def cell(lane: Lane) -> Cell:
        return Cell(scaled.get(lane.name), notes.get(lane.name, ""))

    return make_sheet(
        [[cell(lanes[_key(row | column)]) for column in columns.values()] for row in rows.values()],
        title=grid.title,
        row_titles=tuple(rows) if down else (),
        column_titles=tuple(columns) if along else (),
        row_axis=", ".join(axis.title for axis in down),
        column_axis=along.title if along else "",
        sources=[
            (f"{source.role}: {source.label}", image)
            for source, image in zip(grid.sources, sources, strict=True)
        ],
    )


def column_axis(axes: Sequence[Axis]) -> Axis | None:
    """The axis that runs along: the ratio, or the longest."""
    by_length = sorted(axes, key=lambda axis: (axis.name != "ratio", -len(axis.points)))
    return by_length[0] if by_length else None


def places(axes: Sequence[Axis]) -> dict[str, dict[str, int]]:
    """{title: place} of every combination of the axes' points, the last axis fastest."""
    found: dict[str, dict[str, int]] = {}
    for points in itertools.product(*(enumerate(axis.points) for axis in axes)):
        title = ", ".join(point.label for _, point in points)
        place = {axis.name: at for axis, (at, _) in zip(axes, points, strict=True)}
        unique, number = title, 2
        while unique in found:
            unique, number = f"{title} ({number})", number + 1
        found[unique] = place
    return found


def _key(place: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(place.items()))


def _within(pictures: Mapping[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """The pictures, scaled down alike where all together have more pixels than that."""
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures.values())
    scale = min(1.0, math.sqrt(most / max(pixels, 1)))
    if scale == 1.0:
        return dict(pictures)
    return {
        name: resize(
            picture, (max(1, int(picture.shape[0] * scale)), max(1, int(picture.shape[1] * scale)))
        )
        for name, picture in pictures.items()
    }
