"""The benchmark's table and plot; those of the repository are of the repository's results."""

import copy

import pytest
from benchmark_results import CASES
from PIL import Image
from reference import ROOT

from scripts.benchmark import __main__ as benchmark
from scripts.benchmark.machine import folder_name
from scripts.benchmark.report import markdown, side_by_side
from scripts.benchmark.results import fingerprint, read_results, write_results

MACHINES = ROOT / "docs" / "benchmark"
COMMITTED = sorted(MACHINES.glob("*/results.json"))


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
    assert len(results["cases"]) == len(CASES)


def test_report_makes_table_and_plot_again(tmp_path, results):
    write_results(tmp_path / "results.json", results)
    assert benchmark.main(["--report", str(tmp_path / "results.json")]) == 0
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == markdown(results)
    pytest.importorskip("matplotlib")
    first = (tmp_path / "speed.svg").read_bytes()
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    benchmark.main(["--report", str(tmp_path / "results.json")])
    assert (tmp_path / "speed.svg").read_bytes() == first


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_committed_table_and_plot_are_those_of_the_committed_results(path):
    results = read_results(path)
    assert path.with_name("results.md").read_text(encoding="utf-8") == markdown(results)
    assert folder_name(results) == path.parent.name
    assert fingerprint(results) in path.with_name("speed.svg").read_text(encoding="utf-8")
    with Image.open(path.with_name("speed.png")) as picture:
        assert picture.text["Description"] == fingerprint(results)


def test_the_committed_machines_stand_side_by_side():
    text = (MACHINES / "machines.md").read_text(encoding="utf-8")
    assert text == side_by_side([read_results(path) for path in COMMITTED])
    assert text.count("\n- ") == len(COMMITTED) >= 2


def test_machines_side_by_side(results):
    other = copy.deepcopy(results)
    other["machine"]["cpu"] = "Calculator"
    del other["cases"]["evaluation vgg16 256px float32"]
    lines = side_by_side([results, other]).splitlines()
    assert "| what | 2 cores of Abacus | 2 cores of Calculator |" in lines
    both = "300 ms / 400 ms: 0.75 ×"
    assert f"| loss and gradient, VGG-16, 128×64 px | {both} | {both} |" in lines
    assert not any("loss and gradient, VGG-16, 256×128" in line for line in lines)
    assert not any("history 1," in line for line in lines)  # PyTorch has none


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"cpu": "AMD EPYC", "gpu": None}, "amd-epyc"),
        (
            {"cpu": "Intel(R) Xeon(R) Processor", "vector_units": "AVX-512, AMX", "gpu": None},
            "intel-xeon-avx-512-amx",
        ),
        ({"cpu": "Intel(R) Core(TM) i7 CPU @ 2.80GHz", "gpu": None}, "intel-core-i7"),
        ({"cpu": "AMD EPYC", "gpu": "NVIDIA H100 80GB HBM3"}, "nvidia-h100-80gb-hbm3"),
    ],
)
def test_folder_of_a_machine(facts, name):
    assert folder_name({"machine": facts}) == name
