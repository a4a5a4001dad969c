"""What `gpu_check.py` counts and concludes, against closed forms; its course when checks fail."""

import dataclasses

import numpy as np
import pytest

from nst_jax import Settings
from scripts.benchmark import gpu_check, gpu_check_tasks
from scripts.benchmark.gpu_check_report import roofline, text_of
from scripts.benchmark.gpu_checks import Check
from scripts.benchmark.problem import Problem, random_weights, relative_errors


@pytest.fixture
def problem():
    settings = Settings(
        style_layers=("conv1_1",),
        content_layers=("conv2_1",),
        lbfgs_memory=10,
        precision="bfloat16",
    )
    content = np.zeros((20, 31, 3), np.float32)
    return Problem(settings, random_weights("vgg16"), content, content)


def test_operations_of_a_step(problem):
    full, half = 20 * 31, 10 * 15
    convolutions = 2 * 9 * (full * 3 * 64 + full * 64 * 64 + half * 64 * 128)
    gram = 2 * full * 64 * 64
    assert gpu_check_tasks.counted_flops(problem) == 2 * (convolutions + gram)


def test_bytes_of_a_step(problem):
    full, half = 20 * 31, 10 * 15
    activations = full * (2 * 3 + 3 * 64) + full * (2 * 64 + 3 * 64) + half * (2 * 64 + 3 * 128)
    kernels = 9 * (3 * 64 + 64 * 64 + 64 * 128)
    history = 2 * 10 * full * 3 * 4
    expected = 2 * activations + 2 * 2 * kernels + 2 * history
    assert gpu_check_tasks.counted_bytes(problem) == expected
    single = dataclasses.replace(problem.settings, precision="float32", optimizer="adam")
    adam = dataclasses.replace(problem, settings=single)
    assert gpu_check_tasks.counted_bytes(adam) == 4 * activations + 4 * 2 * kernels


def test_kernels_are_those_of_the_gpus_streams():
    def named(kind, name, **where):
        return {"ph": "M", "name": kind, "args": {"name": name}, **where}

    def lasting(name, tid, microseconds, pid=1):
        return {"ph": "X", "name": name, "pid": pid, "tid": tid, "dur": microseconds}

    cpu = [
        named("process_name", "/host:CPU", pid=2),
        named("thread_name", "tf_XLAEigen/12", pid=2, tid=7),
        lasting("conv.1", 7, 5e5, pid=2),
        lasting("ThunkExecutor::Execute", 7, 9e5, pid=2),
    ]
    gpu = [
        named("process_name", "/device:GPU:0", pid=1),
        named("thread_name", "Stream #13(Compute)", pid=1, tid=3),
        named("thread_name", "XLA Modules", pid=1, tid=4),
        lasting("fusion", 3, 2e6),
        lasting("fusion", 3, 1e6),
        lasting("gemm", 3, 5e5),
        lasting("jit_step", 4, 9e6),
    ]
    assert gpu_check_tasks.kernel_seconds(cpu + gpu) == {"fusion": 3.0, "gemm": 0.5}
    assert gpu_check_tasks.kernel_seconds(cpu) == {"conv.1": 0.5}


def test_relative_errors():
    exact = {"loss": np.float64(2.0), "gradient": np.array([3.0, 4.0])}
    found = relative_errors(2.5, np.array([3.0, 4.5], np.float32), exact)
    assert found == pytest.approx({"loss_error": 0.25, "gradient_error": 0.1})


@pytest.fixture
def results():
    """Of a card that does 10 TFLOP/s and 1000 GB/s; a step is to do 1 TFLOP on 50 GB."""
    found = gpu_check.empty_results("cpu", 2)
    cost = {"counted_flops": 1e12, "counted_bytes": 5e10, "xla_bytes": 1e11, "xla_flops": 1e12}
    found["checks"] = {
        "ceilings": {"tflops": {"float32": 10.0, "tf32": 100.0}, "gb_per_second": 1000.0},
        "cost float32": cost,
        "cost tf32": cost,
        "trace": {"error": "out of luck"},
        "largest": {"skipped": "3 s left"},
        "largest, lean": {
            "budget": 76e9,
            "bytes_per_pixel": 900.0,
            "fixed_bytes": 1e8,
            "tries": [{"size": 9008, "seconds": 2.5, "peak": 7.3e10}],
        },
        "parity": {"nst_jax tf32": {"loss_error": 1e-5, "gradient_error": 2e-4}},
    }
    for precision in ("float32", "tf32", "bfloat16"):
        found["cases"][precision] = {
            "case": "lbfgs",
            "network": "vgg16",
            "weights": "vgg16-imagenet",
            "precision": precision,
            "size": 512,
            "width": 512,
            "height": 341,
            "history": 100,
            "date": "2026-11-24",
            "commit": "abc",
            "sides": {"nst_jax": {"seconds": [0.2, 0.2, 0.3]}},
        }
    return found


def test_share_of_the_roofline(results):
    by_arithmetic, by_memory = roofline(results, "float32"), roofline(results, "tf32")
    assert by_arithmetic["share"] == pytest.approx(0.1 / 0.2)
    assert by_arithmetic["tflops"] == pytest.approx(5)
    assert by_memory["share"] == pytest.approx(0.05 / 0.2)
    assert by_memory["gb_per_second"] == pytest.approx(250)
    assert roofline(results, "bfloat16") is None


def test_the_text_says_what_was_found_and_what_was_not(results):
    text = text_of(results)
    assert "| float32 | 200 ms | 5 | 250 | 500 | 100 ms, arithmetic | 50% |" in text
    assert "| nst_jax tf32 | 1.0e-05 | 2.0e-04 |" in text
    assert "- trace: error: out of luck" in text and "- largest: skipped: 3 s left" in text
    assert "| one L-BFGS step, history 100, VGG-16, 512×341 px, tf32 | 200 ms" in text
    assert "With `--lbfgs-history bfloat16 --low-memory`: by memory analysis 900 bytes" in text
    assert "- 9008×9008 px: a step takes 2.50 s, peak 73.0 GB" in text


def test_a_check_that_fails_or_does_not_fit_leaves_the_others_be(results):
    def fail():
        raise RuntimeError("no such kernel")

    checks = [Check("a", 1, fail), Check("b", 1e6, dict), Check("c", 1, lambda: {"found": 1})]
    clock, written = gpu_check.Clock(5), []
    results["checks"] = {}
    gpu_check.run_checks(checks, clock, results, lambda: written.append(len(results["checks"])))
    clock.stop()
    a, b, c = results["checks"].values()
    assert a["error"] == "RuntimeError: no such kernel"
    assert b["skipped"].endswith("s left")
    assert c["found"] == 1 and written == [1, 2, 3]


def test_a_quick_check_of_the_ceilings(tmp_path):
    arguments = ["--quick", "--device", "cpu", "--no-torch-compile", "--only", "ceilings", "cost"]
    assert gpu_check.main([*arguments, "-o", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "matrix product, bfloat16" in text and "What was not measured" not in text
