"""The page of a sweep: what is in the file, and what a browser makes of it."""

import base64
import io
import itertools
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from browsing import Keys, Page
from PIL import Image, JpegImagePlugin

from nst_jax.sweeps.html_report import PREVIEW_SIDE, make_page

CLOSE = 5  # levels of 255: JPEG at quality 88 on flat colors is off by 2, the mixture by 1 more

RATIOS = ["1e-5", "1e-4", "1e-3", "1e-2"]
LAYERS = ["conv1_1", "to conv2_1", "to conv3_1", "to conv4_1", "to conv5_1"]
GRID = [("ratio", "ratio α/β", RATIOS), ("layers", "style layers", LAYERS)]
CONTENT, STYLE = (0.05, 0.05, 0.95), (0.95, 0.95, 0.05)  # colors that no lane has


def flat(color, height=64, width=96):
    """A picture of one color in [0, 1]."""
    return np.broadcast_to(np.float32(color), (height, width, 3))


def color_of(place, lengths):
    """A lane's color: red by the first axis, green by the second; at least 40 levels apart."""
    shares = [(index + 0.5) / length for index, length in zip(place, lengths, strict=True)]
    red, green, *_ = (*shares, 0.5, 0.5)
    return red, green, 0.5


def make_lane(axes, place, roles):
    name = "_".join(f"{axis[0]}-{index}" for axis, index in zip(axes, place, strict=True)) or "only"
    history = [{"step": s, "loss": 2.0**-s, "content": 0.1 * s, "style": 0.3} for s in range(5)]
    return {
        "name": name,
        "file": f"{name}.png",
        "place": {axis[0]: index for axis, index in zip(axes, place, strict=True)},
        "content": roles.index("content") if "content" in roles else None,
        "style": roles.index("style") if "style" in roles else None,
        "again": f"nst-jax stylize 'a --size 5.jpg' b.jpg -o {name}.png --size 256 --seed 7",
        "error": None,
        "completed": True,
        "settings": {"size": 256, "steps": 4, "seed": 7, "style_layers": ["conv1_1", "conv2_1"]},
        "history": history,
        "result": {"loss": 0.0625, "content": 3.25e-05, "style": 0.3, "tv": 0.0, "restarts": 2},
    }


def make_sweep(axes=GRID, roles=("content", "style")):
    """A sweep of lanes of one color each, and its pictures."""
    lengths = [len(labels) for _, _, labels in axes]
    places = list(itertools.product(*map(range, lengths)))
    lanes = [make_lane(axes, place, roles) for place in places]
    images = {
        lane["file"]: flat(color_of(place, lengths))
        for lane, place in zip(lanes, places, strict=True)
    }
    images |= {f"{role}-0": flat(CONTENT if role == "content" else STYLE) for role in roles}
    sources = [{"role": r, "label": f"my {r}", "file": f"{r}.jpg", "key": f"{r}-0"} for r in roles]
    keys = ("name", "title", "labels")
    sweep = {
        "title": "a photograph × a painting",
        "command": "nst-jax sweep a.jpg b.jpg -o out",
        "axes": [dict(zip(keys, axis, strict=True)) for axis in axes],
        "sources": sources,
        "lanes": lanes,
    }
    return sweep, images


# ---- The file, without a browser


class Elements(HTMLParser):
    """Tags with their attributes, and the text of each tag."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open = dict(attrs).get("id", tag)
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts[self.open] = self.texts.get(self.open, "") + data


def data_of(page):
    """What the page's script reads."""
    return json.loads(Elements(page).texts["data"])


def decode(picture):
    """The preview of a picture of the data, as Pillow's image."""
    head, _, body = picture["preview"].partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_nothing_is_fetched():
    page = make_page(*make_sweep())
    tags = Elements(page).tags
    addresses = {attrs[name] for _, attrs in tags for name in ("src", "href") if attrs.get(name)}
    assert addresses == {"data:,", "grid.png", "sweep.json"}
    assert "url(" not in page and "@import" not in page
    assert page.count("http:") + page.count("https:") == 1  # the name of SVG's namespace


def test_only_the_pages_own_style_and_script_may_run():
    tags = Elements(make_page(*make_sweep())).tags
    policies = [attrs["content"] for _, attrs in tags if "http-equiv" in attrs]
    (policy,) = policies
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert policy.count("'sha256-") == 2 and "img-src data:;" in policy


def test_the_data_come_back_unchanged():
    sweep, images = make_sweep()
    sweep["lanes"][3]["error"] = "</script x><!--<script </script> \u2028 & \N{PILE OF POO} \udcff"
    page = make_page(sweep, images)
    assert not set("<>&") & set(Elements(page).texts["data"])  # nothing a browser could stumble on
    assert data_of(page)["sweep"] == sweep
    assert data_of(page)["pictures"].keys() == images.keys()
    page.encode("utf-8")


def test_the_title_is_text():
    sweep, images = make_sweep()
    sweep["title"] = "<b>@@DATA@@ & \udcff"
    page = make_page(sweep, images)
    assert "<title>&lt;b&gt;@@DATA@@ &amp; \\udcff</title>" in page
    page.encode("utf-8")


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((900, 1200), (576, PREVIEW_SIDE)), ((2000, 20), (768, 8)), ((48, 64), (48, 64))],
)
def test_previews_are_scaled_down_and_never_up(shape, shown):
    sweep, images = make_sweep([])
    images["only.png"] = flat((0.2, 0.6, 0.9), *shape)
    picture = data_of(make_page(sweep, images))["pictures"]["only.png"]
    preview = decode(picture)
    assert (picture["height"], picture["width"]) == shape
    assert (preview.height, preview.width) == shown
    assert picture["reduced"] == (shape != shown)
    assert np.abs(np.asarray(preview) - np.array([51, 153, 230])).max() <= CLOSE
    assert JpegImagePlugin.get_sampling(preview) == 0  # 4:4:4


def test_links_are_quoted():
    sweep, images = make_sweep([])
    sweep["lanes"][0] |= {"name": "a b/ü", "file": "a b#?%ü\udcff.png"}
    images[sweep["lanes"][0]["file"]] = images.pop("only.png")
    (links,) = data_of(make_page(sweep, images))["links"]
    assert links == {"file": "a%20b%23%3F%25%C3%BC%FF.png", "anchor": "a%20b%2F%C3%BC"}


def test_numbers_that_json_cannot_say_are_refused():
    sweep, images = make_sweep([])
    sweep["lanes"][0]["history"][0]["loss"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        make_page(sweep, images)


def test_without_scripts_the_page_says_where_the_pictures_are():
    assert "grid.png" in make_page(*make_sweep()).partition("<noscript>")[2].partition("</no")[0]


# ---- In a browser


class SweepPage(Page):
    """The page of a sweep."""

    def cell(self, name):
        return self.find_all(".lane")[self.names().index(name)]

    def names(self):
        """The lanes' names, in the order of the cells: row by row."""
        return self.script("return [...cells.keys()].map((lane) => lane.name)")

    def middle_color(self):
        """What the middle of the large view looks like, in levels of 255."""
        x, y = self.script(
            "scrollTo(0, 0); const { x, y, width, height } = stage.getBoundingClientRect();"
            "return [Math.round(x + width / 2), Math.round(y + height / 2)]"
        )
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
        pixel = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
        return np.array(pixel.convert("RGB").getpixel((0, 0)))

    def shows(self, *place, color=None):
        """Assert that the large view has the color of the place, fractions being mixtures."""
        wanted = 255 * np.array(color or color_of(place, (4, 5)))
        assert np.abs(self.middle_color() - wanted).max() <= CLOSE, (self.middle_color(), wanted)


@pytest.fixture
def show(browser, tmp_path):
    """Give a function that makes a page of a sweep and opens it."""

    def make(sweep, images, **options):
        path = tmp_path / "index.html"
        path.write_text(make_page(sweep, images), "utf-8")
        return SweepPage(browser, path).load(**options)

    return make


@pytest.fixture
def page(show):
    """The page of four ratios by five layers."""
    return show(*make_sweep())


def test_loading_is_silent_and_asks_for_nothing(page):
    page.shows(0, 0)
    entries = [
        json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")
    ]
    requests = [
        e["params"]["request"]["url"] for e in entries if e["method"].endswith("WillBeSent")
    ]
    assert page.path.as_uri() in requests
    assert {url for url in requests if not url.startswith("data:")} == {page.path.as_uri()}
    assert page.messages() == []


def test_arrow_keys_move_a_slider_by_tenths(page):
    page.find("#axis-0").click()  # in its middle: between the second and the third
    page.press(Keys.HOME)
    page.shows(0, 0)
    page.press(*[Keys.ARROW_RIGHT] * 5)
    page.shows(0.5, 0)
    assert page.text(".slider output") == "1e-5 → 1e-4, 50 %"
    assert page.find("#axis-0").get_attribute("aria-valuetext") == "1e-5 → 1e-4, 50 %"
    page.press(*[Keys.ARROW_RIGHT] * 5)
    page.shows(1, 0)
    assert page.text(".slider output") == "1e-4"


def test_page_keys_move_a_slider_by_settings(page):
    page.script("document.getElementById('axis-1').focus()")
    page.press(Keys.ARROW_UP, Keys.PAGE_UP, Keys.PAGE_UP)
    page.shows(0, 2)
    page.press(Keys.PAGE_DOWN)
    page.shows(0, 1)
    page.press(*[Keys.PAGE_UP] * 9)
    page.shows(0, 4)


def test_the_mouse_drags_a_slider_and_may_stop_between(page):
    slider = page.find("#axis-1")
    track = slider.rect["width"] - 18  # the thumb's width
    start = -round(track / 2)
    drag = page.actions().move_to_element_with_offset(slider, start, 0).click_and_hold()
    drag.move_by_offset(round(track * 0.25 * 2.4), 0).perform()
    page.shows(0, 2.4)
    page.actions().release().perform()
    page.shows(0, 2.4)
    assert "→ to conv4_1, " in page.find_all(".slider output")[1].text


def test_near_a_setting_a_slider_snaps(page):
    page.script("slide(0, 1.03)")
    page.shows(1, 0)
    assert page.text(".slider output") == "1e-4"


def test_one_axis_at_a_time_is_between(page):
    page.script("slide(0, 1.6); slide(1, 0.5)")
    page.shows(2, 0.5)
    assert [output.text for output in page.find_all(".slider output")][0] == "1e-3"


def test_a_click_on_a_tick_goes_there(page):
    page.find_all(".slider:first-child .tick span")[2].click()
    page.shows(2, 0)


@pytest.mark.parametrize(("key", "color"), [("c", CONTENT), ("s", STYLE)])
def test_holding_a_key_shows_the_source(page, key, color):
    page.actions().key_down(key).perform()
    page.shows(color=color)
    assert page.text("#caption").endswith({"c": "my content", "s": "my style"}[key])
    page.actions().key_up(key).perform()
    page.shows(0, 0)


def test_holding_shows_several_paintings_as_one_picture(show):
    """In sweep.json a lane then has a list of them; the picture is keyed by their numbers."""
    sweep, images = make_sweep(roles=("content", "style", "style"))
    for lane in sweep["lanes"]:
        lane["style"] = [1, 2]
    sweep["sources"][2] |= {"label": "my other"}
    images["source-1-2"] = flat((0.95, 0.95, 0.95))
    page = show(sweep, images)
    page.actions().key_down("s").perform()
    page.shows(color=(0.95, 0.95, 0.95))
    assert page.text("#caption").endswith("my style + my other")
    page.actions().key_up("s").perform()
    page.shows(0, 0)


@pytest.mark.parametrize(("role", "color"), [("content", CONTENT), ("style", STYLE)])
def test_holding_a_button_shows_the_source(page, role, color):
    button = page.find(f".hold[data-role={role}]")
    page.actions().move_to_element(button).click_and_hold().perform()
    page.shows(color=color)
    assert button.get_attribute("aria-pressed") == "true"
    page.actions().move_by_offset(0, -300).release().perform()
    page.shows(0, 0)


def test_holding_a_finger_on_a_button_shows_the_source(page):
    where = page.find(".hold").rect
    touch = {"x": where["x"] + where["width"] / 2, "y": where["y"] + where["height"] / 2}
    for kind, points, color in (
        ("touchStart", [touch], CONTENT),
        ("touchEnd", [], color_of((0, 0), (4, 5))),
    ):
        event = {"type": kind, "touchPoints": points}
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)
        page.shows(color=color)


def test_holding_space_on_a_button_shows_the_source(page):
    page.script("document.querySelector('.hold').focus()")
    page.actions().key_down(Keys.SPACE).perform()
    page.shows(color=CONTENT)
    page.actions().key_up(Keys.SPACE).perform()
    page.shows(0, 0)


def test_copying_by_keyboard_is_not_holding(page):
    page.actions().key_down(Keys.CONTROL).key_down("c").perform()
    page.shows(0, 0)
    page.actions().key_up("c").key_up(Keys.CONTROL).perform()


def test_arrow_keys_walk_over_the_sheet(page):
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    page.shows(2, 1)
    page.press(*[Keys.ARROW_UP] * 3, *[Keys.ARROW_LEFT] * 3)
    page.shows(0, 0)


def test_the_focus_follows_in_the_sheet(page):
    page.cell("ratio-1_layers-2").click()
    page.press(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    page.shows(0, 3)
    active = page.browser.switch_to.active_element
    assert active == page.cell("ratio-0_layers-3")
    assert active.get_attribute("aria-current") == "true"
    assert (
        len(page.find_all(".lane[aria-current]")) == len(page.find_all(".lane[tabindex='0']")) == 1
    )


def test_arrow_keys_in_a_field_are_the_fields(page):
    page.find("#size").click()
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_UP, "c")
    page.shows(0, 0)


def test_a_cell_opens_by_mouse_and_by_enter(page):
    page.cell("ratio-3_layers-4").click()
    page.shows(3, 4)
    page.script("arguments[0].focus()", page.cell("ratio-2_layers-3"))
    page.press(Keys.ENTER)
    page.shows(2, 3)


def test_the_sheet_has_the_ratio_along_its_columns(page):
    heads = [head.text.replace("\u200b", "") for head in page.find_all("thead th[scope=col]")]
    assert heads == RATIOS
    rows = [head.text.replace("\u200b", "") for head in page.find_all("tbody th")]
    assert rows == LAYERS
    assert page.names()[:5] == [f"ratio-{i}_layers-0" for i in range(4)] + ["ratio-0_layers-1"]


COMMAND = "nst-jax stylize 'a --size 5.jpg' b.jpg -o {}.png --size {} --seed 7"


def test_the_size_goes_into_the_command_and_stays(page):
    assert page.find("#size").get_attribute("value") == "256"
    page.find("#size").send_keys(Keys.CONTROL, "a")
    page.find("#size").send_keys("1024")
    assert page.text("#again") == COMMAND.format("ratio-0_layers-0", 1024)
    page.cell("ratio-1_layers-0").click()
    assert page.text("#again") == COMMAND.format("ratio-1_layers-0", 1024)


def test_the_full_size_is_offered(show):
    sweep, images = make_sweep([])
    page = show(sweep | {"full_size": 640}, images)
    assert page.find("#size").get_attribute("value") == "640"
    assert page.text("#again").endswith("--size 640 --seed 7")


@pytest.mark.parametrize("size", ["", "5", "99999"])
def test_a_size_that_cannot_be_is_not_taken(page, size):
    page.find("#size").send_keys(Keys.CONTROL, "a")
    page.find("#size").send_keys(Keys.BACKSPACE, size)
    assert page.text("#again") == COMMAND.format("ratio-0_layers-0", 256)


def test_a_command_without_a_size_gets_one(show):
    sweep, images = make_sweep([])
    sweep["lanes"][0]["again"] = "nst-jax stylize a.jpg b.jpg -o only.png"
    page = show(sweep, images)
    page.find("#size").send_keys(Keys.CONTROL, "a")
    page.find("#size").send_keys("64")
    assert page.text("#again") == "nst-jax stylize a.jpg b.jpg -o only.png --size 64"


CLIPBOARDS = {
    "clipboard": "(text) => { window.copied = text; return Promise.resolve(); }",
    "selection": "() => Promise.reject(new Error('not from disk'))",
}


@pytest.mark.parametrize("way", CLIPBOARDS)
def test_commands_are_copied(page, way):
    page.script(
        f"const value = {{ writeText: {CLIPBOARDS[way]} }};"
        "Object.defineProperty(navigator, 'clipboard', { value });"
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); });"
    )
    wanted = [COMMAND.format("ratio-0_layers-0", 256), "nst-jax sweep a.jpg b.jpg -o out"]
    for button, command in zip(page.find_all(".copy"), wanted, strict=True):
        button.click()
        assert button.text == "copied"
        assert page.script("return window.copied") == command


def test_an_address_names_a_lane(page):
    page.load("#ratio-2_layers-3").shows(2, 3)
    page.script("location.hash = '#ratio-1_layers-1'")
    page.shows(1, 1)


@pytest.mark.parametrize("anchor", ["#nonsense", "#%E0%A4%A", "#ratio-0_layers-0"])
def test_a_bad_address_leads_to_the_first_good_lane(show, anchor):
    sweep, images = make_sweep()
    sweep["lanes"][0]["name"] = "another"
    del images["ratio-0_layers-0.png"]
    show(sweep, images, anchor=anchor).shows(0, 1)


def test_the_address_follows(page):
    page.press(Keys.ARROW_RIGHT)
    hash_after = "const [done] = arguments; setTimeout(() => done(location.hash), HASH_DELAY + 50)"
    assert page.browser.execute_async_script(hash_after) == "#ratio-1_layers-0"


def test_a_name_may_hold_anything(show):
    evil = "<img src=x onerror='window.hurt=1'>\"&'</script><script>window.hurt=1</script> ü\u2028"
    sweep, images = make_sweep([("ratio", evil, [evil, "2"]), ("b", "b", ["<b>", "&amp;"])])
    lane = sweep["lanes"][3]
    lane |= {"name": evil, "file": f"{evil}.png", "error": evil, "again": evil}
    lane["settings"] = {evil: evil}
    sweep |= {"title": evil, "command": evil}
    for source in sweep["sources"]:
        source["label"] = evil
    page = show(sweep, images)
    page.find_all(".lane")[3].click()
    assert page.script("return window.hurt") is None
    assert page.script("return document.title") == evil
    said = [
        "h1",
        "#again",
        "#all",
        "#facts div:last-child dt",
        ".hold .name",
        ".slider label",
        ".tick span",
    ]
    texts = [
        page.script("return document.querySelector(arguments[0]).textContent", s) for s in said
    ]
    assert texts == [evil] * len(said)
    assert evil in page.script("return byId('missing').textContent")
    assert page.find_all("main b") == [] and len(page.find_all("script")) == 2
    assert page.messages() == []


def test_a_lane_without_a_picture_says_why(show):
    sweep, images = make_sweep()
    sweep["lanes"][1] |= {"error": "out of memory", "history": [], "result": None}
    del images[sweep["lanes"][1]["file"]]
    page = show(sweep, images)
    cell = page.cell("ratio-0_layers-1")
    assert cell.text == "failed: out of memory"
    cell.click()
    assert page.text("#missing") == "failed: out of memory"
    assert not page.find("#file").is_displayed() and not page.find("#zoom").is_enabled()
    assert "1 failed" in page.text("#summary")
    page.cell("ratio-0_layers-0").click()
    assert not page.find("#missing").is_displayed()
    assert page.messages() == []


def test_an_interrupted_lane_is_marked(show):
    sweep, images = make_sweep()
    sweep["lanes"][0]["completed"] = False
    sweep["lanes"][0]["settings"]["steps"] = 200
    page = show(sweep, images)
    assert page.cell("ratio-0_layers-0").text == "interrupted"
    assert page.text("#caption").endswith("interrupted, best image so far")
    assert "steps\n4 of 200" in page.text("#facts")


def test_the_figures_of_a_lane(page):
    facts = page.text("#facts").split("\n")
    assert dict(zip(facts[::2], facts[1::2], strict=True)) == {
        "loss": "0.0625",
        "content": "3.25e-5",
        "style": "0.3",
        "restarts": "2",
        "steps": "4",
        "size": "256",
        "seed": "7",
        "style layers": "conv1_1, conv2_1",
    }
    assert page.find("#file").get_dom_attribute("href") == "ratio-0_layers-0.png"
    assert "96 × 64" in page.text("#file")


def test_one_lane_needs_neither_sliders_nor_a_sheet(show):
    page = show(*make_sweep([]))
    page.shows(color=(0.5, 0.5, 0.5))
    assert page.find_all(".slider") == [] and not page.find("#sheet").is_displayed()
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.messages() == []


@pytest.mark.parametrize("role", ["content", "style"])
def test_a_source_may_be_missing(show, role):
    page = show(*make_sweep(roles=(role,)))
    other = "style" if role == "content" else "content"
    assert page.find(f".hold[data-role={role}]").is_displayed()
    assert not page.find(f".hold[data-role={other}]").is_displayed()
    page.actions().key_down(other[0]).perform()
    page.shows(0, 0)
    page.actions().key_up(other[0]).perform()
    assert page.messages() == []


def test_six_axes(show):
    axes = [(name, name, ["0", "1"]) for name in "abcdef"]
    page = show(*make_sweep([*axes[:3], ("ratio", "ratio", ["0", "1", "2"]), *axes[3:5]]))
    names = page.names()
    assert len(names) == 96 and len(page.find_all(".slider")) == 6
    assert names[:3] == [f"a-0_b-0_c-0_ratio-{i}_d-0_e-0" for i in range(3)]
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert page.text("#again").endswith("-o a-0_b-0_c-0_ratio-1_d-1_e-0.png --size 256 --seed 7")
    assert page.messages() == []


def test_pictures_of_different_shapes_mix_without_a_trace(show):
    sweep, images = make_sweep([("a", "a", ["wide", "tall"])])
    images["a-0.png"] = flat((1, 0, 0), 40, 120)
    images["a-1.png"] = flat((0, 0, 1), 120, 40)
    page = show(sweep, images)
    page.script("slide(0, 0.25)")
    page.shows(color=(0.75, 0, 0.25))
    page.script("slide(0, 1)")
    page.shows(color=(0, 0, 1))


def test_actual_pixels(show):
    sweep, images = make_sweep([])
    images["only.png"] = flat((0.1, 0.9, 0.5), 700, 700)
    page = show(sweep, images, width=500)
    page.press("z")
    assert page.script("return [stage.scrollWidth, stage.scrollHeight]") == [700, 700]
    assert page.script("return stage.scrollLeft") > 50  # the middle, not the corner
    page.find("#stage").click()
    assert page.script("return stage.scrollWidth === stage.clientWidth")


def curve(page, lane="lanes[0]"):
    return page.script(f"return chart.curves.get({lane}).path.getAttribute('d')")


def test_curves_have_gaps_and_bear_zeros(show):
    sweep, images = make_sweep()
    values = [0, 1e-3, None, 0.1, 100, None, 0]
    history = [
        {"step": 10 * i, "loss": v, "content": 0, "style": None} for i, v in enumerate(values)
    ]
    for lane in sweep["lanes"]:
        lane["history"] = history
    page = show(sweep, images)
    assert curve(page).count("M") == 3 and "NaN" not in curve(page)
    ticks = [text.text for text in page.find_all("#chart text")]
    assert {"0", "0.01", "1", "100", "60", "step"} <= set(ticks)
    page.script("byId('term').value = 'content'; drawChart()")
    assert curve(page).count("L") == 6 and "NaN" not in curve(page)
    page.script("byId('term').value = 'style'; drawChart()")
    assert page.text("#chart") == "There are no values of this term."
    assert page.messages() == []


def test_what_rounding_leaves_of_zero_takes_no_room(show):
    """The content loss of the photograph itself, where a run starts."""
    sweep, images = make_sweep([])
    values = enumerate([3e-9, 300, 400, 500])
    sweep["lanes"][0]["history"] = [{"step": step, "loss": loss} for step, loss in values]
    page = show(sweep, images)
    ticks = {text.text for text in page.find_all("#chart text")}
    assert "0" in ticks and not {"1e-8", "1e-6", "0.01"} & ticks
    heights = page.script("return chart.curves.get(lanes[0]).places.map((place) => place.y)")
    assert heights[1] - heights[3] > 50 and heights[0] == max(heights)


@pytest.mark.parametrize("loss", [0.0, 1e-30, 0.37, 4e7])
def test_a_single_point_is_a_dot(show, loss):
    sweep, images = make_sweep([])
    sweep["lanes"][0]["history"] = [{"step": 0, "loss": loss, "content": 1, "style": 1}]
    page = show(sweep, images)
    assert curve(page).endswith("h0") and "NaN" not in curve(page)
    assert page.find_all("#chart text")


def test_curves_are_on_a_logarithmic_scale(page):
    heights = page.script("return chart.curves.get(lanes[0]).places.map((place) => place.y)")
    assert np.diff(heights) == pytest.approx(np.diff(heights)[0])  # the loss halves at each step
    assert np.diff(heights)[0] > 10


def test_the_current_curve_is_the_one_on_top(page):
    page.press(Keys.ARROW_RIGHT)
    last = page.find_all("#chart path")[-1]
    assert last.get_attribute("class") == "curve current"
    assert last.get_attribute("d") == curve(page, "state.lane")


def test_a_click_on_a_curve_opens_its_lane(show):
    sweep, images = make_sweep()
    for index, lane in enumerate(sweep["lanes"]):
        lane["history"] = [{"step": s, "loss": 10.0 ** (index == 7)} for s in range(3)]
    page = show(sweep, images)
    page.script("byId('chart').scrollIntoView({ block: 'center' })")
    x, y = page.script("const { x, y } = chart.curves.get(lanes[7]).places[1]; return [x, y]")
    box = page.script("const r = byId('chart').getBoundingClientRect(); return [r.width, r.height]")
    at = (round(x - box[0] / 2), round(y - box[1] / 2))
    page.actions().move_to_element_with_offset(page.find("#chart"), *at).perform()
    assert page.text("#pointed") == "ratio α/β 1e-4, style layers to conv3_1: 10 after 1 steps"
    page.actions().click().perform()
    page.shows(1, 2)


def luminance(page):
    color = page.script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in color.strip("rgb()").split(", ")) / 3


def test_light_and_dark(page):
    assert luminance(page) > 200
    assert luminance(page.load(dark=True)) < 60


LONG = ["conv1_1+conv2_1+conv3_1+conv4_1+conv5_1", "a_file_name_of_some_length.jpg", "short"]


@pytest.mark.parametrize("width", [320, 400, 1000, 3840])
@pytest.mark.parametrize("axes", [GRID, [("a", "style layers", LONG * 4), ("b", "b", LONG)], []])
def test_the_page_never_scrolls_sideways(show, width, axes):
    page = show(*make_sweep(axes), width=width, height=700)
    assert page.script("return document.scrollingElement.scrollWidth") <= width
    for slider in page.find_all("input[type=range]"):
        assert slider.rect["x"] >= 0 and slider.rect["x"] + slider.rect["width"] <= width


def test_labels_of_ticks_do_not_overlap(show):
    page = show(*make_sweep([("a", "layers", LONG * 4)]), width=400)
    spans = [s for s in page.find_all(".tick span") if s.is_displayed()]
    edges = [(s.rect["x"], s.rect["x"] + s.rect["width"]) for s in spans]
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))
    assert len(spans) >= 2


def test_controls_have_names(page):
    controls = page.find_all("button, input, select, a[href]")
    assert [
        c.get_attribute("outerHTML") for c in controls if c.is_displayed() and not c.accessible_name
    ] == []
    assert page.find("#axis-0").accessible_name == "ratio α/β"
    assert (
        page.cell("ratio-0_layers-1").accessible_name == "ratio α/β 1e-5, style layers to conv2_1"
    )
