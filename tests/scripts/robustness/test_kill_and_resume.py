"""Real processes, killed at random moments: the same bits."""

import os

import pytest

import nst_jax
from scripts.robustness import kill_and_resume


@pytest.mark.slow
def test_the_same_bits(monkeypatch, capsys):
    package = os.path.dirname(os.path.dirname(nst_jax.__file__))
    monkeypatch.setenv("PYTHONPATH", package)
    assert kill_and_resume.main(["4", "--seed", "1"]) == 0
    counts = {line[6:]: int(line[:5]) for line in capsys.readouterr().out.splitlines()}
    assert counts["the same bits"] == 4
    assert sum(count for what, count in counts.items() if what.startswith("killed")) > 0
