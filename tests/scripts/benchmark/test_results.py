"""The file of results and its statistics, against NumPy's and closed forms."""

import numpy as np
import pytest
from benchmark_results import SETUP, case, timed

from scripts.benchmark.results import (
    ResultsError,
    add_case,
    exponent,
    goals,
    open_results,
    quartiles,
    reached,
    read_results,
    write_results,
)


def test_quartiles(random):
    assert quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)
    values = random.random(8).tolist()
    assert quartiles(values) == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]).tolist())


def test_exponent(random):
    pixels = [128**2, 256**2, 512**2, 1024**2]
    assert exponent(pixels, [3e-6 * p**1.05 for p in pixels]) == pytest.approx(1.05)
    noisy = random.random(4) + 0.5
    fitted, _ = np.polyfit(np.log(pixels), np.log(noisy), 1)
    assert exponent(pixels, noisy.tolist()) == pytest.approx(fitted)


def test_goals_are_the_least_losses_so_far():
    theirs = {"seconds": [1.0, 2.0, 3.0, 4.0, 5.0], "losses": [9.0, 5.0, 6.0, 4.0, 3.0]}
    assert goals(theirs, [1, 3, 5, 9]) == {1: 9.0, 3: 5.0, 5: 3.0}
    assert reached(theirs, 5.5) == 2.0
    assert reached(theirs, 2.0) is None


def test_runs_on_one_machine_fill_one_file(tmp_path, results):
    path = tmp_path / "new" / "results.json"
    write_results(path, results)
    again = open_results(path, SETUP)
    assert again == results
    add_case(again, case("evaluation", timed([1.0], [2.0]), 256))
    add_case(again, case("adam", timed([1.0], [float("inf")])))
    assert len(again["cases"]) == len(results["cases"]) + 1
    assert again["cases"]["evaluation vgg16 256px float32"]["sides"] == timed([1.0], [2.0])
    assert again["cases"]["adam vgg16 256px float32"]["sides"]["pytorch"]["seconds"] == [None]
    write_results(path, again)
    assert read_results(path) == again
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    with pytest.raises(ResultsError, match="threads 2, and this run of 4"):
        open_results(path, SETUP | {"threads": 4})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cases": []}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match="no results of this benchmark"):
        open_results(path, SETUP)
