"""The folder of a sweep: what is written, and what another run takes up from it."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from command import draw, listing
from PIL import Image

from nst_jax import ImageError, NSTError, Settings, SettingsError
from nst_jax.engine.results import Result
from nst_jax.images import io
from nst_jax.images.encoders import PLAIN, SaveOptions
from nst_jax.losses.terms import Losses
from nst_jax.sweeps import grid, results_folder
from nst_jax.sweeps.contact_sheet import make_sweep_sheet
from nst_jax.sweeps.grid import Source, make_grid
from nst_jax.sweeps.results_folder import NEEDED, SweepFolder
from nst_jax.weights.parameters import Weights

WEIGHTS = Weights("vgg16", {}, (0.485, 0.456, 0.406), "chance", "0" * 64, "none", name="narrow")
COMMAND = "nst-jax sweep photo.png 'my painting.png' -o out"
LAYERS = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}
SETTINGS = Settings(size=32, steps=3, **LAYERS)
OUT = Path("out")
INFINITE = Losses(np.inf, 5.0, 3.0, 0.5, {"conv2_1": 5.0}, {"conv1_1": 2.0, "conv2_1": 4.0})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The current folder, with a photograph and a painting."""
    monkeypatch.chdir(tmp_path)
    draw("photo.png"), draw("my painting.png", 40, 40, seed=1)


def open_folder(
    ratios=(1e-4, 1e-3),
    settings=SETTINGS,
    weights=WEIGHTS,
    style="my painting.png",
    saving=PLAIN,
):
    """As a run of the command does before it computes anything."""
    sources = (Source("content", "photo.png"), Source("style", style))
    made = make_grid(settings, sources, (grid.setting_axis("ratio", ratios),))
    again = {lane.name: f"nst-jax stylize … -o {lane.name}.png" for lane in made.lanes}
    return SweepFolder(OUT, made, weights, COMMAND, again, saving)


def losses_of(loss):
    return Losses(loss, 5.0, 3.0, 0.5, {"conv2_1": 5.0}, {"conv1_1": 2.0, "conv2_1": 4.0})


def shade(lane):
    """The gray of a lane's picture, in [0, 255]."""
    shades = {"ratio-1e-5": 20, "ratio-1e-4": 60, "ratio-1e-3": 100, "ratio-1e-2": 140}
    return shades.get(lane.name, 180)


def make_result(lane, completed=True, losses=None):
    """What a lane has come to, without having been computed."""
    return Result(
        image=np.full((24, 32, 3), shade(lane) / 255, np.float32),
        losses=losses or losses_of(0.25),
        history=[(0, losses or losses_of(8.0)), (3, losses or losses_of(0.25))],
        evaluations=4 if completed else 2,
        restarts=0,
        compile_seconds=1.0,
        run_seconds=2.0,
        completed=completed,
        settings=lane.settings,
        weights=WEIGHTS,
        lanes=2,
    )


def sha256_of(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def finish(folder, overwrite=False, **results):
    """Do the lanes that are to be done; return their names."""
    lanes = folder.resume(overwrite)
    with folder.created():
        folder.add({n: make_result(lane, **results) for n, lane in enumerate(lanes)}, lanes)
        folder.write_reports()
    return [lane.name for lane in lanes]


def still_to_do(folder):
    return [lane.name for lane in folder.resume(False)]


def read_sweep():
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((OUT / "sweep.json").read_text("utf-8"), parse_constant=refuse)


def refused(open_or_take, words, error=SettingsError):
    """It raises, and changes nothing."""
    before = listing()
    with pytest.raises(error, match=words) as raised:
        open_or_take()
    assert "\n" not in str(raised.value)
    assert listing() == before


# Settings that came later, at their defaults, as a record has them.
LATER = {
    "scales": 1,
    "style_blend": None,
    "style_scale": [1.0],
    "layers_per_style": None,
    "init_noise": 0.0,
    "colors": "style",
    "color_map": "pca",
    "content_mask": [],
    "style_mask": [],
    "region_styles": None,
    "tv_l1_weight": 0.0,
    "padding": "zero",
    "average": 0,
    "normalize_gradients": False,
    "lbfgs_history": "float32",
    "low_memory": False,
}


def test_folders_from_before_there_were_these_settings():
    """Their lanes have the same keys; with scales they are others, and it is said how."""
    finish(open_folder())
    sweep = read_sweep()
    for lane in sweep["lanes"]:
        assert {name: lane["settings"].pop(name) for name in LATER} == LATER
    (OUT / "sweep.json").write_text(json.dumps(sweep))
    facts = {"settings": sweep["lanes"][0]["settings"], "weights": ["", False]}
    facts["inputs"] = {"content": sha256_of("photo.png"), "style": sha256_of("my painting.png")}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    assert open_folder().keys["ratio-1e-4"] == digest
    assert still_to_do(open_folder()) == []
    scaled = open_folder(settings=dataclasses.replace(SETTINGS, scales=2))
    refused(lambda: scaled.resume(False), "ratio-1e-4 has scales 1, not 2")
    matched = open_folder(settings=dataclasses.replace(SETTINGS, colors="match"))
    refused(lambda: matched.resume(False), "ratio-1e-4 has colors style, not match")
    larger = open_folder(settings=dataclasses.replace(SETTINGS, style_scale=(0.5, 1)))
    refused(lambda: larger.resume(False), r"ratio-1e-4 has style_scale \[1.0\], not \[0.5, 1.0\]")


def test_a_folder_of_version_0_2_is_another_sweep():
    """Its `paper` weighed content otherwise: its pictures are not taken for today's."""
    finish(open_folder())
    sweep = read_sweep()
    for lane in sweep["lanes"]:
        lane["settings"].pop("noise_amplitude")
        lane["key"] = "as that version made it"
    (OUT / "sweep.json").write_text(json.dumps(sweep))
    refused(lambda: open_folder().resume(False), "noise_amplitude 1.0, not 0.01")


def test_folders_from_before_there_was_a_choice_of_files():
    """Their pictures are plain; with others asked for they are not taken for what is wanted."""
    finish(open_folder())
    sweep = read_sweep()
    for lane in sweep["lanes"]:
        assert lane.pop("output") == {"bits": 8, "dpi": None, "copy_exif": False, "text": True}
    (OUT / "sweep.json").write_text(json.dumps(sweep))
    assert still_to_do(open_folder()) == []
    deep = open_folder(saving=SaveOptions(bits=16))
    assert deep.keys == open_folder().keys
    refused(lambda: deep.resume(False), "ratio-1e-4 has bits 8, not 16")


# ---- What is written


def test_looking_changes_nothing():
    before = listing()
    assert still_to_do(open_folder()) == ["ratio-1e-4", "ratio-1e-3"]
    assert listing() == before


def test_files():
    folder = open_folder()
    lanes = folder.resume(False)
    with folder.created():
        # The numbers are those of the list, and a round need not have them all, nor in order.
        paths = folder.add({1: make_result(lanes[1]), 0: make_result(lanes[0])}, lanes)
        assert sorted(paths) == [OUT / "ratio-1e-3.png", OUT / "ratio-1e-4.png"]
        assert folder.write_reports() == [OUT / "grid.png", OUT / "index.html"]
    assert sorted(os.listdir(OUT)) == (
        ["grid.png", "index.html", "ratio-1e-3.png", "ratio-1e-4.png", "sweep.json"]
    )
    records = {record["name"]: record for record in read_sweep()["lanes"]}
    for lane in lanes:
        with Image.open(OUT / f"{lane.name}.png") as image:
            assert np.unique(image) == [shade(lane)]
            text = json.loads(image.text["nst_jax"])
        assert text == {key: records[lane.name][key] for key in text}
        assert text["settings"]["ratio"] == lane.settings.ratio
    with Image.open(OUT / "grid.png") as sheet:
        pixels = np.asarray(sheet)
    for gray in (60, 100):
        assert np.all(pixels == gray, axis=-1).sum() >= 24 * 32
    page = (OUT / "index.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 4 and "photo × my painting" in page


def test_record():
    """sweep.json is what the page is made of, and repeats each lane's own record."""
    finish(open_folder())
    sweep = read_sweep()
    assert list(sweep) == ["title", "command", "axes", "sources", "lanes"]
    assert sweep["title"] == "photo × my painting" and sweep["command"] == COMMAND
    assert sweep["axes"] == [
        {"name": "ratio", "title": "ratio α/β", "labels": ["1e-4", "1e-3"]},
    ]
    assert sweep["sources"] == [
        {"key": "source-0", "role": "content", "label": "photo", "file": "photo.png"},
        {"key": "source-1", "role": "style", "label": "my painting", "file": "my painting.png"},
    ]
    second = sweep["lanes"][1]
    wanted = {
        "name": "ratio-1e-3",
        "file": "ratio-1e-3.png",
        "place": {"ratio": 1},
        "content": 0,
        "style": 1,
        "again": "nst-jax stylize … -o ratio-1e-3.png",
        "error": None,
        "completed": True,
        "command": COMMAND,
    }
    assert {key: second[key] for key in wanted} == wanted
    assert set(second["inputs"]) == {"content", "style"}
    assert second["settings"]["ratio"] == 1e-3 and second["settings"]["steps"] == 3
    assert [entry["step"] for entry in second["history"]] == [0, 3]
    assert second["result"]["loss"] == 0.25 and second["timing"]["lanes"] == 2
    assert set(second) >= NEEDED


def test_lane_that_came_to_nothing():
    """No picture; what is wrong stands in the record, on the sheet and on the page."""
    folder = open_folder()
    lanes = folder.resume(False)
    results = {0: make_result(lanes[0]), 1: make_result(lanes[1], losses=INFINITE)}
    with folder.created():
        assert folder.add(results, lanes) == [OUT / "ratio-1e-4.png"]
        folder.write_reports()
    assert not (OUT / "ratio-1e-3.png").exists()
    good, bad = read_sweep()["lanes"]
    assert good["error"] is None and bad["completed"] is True
    assert "loss of the initial image is inf" in bad["error"] and bad["result"]["loss"] is None
    (failure,) = folder.failures()
    assert failure == f"ratio-1e-3: {bad['error']}"
    assert "loss of the initial image is inf" in (OUT / "index.html").read_text("utf-8")


@pytest.fixture
def captions(monkeypatch):
    """What the last sheet says of the lanes, by their names; nothing of those that are done."""
    said = {}

    def spy(made, cells, sources):
        said.clear()
        said.update({name: cell.caption for name, cell in cells.items() if cell.caption})
        return make_sweep_sheet(made, cells, sources)

    monkeypatch.setattr(results_folder, "make_sweep_sheet", spy)
    return said


def test_sheet_and_page_of_a_part(captions):
    """After Ctrl-C: what is there is shown, and what is missing has its place."""
    folder = open_folder((1e-5, 1e-4, 1e-3))
    lanes = folder.resume(False)
    results = {0: make_result(lanes[0]), 1: make_result(lanes[1], completed=False)}
    with folder.created():
        folder.add(results, lanes)
        folder.write_reports()
    done, interrupted = read_sweep()["lanes"]
    assert (done["completed"], interrupted["completed"]) == (True, False)
    assert interrupted["error"] is None
    assert captions == {"ratio-1e-4": "interrupted", "ratio-1e-3": "not begun"}
    with Image.open(OUT / "grid.png") as sheet:
        pixels = np.asarray(sheet)
    counts = {gray: np.all(pixels == gray, axis=-1).sum() for gray in (20, 60, 100)}
    assert counts[20] >= 24 * 32 <= counts[60] and counts[100] < 24 * 32
    page = (OUT / "index.html").read_text("utf-8")
    assert "ratio-1e-4.png" in page and "ratio-1e-3.png" not in page


def test_names_that_are_no_utf_8():
    """Linux allows any bytes; the record and the page are valid text all the same."""
    name = os.fsdecode(b"M\xe4rz.png")
    try:
        os.rename(draw("plain.png"), name)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    finish(open_folder(style=name))
    assert read_sweep()["sources"][1]["file"] == name
    (OUT / "index.html").read_text("utf-8")


# ---- What another run takes up


def times(*names):
    return [(OUT / name).stat().st_mtime_ns for name in names]


def test_what_is_finished_is_not_done_again():
    finish(open_folder())
    before = times("ratio-1e-4.png", "ratio-1e-3.png", "sweep.json")
    folder = open_folder()
    assert finish(folder) == [] and folder.failures() == []
    assert times("ratio-1e-4.png", "ratio-1e-3.png") == before[:2]
    assert len(read_sweep()["lanes"]) == 2


def test_what_came_to_nothing_is_not_done_again():
    """It would again; and it is still said."""
    finish(open_folder(), losses=INFINITE)
    folder = open_folder()
    assert still_to_do(folder) == []
    assert len(folder.failures()) == 2 and "inf" in folder.failures()[0]


def test_what_was_interrupted_is_done_again():
    finish(open_folder(), completed=False)
    assert still_to_do(open_folder()) == ["ratio-1e-4", "ratio-1e-3"]
    assert finish(open_folder()) == ["ratio-1e-4", "ratio-1e-3"]
    assert [lane["completed"] for lane in read_sweep()["lanes"]] == [True, True]


def test_what_was_interrupted_stays_until_it_is_done_again(captions):
    """A second Ctrl-C, before all of the interrupted lanes have had their turn, loses none."""
    finish(open_folder(), completed=False)
    folder = open_folder()
    lanes = folder.resume(False)
    with folder.created():
        folder.add({0: make_result(lanes[0])}, lanes)
        folder.write_reports()
    assert [lane["completed"] for lane in read_sweep()["lanes"]] == [True, False]
    assert captions == {"ratio-1e-3": "interrupted"}
    assert still_to_do(open_folder()) == ["ratio-1e-3"]


def test_picture_that_was_deleted():
    finish(open_folder())
    before = times("ratio-1e-3.png")
    (OUT / "ratio-1e-4.png").unlink()
    assert finish(open_folder()) == ["ratio-1e-4"]
    assert times("ratio-1e-3.png") == before and (OUT / "ratio-1e-4.png").exists()
    assert [lane["name"] for lane in read_sweep()["lanes"]] == ["ratio-1e-4", "ratio-1e-3"]


def test_more_values_along_an_axis():
    finish(open_folder())
    before = times("ratio-1e-4.png", "ratio-1e-3.png")
    assert finish(open_folder((1e-5, 1e-4, 1e-3, 1e-2))) == ["ratio-1e-5", "ratio-1e-2"]
    assert times("ratio-1e-4.png", "ratio-1e-3.png") == before
    sweep = read_sweep()
    assert sweep["axes"][0]["labels"] == ["1e-5", "1e-4", "1e-3", "1e-2"]
    names = [(lane["name"], lane["place"]["ratio"]) for lane in sweep["lanes"]]
    assert [name for name, _ in names] == ["ratio-1e-5", "ratio-1e-4", "ratio-1e-3", "ratio-1e-2"]
    assert [place for _, place in names] == [0, 1, 2, 3]  # as the new axis counts


def test_fewer_values_along_an_axis():
    finish(open_folder())
    folder = open_folder((1e-3, 1e-2))
    refused(lambda: folder.resume(False), "out holds another sweep.*lane ratio-1e-4.*--overwrite")


def test_overwriting():
    """Everything is done, and the pictures of the other sweep are gone as soon as there are new."""
    finish(open_folder((1e-5, 1e-4, 1e-3)))
    changed = Settings(size=32, steps=4, **LAYERS)
    folder = open_folder((1e-5, 1e-4, 1e-3), changed)
    lanes = folder.resume(True)
    assert [lane.name for lane in lanes] == ["ratio-1e-5", "ratio-1e-4", "ratio-1e-3"]
    with folder.created():
        assert len(list(OUT.glob("ratio*"))) == 3  # not before
        folder.add({0: make_result(lanes[0])}, lanes)
    assert [path.name for path in OUT.glob("ratio*")] == ["ratio-1e-5.png"]
    assert [lane["settings"]["steps"] for lane in read_sweep()["lanes"]] == [4]
    # Ended there, it goes on without --overwrite.
    assert still_to_do(open_folder((1e-5, 1e-4, 1e-3), changed)) == ["ratio-1e-4", "ratio-1e-3"]


def change_bytes():
    draw("photo.png", seed=5)


def test_other_bytes_of_an_image_of_the_same_name():
    finish(open_folder())
    change_bytes()
    folder = open_folder()
    refused(lambda: folder.resume(False), "ratio-1e-4 has other images or weights.*--overwrite")
    assert len(folder.resume(True)) == 2


def test_same_bytes_under_another_name():
    finish(open_folder())
    Path("my painting.png").rename("its new name.png")
    assert still_to_do(open_folder(style="its new name.png")) == []


def test_other_bytes_of_the_initial_image():
    start = Settings(**{**vars(SETTINGS), "init": str(draw("start.png", seed=2))})
    finish(open_folder(settings=start))
    assert set(read_sweep()["lanes"][0]["inputs"]) == {"content", "style", "init"}
    assert still_to_do(open_folder(settings=start)) == []
    draw("start.png", seed=3)
    refused(lambda: open_folder(settings=start).resume(False), "other images or weights")


OTHERS = {
    "steps": (4, "steps 3, not 4"),
    "size": (48, "size 32, not 48"),
    "pooling": ("max", "pooling average, not max"),
    "init": ("noise", "init content, not noise"),
    "tv_weight": (0.5, "tv_weight 0.0, not 0.5"),
    "style_layer_weights": ((1, 1), r"style_layer_weights \[0.5, 0.5\], not \[1.0, 1.0\]"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_settings(name):
    value, words = OTHERS[name]
    finish(open_folder())
    folder = open_folder(settings=Settings(**{**vars(SETTINGS), name: value}))
    refused(lambda: folder.resume(False), f"there ratio-1e-4 has {words}")


@pytest.mark.parametrize("changes", [{"sha256": "1" * 64}, {"normalized_for": "average"}])
def test_other_weights(changes):
    finish(open_folder())
    other = Weights(**{**vars(WEIGHTS), **changes})
    folder = open_folder(weights=other)
    refused(lambda: folder.resume(False), "other images or weights")


def test_default_that_is_typed_out():
    """1e-5 is what a ratio from the content image is; the settings are the same."""
    finish(open_folder((1e-5, 1e-4)))
    typed = {**vars(SETTINGS), "style_layer_weights": (0.5, 0.5), "style_size": 32}
    assert still_to_do(open_folder((1e-5, 1e-4), Settings(**typed))) == []


GARBAGE = [
    "",
    "no JSON",
    "[]",
    "{}",
    "5",
    '{"lanes": 5}',
    '{"lanes": [5]}',
    '{"lanes": [{}]}',
    '{"lanes": [{"name": "ratio-1e-4", "key": "x", "completed": true, "error": null}]}',
    '{"lanes": [{"name": [], "key": "x", "completed": 1, "error": null, "settings": {}}]}',
    '{"lanes": [{"name": "a", "key": "x", "completed": 1, "error": null, "settings": "x"}]}',
    '{"command": "nst-jax stylize a.png b.png -o sweep.png"}',
    "\udcff\udcfe",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_record_that_is_none(text):
    OUT.mkdir()
    (OUT / "sweep.json").write_text(text, "utf-8", "surrogateescape")
    words = "sweep.json: is no record of a sweep; choose another folder or add --overwrite"
    refused(lambda: open_folder().resume(False), words)
    assert finish(open_folder(), overwrite=True) == ["ratio-1e-4", "ratio-1e-3"]
    assert len(read_sweep()["lanes"]) == 2


@pytest.mark.parametrize("name", ["ratio-1e-3.png", "grid.png", "index.html"])
def test_file_of_someone_else(name):
    OUT.mkdir()
    (OUT / name).write_text("mine")
    (OUT / "notes.txt").write_text("mine as well")
    refused(lambda: open_folder().resume(False), f"{name}: exists already", ImageError)
    finish(open_folder(), overwrite=True)
    assert (OUT / name).read_bytes()[:4] != b"mine"
    assert (OUT / "notes.txt").read_text() == "mine as well"


def test_file_of_someone_else_where_a_new_lane_goes():
    finish(open_folder())
    draw(OUT / "ratio-1e-2.png")
    folder = open_folder((1e-4, 1e-3, 1e-2))
    refused(lambda: folder.resume(False), "ratio-1e-2.png: exists already", ImageError)


def test_folder_of_other_things_is_no_obstacle():
    OUT.mkdir()
    draw(OUT / "holiday.png")
    assert finish(open_folder()) == ["ratio-1e-4", "ratio-1e-3"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["ratio-1e-3.png", "grid.png", "index.html", "sweep.json"])
def test_folder_in_the_place_of_a_file(name, overwrite):
    (OUT / name).mkdir(parents=True)
    refused(lambda: open_folder().resume(overwrite), f"{name}: is a folder", ImageError)


@pytest.mark.parametrize("name", ["ratio-1e-3.png", "grid.png"])
def test_results_never_replace_an_input(name):
    OUT.mkdir()
    draw(OUT / name, 40, 40, seed=1)
    Path("link.png").symlink_to(OUT / name)
    for style in (f"out/{name}", "link.png"):
        words = f"{name}: is one of the inputs"
        refused(lambda style=style: open_folder(style=style).resume(True), words, ImageError)


# ---- Where it cannot be


def test_name_of_a_file():
    OUT.write_text("mine")
    refused(open_folder, "out: is a file; name a folder", ImageError)


def enter(folder):
    with folder.created():
        raise AssertionError("not reached")


def test_no_folder_to_make_it_in():
    sources = (Source("content", "photo.png"), Source("style", "my painting.png"))
    made = make_grid(SETTINGS, sources, ())
    folder = SweepFolder(Path("photo.png/out"), made, WEIGHTS, COMMAND, {"result": ""})
    refused(lambda: enter(folder), "photo.png/out: cannot be made.*another folder", NSTError)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("name", ["/proc/self", "/proc/nst"])
def test_unwritable_folder(name):
    made = make_grid(SETTINGS, (Source("content", "photo.png"),), ())
    folder = SweepFolder(Path(name), made, WEIGHTS, COMMAND, {"result": ""})
    refused(lambda: enter(folder), f"{name}.*cannot be .*choose another folder", NSTError)


def test_new_folder_in_which_nothing_can_be_written(monkeypatch):
    def fail(path, overwrite):
        raise ImageError(f"{path}: cannot be written")

    monkeypatch.setattr(io, "check_writable", fail)
    refused(lambda: enter(open_folder()), "grid.png: cannot be written", ImageError)


@pytest.mark.parametrize("existed", [False, True])
def test_empty_folder_is_removed_if_it_is_new(existed):
    if existed:
        OUT.mkdir()
    with pytest.raises(KeyboardInterrupt), open_folder().created():
        assert OUT.is_dir()
        raise KeyboardInterrupt
    assert OUT.exists() == existed


MISSING = {
    "missing.png": "missing.png: there is no such file; check the path",
    "folder.png": "folder.png: is a folder; give an image",
    "photo.png/x.png": "there is no such file",
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_input(name):
    Path("folder.png").mkdir()
    refused(lambda: open_folder(style=name), MISSING[name], ImageError)


def test_full_disk_after_the_first_picture(monkeypatch):
    """The lanes of that round are done again, without --overwrite; those before are not."""
    folder = open_folder((1e-5, 1e-4, 1e-3))
    lanes = folder.resume(False)
    save = io.save_image

    def fail_at_the_last(image, path, *rest):
        if path.name == "ratio-1e-3.png":
            raise ImageError(f"{path}: cannot be written (No space left on device)")
        save(image, path, *rest)

    with monkeypatch.context() as patch, pytest.raises(ImageError, match="No space"):
        patch.setattr(io, "save_image", fail_at_the_last)
        with folder.created():
            folder.add({0: make_result(lanes[0])}, lanes)
            folder.add({n: make_result(lanes[n]) for n in (1, 2)}, lanes)
    assert finish(open_folder((1e-5, 1e-4, 1e-3))) == ["ratio-1e-4", "ratio-1e-3"]


def test_styles_in_another_order():
    """The numbers of the sources are those of the new command."""
    draw("night.png", 40, 40, seed=4)

    def open_styles(*files):
        sources = (Source("content", "photo.png"), *(Source("style", file) for file in files))
        made = make_grid(SETTINGS, sources, (grid.style_axis(sources),))
        return SweepFolder(OUT, made, WEIGHTS, COMMAND, {lane.name: "" for lane in made.lanes})

    finish(open_styles("my painting.png", "night.png"))
    folder = open_styles("night.png", "my painting.png")
    assert still_to_do(folder) == []
    folder.write_reports()
    facts = [(lane["name"], lane["style"], lane["place"]) for lane in read_sweep()["lanes"]]
    assert facts == [("style-night", 1, {"style": 0}), ("style-my-painting", 2, {"style": 1})]
