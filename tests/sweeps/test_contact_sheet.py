"""The contact sheet, read back from its pixels: pictures by their noise, text by its ink."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from nst_jax import Settings
from nst_jax.sweeps import contact_sheet, grid
from nst_jax.sweeps.contact_sheet import (
    Cell,
    join_pictures,
    make_sheet,
    make_sweep_sheet,
    spell,
)
from nst_jax.sweeps.grid import Axis, Point, Source, make_grid

MIN_EM = 12  # px: the sheet's smallest text and narrowest margin
WHITE, BOX = 255, 236
LONG = {
    "file name": "a_very_long_file_name_of_a_style_picture_that_goes_on_and_on.jpg",
    "layers": "conv1_1+conv2_1+conv3_1+conv4_1+conv5_1",
    "one word": "W" * 300,
    "many words": "from noise with a learning rate " * 20,
}


def noise(height, width, seed=0):
    """A picture that is nowhere white and like no other, in whole 8-bit steps."""
    levels = np.random.default_rng(seed).integers(0, 230, (height, width, 3))
    return (levels / 255).astype(np.float32)


def noise_grid(rows, columns, shapes=((48, 64),), caption=""):
    """Cells of noise, their (height, width) taken from `shapes` in turn."""
    return [
        [
            Cell(noise(*shapes[(r + c) % len(shapes)], seed=r * columns + c), caption)
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def white_grid(rows, columns, height=48, width=64):
    """Pictures as white as the sheet: what is dark is text."""
    return [[Cell(np.ones((height, width, 3), np.float32))] * columns] * rows


def titles_for(cells, text):
    """Every text that a sheet can have."""
    return {
        "row_titles": [f"{r} {text}" for r in range(len(cells))],
        "column_titles": [f"{c} {text}" for c in range(len(cells[0]))],
        "title": text,
        "row_axis": f"rows {text}",
        "column_axis": f"columns {text}",
    }


def to_bytes(sheet):
    """Check the sheet's contract, and give it as 8 bits."""
    assert sheet.dtype == np.float32 and sheet.ndim == 3 and sheet.shape[2] == 3
    levels = np.rint(sheet * 255)
    np.testing.assert_allclose(sheet * 255, levels, atol=1e-4)  # float32's rounding of n / 255
    assert levels.min() >= 0 and levels.max() == WHITE
    return levels.astype(np.uint8)


def find(sheet, image):
    """The (top, left) of the only place where a picture stands, every pixel as it is."""
    pixels = np.rint(image * 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    corners = np.argwhere((sheet == pixels[0, 0]).all(-1))
    found = [
        (top, left)
        for top, left in corners.tolist()
        if np.array_equal(sheet[top : top + height, left : left + width], pixels)
    ]
    assert len(found) == 1
    return found[0]


def find_all(sheet, cells):
    return np.array([[find(sheet, cell.image) for cell in row] for row in cells])


def ink(sheet):
    """(H, W) bool: what is not white."""
    return (sheet < WHITE).any(-1)


def crop(mask):
    """The smallest box with everything that is set."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def is_ringed(sheet, place, image):
    """Whether the pixels around a picture are white, so that it covers no text."""
    (top, left), (height, width) = place, image.shape[:2]
    around = ink(sheet)[top - 1 : top + height + 1, left - 1 : left + width + 1].copy()
    around[1:-1, 1:-1] = False
    return not around.any()


@pytest.mark.parametrize("text", ["", "1e-4", LONG["file name"]], ids=["none", "short", "long"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (5, 4)], ids=str)
def test_pictures_stand_pixel_by_pixel_and_clear_of_text(shape, text):
    cells = noise_grid(*shape, shapes=((48, 64), (64, 40), (31, 33)), caption=text)
    sources = [(f"content: {text}", noise(50, 60, 900)), (f"style: {text}", noise(40, 30, 901))]
    titles = titles_for(cells, text) if text else {}
    sheet = to_bytes(make_sheet(cells, **titles, sources=sources))
    for row in cells:
        for cell in row:
            assert is_ringed(sheet, find(sheet, cell.image), cell.image)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("size", [4, 32, 128, 300])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)], ids=str)
def test_the_margin_stays_white(shape, size, text):
    cells = white_grid(*shape, size, size)
    image = np.zeros((size, size, 3), np.float32)
    sheet = to_bytes(make_sheet(cells, **titles_for(cells, text), sources=[(text, image)] * 2))
    inner = ink(sheet)[MIN_EM:-MIN_EM, MIN_EM:-MIN_EM]
    assert inner.sum() == ink(sheet).sum() > 0


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_neighbouring_titles_do_not_touch(text):
    cells = noise_grid(3, 4, shapes=((64, 64),), caption=text)
    columns = to_bytes(make_sheet(cells, column_titles=[text] * 4))
    for left in find_all(columns, cells)[0, 1:, 1]:
        assert not ink(columns)[:, left - MIN_EM // 2 : left].any()
    rows = to_bytes(make_sheet(noise_grid(3, 4), row_titles=[text] * 3))
    for top in find_all(rows, noise_grid(3, 4))[1:, 0, 0]:
        assert not ink(rows)[top - MIN_EM // 2 : top].any()


def test_row_titles_take_bounded_room():
    plain, *titled = (
        make_sheet(white_grid(1, 1), row_titles=["W" * count]).shape for count in (0, 100, 1000)
    )
    assert titled[0] == titled[1] and titled[0][0] == plain[0]
    assert plain[1] < titled[0][1] <= plain[1] + 12 * MIN_EM


def test_elided_text_ends_in_dots():
    """Three lines are whole; of four, the third gets the dots."""

    def titled(text):
        return make_sheet(white_grid(1, 1), column_titles=[text])

    whole, dotted, long = map(titled, ("HHHHH " * 3, "HHHHH " * 2 + "HHHHH...", "HHHHH " * 4))
    np.testing.assert_array_equal(long, dotted)
    assert whole.shape == dotted.shape and (whole != dotted).any()


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("conv1_1+conv2+conv3_1+conv4", "conv1_1+conv2+ conv3_1+conv4"),
        ("conv1_1+conv2_1+conv3_1", "conv1_1+conv2_1+ conv3_1"),
        ("van_gogh_cafe_terrace.jpg", "van_gogh_cafe_ terrace.jpg"),
        ("W" * 12, "W" * 10 + " " + "W" * 2),  # a W is 11 wide
    ],
)
def test_text_breaks_where_it_reads_best(text, broken):
    """As if there had been a space in just that place."""
    cells = white_grid(1, 1, 112, 112)  # of which text may take 110
    sheets = [make_sheet(cells, column_titles=[each]) for each in (text, broken)]
    np.testing.assert_array_equal(*sheets)
    lines = np.count_nonzero(np.diff(ink(to_bytes(sheets[0])).any(1).astype(int)) == 1)
    assert lines == 2


def test_text_is_neither_cut_nor_covered_by_pictures():
    """The ink around the pictures is the same whatever they show."""
    white, dark = white_grid(3, 4), noise_grid(3, 4)
    bare, full = (
        to_bytes(make_sheet(cells, **titles_for(cells, "conv1_1, gy"))) for cells in (white, dark)
    )
    assert bare.shape == full.shape
    for row, places in zip(dark, find_all(full, dark), strict=True):
        for cell, (top, left) in zip(row, places, strict=True):
            full[top : top + cell.image.shape[0], left : left + cell.image.shape[1]] = WHITE
    np.testing.assert_array_equal(full, bare)


def test_grid_is_in_order_and_pictures_are_centered():
    cells = noise_grid(3, 4, shapes=((64, 48), (50, 60)))
    sheet = to_bytes(make_sheet(cells, **titles_for(cells, "x")))
    shapes = [[cell.image.shape[:2] for cell in row] for row in cells]
    centers = find_all(sheet, cells) + np.array(shapes) / 2
    assert np.ptp(centers[..., 0], axis=1).max() <= 0.5
    assert np.ptp(centers[..., 1], axis=0).max() <= 0.5
    assert (np.diff(centers[..., 0], axis=0) > 64).all()
    assert (np.diff(centers[..., 1], axis=1) > 60).all()


def test_titles_stand_at_their_pictures():
    """A lone title: above its column's pictures, or left of its row's, and in their middle."""
    cells = white_grid(3, 4)
    for at in range(4):
        titles = ["o" if c == at else "" for c in range(4)]
        sheet = to_bytes(make_sheet(cells, column_titles=titles))
        left = MIN_EM + at * (64 + MIN_EM // 2)
        assert abs(np.argwhere(ink(sheet))[:, 1].mean() - (left + 32)) < 2
    for at in range(3):
        titles = ["o" if r == at else "" for r in range(3)]
        sheet = to_bytes(make_sheet(cells, row_titles=titles))
        top = MIN_EM + at * (48 + MIN_EM // 2)
        assert abs(np.argwhere(ink(sheet))[:, 0].mean() - (top + 24)) < 4


def test_row_titles_end_at_their_pictures():
    """Ragged at the left only, and level with the pictures, whatever the captions' height."""
    cells = [
        [Cell(each.image, "a caption of some words") for each in row] for row in noise_grid(3, 2)
    ]
    sheet = to_bytes(make_sheet(cells, row_titles=["H", "HHHHH", "HHH"]))
    ends = []
    for top, left in find_all(sheet, cells)[:, 0]:
        places = np.argwhere(ink(sheet)[top : top + 48, :left])
        assert abs(places[:, 0].mean() - 24) < 4
        ends.append(left - places[:, 1].max())
    assert np.ptp(ends) == 0 and ends[0] <= 2 * MIN_EM


def test_lines_are_flush_with_the_pictures():
    """A row title's lines all end at the right; a short column title stands low."""
    row = crop(ink(to_bytes(make_sheet(white_grid(1, 1), row_titles=["HHHHHHHH HHHHHHHHH"]))))
    ends = [np.flatnonzero(line)[-1] for line in row if line.any()]
    assert len(ends) > MIN_EM and np.ptp(ends) == 0
    cells = noise_grid(1, 2)
    sheet = to_bytes(make_sheet(cells, column_titles=["HHHHH HHHHH HHHHH", "H"]))
    (top, _), (_, left) = find_all(sheet, cells)[0]
    assert ink(sheet)[top - MIN_EM : top, left:].any()
    assert not ink(sheet)[: top - 2 * MIN_EM, left:].any()


def test_letters_are_whole():
    """As Pillow draws them with room all around."""
    text = "/jgyW_f|Q,(@"
    room = Image.new("RGB", (300, 100), "white")
    ImageDraw.Draw(room).text((50, 50), text, "black", ImageFont.load_default(18))
    sheet = make_sheet(white_grid(1, 1, 324, 324), column_titles=[text])
    np.testing.assert_array_equal(crop(ink(to_bytes(sheet))), crop(ink(np.asarray(room))))


def test_axis_names():
    """The rows' axis is the columns' turned a quarter to the left; both are in the middle."""
    cells = white_grid(3, 3, 64, 64)
    above = ink(to_bytes(make_sheet(cells, column_axis="ratio")))
    beside = ink(to_bytes(make_sheet(cells, row_axis="ratio")))
    np.testing.assert_array_equal(np.rot90(crop(above)), crop(beside))
    assert abs(np.argwhere(above)[:, 1].mean() - above.shape[1] / 2) < 3
    assert abs(np.argwhere(beside)[:, 0].mean() - beside.shape[0] / 2) < 3


def test_title_is_above_all_and_larger():
    cells = white_grid(3, 3, 64, 64)
    title, axis = (
        crop(ink(to_bytes(make_sheet(cells, **{name: "ratio"}))))
        for name in ("title", "column_axis")
    )
    assert title.shape[0] > axis.shape[0] and title.shape[1] > axis.shape[1]
    both = ink(to_bytes(make_sheet(cells, title="ratio", column_axis="ratio")))
    top = np.flatnonzero(both.any(1))[0]
    np.testing.assert_array_equal(crop(both[top : top + title.shape[0]]), title)


def test_text_grows_mildly_with_the_cells():
    heights = {}
    for size in (64, 128, 256, 1024):
        cells = white_grid(1, 1, size, size)
        heights[size] = crop(ink(to_bytes(make_sheet(cells, column_titles=["H"])))).shape[0]
    assert heights[64] == heights[128] >= 8
    assert heights[128] < heights[256] < heights[1024] <= 4 * heights[128]


def test_caption_is_under_its_picture():
    cells = noise_grid(2, 2)
    cells[0][1] = Cell(cells[0][1].image, "loss 3")
    plain, sheet = (to_bytes(make_sheet(each)) for each in (noise_grid(2, 2), cells))
    grown = sheet.shape[0] - plain.shape[0]
    assert MIN_EM <= grown <= 2 * MIN_EM and sheet.shape[1] == plain.shape[1]
    top, left = find(sheet, cells[0][1].image)
    under = ink(sheet)[top + 48 : top + 48 + grown]
    assert under[:, left : left + 64].any() and not under[:, :left].any()


@pytest.mark.parametrize("caption", ["", "not finite", *LONG.values()], ids=["none", "one", *LONG])
def test_a_missing_picture_is_a_gray_box_with_its_caption(caption):
    cells = noise_grid(2, 2)
    plain = to_bytes(make_sheet(cells))
    top, left = find(plain, cells[1][0].image)
    cells[1][0] = Cell(None, caption)
    sheet = to_bytes(make_sheet(cells))
    assert sheet.shape == plain.shape
    box = sheet[top : top + 48, left : left + 64]
    assert box.max() == BOX and (box.min() < 128) == bool(caption)
    edges = np.ones((48, 64), bool)
    edges[2:-2, 2:-2] = False
    assert (box[edges] == BOX).all()
    assert not ink(sheet)[top + 48 :].any()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3)])
def test_a_sheet_without_any_picture(rows, columns):
    cells = [[Cell(None, "not finite")] * columns] * rows
    sheet = to_bytes(make_sheet(cells, **titles_for(cells, LONG["layers"])))
    assert (sheet == BOX).all(-1).sum() > rows * columns * 20 * MIN_EM


def test_a_row_without_any_picture_is_as_high_as_the_others():
    cells = [*noise_grid(2, 3), [Cell(None)] * 3]
    assert make_sheet(cells).shape == make_sheet(noise_grid(3, 3)).shape


def red(height, width, level):
    """A picture of one color, which neither text nor noise has."""
    return np.full((height, width, 3), (level / 255, 0, 0), np.float32)


def box_of(sheet, level):
    """(top, left, height, width) of a red picture."""
    places = np.argwhere((sheet == (level, 0, 0)).all(-1))
    (top, left), (bottom, right) = places.min(0), places.max(0)
    assert len(places) == (bottom - top + 1) * (right - left + 1)
    return top, left, bottom - top + 1, right - left + 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (5, 4), (20, 1)], ids=str)
@pytest.mark.parametrize("labels", [("content: china", "style: night"), ("", "")], ids=["", "bare"])
def test_sources_are_scaled_down_beside_the_grid(shape, labels):
    cells = noise_grid(*shape, shapes=((64, 96),))
    shapes = [(400, 600), (900, 720)]
    images = [red(*shapes[0], 240), red(*shapes[1], 245)]
    sheet = to_bytes(make_sheet(cells, sources=list(zip(labels, images, strict=True))))
    first = find_all(sheet, cells)[0, 0]
    boxes = [box_of(sheet, level) for level in (240, 245)]
    for (_, left, height, width), (rows, columns) in zip(boxes, shapes, strict=True):
        assert left + width < first[1]
        assert 32 <= height <= 96 and width <= 144
        assert abs(width - height * columns / rows) <= 1
    assert boxes[0][0] == first[0]
    if shape[0] == 1:  # side by side, as high as the cell
        assert boxes[1][0] == first[0] and boxes[0][2] == boxes[1][2] == 64
    else:
        assert boxes[1][0] > boxes[0][0] + boxes[0][2]


def test_two_sources_are_as_high_as_two_rows():
    """The second ends with the last row's pictures, not with their captions."""
    cells = noise_grid(2, 3, shapes=((128, 128),), caption="loss 3")
    sources = [("content", red(500, 500, 240)), ("style", red(500, 500, 245))]
    sheet = to_bytes(make_sheet(cells, sources=sources))
    top, _, height, _ = box_of(sheet, 245)
    assert 0 <= find(sheet, cells[1][0].image)[0] + 128 - (top + height) <= 1


def test_a_panorama_is_no_wider_than_a_cell_and_a_half():
    sources = [("content: china", red(200, 1000, 240))]
    sheet = to_bytes(make_sheet(noise_grid(3, 3), sources=sources))
    assert box_of(sheet, 240)[2:] == (19, 96)  # 64 × 1.5 wide


def test_small_sources_stand_as_they_are_and_labels_above_them():
    cells = noise_grid(2, 2)
    images = [noise(20, 25, 100), noise(12, 10, 101)]
    labelled, bare = (
        to_bytes(
            make_sheet(cells, column_axis="r " * 99, sources=[*zip(labels, images, strict=True)])
        )
        for labels in (("content", "style"), ("", ""))
    )
    for image in images:
        find(bare, image)
        top, left = find(labelled, image)
        above = ink(labelled)[top - MIN_EM : top, left : left + image.shape[1]]
        assert above.any() and is_ringed(labelled, (top, left), image)


def test_pictures_are_rounded_to_8_bits():
    levels = np.random.default_rng(0).integers(1, 200, (48, 64, 3))
    off = np.random.default_rng(1).uniform(-0.45, 0.45, levels.shape)
    image = ((levels + off) / 255).astype(np.float32)
    find(to_bytes(make_sheet([[Cell(image)]])), levels / 255)


def test_values_outside_the_range_are_clipped():
    image = np.full((48, 64, 3), 1.5, np.float32)
    image[:24] = -0.5
    sheet = to_bytes(make_sheet([[Cell(image)]]))
    assert (sheet == 0).all(-1).sum() == 24 * 64


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("ratio 1e-4, conv4_2", "ratio 1e-4, conv4_2"),
        ("ratio α/β", "ratio alpha/beta"),
        ("Δ λ ω, Έναστρη νύχτα", "Delta lambda omega, Enastri nychta"),
        ("noise → content, 2 × 3", "noise -> content, 2 x 3"),
        ("1×10⁻⁵, m²", "1x10^-5, m^2"),
        ("–1 — −2 ≤ 3 µm", "-1 - -2 <= 3 um"),
        ("Café, cafe\u0301, Straße, Łódź", "Cafe, cafe, Strasse, Lodz"),
        ("½ ㎝", "1/2 cm"),
        ("two\nlines\tand\u00a0spaces ", "two lines and spaces"),
        ("星月夜, Звёздная ночь", "XingYueYe, Zvezdnaya noch'"),
        ("a\u200bb\x01c\ufe0f", "abc"),
        ("\udcff.jpg", "?.jpg"),  # a byte of a file name that is no UTF-8
        ("", ""),
    ],
)
def test_spell(text, spelled):
    assert spell(text) == spelled


def test_everything_is_spelled_in_glyphs_of_the_font():
    """The font draws U+FFFF, which is never assigned, in the place of what it lacks."""
    font = ImageFont.load_default(24)
    missing = bytes(font.getmask("\uffff"))
    spelled = {letter for code in range(0x3000) for letter in spell(f"x{chr(code)}x")}
    assert not [letter for letter in spelled if bytes(font.getmask(letter)) == missing]


def test_spelling_is_what_is_drawn():
    sheets = [make_sheet(white_grid(1, 1), column_axis=text) for text in ("α → 2×", "alpha -> 2x")]
    np.testing.assert_array_equal(*sheets)


@pytest.mark.parametrize(
    ("counts", "titles"),
    [
        ([2, 1], {}),
        ([2], {"column_titles": ["a"]}),
        ([1], {"row_titles": ["a", "b"]}),
    ],
)
def test_counts_that_do_not_match_are_refused(counts, titles):
    cells = [[Cell(noise(8, 8))] * count for count in counts]
    with pytest.raises(ValueError, match="shorter|longer"):
        make_sheet(cells, **titles)


# ---- The sheet of a sweep: which picture goes where, under which title

SOURCES = (Source("content", "photo.png"), Source("style", "a/night.png"))
CLOSE = 1 / 255  # a flat picture on the sheet, rounded to 8 bits


def axis(name, *labels):
    """An axis whose points change the seed, so that none is another's double."""
    points = (Point(label, label, {"seed": n}) for n, label in enumerate(labels))
    return Axis(name, f"title of {name}", tuple(points))


def flat(color, height=24, width=32):
    return np.broadcast_to(np.float32(color), (height, width, 3))


@pytest.fixture
def sheets(monkeypatch):
    """What `make_sheet` was called with."""
    calls = []

    def make_sheet(cells, **titles):
        calls.append((cells, titles))
        return flat(1)

    monkeypatch.setattr(contact_sheet, "make_sheet", make_sheet)
    return calls


def cells_of(made, count=None):
    """{lane's name: its cell}, the first `count` of them with pictures in shades of n / 20."""
    count = len(made.lanes) if count is None else count
    return {
        lane.name: Cell(flat(n / 20)) if n < count else Cell(None, f"no {n}")
        for n, lane in enumerate(made.lanes)
    }


@pytest.mark.parametrize(
    ("lengths", "wanted"),
    [
        ({"seed": 2, "ratio": 2, "style": 5}, "ratio"),
        ({"seed": 2, "style": 5, "layers": 3}, "style"),
        ({"seed": 3, "style": 3}, "seed"),  # the first, as on the page
        ({"layers": 2}, "layers"),
    ],
)
def test_axis_that_runs_along(sheets, lengths, wanted):
    axes = [axis(name, *map(str, range(length))) for name, length in lengths.items()]
    made = make_grid(Settings(), SOURCES, axes)
    make_sweep_sheet(made, cells_of(made), [flat(0), flat(1)])
    ((cells, titles),) = sheets
    assert titles["column_axis"] == f"title of {wanted}"
    assert len(cells[0]) == lengths[wanted]


def test_ratios_along_and_the_rest_down(sheets):
    """The last of the axes that run down is the fastest."""
    axes = (
        grid.setting_axis("ratio", [1e-4, 1e-3]),
        grid.setting_axis("seed", [1, 2]),
        grid.setting_axis("tv_weight", [0, 1, 2]),
    )
    made = make_grid(Settings(), SOURCES, axes)
    make_sweep_sheet(made, cells_of(made, 11), [flat(0), flat(1)])
    ((cells, titles),) = sheets
    shades = [[-1 if c.image is None else c.image.flat[0] for c in row] for row in cells]
    wanted = np.arange(12).reshape(2, 6).T / 20
    wanted[5, 1] = -1
    np.testing.assert_allclose(shades, wanted, rtol=1e-6)
    assert cells[5][1].caption == "no 11"
    assert titles["column_titles"] == ["1e-4", "1e-3"]
    assert titles["row_titles"] == ["1, 0", "1, 1", "1, 2", "2, 0", "2, 1", "2, 2"]
    assert (titles["column_axis"], titles["row_axis"]) == ("ratio α/β", "seed, total variation")
    assert titles["title"] == "photo × night"
    assert [label for label, _ in titles["sources"]] == ["content: photo", "style: night"]


def test_an_axis_between_others_runs_along(sheets):
    axes = (
        grid.setting_axis("seed", [1, 2]),
        grid.setting_axis("ratio", [1e-5, 1e-4, 1e-3]),
        grid.setting_axis("tv_weight", [0, 1]),
    )
    made = make_grid(Settings(), SOURCES, axes)
    make_sweep_sheet(made, cells_of(made), [flat(0), flat(1)])
    ((cells, titles),) = sheets
    shades = [[cell.image.flat[0] for cell in row] for row in cells]
    wanted = np.array([[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]) / 20
    np.testing.assert_allclose(shades, wanted, rtol=1e-6)
    assert titles["row_titles"] == ["1, 0", "1, 1", "2, 0", "2, 1"]


@pytest.mark.parametrize("labels", [("n", "n"), ("n", "n", "n"), ("n", "day", "n")])
def test_equal_titles_are_told_apart(sheets, labels):
    """Style images of one name, from different folders."""
    made = make_grid(Settings(), SOURCES, [axis("style", *labels)])
    make_sweep_sheet(made, cells_of(made), [flat(0), flat(1)])
    titles = sheets[0][1]["column_titles"]
    assert len(set(titles)) == len(labels)
    assert all(title.startswith(label) for title, label in zip(titles, labels, strict=True))


def test_one_lane_has_no_titles():
    made = make_grid(Settings(), SOURCES, ())
    sheet = make_sweep_sheet(made, cells_of(made), [flat(0), flat(1)])
    sources = [("content: photo", flat(0)), ("style: night", flat(1))]
    plain = make_sheet([[Cell(flat(0))]], title="photo × night", sources=sources)
    np.testing.assert_array_equal(sheet, plain)


def test_pictures_are_on_the_sheet():
    """Each as many pixels as it has, of its own color; the missing ones are not."""
    made = make_grid(Settings(), SOURCES, (grid.setting_axis("ratio", [1e-4, 1e-3, 1e-2]),))
    colors = {"ratio-1e-4": (1.0, 0.0, 0.2), "ratio-1e-2": (0.0, 1.0, 0.2)}
    cells = {name: Cell(flat(color)) for name, color in colors.items()}
    cells["ratio-1e-3"] = Cell(None, "failed")
    sheet = make_sweep_sheet(made, cells, [flat(0.4), flat(0.7)])
    columns = []
    for color in colors.values():
        found = np.all(np.abs(sheet - np.float32(color)) < CLOSE, axis=-1)
        assert found.sum() == 24 * 32
        columns.append(np.argwhere(found)[:, 1].min())
    assert columns[1] - columns[0] > 2 * 32  # the failed one is between them


@pytest.mark.parametrize(
    ("count", "shape", "max_pixels", "wanted"),
    [
        (4, (24, 32), 4 * 24 * 32, (24, 32)),
        (4, (24, 32), 24 * 32, (12, 16)),  # a quarter of the pixels: half the side
        (3, (25, 31), 3 * 24 * 30, (24, 30)),
        (2, (1, 4000), 80, (1, 400)),  # never less than one pixel
    ],
)
def test_pictures_are_scaled_down_together(sheets, monkeypatch, count, shape, max_pixels, wanted):
    """Those that are missing stay missing, and the sheet sees to the sources."""
    monkeypatch.setattr(contact_sheet, "MAX_PIXELS", max_pixels)
    made = make_grid(Settings(), SOURCES, (grid.setting_axis("seed", range(count + 1)),))
    cells = {lane.name: Cell(flat(0.5, *shape), "a") for lane in made.lanes}
    cells["seed-0"] = Cell(None, "missing")
    make_sweep_sheet(made, cells, [flat(0, 400, 400), flat(1)])
    ((((missing, *scaled),), titles),) = sheets
    assert missing == Cell(None, "missing")
    assert {(cell.image.shape[:2], cell.caption) for cell in scaled} == {(wanted, "a")}
    assert all(np.abs(cell.image - 0.5).max() < CLOSE for cell in scaled)
    assert titles["sources"][0][1].shape == (400, 400, 3)


def test_pictures_side_by_side():
    """As high as the lowest, each of its own proportions, in their order."""
    joined = join_pictures([flat(0.25, 50, 40), flat(0.75, 100, 300)])
    assert joined.shape == (50, 40 + 1 + 150, 3)
    assert np.abs(joined[:, :40] - 0.25).max() < CLOSE > np.abs(joined[:, -150:] - 0.75).max()
    assert np.all(joined[:, 40] == 1)
