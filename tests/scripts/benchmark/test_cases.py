"""The course of a measurement when there is no time, an interruption, or a failure."""

import time
from types import SimpleNamespace

import pytest

from scripts.benchmark.cases import CACHE, Bench, Conditions, facts_of, measure_all
from scripts.benchmark.problem import Spec
from scripts.benchmark.results import read_results
from scripts.benchmark.side import OURS, SideError

PLAN = [("evaluation", Spec("evaluation", size=size)) for size in (48, 64)]


class FakeBench:
    """Measures at once, or raises."""

    conditions = SimpleNamespace(threads=2)

    def __init__(self, failure=None):
        self._failure = failure

    def facts(self):
        return {}

    def measure(self, case, spec):
        if self._failure and spec.size == 64:
            raise self._failure
        return {**facts_of(case, spec), "sides": {"nst_jax": {"seconds": [1.0]}}}


def test_every_case_is_kept(tmp_path):
    results = {"cases": {}}
    assert measure_all(FakeBench(), PLAN, tmp_path, results)
    assert [case["size"] for case in results["cases"].values()] == [48, 64]
    assert read_results(tmp_path / "results.json") == results


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    results = {"cases": {}}
    assert not measure_all(FakeBench(KeyboardInterrupt()), PLAN, tmp_path, results)
    assert len(read_results(tmp_path / "results.json")["cases"]) == 1


def test_without_time_the_rest_is_left_out_and_counted(tmp_path, capsys):
    results = {"cases": {}}
    assert measure_all(FakeBench(), PLAN, tmp_path, results, end=time.monotonic() - 1)
    assert results["cases"] == {} and "2 cases were left out" in capsys.readouterr().err


def test_a_failing_case_is_noted(monkeypatch):
    def fail(self, spec):
        raise SideError("out of luck")

    monkeypatch.setattr(Bench, "evaluation", fail)
    bench = Bench(Conditions("cpu", 1, CACHE, (OURS,)))
    assert bench.measure(*PLAN[0])["sides"] == {"nst_jax": {"error": "out of luck"}}


@pytest.mark.parametrize("cached", [False, True])
def test_files_are_measured_again_where_there_is_a_cache(monkeypatch, cached):
    seconds = iter([30.0, 9.0])
    monkeypatch.setattr(
        "scripts.benchmark.cases.run_command", lambda *_: {"seconds": next(seconds), "peak": 1}
    )
    environment = {"JAX_COMPILATION_CACHE_DIR": "somewhere"} if cached else {}
    bench = Bench(Conditions("cpu", 1, environment, (OURS,)))
    found = bench.files(Spec("files", size=48))["nst_jax"]
    warm = {"seconds": 9.0, "peak": 1, "cold_seconds": 30.0}
    assert found == (warm if cached else {"seconds": 30.0, "peak": 1})
