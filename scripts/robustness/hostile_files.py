"""Settings files, records and weights files: sound, of wrong values, cut short and damaged."""

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

from nst_jax import architecture
from nst_jax.settings.settings import SETTINGS
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import save_weights
from scripts.robustness.hostile_images import spoiled

# Anything that JSON has, and numbers that few programs expect.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from((2**31, 2**63, -(2**70), 10**400)),
    st.floats(),
    st.text(max_size=9),
    st.sampled_from(("conv1_1", "content", "noise", "auto", "average", "authors", "match")),
)
VALUES = st.recursive(
    SCALARS, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some)
)
FILTERS = (2, 3, 4, 5, 6)  # of networks so narrow that a file has 12 kB


@st.composite
def settings_files(draw: Any) -> bytes:
    """A file of settings; most values are of another type than the setting's."""
    names = draw(st.lists(st.sampled_from(["preset", "swirl", *SETTINGS]), max_size=3))
    lines = [f"{name} = {json.dumps(draw(VALUES))}\n" for name in names]
    return draw(spoiled(st.just("".join(["# soft\n", *lines]).encode())))


@st.composite
def records(draw: Any, sound: dict[str, Any]) -> bytes:
    """A record, of which one value anywhere is another, or missing."""
    record = json.loads(json.dumps(sound))
    place: Any = record
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        break
    if draw(st.booleans()):
        place[key] = draw(VALUES)
    else:
        del place[key]
    return draw(spoiled(st.just(json.dumps(record).encode())))


def narrow_weights() -> dict[str, bytes]:
    """{suffix: the bytes} of a VGG-16 with `FILTERS`, as it is kept and as others write it."""
    random, params, inputs = np.random.default_rng(0), {}, 3
    for layer in architecture.layer_names("vgg16"):
        outputs = FILTERS[int(layer[4]) - 1]
        params[layer] = {
            "kernel": random.standard_normal((3, 3, inputs, outputs), np.float32),
            "bias": random.standard_normal(outputs, np.float32),
        }
        inputs = outputs
    with tempfile.TemporaryDirectory() as folder:
        kept, keras = Path(folder, "kept.safetensors"), Path(folder, "keras.h5")
        mean = (0.485, 0.456, 0.406)
        save_weights(Weights("vgg16", params, mean, "chance", "0" * 64, "none", {}), kept)
        with h5py.File(keras, "w") as file:
            for layer, parts in params.items():
                for part, values in parts.items():
                    file[f"block{layer[4]}_conv{layer[6]}/{part}"] = values
        files = {".safetensors": kept.read_bytes(), ".h5": keras.read_bytes()}
    names = (f"VGG16_0/Conv_{number}" for number in range(len(params)))
    nested = dict(zip(names, params.values(), strict=True))
    return files | {".ckpt": pickle.dumps(nested, protocol=4)}
