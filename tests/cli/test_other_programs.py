"""Flags of other programs: refused with the name that they have here, before anything is read."""

import re

import pytest
from command import refused
from reference import ROOT

from nst_jax.cli.other_programs import NAMES, ROWS, table

STYLIZE = ("stylize", "photo.png", "painting.png")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("typed", "here"),
    [
        (("-output_image=x.png",), "here it is -o"),
        (("-output_image", "x.png"), "here it is -o"),
        (("-optimizer", "adam"), "here it is --optimizer"),
        (("-style_scale", 1), "here it is --style-scale"),
        (("-size=3",), "here it is --size"),
        (("-num_iterations", 5), "here it is --steps"),
        (("--num-iterations", 5), "here it is --steps"),
        (("--iterations=5",), "here it is --steps"),
        (("--Content_Weight", 3), "here it is --ratio"),
        (("-style_weight", 100), "here it is --ratio"),
        (("--content", "photo.png"), "nst-jax stylize CONTENT STYLE"),
        (("--init-image", "photo.png"), "here it is --init"),
        (("-outdir", "x"), "-o is followed by a space"),
        (("-print_all",), "two dashes"),
        (("--style-l", "conv1_1"), "ambiguous"),
    ],
)
def test_a_flag_has_another_name_here(typed, here):
    refused((*STYLIZE, *typed), (str(typed[0]).partition("=")[0], here, "stylize --help"))


@pytest.mark.parametrize(
    ("words", "here"),
    [
        (("-content_image", "a.png", "-style_image", "b.png"), "nst-jax stylize CONTENT STYLE"),
        (("weights", "normalize", "vgg16", "-images", "x"), "here it is --images"),
        (("sweep", "a.png", "b.png", "-output_dir", "x"), "here it is -o"),
        (("rerun", "a.json", "-content", "x"), "here it is --content"),
    ],
)
def test_in_every_command(words, here):
    refused(words, (here,))


@pytest.mark.parametrize("typed", [("-oout.png",), ("-o", "out.png"), ("--", "-size.png")])
def test_what_is_ours_is_left_alone(typed):
    refused((*STYLIZE, *typed), ("there is no such file",), chatter=True)


def test_the_table_of_the_documents():
    assert table() in (ROOT / "docs" / "migration.md").read_text("utf-8")
    assert len(NAMES) == sum(len(row.theirs) for row in ROWS)  # no name stands twice
    assert all(re.fullmatch("[a-z_]+", name) for name in NAMES)
