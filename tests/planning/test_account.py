"""The roofline, against sums by hand."""

import pytest

from nst_jax.errors import SettingsError
from nst_jax.planning.account import flops_of, least_seconds
from nst_jax.planning.device_kinds import DEVICE_KINDS, GAP, device_kinds, find_device_kind
from nst_jax.planning.program_text import Kernel

H100 = DEVICE_KINDS["h100"]


def kernel(moved=0, flops=0.0, precision="", count=1):
    return Kernel("k", "", moved, flops, precision, count, False)


def test_each_kernel_takes_as_long_as_what_it_has_more_of():
    kernels = [
        kernel(moved=3.352e9, flops=67e9, precision="float32"),  # 1 ms of each
        kernel(moved=3.352e9, flops=494.7e9, precision="tf32", count=2),
        kernel(moved=10, flops=989.4e9 * 5, precision="bfloat16"),
    ]
    assert least_seconds(kernels, H100) == pytest.approx(1e-3 + 2e-3 + 5e-3 + 4 * GAP)
    assert flops_of(kernels) == {"float32": 67e9, "tf32": 2 * 494.7e9, "bfloat16": 5 * 989.4e9}


def test_an_unknown_precision_counts_as_the_slowest():
    [seconds] = {least_seconds([kernel(flops=67e9, precision="float64")], H100)}
    assert seconds == pytest.approx(1e-3 + GAP)


def test_names_are_split_and_known():
    assert device_kinds("H100, v5e,here,h100") == ("h100", "v5e", "here")
    assert device_kinds("8xH100,v5e-8") == ("8xh100", "v5e-8")


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("h100", "h100", 1),
        ("8xh100", "h100", 8),
        ("h100-8", "h100", 8),
        ("a100-80", "a100-80", 1),
        ("4xa100-80", "a100-80", 4),
        ("v5e-8", "v5e", 8),
        ("16xrtx-4090", "rtx-4090", 16),
    ],
)
def test_several_of_a_kind(name, kind, count):
    found = find_device_kind(name)
    assert (found.name, found.devices) == (kind, count)
    assert found.link > 1e10 and find_device_kind(found.label) == found


@pytest.mark.parametrize(
    ("typed", "hint"), [("h1OO", "h100"), ("rtx4090", "rtx-4090"), ("v5", "v5e")]
)
def test_a_wrong_name_gets_the_nearest(typed, hint):
    with pytest.raises(SettingsError, match=f"did you mean {hint}\\?"):
        device_kinds(typed)


def test_every_kind_says_where_its_figures_come_from():
    for kind in DEVICE_KINDS.values():
        assert kind.source.startswith("https://")
        assert kind.peaks["float32"] <= kind.peaks["bfloat16"]
        assert kind.platform == "tpu" or f'"{kind.title}"' in kind.target
