"""The contact sheet of a sweep: its pictures in a grid, labeled, beside the images they come from.

A sheet is put together from blocks, (h, w, 3) uint8 on white, that are only ever placed beside and
below each other, so that nothing overlaps. Text is wrapped, then elided, to the room it has.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html.entities import codepoint2name
from typing import Any, NamedTuple

import numpy as np
from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

from nst_jax.images.encoders import quantize
from nst_jax.images.resize import resize
from nst_jax.sweeps.grid import Grid

MAX_PIXELS = 64_000_000  # pictures are scaled down where all together have more
WHITE, BOX, FADED, INK = 255, 236, 90, 20  # gray of paper, of missing pictures, captions, titles
MIN_EM = 12  # px, the smallest text
MAX_LINES = 3  # of a title or a caption
ROW_TITLE_EMS = 10  # a row's title is at most so wide: "conv1_1+conv2_1+" fits
SOURCE_SIDE = 1.5  # a source is at most so many cells high and wide

# Text breaks after the first of these that makes it fit: words, parts of a list, parts of a name.
BREAKS = (r"(?<=\s)", r"(?<=[+,;/|])", r"(?<=[-_.:=])", r"(?<=.)")
ELISION = "..."

# What reads better than anyascii's "10-3", "*", ">" and, of a letter alone, "v" for β.
SUPERSCRIPT = re.compile("[²³¹⁰⁴-⁹⁺⁻]+")
GREEK_LETTER = re.compile(r"\b[Α-Ωα-ω]\b")
SPELLINGS = str.maketrans({"×": "x", "→": "->", "←": "<-"})


class Cell(NamedTuple):
    """One place of the grid: (H, W, 3) float in [0, 1], or none, and the text under or in it."""

    image: np.ndarray | None
    caption: str = ""


class Layout(NamedTuple):
    """In pixels: height of each row, width of each column, size of text, room between pictures."""

    heights: list[int]
    widths: list[int]
    em: int
    gap: int


def make_sweep_sheet(
    grid: Grid, cells: Mapping[str, Cell], sources: Sequence[np.ndarray]
) -> np.ndarray:
    """The sheet of a sweep: ratios, or the first of the longest axes, along; all others down.

    Args:
        grid: of the sweep.
        cells: {lane's name: its picture and what to say of it}.
        sources: (H, W, 3) float in [0, 1], of the grid's sources.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    along = max(grid.axes, key=lambda a: (a.name == "ratio", len(a.points)), default=None)
    down = [axis for axis in grid.axes if axis is not along]
    labels = [[point.label for point in axis.points] for axis in down]
    columns = [point.label for point in along.points] if along else [""]
    numbers = np.arange(len(grid.lanes)).reshape([len(axis.points) for axis in grid.axes])
    if along:
        numbers = np.moveaxis(numbers, grid.axes.index(along), -1)
    shown = _shrink([cells[lane.name] for lane in grid.lanes], MAX_PIXELS)
    names = (f"{source.role}: {source.label}" for source in grid.sources)
    return make_sheet(
        [[shown[number] for number in row] for row in numbers.reshape(-1, len(columns))],
        title=grid.title,
        row_titles=[*_distinct(map(", ".join, itertools.product(*labels)))],
        column_titles=[*_distinct(columns)],
        row_axis=", ".join(axis.title for axis in down),
        column_axis=along.title if along else "",
        sources=[*zip(names, sources, strict=True)],
    )


def _distinct(titles: Iterable[str]) -> Iterator[str]:
    """Number titles that recur: style images of one name, from different folders."""
    counts: Counter[str] = Counter()
    for title in titles:
        counts[title] += 1
        yield f"{title} ({counts[title]})" if counts[title] > 1 else title


def _shrink(cells: list[Cell], max_pixels: int) -> list[Cell]:
    """Scale all pictures down alike where together they have more pixels than `max_pixels`."""
    pixels = sum(cell.image[..., 0].size for cell in cells if cell.image is not None)
    scale = min(1, math.sqrt(max_pixels / max(1, pixels)))
    return [Cell(image if image is None else _scale(image, scale), text) for image, text in cells]


def join_pictures(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures side by side, as high as the lowest of them, with white between.

    Args:
        pictures: (H, W, 3) float in [0, 1], at least one.

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    height = min(picture.shape[0] for picture in pictures)
    gap = np.ones((height, max(1, height // 50), 3), np.float32)
    scaled = [_scale(picture, height / picture.shape[0]) for picture in pictures]
    return np.concatenate([part for picture in scaled for part in (gap, picture)][1:], axis=1)


def _scale(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return resize(image, (height, width))


def make_sheet(
    cells: Sequence[Sequence[Cell]],
    *,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    title: str = "",
    row_axis: str = "",
    column_axis: str = "",
    sources: Sequence[tuple[str, np.ndarray]] = (),
) -> np.ndarray:
    """Arrange pictures in a grid with titles, beside the images they come from.

    The cells' pictures are shown pixel by pixel, rounded to 8 bits and centered where their sizes
    differ; only the sources are scaled, and only down. All text goes through `spell`.

    Args:
        cells: rows of equally many cells.
        row_titles: one for each row, or none; at its left.
        column_titles: one for each column, or none; above it.
        title: above all.
        row_axis: what differs between the rows; upright, at the left of their titles.
        column_axis: what differs between the columns; above their titles.
        sources: (label, (H, W, 3) float in [0, 1]); at the left of the grid.

    Returns:
        (H, W, 3) float32 in [0, 1], on white.

    Raises:
        ValueError: rows differ in length, or titles in number.
    """
    heights, widths, em, gap = layout = _measure(cells)
    rows = []
    for text, row, room in zip(row_titles or [""] * len(heights), cells, heights, strict=True):
        label = _text(text, ROW_TITLE_EMS * em, em, height=room, at=1)
        shown = [_cell(*each, room, layout) for each in zip(row, widths, strict=True)]
        rows.append(_beside([_place(label, room), _beside(shown, gap, at=0)], 2 * gap, at=0))
    body = _stack(rows, gap, at=1)
    height = body.shape[0] - rows[-1].shape[0] + heights[-1]  # to the foot of the last pictures
    name = np.rot90(_text(row_axis, height, em, ink=FADED))
    body = _beside([_place(name, height), body], gap, at=0)
    head = _column_heads(column_titles or [""] * len(widths), column_axis, layout)
    chunks = [sources[first : first + len(rows)] for first in range(0, len(sources), len(rows))]
    columns = [(*_source_column(chunk, height, layout), 0.5) for chunk in chunks]
    columns.append((head, body, 1))
    top = max(head.shape[0] for head, *_ in columns)  # where all heads end, and the rest begins
    parts = [_stack([_place(head, top, down=1), rest], gap, at) for head, rest, at in columns]
    sheet = _beside(parts, 2 * gap, at=0)
    sheet = _stack([_text(title, sheet.shape[1], round(1.25 * em)), sheet], 2 * gap)
    margins = ((em, em), (em, em), (0, 0))
    return np.pad(sheet, margins, constant_values=WHITE).astype(np.float32) / 255


def _measure(cells: Sequence[Sequence[Cell]]) -> Layout:
    """Rows as high and columns as wide as their largest picture; text grows as its square root."""
    images = [[_blank() if cell.image is None else cell.image for cell in row] for row in cells]
    heights = [max(image.shape[0] for image in row) for row in images]
    widths = [max(image.shape[1] for image in column) for column in zip(*images, strict=True)]
    em = max(MIN_EM, round((max(heights) * max(widths)) ** 0.25))
    # What has no picture is as large as the largest, and all have room for a word.
    heights = [max(2 * em, height or max(heights)) for height in heights]
    return Layout(heights, [max(4 * em, width or max(widths)) for width in widths], em, em // 2)


def _cell(cell: Cell, width: int, height: int, layout: Layout) -> np.ndarray:
    """A picture, and below it its caption; where there is no picture, a box with the caption."""
    if cell.image is None:
        room = width - 2 * layout.gap
        text = _text(cell.caption, room, layout.em, height=height - layout.gap, ink=FADED)
        return np.minimum(_place(text, height, width), np.uint8(BOX))
    caption = _text(cell.caption, width, layout.em, ink=FADED)
    return _stack([_place(quantize(cell.image, 8), height, width), caption], layout.gap // 2)


def _column_heads(titles: Sequence[str], axis: str, layout: Layout) -> np.ndarray:
    """The name of the columns' axis above the columns' titles."""
    pairs = zip(titles, layout.widths, strict=True)
    blocks = [_place(_text(title, width, layout.em), width=width) for title, width in pairs]
    strip = _beside(blocks, layout.gap, at=1)
    return _stack([_text(axis, strip.shape[1], layout.em, ink=FADED), strip], layout.gap // 2)


def _source_column(
    sources: Sequence[tuple[str, np.ndarray]], height: int, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """The first source's label, and below it the sources, the others under their labels.

    Together they are as high as the grid, but none is higher than `SOURCE_SIDE` cells.
    """
    width = round(SOURCE_SIDE * max(layout.widths))
    labels = [_text(label, width, layout.em) for label, _ in sources]
    room = height - sum(label.shape[0] + 3 * layout.gap for label in labels[1:])
    side = max(room // len(sources), 2 * layout.em)
    side = min(side, round(SOURCE_SIDE * max(layout.heights)))
    parts = []
    for label, (_, image) in zip([_blank(), *labels[1:]], sources, strict=True):
        picture = Image.fromarray(quantize(image, 8))
        picture.thumbnail((width, side), Image.Resampling.LANCZOS, reducing_gap=None)
        parts.append(_stack([label, np.asarray(picture)], layout.gap))
    return labels[0], _stack(parts, 2 * layout.gap)


def _blank(height: int = 0, width: int = 0) -> np.ndarray:
    return np.full((height, width, 3), WHITE, np.uint8)


def _place(
    block: np.ndarray, height: int = 0, width: int = 0, down: float = 0.5, right: float = 0.5
) -> np.ndarray:
    """A block on white, at least so high and wide; 0 is at the top or left of it, 1 at the end."""
    rows, columns = max(0, height - block.shape[0]), max(0, width - block.shape[1])
    top, left = int(down * rows), int(right * columns)
    margins = ((top, rows - top), (left, columns - left), (0, 0))
    return np.pad(block, margins, constant_values=WHITE)


def _stack(blocks: Sequence[np.ndarray], gap: int, at: float = 0.5) -> np.ndarray:
    """Blocks below each other, those without height left out; `at` 0 is flush left, 1 right."""
    width = max((block.shape[1] for block in blocks), default=0)
    shown = [_place(block, 0, width, right=at) for block in blocks if block.shape[0]]
    parts = [part for block in shown for part in (_blank(gap, width), block)]
    return np.concatenate([_blank(0, width), *parts[1:]])


def _beside(blocks: Sequence[np.ndarray], gap: int, at: float = 0.5) -> np.ndarray:
    """Blocks beside each other, those without width left out; `at` 0 is flush top, 1 foot."""
    return _stack([block.swapaxes(0, 1) for block in blocks], gap, at).swapaxes(0, 1)


def _text(
    text: str, width: int, em: int, *, height: int = 0, at: float = 0.5, ink: int = INK
) -> np.ndarray:
    """Lines of text, no wider than `width`; as many as fit into `height`, or a few.

    There is always room for one line, and no line where there is no text.
    """
    font: Any = ImageFont.load_default(em)  # Pillow 10's two classes of fonts share no base
    line_height = sum(font.getmetrics())
    count = max(1, height // line_height) if height else MAX_LINES
    blocks = []
    for line in _wrap(spell(text), width - 2, count, font):
        size = math.ceil(font.getlength(line)) + 2, line_height  # some glyphs lean out by a pixel
        image = Image.new("RGB", size, (WHITE,) * 3)
        ImageDraw.Draw(image).text((1, 0), line, fill=(ink,) * 3, font=font)
        blocks.append(np.asarray(image))
    return _stack(blocks, 0, at)


def spell(text: str) -> str:
    """Write one line in ASCII: Pillow's own font, the same on every machine, has little more.

    "α/β → 2×10⁻³, 星月夜" is "alpha/beta -> 2x10^-3, XingYueYe"; half a surrogate pair, from a file
    name that is no UTF-8, is "?".
    """
    line = " ".join(text.encode("utf-8", "replace").decode().split()).translate(SPELLINGS)
    line = SUPERSCRIPT.sub(lambda found: "^" + found[0], line)
    line = GREEK_LETTER.sub(lambda found: codepoint2name.get(ord(found[0]), found[0]), line)
    return "".join(filter(str.isprintable, anyascii(line)))


def _wrap(text: str, width: int, count: int, font: Any) -> list[str]:
    """Break a text into at most `count` lines of at most `width` pixels, the last one elided."""

    def fits(line: str) -> bool:
        return font.getlength(line.rstrip()) <= width

    lines: list[str] = []
    for piece in _split(text, fits):
        if lines and fits(lines[-1] + piece):
            lines[-1] += piece
        else:
            lines.append(piece)
    if len(lines) > count:
        last = lines[count - 1].rstrip()
        while last and not fits(last + ELISION):
            last = last[:-1]
        lines[count - 1 :] = [last + ELISION]
    return [line.strip() for line in lines]


def _split(text: str, fits: Callable[[str], bool], level: int = 0) -> list[str]:
    """Split a text until every piece fits, at the best places that do."""
    if fits(text) or level == len(BREAKS):
        return [text] if text else []
    parts = re.split(BREAKS[level], text)
    return [piece for part in parts for piece in _split(part, fits, level + 1)]
