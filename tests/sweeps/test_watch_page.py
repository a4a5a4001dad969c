"""The page that a run is watched on: what is in the file, and what a browser makes of it."""

import errno
import itertools
import json
import os
import time
from contextlib import nullcontext
from html.parser import HTMLParser

import numpy as np
import pytest
from browsing import Page

from nst_jax import Settings, WatchPage
from nst_jax.engine import pace
from nst_jax.engine.results import Result, SweepProgress
from nst_jax.losses.terms import Losses
from nst_jax.sweeps import watch_page
from nst_jax.sweeps.watch_page import ALONE, POINTS, is_watch_page, rows_of

STEPS = 100
AXES = [
    {"name": "ratio", "title": "ratio α/β", "labels": ["1e-5", "1e-4", "1e-3"]},
    {"name": "seed", "title": "seed", "labels": ["0", "7"]},
]
PLACES = {
    f"seed-{seed}_ratio-{ratio}": {"ratio": ratio, "seed": seed}
    for seed, ratio in itertools.product(range(2), range(3))
}


def losses(total, content=3.0, style=0.5):
    known = {"total": total, "content": content, "style": style}
    return Losses(**{name: known.get(name, {}) for name in Losses._fields})


def looking(step, lanes=(0,), done=0, total=1, shape=(48, 64), levels=None, value=None):
    """What a run of lanes, at this step, gives to look at."""
    values = np.array([value or 2.0 ** -(step / 10 + lane) for lane in lanes])
    images = np.stack(
        [np.full((*shape, 3), level, np.float32) for level in levels or [0.5] * len(lanes)]
    )
    progress = SweepProgress(
        lanes,
        len(lanes),
        done,
        total,
        step,
        STEPS,
        losses(values),
        2.0 * step,
        64,
        step / STEPS,
        images,
    )
    histories = [[(s, losses(2.0 ** -(s / 10 + lane))) for s in range(step + 1)] for lane in lanes]
    return lambda at_most: (progress, histories)


def result(lane=0, completed=True, total=1e-3):
    return Result(
        image=np.full((48, 64, 3), 0.5, np.float32),
        losses=losses(total),
        history=[(0, losses(1.0)), (STEPS, losses(total))],
        evaluations=STEPS + 1 if completed else 41,
        restarts=0,
        compile_seconds=1.0,
        run_seconds=200.0,
        completed=completed,
        settings=Settings(steps=STEPS),
        weights=None,
    )


class Data(HTMLParser):
    """What the script of a page reads, and the tags."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], None, ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.open = dict(attrs).get("id", tag)
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data if self.open == "data" else ""


def data_of(page):
    return json.loads(Data(page.path).text)


@pytest.fixture
def page(tmp_path):
    return WatchPage(tmp_path / "out.html", "photo × painting", links={"the picture": "a #1.png"})


@pytest.fixture
def many(tmp_path):
    """Of six lanes, of which one is finished."""
    names = list(PLACES)
    page = WatchPage(tmp_path / "watch.html", axes=AXES, places=PLACES, running=names[1:])
    history = rows_of([(0, losses(1.0)), (STEPS, losses(0.25))])
    page.set_lane(names[0], "done", 0.25, history, np.zeros((48, 64, 3), np.float32))
    return page


# ---- The file, without a browser


def test_the_stations_of_a_run(page):
    with page:
        page.begin([Settings()])
        begun = data_of(page)
        assert begun["state"] == "compiling" and begun["lanes"][0]["picture"] is None
        page.show(looking(40))
        shown = data_of(page)
        wanted = {"state": "painting", "step": 40, "steps": 100, "size": 64, "seconds": 80.0}
        assert shown | wanted | {"work": 0.4, "left": 120.0} == shown
        (lane,) = shown["lanes"]
        assert lane["loss"] == 0.0625 and lane["history"][0] == [0, 1.0, 3.0, 0.5]
        assert lane["picture"]["preview"].startswith("data:image/jpeg;base64,")
        page.take({0: result()})
    ended = data_of(page)
    wanted = {"state": "finished", "step": 100, "seconds": 200.0, "left": None, "work": 1.0}
    assert ended | wanted == ended and ended["lanes"][0]["loss"] == 1e-3
    assert ended["run"] == begun["run"] and ended["links"] == [["the picture", "a%20%231.png"]]


ENDS = {
    "finished": ({0: result()}, None, "finished", ""),
    "interrupted": ({0: result(completed=False)}, None, "stopped", "the best image so far is kept"),
    "without a first step": ({}, KeyboardInterrupt(), "stopped", "at once"),
    "failed": ({}, ValueError("<what> & why"), "failed", "<what> & why"),
    "not finite": ({0: result(total=float("inf"))}, None, "finished", ""),
}


@pytest.mark.parametrize("way", ENDS)
def test_how_a_run_ends(page, way):
    results, error, state, reason = ENDS[way]
    with pytest.raises(type(error)) if error else nullcontext(), page:
        page.begin([Settings()])
        page.take(results)
        if error:
            raise error
    ended = data_of(page)
    assert ended["state"] == state and ended["reason"].startswith(reason)
    if way == "not finite":
        (lane,) = ended["lanes"]
        assert lane["state"] == "failed" and lane["reason"] and lane["loss"] is None


def test_a_run_that_is_refused_touches_no_page(page):
    """It may be the page of the run that is going on under this name."""
    with pytest.raises(ValueError), page:
        raise ValueError("another run is making it")
    assert not page.path.exists()


def test_nothing_is_fetched_but_the_page_itself(page):
    page.begin([Settings()])
    tags = Data(page.path).tags
    assert {a[n] for _, a in tags for n in ("src", "href") if a.get(n)} == {"data:,"}
    (policy,) = [a["content"] for _, a in tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert policy.count("'sha256-") == 2 and policy.endswith("frame-src 'self' file:")
    assert os.listdir(page.path.parent) == ["out.html"]


def test_lanes_of_a_sweep(many):
    many.begin([Settings()] * 5)
    states = [lane["state"] for lane in data_of(many)["lanes"]]
    assert states == ["done"] + ["waiting"] * 5
    many.show(looking(50, (0, 1), total=5))
    shown = data_of(many)
    assert [lane["state"] for lane in shown["lanes"]] == ["done"] + ["running"] * 2 + [
        "waiting"
    ] * 3
    assert shown["together"] == "lanes 1 to 2 of 5" and shown["work"] == pytest.approx(0.2)
    assert shown["left"] == pytest.approx(100 / 0.5 * 2)
    many.take({0: result(), 1: result(total=float("nan"))})
    many.show(looking(10, (2, 3), done=2, total=5))
    shown = data_of(many)
    states = ["done", "done", "failed", "running", "running", "waiting"]
    assert [lane["state"] for lane in shown["lanes"]] == states
    assert shown["seconds"] == 220.0


def test_copies_that_only_fill_up_are_not_shown(tmp_path):
    page = WatchPage(tmp_path / "out.html", places={ALONE: {}}, running=[ALONE])
    page.begin([Settings()] * 4)
    page.show(looking(50, (0, 1, 2, 3), total=4))
    shown = data_of(page)
    assert len(shown["lanes"]) == 1 and shown["work"] == 0.5 and shown["left"] == 100.0


def test_lanes_are_called_by_what_differs(tmp_path):
    page = WatchPage(tmp_path / "out.html")
    page.begin([Settings(ratio=1e-4, seed=1), Settings(ratio=1e-3, seed=1)])
    (axis,) = data_of(page)["axes"]
    assert axis["labels"] == ["ratio 0.0001", "ratio 0.001"] and data_of(page)["title"] == "out"
    page.begin([Settings(), Settings()])  # another run
    assert data_of(page)["axes"][0]["labels"] == ["1", "2"]


def test_the_file_stays_small(tmp_path, random):
    """However long the run, however large the pictures, however many."""
    settings = [Settings(seed=seed) for seed in range(40)]
    page = WatchPage(tmp_path / "out.html")
    page.begin(settings)
    noise = random.random((768, 1024, 3), np.float32)  # what takes a JPEG most bytes
    history = [(step, losses(1.0 + step)) for step in range(5000)]
    for name in list(page._running):
        page.set_lane(name, "running", 1.0, rows_of(history), noise)
    page._write("painting")
    lanes = data_of(page)["lanes"]
    assert all(len(lane["history"]) <= POINTS + 20 for lane in lanes)
    assert lanes[0]["history"][-1][0] == 4999
    assert page.path.stat().st_size < 2e6
    one = WatchPage(tmp_path / "one.html")
    one.begin(settings[:1])
    one.set_lane(ALONE, "running", 1.0, [], noise)
    one._write("painting")
    assert one.path.stat().st_size < 400e3
    (lane,) = data_of(one)["lanes"]
    assert (lane["picture"]["width"], lane["picture"]["reduced"]) == (1024, True)


@pytest.mark.parametrize("cost", [0.0, 0.02, 1.0])
def test_it_takes_two_per_cent_of_the_time_at_most(page, monkeypatch, cost):
    now, written = [1000.0], []

    def look(at_most):
        now[0] += cost
        written.append(now[0])
        return looking(10)(at_most)

    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch_page.time, "perf_counter", lambda: now[0])
    page.begin([Settings()])
    for step in range(10_000):
        if page.is_due(step):
            page.show(look)
        now[0] += 0.1
    assert len(written) * cost <= 0.02 * (now[0] - 1000)
    apart = np.diff(written)
    assert apart.min() >= watch_page.SECONDS and len(written) > 5
    assert apart.max() <= max(watch_page.SECONDS, cost / 0.02) + cost + 0.2


def test_a_page_that_cannot_be_written_is_told_once(page, monkeypatch):
    told = []
    page._tell = told.append

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(watch_page, "write_bytes", full)
    with page:
        page.begin([Settings()])
        page.show(looking(10))
        page.take({0: result()})
    (line,) = told
    assert line.startswith(f"{page.path}: the page cannot be written (No space left")


def test_a_page_of_an_earlier_run_is_known(page, tmp_path):
    assert not is_watch_page(page.path)
    page.begin([Settings()])
    assert is_watch_page(page.path)
    (tmp_path / "other.html").write_text("<!doctype html><title>mine</title>")
    assert not is_watch_page(tmp_path / "other.html") and not is_watch_page(tmp_path)


def test_values_that_json_cannot_say(page):
    page.begin([Settings()])
    page.show(looking(10, value=float("nan")))
    assert data_of(page)["lanes"][0]["loss"] is None


# ---- In a browser


PATIENCE = 10  # seconds


class Watched(Page):
    """The page of a run in the browser."""

    def wait(self, code):
        """Ask for news until a condition holds."""
        until = time.monotonic() + PATIENCE
        while not self.script(f"return Boolean({code})"):
            assert time.monotonic() < until, (code, self.text("#status"), self.text("#news"))
            self.script("ask()")
            time.sleep(0.1)

    def status(self):
        return self.text("#status").split(" · ")


@pytest.fixture
def watched(browser):
    return lambda page, **options: Watched(browser, page.path).load(**options)


def test_news_come_from_disk_without_a_server(watched, page):
    page.begin([Settings()])
    seen = watched(page)
    assert seen.status() == ["compiling"] and not seen.find("#picture").is_displayed()
    assert seen.text("#empty") == "No picture yet."
    seen.script("window.before = history.length")
    page.show(looking(40))
    seen.wait("data.step === 40")
    parts = ["painting", "step 40 of 100", "64 px", "1 min 20 s so far", "about 2 min left"]
    assert seen.status() == parts and seen.script("return document.title").startswith("40 % ·")
    assert seen.find("#picture").is_displayed() and not seen.find("#empty").is_displayed()
    assert seen.find("#bar").get_attribute("aria-valuenow") == "40"
    assert (
        seen.script("return charts.map((chart) => chart.curves.get(lanes[0]).places.length)")
        == [41] * 3
    )
    with page:
        page.take({0: result()})
    seen.wait("data.state === 'finished'")
    assert seen.status() == ["finished", "step 100 of 100", "in 3 min 20 s", "the picture"]
    assert seen.find("#status a").get_dom_attribute("href") == "a%20%231.png"
    assert seen.script("return history.length === window.before")  # never loaded again
    assert seen.messages() == []


def test_it_asks_by_itself_until_the_run_is_over(watched, page):
    page.begin([Settings()])
    seen = watched(page)
    page.show(looking(10))
    until = time.monotonic() + PATIENCE
    while seen.script("return data.step") != 10:
        assert time.monotonic() < until
        time.sleep(0.1)
    with page:
        page.take({0: result(completed=False)})
    seen.wait("isOver()")
    assert seen.status() == [
        "ended early",
        "step 40 of 100",
        "the best image so far is kept",
        "the picture",
    ]
    seen.script("ask()")
    assert seen.find_all("iframe") == []


def test_it_asks_for_nothing_but_itself(watched, page):
    page.begin([Settings()])
    page.show(looking(10))
    seen = watched(page)
    page.show(looking(20))
    seen.wait("data.step === 20")
    entries = [json.loads(e["message"])["message"] for e in seen.browser.get_log("performance")]
    requests = {
        e["params"]["request"]["url"] for e in entries if e["method"].endswith("WillBeSent")
    }
    assert {url for url in requests if not url.startswith("data:")} == {page.path.as_uri()}


def test_a_run_that_was_killed(watched, page):
    page.begin([Settings()])
    page.show(looking(10))
    seen = watched(page)
    assert seen.text("#news").startswith("as of ")
    seen.script("data.written -= 600; showAge()")
    assert seen.text("#news").startswith("no news for 10 min")


def test_another_run_of_the_same_name(watched, tmp_path):
    WatchPage(tmp_path / "out.html").begin([Settings()])
    other = WatchPage(tmp_path / "out.html")
    seen = watched(other)
    other.begin([Settings(seed=1), Settings(seed=2)])
    until = time.monotonic() + PATIENCE
    while len(seen.find_all(".lane")) != 2:
        assert time.monotonic() < until
        seen.script("ask()")
        time.sleep(0.2)


def test_a_browser_that_loads_no_frames_loads_the_page_again(watched, page):
    page.begin([Settings()])
    seen = watched(page)
    seen.script("window.stayed = true; unanswered = PATIENCE; ask()")
    until = time.monotonic() + PATIENCE
    while seen.script("return window.stayed === true"):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_grid_fills(watched, many):
    many.begin([Settings()] * 5)
    seen = watched(many)
    assert [head.text for head in seen.find_all("thead th[scope=col]")] == ["1e-5", "1e-4", "1e-3"]
    texts = [cell.text for cell in seen.find_all(".lane")]
    assert texts == [""] + ["waiting"] * 5
    many.show(looking(50, (0, 1), total=5, levels=(0.2, 0.8)))
    seen.wait("data.step === 50")
    assert [cell.text for cell in seen.find_all(".lane")] == [""] * 3 + ["waiting"] * 3
    assert [loss.text for loss in seen.find_all(".loss")][:3] == [
        "loss 0.25",
        "loss 0.03125 painting",
        "loss 0.01562 painting",
    ]
    assert seen.status()[1] == "lanes 1 to 2 of 5"
    many.take({0: result(), 1: result(total=float("inf"))})
    with many:
        many.show(looking(10, (2,), done=2, total=5))
    seen.wait("isOver()")
    assert seen.find_all(".lane")[2].accessible_name.endswith("failed")
    assert seen.messages() == []


def test_cells_are_alike_whatever_stands_below_them(watched, many):
    many.begin([Settings()] * 5)
    many.show(looking(50, (0, 1), total=5))
    sizes = {tuple(cell.size.values()) for cell in watched(many).find_all(".lane")}
    assert np.ptp([list(size) for size in sizes], axis=0).max() <= 1, sizes


def test_a_cell_marks_its_curves(watched, many):
    many.begin([Settings()] * 5)
    many.show(looking(50, (0, 1), total=5))
    seen = watched(many)
    assert seen.find_all(".curve.current") == []
    seen.find_all(".lane")[1].click()
    assert len(seen.find_all(".curve.current")) == 3
    many.show(looking(60, (0, 1), total=5))
    seen.wait("data.step === 60")
    assert len(seen.find_all(".curve.current")) == 3
    assert seen.find_all(".lane")[1].get_attribute("aria-pressed") == "true"
    seen.find_all(".lane")[1].click()
    assert seen.find_all(".curve.current") == []


def test_a_name_may_hold_anything(watched, tmp_path):
    evil = "<img src=x onerror='window.hurt=1'>\"&'</script><script>window.hurt=1</script> ü\u2028"
    axes = [{"name": "a", "title": evil, "labels": [evil, "2"]}]
    places = {evil: {"a": 0}, "2": {"a": 1}}
    page = WatchPage(
        tmp_path / "o.html", evil, axes=axes, places=places, running=[evil, "2"], links={evil: evil}
    )
    page.begin([Settings()] * 2)
    page.set_lane(evil, "failed", None, [], None, evil)
    with pytest.raises(ValueError), page:
        raise ValueError(evil)
    seen = watched(page)
    assert seen.script("return window.hurt") is None
    heard = "return document.querySelector(arguments[0]).textContent"
    said = ["h1", "thead th", "#status a", ".lane .reason"]
    assert [seen.script(heard, each).replace("\u200b", "") for each in said] == [evil] * 4
    assert seen.messages() == []


@pytest.mark.parametrize("width", [320, 1000, 3840])
def test_the_page_never_scrolls_sideways(watched, page, many, width):
    page.begin([Settings()])
    page.show(looking(50, shape=(200, 1400)))
    many.begin([Settings()] * 5)
    many.show(looking(50, (0, 1), total=5))
    for each in (page, many):
        seen = watched(each, width=width, height=700)
        assert seen.script("return document.scrollingElement.scrollWidth") <= width


def test_light_and_dark(watched, page):
    page.begin([Settings()])
    color = "return getComputedStyle(document.body).backgroundColor"
    assert watched(page).script(color) == "rgb(244, 244, 244)"
    assert watched(page, dark=True).script(color) == "rgb(27, 27, 27)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (75, "1 min 15 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(watched, page, seconds, words):
    page.begin([Settings()])
    assert watched(page).script(f"return duration({seconds})") == words
