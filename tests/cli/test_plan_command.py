"""`nst-jax plan`: what it answers, and what it refuses."""

import json

import pytest
from command import QUICK, nst

from nst_jax.__main__ import GPU_MEMORY_SHARE
from nst_jax.cli import plan
from nst_jax.host_memory import as_text
from nst_jax.images import io
from nst_jax.planning.account import Account
from nst_jax.planning.device_plan import USABLE, Plan

PLAN = ("plan", "photo.png", "painting.png", *QUICK)


@pytest.fixture
def folder(tmp_path, monkeypatch, random):
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "painting.png"):
        io.save_image(random.random((24, 32, 3)), name)
    return tmp_path


def test_here(folder):
    outcome = nst(*PLAN, "--steps", 9)
    assert outcome.code == 0, outcome.err
    head, row, *_ = outcome.out.splitlines()
    assert head.split()[:2] == ["device", "fits"] and row.split()[:2] == ["here", "yes"]
    assert "1 of 1" in row and "host" not in outcome.out  # a CPU's is the same


@pytest.mark.parametrize("rows", [1, 8])
def test_the_host_s_memory(folder, monkeypatch, rows):
    """Beside that of a device; what devices share they keep."""
    asked = []

    def run_bytes(problem, lanes):
        asked.append((problem.program.rows.devices, lanes))
        return 2_000_000

    found = Plan(Account(9, 0, 0, 0, {}, 0.0, {}, 1.0), 1, 1, 1, "", {}, rows)
    monkeypatch.setattr(plan, "make_plan", lambda *_: found)
    monkeypatch.setattr(plan, "run_bytes", run_bytes)
    outcome = nst(*PLAN, "--on", "8xh100")
    size = 4 * 3 * 2 * 24 * 32
    line = f"8xh100: {as_text(2_000_000 + size)} of the host's memory, without checkpoints"
    assert line in outcome.out.splitlines() and asked == [(rows, 1)]


def test_lanes_of_a_sweep_as_json(folder):
    outcome = nst(*PLAN, "--ratios", "1e-5,1e-4,1e-3", "--lanes", 2, "--json")
    assert outcome.code == 0, outcome.err
    here = json.loads(outcome.out)["here"]
    assert (here["lanes"], here["rounds"]) == (2, 2)
    assert here["account"]["memory"] > 1e7
    assert here["least_seconds"] == pytest.approx(
        here["account"]["least_seconds"] * here["rounds"] * here["steps"]
    )


@pytest.mark.parametrize(
    ("on", "word"),
    [
        ("h1OO", "did you mean h100?"),
        (",", "there are"),
        ("here,toaster", "toaster"),
        ("0xh100", "0 of NVIDIA H100"),
        ("v5e-3", "1, 2, 4 or 8"),
        ("8x", "no device '8x'"),
    ],
)
def test_a_wrong_device(folder, on, word):
    outcome = nst(*PLAN, "--on", on)
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1 and word in outcome.err


def test_a_wrong_path(folder):
    outcome = nst("plan", "nothing.png", "painting.png", *QUICK)
    assert outcome.code == 2 and "nothing.png" in outcome.err.splitlines()[-1]


def test_a_gpu_gives_the_command_what_a_plan_counts_on():
    assert float(GPU_MEMORY_SHARE) == USABLE
