"""The numbers of the judge: closed forms, what the record names, and complaints in one line."""

import json

import numpy as np
import pytest
from reference import SAMPLES, all_features, gram, read_network

from nst_jax import Settings, load_image, save_image
from nst_jax.engine.api import stylize
from nst_jax.images.resize import resize
from nst_jax.records.write import image_text, input_files, input_metadata, make_record, save_record
from scripts.figures import judge

CONTENT, STYLE = SAMPLES / "china.jpg", SAMPLES / "van_gogh_cafe_terrace.jpg"
FLOAT32 = 1e-4  # a dozen layers in float32 against float64


def expected_of_white_noise():
    """Of independent values, uniform over [0, 1]: two thirds are chroma; then the kernel's."""
    kernel = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    kernel /= kernel.sum()
    plane = np.outer(kernel, kernel)
    high = 1 - 2 * plane[4, 4] + np.sum(plane**2)
    return 255 * np.sqrt(1 / 12 * 2 / 3 * high)


def test_speckle_of_white_noise_is_that_of_the_kernel(random):
    found = judge.speckle(random.random((300, 400, 3), np.float32))
    assert expected_of_white_noise() == pytest.approx(52.4, abs=0.05)
    assert found == pytest.approx(expected_of_white_noise(), rel=0.01)  # 4 / √(360,000)


def test_speckle_is_of_fine_colors_only(random):
    gray = np.repeat(random.random((64, 96, 1), np.float32), 3, axis=-1)
    constant = np.full((64, 96, 3), (0.2, 0.9, 0.4), np.float32)
    ramp = np.linspace(0, 1, 96, dtype=np.float32)[None, :, None] * constant
    assert judge.speckle(constant) == pytest.approx(0, abs=1e-4)
    assert judge.speckle(gray) == pytest.approx(0, abs=1e-4)  # float32 in, a mean of three
    assert judge.speckle(ramp) < 0.5  # at its two ends only


def test_relative_distance():
    wanted = np.array([3.0, 4.0])
    assert judge.relative_distance(wanted, wanted) == 0
    assert judge.relative_distance(0 * wanted, wanted) == 1
    assert judge.relative_distance(np.array([3.0, -1.0]), wanted) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A picture of one step with its settings inside, and its record."""
    path = tmp_path_factory.mktemp("run") / "out.png"
    settings = Settings(size=64, steps=1)
    result = stylize(str(CONTENT), str(STYLE), settings)
    inputs = input_metadata(input_files(settings, CONTENT, [STYLE]))
    record = make_record(result, inputs=inputs)
    save_image(result.image, path, image_text(record))
    return path, record


def distance(found, wanted):
    return np.sum((found - wanted) ** 2) / np.sum(wanted**2)


def rows_of(capsys, *arguments):
    assert judge.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_photograph_and_painting_come_from_the_record(run, capsys, tmp_path):
    path, record = run
    inside = rows_of(capsys, path)
    plain = tmp_path / "plain.png"
    save_image(load_image(path), plain)
    unknown = rows_of(capsys, plain)
    assert len(unknown) == 1 and unknown[0]["style"] is None and unknown[0]["content"] is None
    given = rows_of(capsys, plain, "--content", CONTENT, "--style", STYLE)
    save_record(record, plain.with_suffix(".json"))
    beside = rows_of(capsys, plain)
    for row in (*inside, *given, *beside):
        row.pop("name")
    assert inside == given == beside
    picture, content, style = inside
    assert picture["speckle"] == unknown[0]["speckle"]
    assert content["speckle"] == judge.speckle(load_image(CONTENT, 64))
    assert style["speckle"] == judge.speckle(load_image(STYLE, 64))
    assert style["style"] is None


def test_what_is_aimed_at_is_at_no_distance(tmp_path, capsys):
    content, style = tmp_path / "content.png", tmp_path / "style.png"
    save_image(load_image(CONTENT, 64), content)
    save_image(load_image(STYLE, 64), style)
    row, *_ = rows_of(capsys, content, "--content", content, "--style", style)
    assert row["content"] == 0 and min(row["style"].values()) > 0.01
    row, *_ = rows_of(capsys, style, "--style", style)
    assert row["content"] is None and set(row["style"].values()) == {0}


def test_distances_are_those_of_the_reference(tmp_path):
    paths = [tmp_path / name for name in ("image.png", "content.png", "style.png")]
    for path, source, size in zip(paths, (STYLE, CONTENT, CONTENT), (64, 64, 80), strict=True):
        save_image(resize(load_image(source, size), (48, size)), path)
    network, mean = read_network()
    image, content, style = (
        all_features(network, load_image(path), mean, last="conv4_3") for path in paths
    )
    found = judge.Judge().judge(paths[0], judge.Aim(str(paths[1]), (str(paths[2]),), style_size=80))
    for layer in ("conv1_2", "conv3_2", "conv4_3"):
        wanted = distance(gram(image[layer]), gram(style[layer]))
        assert found.style[layer] == pytest.approx(wanted, rel=FLOAT32)
    wanted = distance(image["conv4_2"], content["conv4_2"])
    assert found.content == pytest.approx(wanted, rel=FLOAT32)


def test_a_table_has_a_row_for_each_and_dashes(run, capsys):
    path, _ = run
    assert judge.main([str(path), str(STYLE)]) == 0
    header, picture, alone, *references = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in (header, picture, alone, *references)}) == 1
    assert picture.split()[:2] == [str(path), "64×43"] and "-" not in picture.split()
    assert alone.split().count("-") == len(judge.STYLE_LAYERS) + 2
    assert [line.split()[0] for line in references] == [str(CONTENT), str(STYLE)]


def test_complaints_are_one_line(run, capsys, tmp_path):
    path, _ = run
    cropped = tmp_path / "cropped.png"
    save_image(resize(load_image(path), (64, 64)), cropped)
    for arguments, words in (
        (["nowhere.png"], "nowhere.png: there is no such file"),
        ([path, "--content", "nowhere.jpg"], "nowhere.jpg: there is no such file"),
        ([path, "--weights", "nothing"], "no weights called 'nothing'"),
        ([cropped, "--content", CONTENT], "give the photograph that it was made of"),
    ):
        assert judge.main([*map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert words in said.err and said.err.count("\n") == 1 and not said.out
