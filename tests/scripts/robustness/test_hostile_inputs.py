"""The trial of hostile inputs: outcomes are told apart, and a fault is not taken for one."""

import pytest
from command import draw
from PIL import Image

from scripts.robustness import hostile_inputs
from scripts.robustness.hostile_inputs import ROLES, command_for, try_one


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw("photo.png", 40, 40), draw("painting.png", 40, 40, seed=1)
    Image.new("L", (40, 40), 255).save("mask.png")


def test_outcomes(tmp_path, monkeypatch):
    sound = (tmp_path / "photo.png").read_bytes()
    assert try_one("content", sound) == "0: painted"
    assert try_one("content", sound[:100]) == "2: is damaged or incomplete (…)"
    assert try_one("record in a picture", sound) == "2: carries no settings"
    for role in ROLES:
        assert try_one(role, b"") == "2: is empty"

    def fail(arguments):
        raise KeyError("no such chunk")

    for broken, outcome in ((fail, "exception: KeyError"), (lambda _: 1, "wrong: exit 1")):
        monkeypatch.setattr(hostile_inputs, "nst_jax", broken)
        assert try_one("content", sound).startswith(outcome)


def test_each_role_reads_the_file():
    assert all("evil" in command_for(role, "evil") for role in ROLES)
