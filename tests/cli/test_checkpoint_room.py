"""Room for pictures, and the machine's memory for a run, are reckoned by what they hold."""

from types import SimpleNamespace

import numpy as np
import pytest

from nst_jax import Settings
from nst_jax.cli import checkpoints
from nst_jax.cli.checkpoints import picture_bytes, say_if_memory_is_short
from nst_jax.engine.fitting import least_bytes
from nst_jax.engine.host_plan import image_bytes, run_bytes
from nst_jax.engine.problem import prepare_problem
from nst_jax.images.encoders import SaveOptions


@pytest.mark.parametrize(
    ("alphas", "bits", "size"),
    [((None,), 8, 3 * 48), ((None, "opaque"), 8, 4 * 48), (("opaque",), 16, 8 * 48)],
)
def test_picture_bytes(alphas, bits, size):
    problem = SimpleNamespace(shape=(6, 8, 3), alphas=alphas)
    assert picture_bytes(problem, SaveOptions(bits=bits)) == size


LAYERS = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_1")}
CONTENT, STYLE = 4 * 48 * 64 * 3, 4 * 40 * 40 * 3  # bytes of float32
GRAMS, FEATURES = 4 * (64**2 + 128**2), 4 * (24 * 32) * 128  # conv2_1 has half the sides


def prepared(random, count=1, **settings):
    """A problem of so many lanes, of a photograph of 48 x 64 px and a painting of 40 x 40."""
    photograph, painting = (random.random((*s, 3), np.float32) for s in ((48, 64), (40, 40)))
    return prepare_problem(photograph, painting, [Settings(**LAYERS, **settings)] * count)


def test_images_that_are_held_count_once(random):
    """However many lanes share them; what is shown in gray lies beside the original."""
    assert image_bytes(prepared(random, 3)) == CONTENT + STYLE
    assert image_bytes(prepared(random, 3, colors="luminance")) == 2 * CONTENT + STYLE


@pytest.mark.parametrize("lanes", [1, 3])
def test_what_a_run_takes_of_the_machine_s_memory(random, lanes):
    problem, pictures = prepared(random, lanes), 2 * lanes * CONTENT + 4 * 48 * 64
    assert run_bytes(problem, lanes) == lanes * (FEATURES + GRAMS) + pictures
    assert run_bytes(problem, lanes, pictures + 7) == run_bytes(problem, lanes) + 7
    assert run_bytes(problem, lanes, pictures - 7) == run_bytes(problem, lanes)


def test_features_stay_on_devices_that_share_a_picture(random):
    problem = prepared(random)
    assert run_bytes(problem.shared(2), 1) == run_bytes(problem, 1) - FEATURES


@pytest.mark.parametrize(
    ("checkpoint", "short", "words"),
    [
        (0, 0, None),
        (0, 1, "a smaller --size takes less"),
        (10**7, 0, None),
        (10**7, 1, "--checkpoint-every never takes 5.24 MB"),
    ],
)
def test_too_little_memory_is_told(random, monkeypatch, capsys, checkpoint, short, words):
    """On a CPU with what it needs as a device."""
    problem = prepared(random)
    monkeypatch.setattr(checkpoints, "largest_piece_bytes", lambda problem, lanes: checkpoint)
    needed = run_bytes(problem, 1, checkpoint) + least_bytes(problem)
    monkeypatch.setattr(checkpoints, "free_on_host", lambda swap: needed - short)
    say_if_memory_is_short(problem, 1, keeping=checkpoint > 0)
    said = capsys.readouterr().err
    assert said.count("\n") == short and (words is None or words in said)
