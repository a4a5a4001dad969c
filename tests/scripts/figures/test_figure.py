"""Files of sheets keep to their size, and the figures' commands are ones that nst-jax takes."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_jax import load_image
from nst_jax.cli.main import make_parser
from nst_jax.cli.settings_flags import read_settings
from scripts.figures import make_control_sheet, paper_figures
from scripts.figures.figure import MAX_BYTES, save_sheet


def test_a_sheet_is_scaled_down_until_it_is_small(random, tmp_path):
    noise = random.random((900, 1200, 3), np.float32)
    save_sheet(noise, tmp_path / "noise.jpg")
    save_sheet(np.full((90, 120, 3), 0.5, np.float32), tmp_path / "gray.jpg")
    size = (tmp_path / "noise.jpg").stat().st_size
    assert 0.85 * MAX_BYTES < size <= MAX_BYTES
    height, width, _ = load_image(tmp_path / "noise.jpg").shape
    assert width < 1200 and width / height == pytest.approx(4 / 3, rel=0.01)
    with Image.open(tmp_path / "gray.jpg") as gray:
        assert gray.size == (120, 90) and gray.info["icc_profile"]


def test_a_figure_has_its_own_size_steps_and_ratios():
    options = argparse.Namespace(
        content="a.jpg",
        styles=["b.jpg", "c.jpg"],
        size=512,
        steps=700,
        quick=False,
        ratios="1e-3,1e-4",
        output=Path("figures"),
    )
    commands = paper_figures.figure_commands(options, ["--seed", "3"])
    settings = {}
    for name, command in commands.items():
        read = make_parser(command).parse_args(command)
        settings[name] = read_settings(read)
        assert Path(read.output) == Path("figures") / name
        assert (settings[name].size, settings[name].steps, settings[name].seed) == (512, 700, 3)
    assert settings["figure2"].init == settings["figure3"].init == "noise"
    figure2 = make_parser(commands["figure2"]).parse_args(commands["figure2"])
    assert figure2.style_ratios == (1e-3, 1e-4)


@pytest.mark.parametrize("row", make_control_sheet.ROWS)
def test_every_control_is_a_flag_that_there_is(row):
    for cell in make_control_sheet.ROWS[row]:
        words = cell.split()
        flags = [word for word in words if word not in make_control_sheet.STYLES]
        command = ["stylize", "a.jpg", "b.jpg", *flags]
        read_settings(make_parser(command).parse_args(command))
