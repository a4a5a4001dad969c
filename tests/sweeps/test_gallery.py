"""The contact sheet of a sweep: which picture goes where, under which title."""

import numpy as np
import pytest

from nst_jax import Settings
from nst_jax.sweeps import gallery, grid
from nst_jax.sweeps.grid import Axis, Point, Source, make_grid

SOURCES = (Source("content", "photo.png"), Source("style", "a/night.png"))
CLOSE = 1 / 255  # a flat picture on the sheet, rounded to 8 bits


def axis(name, *labels):
    """An axis whose points change the seed, so that none is another's double."""
    points = (Point(label, label, {"seed": n}) for n, label in enumerate(labels))
    return Axis(name, f"title of {name}", tuple(points))


def flat(color, height=24, width=32):
    return np.broadcast_to(np.float32(color), (height, width, 3))


@pytest.mark.parametrize(
    ("lengths", "wanted"),
    [
        ({"seed": 2, "ratio": 2, "style": 5}, "ratio"),
        ({"seed": 2, "style": 5, "layers": 3}, "style"),
        ({"seed": 3, "style": 3}, "seed"),  # the first, as on the page
        ({"layers": 2}, "layers"),
    ],
)
def test_axis_that_runs_along(lengths, wanted):
    axes = [axis(name, *map(str, range(length))) for name, length in lengths.items()]
    assert gallery.column_axis(axes).name == wanted


def test_no_axis():
    assert gallery.column_axis([]) is None
    assert gallery.places([]) == {"": {}}


def test_places():
    """The last axis is the fastest."""
    assert gallery.places([axis("style", "night", "day"), axis("seed", "1", "2")]) == {
        "night, 1": {"style": 0, "seed": 0},
        "night, 2": {"style": 0, "seed": 1},
        "day, 1": {"style": 1, "seed": 0},
        "day, 2": {"style": 1, "seed": 1},
    }


@pytest.mark.parametrize(
    "labels",
    [("n", "n"), ("n", "n", "n"), ("n", "day", "n"), ("n (2)", "n", "n"), ("n (3)", "n", "n")],
)
def test_places_with_equal_labels(labels):
    """Paintings of one name, from different folders: none is lost, and the titles differ."""
    places = gallery.places([axis("style", *labels)])
    assert [place["style"] for place in places.values()] == list(range(len(labels)))
    assert all(title.startswith(label) for title, label in zip(places, labels, strict=True))


@pytest.fixture
def sheets(monkeypatch):
    """What `make_sheet` was called with."""
    calls = []

    def make_sheet(cells, **titles):
        calls.append((cells, titles))
        return flat(1)

    monkeypatch.setattr(gallery, "make_sheet", make_sheet)
    return calls


def test_ratios_along_and_the_rest_down(sheets):
    axes = (grid.ratio_axis([1e-4, 1e-3]), grid.seed_axis([1, 2, 3]), grid.init_axis(["style"]))
    made = make_grid(Settings(), SOURCES, axes)
    pictures = {lane.name: flat(number / 10) for number, lane in enumerate(made.lanes[:5])}
    notes = {"ratio-1e-3_seed-3": "not begun"}
    gallery.lay_out(made, notes, pictures, [flat(0), flat(1)])
    ((cells, titles),) = sheets
    shades = [[None if c.image is None else c.image.flat[0] for c in row] for row in cells]
    assert np.ravel(shades)[:5] == pytest.approx([0.0, 0.3, 0.1, 0.4, 0.2])  # row by row
    assert shades[2][1] is None
    assert [[cell.caption for cell in row] for row in cells] == [["", ""]] * 2 + [["", "not begun"]]
    assert titles["column_titles"] == ("1e-4", "1e-3") and titles["row_titles"] == ("1", "2", "3")
    assert (titles["column_axis"], titles["row_axis"]) == ("ratio α/β", "seed")
    assert titles["title"] == "photo × night"
    assert [label for label, _ in titles["sources"]] == ["content: photo", "style: night"]


def test_one_lane_has_no_titles(sheets):
    made = make_grid(Settings(), SOURCES, ())
    gallery.lay_out(made, {}, {"result": flat(0.5)}, [flat(0), flat(1)])
    ((cells, titles),) = sheets
    assert np.shape(cells)[:2] == (1, 1)
    assert titles["row_titles"] == titles["column_titles"] == ()
    assert titles["row_axis"] == titles["column_axis"] == ""


def test_pictures_are_on_the_sheet():
    """Each as many pixels as it has, of its own colour; the missing ones are not."""
    made = make_grid(Settings(), SOURCES, (grid.ratio_axis([1e-4, 1e-3, 1e-2]),))
    colors = {"ratio-1e-4": (1.0, 0.0, 0.2), "ratio-1e-2": (0.0, 1.0, 0.2)}
    pictures = {name: flat(color) for name, color in colors.items()}
    sheet = gallery.lay_out(made, {"ratio-1e-3": "failed"}, pictures, [flat(0.4), flat(0.7)])
    columns = []
    for color in colors.values():
        found = np.all(np.abs(sheet - np.float32(color)) < CLOSE, axis=-1)
        assert found.sum() == 24 * 32
        columns.append(np.argwhere(found)[:, 1].min())
    assert columns[1] - columns[0] > 2 * 32  # the failed one is between them


@pytest.mark.parametrize(
    ("count", "shape", "most", "wanted"),
    [
        (4, (24, 32), 4 * 24 * 32, (24, 32)),
        (4, (24, 32), 24 * 32, (12, 16)),  # a quarter of the pixels: half the side
        (3, (25, 31), 3 * 25 * 31 - 1, (24, 30)),
        (2, (1, 4000), 80, (1, 400)),  # never less than one pixel
    ],
)
def test_pictures_are_scaled_down_together(count, shape, most, wanted):
    pictures = {str(number): flat(number / count, *shape) for number in range(count)}
    scaled = gallery._within(pictures, most)
    assert {picture.shape[:2] for picture in scaled.values()} == {wanted}
    for name, picture in scaled.items():
        assert np.abs(picture - pictures[name][0, 0]).max() < CLOSE


def test_no_pictures():
    assert gallery._within({}, 100) == {}


def test_sheet_of_too_many_pixels(sheets, monkeypatch):
    monkeypatch.setattr(gallery, "SHEET_PIXELS", 24 * 32 // 2)
    made = make_grid(Settings(), SOURCES, (grid.seed_axis([1, 2]),))
    pictures = {lane.name: flat(0.5) for lane in made.lanes}
    gallery.lay_out(made, {}, pictures, [flat(0, 400, 400), flat(1)])
    ((cells, titles),) = sheets
    assert {cell.image.shape for row in cells for cell in row} == {(12, 16, 3)}
    assert titles["sources"][0][1].shape == (400, 400, 3)  # the sheet sees to them


def test_paintings_side_by_side():
    """As high as the lowest, each of its own proportions, in their order."""
    joined = gallery.beside([flat(0.25, 50, 40), flat(0.75, 100, 300)])
    assert joined.shape == (50, 40 + 1 + 150, 3)
    assert np.abs(joined[:, :40] - 0.25).max() < CLOSE > np.abs(joined[:, -150:] - 0.75).max()
    assert np.all(joined[:, 40] == 1)
    assert (gallery.source_key(3), gallery.source_key(1, 2)) == ("source-3", "source-1-2")
