"""Whatever bytes an image or a mask has: it is read, or refused in one line; no other error.

`scripts/robustness/hostile_inputs.py` does the same through the command, ten thousand times.
"""

import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nst_jax import ImageError, load_image, read_exif
from nst_jax.engine.regions import read_regions
from nst_jax.images.io import load_text, load_with_alpha
from scripts.robustness.hostile_images import LARGE_ENOUGH, damaged, files

# Deterministic and few: the long run is a script's.
FEW = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "60")),
    deadline=10_000,  # ms: nothing hangs
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def refusal(call, *arguments):
    """The complaint of a call, one line with a remedy; None where there is none."""
    try:
        call(*arguments)
    except ImageError as error:
        message = str(error)
        assert "\n" not in message and ": " in message and "; " in message, message
        return message
    return None


@FEW
@given(damaged(), st.sampled_from((None, 16, 40)))
def test_any_bytes(data, size):
    if refusal(load_with_alpha, data, size) is None:
        colors, alpha = load_with_alpha(data, size)
        assert colors.ndim == 3 and colors.shape[2] == 3 and colors.dtype == np.float32
        assert colors.min() >= 0 and colors.max() <= 1
        assert size is None or max(colors.shape) == size
        if alpha is not None:
            assert alpha.shape == colors.shape[:2] and 0 <= alpha.min() <= alpha.max() <= 1
            assert alpha.any() and np.all(colors >= 1 - alpha[..., None])
    for call in (load_text, read_exif):
        refusal(call, data)


@FEW
@given(files(LARGE_ENOUGH))
def test_what_is_sound_is_read(data):
    """All that Pillow writes, but numbers beyond a gray image's range, and nothing but alpha."""
    message = refusal(load_image, data)
    assert message is None or "transparent throughout" in message or "gray values" in message


@FEW
@given(damaged(LARGE_ENOUGH), st.booleans())
def test_any_mask(tmp_path_factory, data, twice):
    file = tmp_path_factory.getbasetemp() / "hostile-mask"
    file.write_bytes(data)
    masks, shape = (str(file),) * (1 + twice), load_shape(file)
    chosen = (1,) * len(masks)

    def read():
        try:
            return read_regions(masks, (), chosen, shape, [(40, 40, 3)])
        except Exception as error:
            if "region_styles has" in str(error):  # a color-coded mask has as many as it has
                raise ImageError(f"mask: {error}") from error
            raise

    if refusal(read) is None:
        regions = read()
        assert regions.masks.shape == (len(masks), *shape)
        assert regions.masks.min() >= 0 and regions.masks.sum(axis=0).max() <= 1 + 1e-6


def load_shape(file):
    """(H, W) of an image that can be read, so that its aspect is no matter; else (24, 32)."""
    try:
        return load_image(file).shape[:2]
    except ImageError:
        return 24, 32
