"""The grid of a sweep: which lanes there are, what they change, and the names of their files."""

import dataclasses
import math

import pytest

from nst_jax import Settings, SettingsError
from nst_jax.sweeps import grid
from nst_jax.sweeps.grid import MAX_TAG, Axis, Point, Source, make_grid

PHOTO = Source("content", "photos/photo.png")
NIGHT, CAFE = Source("style", "a/night.jpg"), Source("style", "b/café.jpg")
PAPER = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
UNFIT = set('/\\:*?"<>| \t\n\0')  # for the names of files on one system or another


def names_of(*axes, sources=(PHOTO, NIGHT)):
    return [lane.name for lane in make_grid(Settings(), sources, axes).lanes]


def tags_of(*files):
    """What tells the files of lanes apart, by the files of their paintings."""
    sources = (PHOTO, *(Source("style", file) for file in files))
    names = names_of(grid.style_axis(sources), sources=sources)
    assert all(name.startswith("style-") for name in names)
    return [name.removeprefix("style-") for name in names]


def test_product():
    """The last axis is the fastest, and each lane has its place, its settings and its sources."""
    sources = (PHOTO, NIGHT, CAFE)
    axes = (
        grid.style_axis(sources),
        grid.setting_axis("seed", [7, 8]),
        grid.setting_axis("ratio", [1e-4, 0.5]),
    )
    made = make_grid(Settings(steps=3), sources, axes)
    assert [lane.name for lane in made.lanes] == [
        "style-night_seed-7_ratio-1e-4",
        "style-night_seed-7_ratio-0.5",
        "style-night_seed-8_ratio-1e-4",
        "style-night_seed-8_ratio-0.5",
        "style-café_seed-7_ratio-1e-4",
        "style-café_seed-7_ratio-0.5",
        "style-café_seed-8_ratio-1e-4",
        "style-café_seed-8_ratio-0.5",
    ]
    assert made.sources == sources and made.axes == axes
    assert made.title == "photo × night × café"
    sixth = made.lanes[5]
    assert sixth.place == {"style": 1, "seed": 0, "ratio": 1}
    assert sixth.settings == Settings(steps=3, seed=7, ratio=0.5)
    assert (sixth.content, sixth.style) == (0, (2,))


def test_colors():
    axes = (
        grid.setting_axis("colors", ["style", "match"]),
        grid.setting_axis("color_map", ["pca", "cholesky"]),
    )
    made = make_grid(Settings(), (PHOTO, NIGHT), axes)
    assert [lane.name for lane in made.lanes] == [
        "colors-style_map-pca",
        "colors-style_map-cholesky",
        "colors-match_map-pca",
        "colors-match_map-cholesky",
    ]
    assert made.lanes[3].settings == Settings(colors="match", color_map="cholesky")


def test_axis_with_one_point_leaves_no_trace_in_the_names():
    axes = (
        grid.setting_axis("seed", [7]),
        grid.setting_axis("ratio", [1e-4, 1e-3]),
        grid.setting_axis("tv_weight", [0.25]),
    )
    made = make_grid(Settings(), (PHOTO, NIGHT), axes)
    assert [lane.name for lane in made.lanes] == ["ratio-1e-4", "ratio-1e-3"]
    assert [lane.place for lane in made.lanes] == [{"ratio": 0}, {"ratio": 1}]
    assert [axis.name for axis in made.axes] == ["ratio"]
    wanted = Settings(seed=7, tv_weight=0.25)
    assert [dataclasses.replace(lane.settings, ratio=None) for lane in made.lanes] == [wanted] * 2


def test_no_axis_varies():
    made = make_grid(Settings(), (PHOTO, NIGHT), (grid.setting_axis("seed", [7]),))
    (lane,) = made.lanes
    assert (lane.name, lane.place, made.axes) == ("result", {}, ())


@pytest.mark.parametrize(("sources", "wanted"), [((PHOTO,), (0, ())), ((NIGHT,), (None, (0,)))])
def test_a_role_without_a_source(sources, wanted):
    (lane,) = make_grid(Settings(), sources, ()).lanes
    assert (lane.content, lane.style) == wanted


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1e-38, "1e-38"),
        (1e-5, "1e-5"),
        (1.0000000000000002e-06, "1e-6"),
        (2.5e-3, "2.5e-3"),
        (0.05, "5e-2"),
        (0.1, "0.1"),
        (1, "1"),
        (20.0, "20"),
        (9999, "9999"),
        (1e4, "1e4"),
        (123456, "1.23456e5"),
        (1e38, "1e38"),
        (-1e-5, "-1e-5"),
        (math.nan, "nan"),  # the settings refuse it
        (math.inf, "inf"),
    ],
)
def test_short(number, text):
    assert grid.short(number) == text


def test_axes_of_numbers():
    for axis, setting, values in (
        (grid.setting_axis("ratio", [1e-5, 2e-3]), "ratio", (1e-5, 2e-3)),
        (grid.setting_axis("tv_weight", [1e-5, 2e-3]), "tv_weight", (1e-5, 2e-3)),
        (grid.setting_axis("tv_l1_weight", [0, 0.2]), "tv_l1_weight", (0, 0.2)),
        (grid.setting_axis("seed", [3, 20000]), "seed", (3, 20000)),
    ):
        assert [point.changes for point in axis.points] == [{setting: value} for value in values]
    labels = [point.label for point in grid.setting_axis("tv_weight", [1e-5, 2e-3]).points]
    assert labels == ["1e-5", "2e-3"]


def test_numbers_that_look_the_same():
    """Their files must differ all the same."""
    assert names_of(grid.setting_axis("ratio", [1e-4, 1.00000001e-4])) == [
        "ratio-1e-4",
        "ratio-1e-4-2",
    ]


def test_seeds_of_many_digits():
    seeds = [20000, 4294967294, 4294967295]
    assert len(set(names_of(grid.setting_axis("seed", seeds)))) == 3


def test_initial_images():
    axis = grid.setting_axis("init", ["noise", "photos/my start.png"])
    assert [point.changes["init"] for point in axis.points] == ["noise", "photos/my start.png"]
    assert names_of(axis) == ["init-noise", "init-my-start"]


@pytest.mark.parametrize(
    ("files", "tags"),
    [
        (("a/night.jpg", "b/night.jpg", "c/night.jpg"), ["night", "night-2", "night-3"]),
        (("night.jpg", "Night.jpg"), ["night", "Night-2"]),
        (("a/n.jpg", "b/n.jpg", "n-2.jpg"), ["n", "n-2", "n-2-2"]),
        (("n-2.jpg", "a/n.jpg", "b/n.jpg"), ["n-2", "n", "n-3"]),
        (("my night.jpg", "my  night.jpg"), ["my-night", "my-night-2"]),
        (("绘画.jpg", "Größe_2.jpg"), ["绘画", "Größe_2"]),
        (("what?.jpg", "a:b*c|d.jpg"), ["what-", "a-b-c-d"]),
        (("v1.2+3.jpg", "x.jpg"), ["v1.2+3", "x"]),
        (("\udcff\udcfe.jpg", "x.jpg"), ["-", "x"]),  # a name that is no UTF-8
    ],
)
def test_tags_of_files(files, tags):
    assert tags_of(*files) == tags


@pytest.mark.parametrize("letter", ["n", "é", "絵", "\N{ARTIST PALETTE}"])
def test_tags_of_long_names(letter):
    """Systems allow a file's name 255 bytes."""
    tags = tags_of(f"{letter * 80}.jpg", f"{letter * 81}.jpg")
    assert tags[1] == f"{tags[0]}-2" and 0 < len(tags[0].encode()) <= MAX_TAG


def test_names_never_hold_what_a_file_system_refuses():
    points = (Point("a", "../../etc/passwd", {}), Point("b", "".join(sorted(UNFIT)), {"seed": 1}))
    for name in names_of(Axis("any", "any", points)):
        assert not UNFIT & set(name)


def test_growing_subsets_of_style_layers():
    """Figure 3's rows: 1/k for each of the first k layers, and none for the others."""
    settings = Settings(style_layers=PAPER)
    axis = grid.style_layers_axis(grid.cumulative(PAPER), settings)
    made = make_grid(settings, (PHOTO, NIGHT), (axis,))
    assert [lane.settings.style_layers for lane in made.lanes] == [PAPER] * 5
    assert [lane.settings.style_layer_weights for lane in made.lanes] == [
        (1.0, 0.0, 0.0, 0.0, 0.0),
        (1 / 2, 1 / 2, 0.0, 0.0, 0.0),
        (1 / 3, 1 / 3, 1 / 3, 0.0, 0.0),
        (1 / 4, 1 / 4, 1 / 4, 1 / 4, 0.0),
        (1 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5),
    ]
    assert [lane.name for lane in made.lanes] == [
        "layers-conv1_1",
        "layers-to-conv2_1",
        "layers-to-conv3_1",
        "layers-to-conv4_1",
        "layers-to-conv5_1",
    ]
    labels = [point.label for point in axis.points]
    assert labels[:2] == ["conv1_1", "conv1_1 to conv2_1"]


def test_any_subsets_of_style_layers():
    """The union has the network's order, whatever the sets have."""
    axis = grid.style_layers_axis([("conv4_1", "conv2_1"), ("conv1_1",)], Settings())
    made = make_grid(Settings(), (PHOTO, NIGHT), (axis,))
    union = ("conv1_1", "conv2_1", "conv4_1")
    assert [lane.settings.style_layers for lane in made.lanes] == [union] * 2
    weights = [lane.settings.style_layer_weights for lane in made.lanes]
    assert weights == [(0.0, 0.5, 0.5), (1.0, 0.0, 0.0)]
    assert [lane.name for lane in made.lanes] == ["layers-conv4_1+conv2_1", "layers-conv1_1"]
    assert axis.points[0].label == "conv4_1, conv2_1"


def test_subsets_take_the_weights_of_the_settings():
    layers = ("conv1_1", "conv2_1", "conv3_1")
    settings = Settings(style_layers=layers, style_layer_weights=(0.7, 2.0, 0.0))
    axis = grid.style_layers_axis(grid.cumulative(layers), settings)
    weights = [point.changes["style_layer_weights"] for point in axis.points]
    assert weights == [(0.7, 0, 0), (0.7, 2.0, 0), (0.7, 2.0, 0.0)]


def test_one_set_that_does_not_grow():
    """It must not be called by its last layer only."""
    (point,) = grid.style_layers_axis([("conv1_1", "conv2_1")], Settings()).points
    assert (point.label, point.tag) == ("conv1_1, conv2_1", "conv1_1+conv2_1")


@pytest.mark.parametrize("sets", [[()], [("conv1_1",), ()]])
def test_empty_set(sets):
    with pytest.raises(SettingsError, match="set of style layers is empty.*at least one"):
        grid.style_layers_axis(sets, Settings())


def test_cumulative():
    assert grid.cumulative(["a", "b", "c"]) == [("a",), ("a", "b"), ("a", "b", "c")]
    assert grid.cumulative([]) == []


def test_union_has_each_layer_once():
    sets = [("conv5_4", "conv1_2"), ("conv1_2", "conv1_1"), ()]
    assert grid.union_of(sets) == ("conv1_1", "conv1_2", "conv5_4")


def test_content_layers():
    settings = Settings(content_layers=("conv1_2", "conv3_2"), style_layers=())
    made = make_grid(settings, (PHOTO,), (grid.content_layer_axis(settings.content_layers),))
    assert [lane.name for lane in made.lanes] == ["layer-conv1_2", "layer-conv3_2"]
    weights = [lane.settings.content_terms for lane in made.lanes]
    assert weights == [{"conv1_2": 1.0, "conv3_2": 0.0}, {"conv1_2": 0.0, "conv3_2": 1.0}]


def test_relu_names():
    """Settings have the paper's names, which is what axes are made of."""
    settings = Settings(content_layers=("relu1_1", "ReLU2_1"), style_layers=("relu3_1",))
    axis = grid.content_layer_axis(settings.content_layers)
    assert [point.label for point in axis.points] == ["conv1_1", "conv2_1"]
    (point,) = grid.style_layers_axis(grid.cumulative(settings.style_layers), settings).points
    assert point.changes["style_layers"] == ("conv3_1",)


def test_styles_with_ratios_of_their_own():
    sources = (PHOTO, NIGHT, CAFE)
    axis = grid.style_axis(sources, [1e-4, 0.5])
    assert [point.label for point in axis.points] == ["night, α/β 1e-4", "café, α/β 0.5"]
    made = make_grid(Settings(), sources, (axis,))
    assert [lane.name for lane in made.lanes] == ["style-night", "style-café"]
    assert [(lane.style, lane.settings.ratio) for lane in made.lanes] == [((1,), 1e-4), ((2,), 0.5)]


@pytest.mark.parametrize("ratios", [[1e-4], [1e-4, 1e-3, 1e-2], []])
def test_styles_with_another_number_of_ratios(ratios):
    with pytest.raises(SettingsError, match=f"{len(ratios)} style ratios for 2 styles.*one each"):
        grid.style_axis((PHOTO, NIGHT, CAFE), ratios)


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (grid.setting_axis("ratio", [1e-4, 2e-4, 1.0e-4]), "ratio.* has 1e-4 twice"),
        (grid.setting_axis("seed", [1, 1]), "seed has 1 twice"),
        (grid.setting_axis("tv_weight", [0, 0.0]), "total variation has 0 twice"),
        (grid.setting_axis("init", ["noise", "a/x.png", "a/x.png"]), "start has x twice"),
        (grid.content_layer_axis(["conv1_1", "conv1_1"]), "content layer has conv1_1 twice"),
        (grid.style_layers_axis([("conv1_1",), ("conv1_1",)], Settings()), "conv1_1 twice"),
        (grid.setting_axis("seed", []), "seed has no value.*at least one"),
    ],
)
def test_points_that_make_no_axis(axis, words):
    with pytest.raises(SettingsError, match=words):
        names_of(axis)


def test_same_layers_in_another_order():
    """It is the same loss, twice."""
    axis = grid.style_layers_axis([("conv1_1", "conv2_1"), ("conv2_1", "conv1_1")], Settings())
    with pytest.raises(SettingsError, match="twice"):
        names_of(axis)


def test_all_styles_together():
    sources = (PHOTO, NIGHT, CAFE)
    made = make_grid(
        Settings(), sources, (grid.mixture_axis(sources), grid.setting_axis("seed", [1, 2]))
    )
    assert [(lane.name, lane.style) for lane in made.lanes] == [
        ("seed-1", (1, 2)),
        ("seed-2", (1, 2)),
    ]
    (point,) = grid.mixture_axis(sources).points
    assert point.label == "night + café"


def test_from_one_style_to_another():
    sources = (PHOTO, NIGHT, CAFE)
    made = make_grid(Settings(), sources, (grid.blend_axis(sources, 5),))
    assert [lane.name for lane in made.lanes] == (
        ["blend-0", "blend-0.25", "blend-0.5", "blend-0.75", "blend-1"]
    )
    blends = [(1, 0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0, 1)]
    assert [lane.settings.style_blend for lane in made.lanes] == blends
    assert {lane.style for lane in made.lanes} == {(1, 2)}
    assert made.axes[0].title == "share of café"
    labels = [point.label for point in grid.blend_axis(sources, 4).points]
    assert labels == ["0", "0.333", "0.667", "1"]


@pytest.mark.parametrize(
    ("sources", "steps", "words"),
    [
        ((PHOTO, NIGHT), 5, "from one STYLE to another; got 1"),
        ((PHOTO, NIGHT, CAFE, NIGHT), 5, "from one STYLE to another; got 3"),
        ((PHOTO, NIGHT, CAFE), 1, "--blend-steps is 1; wanted at least 2"),
    ],
)
def test_no_way_from_one_style_to_another(sources, steps, words):
    with pytest.raises(SettingsError, match=words):
        grid.blend_axis(sources, steps)


def test_scales_and_noise():
    axes = (grid.setting_axis("style_scale", [0.5, 2]), grid.setting_axis("init_noise", [0, 0.3]))
    assert names_of(*axes) == (
        ["scale-0.5_noise-0", "scale-0.5_noise-0.3", "scale-2_noise-0", "scale-2_noise-0.3"]
    )
    last = make_grid(Settings(), (PHOTO, NIGHT), axes).lanes[-1].settings
    assert (last.style_scale, last.init_noise) == ((2.0,), 0.3)


def test_a_blend_of_another_number_of_styles():
    with pytest.raises(SettingsError, match="style_blend has 2 numbers for 1 painting"):
        make_grid(Settings(style_blend=(1, 2)), (PHOTO, NIGHT), ())


def test_value_that_no_setting_takes():
    with pytest.raises(SettingsError, match="ratio is -1"):
        names_of(grid.setting_axis("ratio", [1e-4, -1]))
