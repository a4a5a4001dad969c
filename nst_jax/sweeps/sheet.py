"""The contact sheet of a sweep: a grid of pictures, every one of them labelled.

A sheet is put together from blocks, (H, W, 3) uint8 on white, that are only ever placed beside and
below each other, so that nothing overlaps. Text is wrapped, then elided, to the room it has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nst_jax.images.resize import resize
from nst_jax.sweeps.lettering import MIN_EM, WHITE, draw_lines, line_height

INK, FADED, BOX = 20, 90, 236  # grey of titles, of captions, of missing pictures
SOURCE_SIDE = 1.5  # a source is at most so many cells high and wide
ROW_TITLE_EMS = 10  # a row's title is at most so wide: "conv1_1+conv2_1+" fits
MAX_LINES = 3  # of a title or a caption

Source = tuple[str, np.ndarray]
Part = tuple[np.ndarray, np.ndarray]  # a column's head, and what is below it


@dataclass(frozen=True)
class Cell:
    """One place of the grid.

    Attributes:
        image: (H, W, 3) float in [0, 1]; None where there is no picture.
        caption: the text under the picture, or in its place.
    """

    image: np.ndarray | None
    caption: str = ""


@dataclass(frozen=True)
class Grid:
    """Measures in pixels: the height of each row, the width of each column, the text's size."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]
    em: int

    @property
    def gap(self) -> int:
        """What lies between two pictures."""
        return self.em // 2


def make_sheet(
    cells: Sequence[Sequence[Cell]],
    *,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    title: str = "",
    row_axis: str = "",
    column_axis: str = "",
    sources: Sequence[Source] = (),
) -> np.ndarray:
    """Arrange the results of a sweep in a grid with titles, beside the pictures they come from.

    The cells' pictures are shown pixel by pixel, rounded to 8 bits and centred where their sizes
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
        ValueError: there are no cells, rows differ in length, titles in number, or an image is
            not (H, W, 3) and finite.
    """
    _check_counts(cells, row_titles, column_titles)
    _check_images([*(cell.image for row in cells for cell in row), *(each for _, each in sources)])
    grid = _measure(cells)
    rows = [_row(row, height, grid) for row, height in zip(cells, grid.heights, strict=True)]
    parts = [
        *_source_parts(sources, rows, grid),
        (_blank(), _row_heads(row_titles, row_axis, rows, grid)),
        (_column_heads(column_titles, column_axis, grid), _stack(rows, grid.gap)),
    ]
    sheet = _beside(_columns(parts, grid.gap), 2 * grid.gap, at=0)
    heading = _text(title, sheet.shape[1], round(1.25 * grid.em))
    sheet = _stack([heading, sheet], 2 * grid.gap)
    margins = ((grid.em, grid.em), (grid.em, grid.em), (0, 0))
    return np.pad(sheet, margins, constant_values=WHITE).astype(np.float32) / 255


def _check_counts(
    cells: Sequence[Sequence[Cell]], row_titles: Sequence[str], column_titles: Sequence[str]
) -> None:
    """Refuse a grid that is empty or ragged, and titles that do not go with it."""
    lengths = [len(row) for row in cells]
    if not any(lengths):
        raise ValueError("a sheet without cells; give at least one row of one cell")
    if len(set(lengths)) > 1:
        raise ValueError(f"rows of {lengths} cells; fill the shorter ones up with Cell(None)")
    counts = {"row": (row_titles, len(lengths)), "column": (column_titles, lengths[0])}
    for name, (titles, count) in counts.items():
        if titles and len(titles) != count:
            raise ValueError(f"{len(titles)} {name} titles for {count} {name}(s); give all or none")


def _check_images(images: Iterable[np.ndarray | None]) -> None:
    """Refuse what is there and cannot be shown."""
    for image in images:
        if image is None:
            continue
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"an image of shape {image.shape}; give (H, W, 3)")
        if not np.isfinite(image).all():
            raise ValueError("an image that is not finite; give Cell(None, 'not finite') instead")


def _measure(cells: Sequence[Sequence[Cell]]) -> Grid:
    """Rows as high and columns as wide as their largest picture; text grows as its square root."""
    images = [[_blank() if cell.image is None else cell.image for cell in row] for row in cells]
    heights = [max(image.shape[0] for image in row) for row in images]
    widths = [max(image.shape[1] for image in column) for column in zip(*images, strict=True)]
    em = max(MIN_EM, round((max(heights) * max(widths)) ** 0.25))
    return Grid(_fill(heights, 2 * em), _fill(widths, 4 * em), em)  # room for a word


def _fill(sides: list[int], least: int) -> tuple[int, ...]:
    """Give what has no picture the size of the largest, and all at least `least`."""
    return tuple(max(least, side or max(sides)) for side in sides)


def _row(cells: Sequence[Cell], height: int, grid: Grid) -> np.ndarray:
    """Pictures, and below them their captions."""
    pairs = list(zip(cells, grid.widths, strict=True))
    pictures = [_picture(cell, height, width, grid) for cell, width in pairs]
    shown = [(cell.caption if cell.image is not None else "", width) for cell, width in pairs]
    captions = [_text(caption, width, grid.em, ink=FADED) for caption, width in shown]
    return _stack([_beside(pictures, grid.gap), _strip(captions, grid, down=0)], grid.gap // 2)


def _picture(cell: Cell, height: int, width: int, grid: Grid) -> np.ndarray:
    """The cell's picture, or a box with the caption inside."""
    if cell.image is not None:
        return _place(_to_bytes(cell.image), height, width)
    lines = (height - grid.gap) // line_height(grid.em)
    text = _text(cell.caption, width - 2 * grid.gap, grid.em, lines=lines, ink=FADED)
    return np.minimum(_place(text, height, width), np.uint8(BOX))


def _row_heads(titles: Sequence[str], axis: str, rows: list[np.ndarray], grid: Grid) -> np.ndarray:
    """The name of the rows' axis, upright, and the rows' titles, each beside its pictures."""
    line, room = line_height(grid.em), ROW_TITLE_EMS * grid.em
    pairs = zip(titles, grid.heights, strict=False)
    texts = [_text(text, room, grid.em, lines=height // line, at=1) for text, height in pairs]
    width = max((text.shape[1] for text in texts), default=0)
    heads = []
    for text, height, row in zip(texts, grid.heights, rows, strict=False):
        heads.append(_place(_place(text, height, width, right=1), row.shape[0], width, down=0))
    height = _height(rows, grid)
    name = np.rot90(_text(axis, height, grid.em, ink=FADED))
    name = _place(name, height, name.shape[1])
    return _beside([name, _stack(heads, grid.gap)], grid.gap, at=0)


def _height(rows: list[np.ndarray], grid: Grid) -> int:
    """From the top of the first row's pictures to the foot of the last row's."""
    return sum(row.shape[0] + grid.gap for row in rows[:-1]) + grid.heights[-1]


def _column_heads(titles: Sequence[str], axis: str, grid: Grid) -> np.ndarray:
    """The name of the columns' axis above the columns' titles."""
    pairs = zip(titles, grid.widths, strict=False)
    strip = _strip([_text(title, width, grid.em) for title, width in pairs], grid, down=1)
    width = sum(grid.widths) + grid.gap * (len(grid.widths) - 1)
    name = _text(axis, width, grid.em, ink=FADED)
    return _stack([_place(name, name.shape[0], width), strip], grid.gap // 2)


def _strip(blocks: list[np.ndarray], grid: Grid, down: float) -> np.ndarray:
    """Blocks side by side, each over the width of its column."""
    height = max((block.shape[0] for block in blocks), default=0)
    pairs = zip(blocks, grid.widths, strict=False)
    return _beside([_place(block, height, width, down) for block, width in pairs], grid.gap)


def _source_parts(sources: Sequence[Source], rows: list[np.ndarray], grid: Grid) -> list[Part]:
    """Columns of at most as many sources as the grid has rows."""
    chunks = [sources[first : first + len(rows)] for first in range(0, len(sources), len(rows))]
    return [_source_column(chunk, _height(rows, grid), grid) for chunk in chunks]


def _source_column(sources: Sequence[Source], height: int, grid: Grid) -> Part:
    """Sources under their labels, the first of which is in line with the columns' titles.

    Together they are as high as the grid, but none is higher than `SOURCE_SIDE` cells.
    """
    width = round(SOURCE_SIDE * max(grid.widths))
    labels = [_text(label, width, grid.em) for label, _ in sources]
    room = height - sum(label.shape[0] + 3 * grid.gap for label in labels[1:])
    side = min(round(SOURCE_SIDE * max(grid.heights)), max(room // len(sources), 2 * grid.em))
    images = [_to_bytes(_fit(image, side, width)) for _, image in sources]
    pairs = zip([_blank(), *labels[1:]], images, strict=True)
    return labels[0], _stack([_stack(pair, grid.gap) for pair in pairs], 2 * grid.gap)


def _fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale down, aspect kept, until it is no higher and no wider than asked."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, width / columns, 1)
    return resize(image, (max(1, round(scale * rows)), max(1, round(scale * columns))))


def _columns(parts: list[Part], gap: int) -> list[np.ndarray]:
    """Heads over what belongs below them; all heads end, and all the rest begins, on one line."""
    top = max(head.shape[0] for head, _ in parts)
    widths = [max(block.shape[1] for block in part) for part in parts]
    pairs = zip(parts, widths, strict=True)
    return [_stack([_place(head, top, w, down=1), rest], gap) for (head, rest), w in pairs]


def _text(
    text: str, width: int, em: int, *, lines: int = MAX_LINES, at: float = 0.5, ink: int = INK
) -> np.ndarray:
    """Lines of text, no wider than `width`; nothing at all where there is no text."""
    return _stack(draw_lines(text, width, em, max(1, lines), ink), 0, at)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    """Round to 8 bits as `images.save_image` does."""
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def _blank(height: int = 0, width: int = 0) -> np.ndarray:
    return np.full((height, width, 3), WHITE, np.uint8)


def _place(
    block: np.ndarray, height: int, width: int, down: float = 0.5, right: float = 0.5
) -> np.ndarray:
    """A block on a larger white one; `down` and `right` are 0 at the top left, 1 at the end."""
    placed, (rows, columns) = _blank(height, width), block.shape[:2]
    top, left = int(down * (height - rows)), int(right * (width - columns))
    placed[top : top + rows, left : left + columns] = block
    return placed


def _stack(blocks: Iterable[np.ndarray], gap: int, at: float = 0.5) -> np.ndarray:
    """Blocks below each other, those without pixels left out; `at` 0 is flush left, 1 right."""
    blocks = [block for block in blocks if block.size]
    width = max((block.shape[1] for block in blocks), default=0)
    rows = [_blank(0, width)]
    for block in blocks:
        rows += [_blank(gap if len(rows) > 1 else 0, width)]
        rows += [_place(block, block.shape[0], width, right=at)]
    return np.concatenate(rows)


def _beside(blocks: Iterable[np.ndarray], gap: int, at: float = 0.5) -> np.ndarray:
    """Blocks beside each other, those without pixels left out; `at` 0 is flush top, 1 foot."""
    return _stack([block.swapaxes(0, 1) for block in blocks], gap, at).swapaxes(0, 1)
