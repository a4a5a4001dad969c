"""The table of large pictures, on small ones."""

import pytest

from scripts.benchmark import large_pictures


def test_draw_is_a_picture():
    image = large_pictures.draw(40)
    assert image.shape == (40, 40, 3) and image.min() > -0.1 and image.max() < 1.1
    assert 0.01 < abs(image[1:] - image[:-1]).mean() < 0.1  # smooth, with noise


@pytest.mark.parametrize(("suffix", "rows"), [(".png", 8), (".jpg", 4)])
def test_a_row_for_each_thing_that_is_done(tmp_path, monkeypatch, suffix, rows):
    """In this process, where the command takes one for each."""
    monkeypatch.setattr(large_pictures, "in_a_process", lambda function, *given: function(*given))
    lines = [line.split("|")[1:-1] for line in large_pictures.lines(tmp_path, 64, [suffix])]
    assert len(lines) == rows and {len(line) for line in lines} == {len(large_pictures.HEAD)}
    done = [line[3].strip() for line in lines]
    assert done[:4] == ["written, 64 px", "read", "read at 32 px", "read at 512 px"]
    assert not list(tmp_path.iterdir())
