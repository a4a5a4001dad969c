"""Processes that compute for a side: their answers, failures and ends; whole commands."""

import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from reference import ROOT

from scripts.benchmark import side
from scripts.benchmark.machine import worker_environment
from scripts.benchmark.report import markdown
from scripts.benchmark.results import read_results

pytestmark = pytest.mark.slow


def test_a_small_run(tmp_path):
    command = [sys.executable, "-m", "scripts.benchmark", "-o", tmp_path]
    command += ["--only", "evaluation", "--networks", "vgg16", "--sizes", "48"]
    command += ["--rounds", "3", "--budget", "0.1", "--pause", "0"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    results = read_results(tmp_path / "results.json")
    (found,) = results["cases"].values()
    assert (found["width"], found["height"]) == (48, 32)
    assert found["date"] and found["commit"]
    for outcome in found["sides"].values():
        assert len(outcome["seconds"]) == 3 and min(outcome["seconds"]) > 0
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == markdown(results)
    assert all(facts["cores"] for facts in results["sides"].values())


def test_a_worker_that_fails_says_so_and_goes_on():
    with closing(side.Worker(side.OURS, "cpu", 1, worker_environment(1, "cpu"))) as worker:
        with pytest.raises(side.SideError, match="nst_jax: KeyError: 'walk'"):
            worker.ask("run", spec={"task": "walk"})
        assert worker.ask("facts")["platform"] == "cpu"
        side.end_all()
        with pytest.raises(side.SideError, match="process ended"):
            worker.ask("facts")


def test_a_command_is_measured():
    code = "import time; x = bytearray(200_000_000); time.sleep(0.2)"
    outcome = side.run_command([sys.executable, "-c", code], {})
    assert outcome["seconds"] > 0.2 and 2e8 < outcome["peak"] < 4e8
    with pytest.raises(side.SideError, match="code 3.*no luck"):
        code = "import sys; print('no luck', file=sys.stderr); sys.exit(3)"
        side.run_command([sys.executable, "-c", code], {})


def test_a_command_is_ended_with_all_it_started():
    began = time.perf_counter()
    timer = threading.Timer(0.5, side.end_all)
    timer.start()
    with pytest.raises(side.SideError, match="ended"):
        side.run_command(["sh", "-c", "sleep 30 & sleep 30"], {"PATH": "/usr/bin:/bin"})
    timer.join()
    assert time.perf_counter() - began < 10
