"""What the GPU check counts and concludes, against closed forms, and a quick one on the CPU."""

import dataclasses

import numpy as np
import pytest
from benchmark_results import SETUP, case

from nst_jax import Settings
from scripts.benchmark import gpu_check, gpu_tasks
from scripts.benchmark.cases import facts_of
from scripts.benchmark.gpu_report import roofline, text_of
from scripts.benchmark.problem import Problem, random_weights, relative_errors
from scripts.benchmark.results import add_case, key_of


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
    assert gpu_tasks.counted_flops(problem) == 2 * (convolutions + gram)


def test_bytes_of_a_step(problem):
    full, half = 20 * 31, 10 * 15
    activations = full * (2 * 3 + 3 * 64) + full * (2 * 64 + 3 * 64) + half * (2 * 64 + 3 * 128)
    kernels = 9 * (3 * 64 + 64 * 64 + 64 * 128)
    history = 2 * 10 * full * 3 * 4
    expected = 2 * activations + 2 * 2 * kernels + 2 * history
    assert gpu_tasks.counted_bytes(problem) == expected
    single = dataclasses.replace(problem.settings, precision="float32", optimizer="adam")
    adam = dataclasses.replace(problem, settings=single)
    assert gpu_tasks.counted_bytes(adam) == 4 * activations + 4 * 2 * kernels


def test_kernels_are_those_of_the_gpus_streams():
    def named(kind, name, **where):
        return {"ph": "M", "name": kind, "args": {"name": name}, **where}

    def lasting(name, tid, microseconds, pid=1):
        return {"ph": "X", "name": name, "pid": pid, "tid": tid, "dur": microseconds}

    cpu = [
        named("process_name", "/host:CPU", pid=2),
        named("thread_name", "tf_XLAEigen/12", pid=2, tid=7),
        lasting("conv.1", 7, 5e5, pid=2),
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
    assert gpu_tasks.kernel_seconds(cpu + gpu) == {"fusion": 3.0, "gemm": 0.5}


def test_relative_errors():
    exact = {"loss": np.float64(2.0), "gradient": np.array([3.0, 4.0])}
    found = relative_errors(2.5, np.array([3.0, 4.5], np.float32), exact)
    assert found == pytest.approx({"loss_error": 0.25, "gradient_error": 0.1})


@pytest.fixture
def results():
    """Of a card that does 10 TFLOP/s and 1000 GB/s; a step is to do 1 TFLOP on 50 GB."""
    cost = {"counted_flops": 1e12, "counted_bytes": 5e10, "xla_bytes": 1e11, "xla_flops": 1e12}
    ceilings = {"tflops": {"float32": 10.0, "tf32": 100.0}, "gb_per_second": 1000.0}
    largest = {"bytes_per_pixel": 900.0, "tries": [{"size": 9008, "seconds": 2.5}]}
    cases = [
        case("ceilings", {"nst_jax": ceilings}),
        case("trace", {"nst_jax": {"error": "out of luck"}}),
        case("largest", {"nst_jax": largest}, ours={"low_memory": True}),
        case("files", {"nst_jax": {"seconds": 9.0, "peak": 1e9, "cold_seconds": 30.0}}, steps=5),
    ]
    for precision in ("float32", "tf32", "bfloat16"):
        step = {"nst_jax": {"seconds": [0.2, 0.2, 0.3]}}
        cases.append(case("lbfgs", step, 512, precision=precision, history=100))
        if precision != "bfloat16":
            cases.append(case("cost", {"nst_jax": cost}, 512, precision=precision))
    found = {**SETUP, "cases": {}}
    for one in cases:
        add_case(found, one)
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
    assert "| float32 | 200 ms | 5 | 250 | 100 ms, arithmetic | 50% |" in text
    assert "- nst_jax, error: out of luck" in text
    assert "| one L-BFGS step, history 100, VGG-16, 512×256 px, tf32 | 200 ms" in text
    assert "## largest vgg16 256px float32 low_memory=True" in text
    assert "- nst_jax, tries 1, size: 9008\n- nst_jax, tries 1, seconds: 2.5\n" in text
    assert "- nst_jax, cold_seconds: 30\n" in text


@pytest.mark.parametrize("quick", [False, True])
def test_every_case_of_a_check_has_a_place_of_its_own(quick):
    names = [key_of(facts_of(*one)) for one in gpu_check.make_plan("vgg16", quick)]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_a_quick_check_of_the_ceilings(tmp_path):
    arguments = ["--quick", "--device", "cpu", "--no-torch-compile", "--only", "ceilings", "cost"]
    assert gpu_check.main([*arguments, "-o", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "- nst_jax, tflops, bfloat16: " in text and "error" not in text
