"""The benchmark: its statistics and tables against closed forms, a small real run."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from reference import ROOT

from nst_jax import Settings
from scripts.benchmark import __main__ as benchmark
from scripts.benchmark import side
from scripts.benchmark.plan import CASES, FULL, QUICK, evaluations_of, make_plan
from scripts.benchmark.problem import Problem, Spec, random_weights, sweep_settings
from scripts.benchmark.report import markdown
from scripts.benchmark.results import (
    ResultsError,
    add_case,
    exponent,
    fingerprint,
    goals,
    key_of,
    open_results,
    reached,
    read_results,
    summary,
    write_results,
)

COMMITTED = ROOT / "docs" / "benchmark" / "results.json"

SETUP = {
    "machine": {"cpu": "Abacus", "cores": 2, "memory_gb": 4, "system": "Linux", "gpu": None},
    "device": "cpu",
    "threads": 2,
    "allocator": "default",
    "versions": {"python": "3.11.7", "jax": "0.10.2", "torch": "2.13.0"},
}


def case(name, sides, size=256, **more):
    """A case as the benchmark writes it, by hand."""
    facts = {"case": name, "network": "vgg16", "size": size, "precision": "float32"}
    facts |= {"weights": "vgg16-imagenet", "height": size // 2, "width": size}
    facts |= {"date": "2026-11-24T10:00:00+00:00", "commit": "abcdef0123", "wall_seconds": 1.0}
    return facts | more | {"sides": sides}


def timed(ours, theirs):
    return {"nst_jax": {"seconds": ours}, "pytorch": {"seconds": theirs}}


CURVES = {
    "pytorch": {"seconds": [1.0, 2.0, 3.0, 4.0, 5.0], "losses": [9.0, 5.0, 6.0, 4.0, 3.0]},
    "nst_jax": {"seconds": [0.5, 1.0, 1.5, 2.0], "losses": [9.0, 8.0, 5.0, 3.5]},
}


@pytest.fixture
def results():
    cases = [
        case("evaluation", timed([0.1, 0.3, 0.2, 0.4, 0.5], [0.4] * 5), 128),
        case("evaluation", timed([1.2], [1.6]), 256),
        case("evaluation", timed([4.8], [6.4]), 512),
        case("lbfgs", {"nst_jax": {"seconds": [0.0121]}}, history=1),
        case("lbfgs", timed([2.0], [0.0]) | {"pytorch": {"error": "no memory"}}, history=10),
        case("lbfgs", timed([3.0], [2.0]), history=10, ours={"low_memory": True}),
        case("reach", CURVES, history=100, steps=5),
        case(
            "files",
            {
                "nst_jax": {"seconds": 12.5, "peak": 5e8},
                "pytorch": {"seconds": 50.0, "peak": 6e8},
                "peer": {"seconds": 100.0, "peak": 7e8},
            },
            history=100,
            steps=500,
        ),
        case(
            "memory",
            {
                "nst_jax": {"before": 1e8, "peak": 3e8, "peak_of_steps": 2e8, "device_peak": None},
                "pytorch": {"before": 2e8, "peak": 6e8, "peak_of_steps": None, "device_peak": None},
            },
            task="lbfgs",
            history=100,
        ),
    ]
    found = {**SETUP, "cases": {}}
    for one in cases:
        add_case(found, one)
    return found


def test_summary():
    expected = {"median": 3.0, "least": 1.0, "lower": 2.0, "upper": 4.0}
    assert summary([5.0, 1.0, 4.0, 2.0, 3.0]) == expected
    assert set(summary([7.0]).values()) == {7.0}
    random = np.random.default_rng(0).random(8).tolist()
    lower, median, upper = np.quantile(random, [0.25, 0.5, 0.75])
    found = summary(random)
    assert [found["lower"], found["median"], found["upper"]] == pytest.approx(
        [lower, median, upper]
    )


def test_exponent(random):
    pixels = [128**2, 256**2, 512**2, 1024**2]
    assert exponent(pixels, [3e-6 * p**1.05 for p in pixels]) == pytest.approx(1.05)
    noisy = random.random(4) + 0.5
    fitted, _ = np.polyfit(np.log(pixels), np.log(noisy), 1)
    assert exponent(pixels, noisy.tolist()) == pytest.approx(fitted)


def test_goals_are_the_least_losses_so_far():
    assert goals(CURVES["pytorch"], [1, 3, 5, 9]) == {1: 9.0, 3: 5.0, 5: 3.0}
    assert reached(CURVES["nst_jax"], 5.0) == 1.5
    assert reached(CURVES["nst_jax"], 3.0) is None
    assert evaluations_of(500) == [100, 250, 500]


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


def test_markdown(results):
    where = "VGG-16, 256×128 px"
    assert markdown(results).splitlines() == [
        "2 cores of Abacus, as many threads on each side; jax 0.10.2, PyTorch 2.13.0, Python "
        "3.11.7; 2026-11-24, commit abcdef0123. Medians, quartiles in brackets.",
        "",
        "| what | nst_jax | PyTorch | peer | nst_jax / PyTorch |",
        "|---|---|---|---|---|",
        "| loss and gradient, VGG-16, 128×64 px | 300 ms (200–400) | 400 ms (400–400) | – | "
        "0.75 × |",
        f"| loss and gradient, {where} | 1.20 s | 1.60 s | – | 0.75 × |",
        "| loss and gradient, VGG-16, 512×256 px | 4.80 s | 6.40 s | – | 0.75 × |",
        f"| one L-BFGS step, history 1, {where} | 12.1 ms | – | – | – |",
        f"| one L-BFGS step, history 10, {where} | 2.00 s | – | – | – |",
        f"| one L-BFGS step, history 10 (ours: `--low-memory`), {where} | 3.00 s | 2.00 s | – | "
        "1.50 × |",
        f"| peak memory beyond libraries and inputs, L-BFGS step, history 100, {where} | "
        "200 MB (after the first 100 MB, whole process 300 MB) | "
        "400 MB (whole process 600 MB) | – | 0.50 × |",
        f"| 500 evaluations, file to file, {where} | 12.5 s, 500 MB | 50.0 s, 600 MB | "
        "100 s, 700 MB | 0.25 × |",
        f"| to PyTorch's loss after 1 evaluations, {where} | 500 ms | 1.00 s | – | 0.50 × |",
        f"| to PyTorch's loss after 2 evaluations, {where} | 1.50 s | 2.00 s | – | 0.75 × |",
        f"| to PyTorch's loss after 5 evaluations, {where} | not reached | 5.00 s | – | – |",
        "",
        "- Seconds grow with the pixels to the power of, loss and gradient, VGG-16, 128×64 to "
        "512×256 px: nst_jax 1.00, PyTorch 1.00",
        "- lbfgs, VGG-16, 256 px: pytorch failed: no memory",
    ]


def test_report_makes_table_and_plot_again(tmp_path, results):
    write_results(tmp_path / "results.json", results)
    assert benchmark.main(["--report", str(tmp_path / "results.json")]) == 0
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == markdown(results)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return
    first = (tmp_path / "speed.svg").read_bytes()
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    benchmark.main(["--report", str(tmp_path / "results.json")])
    assert (tmp_path / "speed.svg").read_bytes() == first


def test_the_committed_table_and_plot_are_those_of_the_committed_results():
    if not COMMITTED.exists():
        pytest.skip(f"there is no {COMMITTED.relative_to(ROOT)} yet")
    results = read_results(COMMITTED)
    assert COMMITTED.with_name("results.md").read_text(encoding="utf-8") == markdown(results)
    assert fingerprint(results) in COMMITTED.with_name("speed.svg").read_text(encoding="utf-8")
    with Image.open(COMMITTED.with_name("speed.png")) as picture:
        assert picture.text["Description"] == fingerprint(results)


def test_both_plans_have_every_case():
    for plan in (FULL, QUICK):
        assert {grid.case for grid in plan} == set(CASES)
    names = [key_of(benchmark.facts_of(name, spec)) for name, spec in make_plan()]
    assert len(names) == len(set(names))
    only = list(make_plan(only=["lbfgs"], sizes=[64], networks=["vgg19"], precision="tf32"))
    assert only == [("lbfgs", Spec("lbfgs", "vgg19", 64, precision="tf32"))] * len(only)
    assert max(spec.size for _, spec in make_plan(gpu=True)) == 2048


def test_what_is_missing_is_measured(results):
    plan = [("evaluation", Spec("evaluation", size=size)) for size in (256, 1024)]
    plan.append(("lbfgs", Spec("lbfgs", size=256, history=10)))  # which failed
    assert benchmark.not_yet(plan, results) == plan[1:]


def test_settings_of_a_sweep():
    settings = sweep_settings(Spec("sweep", size=32))
    assert len(set(settings)) == 20
    assert settings[0].style_layer_weights == (1, 0, 0, 0, 0)
    assert settings[-1].style_layer_weights == (0.2,) * 5


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
    assert json.dumps(results["sides"]).count('"cores"') == len(found["sides"])


@pytest.fixture
def problem(random):
    """Small, with random weights."""
    settings = Settings(style_layers=("conv1_1", "conv2_1"), content_layers=("conv2_2",))
    settings = Settings(**{**vars(settings), "lbfgs_memory": 6})
    content, style = (random.random((24, 32, 3), np.float32) for _ in range(2))
    return Problem(settings, random_weights("vgg19"), content, style)


def test_our_history_is_full(problem):
    from nst_jax.engine.program import jitted
    from nst_jax.optim.preconditioner import precondition
    from scripts.benchmark import steps as our_steps

    placed = our_steps.place(problem)
    state = jitted(placed.program).start(placed.image).optimizer
    inner, _ = our_steps.filled(placed, state)
    assert inner.valid.all() and inner.valid.size == 6
    # Pairs of a quadratic: every change is its step times one curvature, and preconditioned.
    steps = [
        np.asarray(precondition(row.reshape(placed.image.shape))).ravel() for row in inner.steps
    ]
    quotients = np.asarray(inner.changes) / steps
    assert np.median(quotients, axis=1) == pytest.approx(np.median(quotients), rel=1e-3)
    step, newest = inner.steps[inner.slot - 1], steps[inner.slot - 1]
    scale = np.dot(step, step) / np.dot(step, newest) / np.median(quotients)
    assert float(inner.scale) == pytest.approx(scale, rel=1e-3)
    advance = our_steps.lbfgs_step(problem)
    losses = [float(advance()[1].total) for _ in range(10)]
    assert np.isfinite(losses).all() and max(losses) < 2 * losses[0]


def test_pytorchs_history_is_full(problem, monkeypatch):
    pytest.importorskip("torch")
    from scripts.benchmark import theirs

    monkeypatch.setattr(theirs, "make_problem", lambda spec: problem)
    threads = theirs.torch.get_num_threads()
    side = theirs.Theirs("cpu", {"threads": threads})
    advance = side.task(Spec("lbfgs"))
    optimizer = theirs._optimizer_of(advance.__self__)
    (state,) = optimizer.state.values()
    before = list(state["old_stps"])
    losses = [float(advance()) for _ in range(10)]
    assert len(before) == len(state["old_stps"]) == 6
    assert not any(step is state["old_stps"][-1] for step in before)  # and is used
    assert np.isfinite(losses).all() and max(losses) < 2 * losses[0]


def test_a_worker_that_fails_says_so_and_goes_on():
    environment = benchmark.machine.worker_environment(1, "cpu", "tuned")
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "8000000000"
    with side.running(side.OURS, "cpu", 1, environment) as worker:
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
