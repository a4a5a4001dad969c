"""Records read back: which settings they give, and what is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command import draw
from every_setting import OTHER
from recorded import record_of, write

from nst_jax import ImageError, Settings, SettingsError
from nst_jax.engine.identity import resolved_settings
from nst_jax.images import io
from nst_jax.losses.terms import LossWeights
from nst_jax.records.read import differences, read_recorded
from nst_jax.records.write import versions


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and no weights but the embedded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    return tmp_path


def as_json(settings):
    return json.loads(json.dumps(resolved_settings(settings)))


FIELDS = [Settings(), Settings(**OTHER), Settings(init="noise", optimizer="adam")]
FIELDS += [Settings(content_layers=(), size=99), Settings(style_layers=(), style_size=77)]
FIELDS += [Settings(convention="authors", ratio=1e-5), Settings(ratio=0.1 + 0.2, scales=2)]
FIELDS += [
    Settings(**({"ratio": 1.0} if name == "convention" else {}), **{name: value})
    for name, value in OTHER.items()
    if not name.endswith("_weights") and name != "layers_per_style"  # these need others
]


@pytest.mark.parametrize("settings", FIELDS)
def test_settings_come_back(settings):
    """Settings → JSON → Settings is the same, for every field."""
    back = read_recorded(write(record_of(settings))).settings
    assert back == used_here(settings)


def used_here(settings):
    """As they were run: a record keeps the precision that it had on that machine."""
    precision = "float32" if settings.precision == "auto" else settings.precision
    return dataclasses.replace(settings, precision=precision)


def older(settings):
    """A record that does not say what was given."""
    record = record_of(settings)
    del record["settings_given"]
    return read_recorded(write(record)).settings


@pytest.mark.parametrize("settings", FIELDS)
def test_settings_of_older_records_come_back(settings):
    """What they mean is the same."""
    assert as_json(older(settings)) == as_json(settings)
    assert LossWeights.from_settings(older(settings)) == LossWeights.from_settings(settings)


@pytest.mark.parametrize(
    "read", [older, lambda given: read_recorded(write(record_of(given))).settings]
)
def test_defaults_are_defaults_again(read):
    """What follows from another setting follows again; what was chosen stays."""
    back = read(Settings())
    assert back == used_here(Settings())
    larger = dataclasses.replace(back, size=2048, optimizer="adam", init="noise")
    assert resolved_settings(larger)["style_size"] == 2048
    assert (larger.step_size, larger.content_weight) == (0.02, 1e-3)
    chosen = Settings(style_size=99, learning_rate=0.5, ratio=0.5, style_layer_weights=(1,) * 5)
    assert read(chosen) == used_here(chosen)
    authors = Settings(convention="authors", ratio=1e-5)  # has no default, though it looks like one
    assert read(authors) == used_here(authors)


def test_what_was_given_stays_where_it_is_the_default():
    """Of an older record it cannot be known."""
    given = Settings(size=64, style_size=64, learning_rate=1.0, ratio=5e-5)
    back = read_recorded(write(record_of(given))).settings
    noisy = dataclasses.replace(back, size=99, optimizer="adam", init="noise")
    assert (noisy.style_size, noisy.step_size, noisy.content_weight) == (64, 1.0, 5e-5)
    assert older(given) == used_here(Settings(size=64))


def test_older_records():
    """Settings that they do not know have their defaults, or are as runs were then."""
    before = Settings(size=64, precondition=False, smooth_chroma=0.0)
    record = record_of(before)
    for name in ("scales", "precision", "tv_weight", "precondition", "smooth_chroma"):
        del record["settings"][name]
    assert read_recorded(write(record)).settings == before
    first = Settings(precondition=False, noise_amplitude=1.0, convention="paper-0.2")
    assert read_recorded(write({"settings": {}})).settings == first


@pytest.mark.parametrize(
    "given", [{}, {"init": "noise"}, {"ratio": 3e-4}, {"convention": "authors"}]
)
def test_records_of_0_2_keep_their_meaning(given):
    """What it called `paper` weighs content as it did, with its default ratios and its noise."""
    ratio = {} if "convention" not in given else {"ratio": 1e-2}
    record = record_of(Settings(size=64, **ratio | given))
    ratios = {"noise": 1e-4, "content": 1e-5}
    settings = record["settings"]
    settings |= {"ratio": (ratio | given).get("ratio", ratios[settings["init"]])}
    for name in ("noise_amplitude", "smooth_chroma"):
        del settings[name]
    back = read_recorded(write(record)).settings
    assert back.noise_amplitude == 1 and back.chroma_smoothing == 0
    assert back.convention == given.get("convention", "paper-0.2")
    assert back.content_weight == settings["ratio"]


def test_newer_records():
    record = record_of()
    record["settings"]["swirl"] = 3
    record["versions"]["nst_jax"] = "9.9"
    with pytest.raises(SettingsError) as caught:
        read_recorded(write(record))
    for words in ("out.json: was made by nst_jax 9.9", "swirl", "install that version"):
        assert words in str(caught.value)


DAMAGED = [
    ("", "carries no settings"),
    ("{", r"out\.json, line 1, column 2: the record is damaged \(Expecting"),
    ("[]", "is no record of nst-jax; give OUT.json"),
    ("{}", "is no record of nst-jax"),
    ('{"settings": 3}', "is no record of nst-jax"),
    ('{"settings": {"size": "big"}}', 'size is "big"; wanted a whole number'),
    ('{"settings": {"size": null}}', "size is null; wanted a whole number"),
    ('{"settings": {"size": 8}}', r"out\.json: size is 8; wanted a whole number, 16"),
    ('{"settings": {"normalize": 1}}', "normalize is 1; wanted true or false"),
    ('{"settings": {}, "completed": false}', "the record is damaged .*evaluations"),
    ('{"settings": {}, "inputs": [1]}', "the record is damaged"),
    ('{"settings": {}, "inputs": {"content": 3}}', "the record is damaged"),
    ('{"settings": {}, "settings_given": 3}', "the record is damaged"),
    ('{"settings": {}, "versions": 3}', "the record is damaged"),
    ('{"lanes": [3]}', "choose one with --lane; there are: none"),
]


@pytest.mark.parametrize(("text", "words"), DAMAGED)
def test_what_is_no_record(text, words):
    Path("out.json").write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_recorded(Path("out.json"))


def test_files_that_cannot_be_read(folder):
    (folder / "box.json").mkdir()
    draw("plain.png"), draw("plain.jpg"), draw(folder / "odd.png").rename(folder / "odd.json")
    for name, error, words in [
        ("none.json", SettingsError, "none.json: cannot be read .No such file"),
        ("box.json", SettingsError, "box.json: cannot be read"),
        ("odd.json", SettingsError, "odd.json: is no text"),
        ("none.png", ImageError, "none.png: there is no such file"),
        ("plain.png", SettingsError, "plain.png: carries no settings; give the record beside"),
        ("plain.jpg", SettingsError, "plain.jpg: carries no settings"),
    ]:
        with pytest.raises(error, match=words):
            read_recorded(Path(name))


def test_lanes():
    lanes = [
        {"name": f"ratio-{n}", **record_of(Settings(seed=n), timing={"lanes": 2}, place={})}
        for n in (1, 2)
    ]
    path = write({"lanes": lanes}, "sweep.json")
    assert read_recorded(path, "ratio-2").settings.seed == 2
    with pytest.raises(SettingsError, match="choose one with --lane; there are: ratio-1, ratio-2"):
        read_recorded(path)
    with pytest.raises(SettingsError, match="no lane 'ratio2'; did you mean ratio-2.; there are"):
        read_recorded(path, "ratio2")
    assert read_recorded(write({"lanes": lanes[:1]}, "sweep.json")).settings.seed == 1
    with pytest.raises(SettingsError, match=r"is no sweep\.json and has no lanes"):
        read_recorded(write(record_of()), "ratio-1")


def test_lanes_of_the_program():
    """As recorded; of an older lane those that ran together; none where it came to nothing."""
    assert read_recorded(write(record_of(timing={"lanes": 1}))).lanes == 0
    assert read_recorded(write(record_of(compiled_lanes=4, timing={"lanes": 3}))).lanes == 4
    lane = {"name": "a", **record_of(timing={"lanes": 3}, place={})}
    assert read_recorded(write({"lanes": [lane]})).lanes == 3
    failed = lane | {"compiled_lanes": 3, "error": "the loss is inf"}
    assert read_recorded(write({"lanes": [failed]})).lanes == 0


def test_where_it_was_stopped():
    assert read_recorded(write(record_of(completed=True, evaluations=5))).stopped_at is None
    assert read_recorded(write(record_of(completed=False, evaluations=5))).stopped_at == 4


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_settings_in_a_picture(name):
    text = json.dumps(record_of(Settings(seed=7, init="schön 絵: 1.png")))
    image = np.zeros((4, 6, 3), np.float32)
    io.save_image(image, name, {"Software": "nst_jax: 1", "nst_jax": text})
    assert io.load_text(name)["nst_jax"] == text
    back = read_recorded(Path(name)).settings
    assert back == used_here(Settings(seed=7, init="schön 絵: 1.png"))


def test_other_versions_and_devices():
    assert differences(read_recorded(write(record_of()))) == []
    other = record_of()
    other["versions"] |= {"jax": "0.0.1", "python": "2.7"}
    other["device"] |= {"platform": "gpu", "kind": "H100"}
    versioned, placed = differences(read_recorded(write(other)))
    assert versioned.startswith(f"made with jax 0.0.1; here {versions()['jax']}: the picture may")
    assert placed.startswith("made on 1 × gpu (H100); here 1 × cpu (")
    assert differences(read_recorded(write({"settings": {}}))) == []


def test_devices_that_shared_the_image():
    record = record_of()
    assert read_recorded(write(record)).devices == 1
    record["device"]["shared_by"] = 2
    shared = read_recorded(write(record))
    assert shared.devices == 2 and differences(shared) == []
    record["device"]["shared_by"] = "all"
    with pytest.raises(SettingsError, match="the record is damaged"):
        read_recorded(write(record))


@pytest.mark.parametrize(
    "damage",
    [
        {"inputs": {"content": {"sha256": "0"}}},
        {"inputs": {"content": {"file": "a.png"}}},
        {"inputs": {"content": {"file": ["a.png"], "sha256": "0"}}},
        {"inputs": {"content": {"file": "a.png", "sha256": 1}}},
        {"inputs": {"content": []}},
        {"inputs": []},
        {"output": {"copy_exif": []}},
        {"output": {"copy_exif": None}},
        {"output": {"bits": "8"}},
        {"output": {"bits": None}},
        {"output": {"dpi": [300]}},
        {"output": 3},
        {"device": {"shared_by": None}},
    ],
)
def test_parts_of_another_kind_are_damage(damage):
    with pytest.raises(SettingsError, match="the record is damaged"):
        read_recorded(write(record_of() | damage))
