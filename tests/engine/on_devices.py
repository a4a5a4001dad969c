"""Run in processes of their own: one image on several virtual CPU devices and on one, in float64.

Prints, as JSON, by how much they differ in each of the cases that its arguments name. The devices
are of one process or, where the environment says so, of several.
"""

import json
import os
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec as P
from layouts import OXFORD_MEAN, random_network

from nst_jax import Settings
from nst_jax.engine import distributed, executors, program
from nst_jax.losses import guidance
from nst_jax.losses.terms import LossWeights, Targets
from nst_jax.network import row_bands
from nst_jax.network.vgg import PRECISIONS
from nst_jax.rows import AXIS, Rows
from nst_jax.weights.locate import embedded_path
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights

SHALLOW = {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_2",)}
MIDDLE = {"style_layers": ("conv1_1", "conv2_1", "conv4_1"), "content_layers": ("conv3_2",)}
EQUATIONS, AUTHORS = (
    {"convention": convention, "ratio": 0.1} for convention in ("equations", "authors")
)
VARIATION = {"tv_weight": 0.1, "tv_l1_weight": 0.1}
# {name: (shape of the image, devices, steps, settings)}
CASES = {
    "lbfgs": ((67, 45), 4, 10, {"init": "noise", "average": 3} | SHALLOW),
    "regions": ((67, 45), 4, 3, VARIATION | SHALLOW),
    "vgg19": ((83, 24), 8, 0, {"weights": "vgg19"}),
    "replicate": ((51, 24), 3, 0, {"padding": "replicate", "pooling": "max"} | MIDDLE),
    "bands": ((75, 20), 2, 0, {"padding": "reflect", "low_memory": True} | MIDDLE),
    "regions in bands": ((75, 20), 2, 0, EQUATIONS | {"low_memory": True} | SHALLOW),
    "tiles": ((123, 20), 2, 0, {"precision": "float32"}),  # 64 rows for each, as a TPU has them
    "tiles and plain": ((67, 21), 2, 0, {"precision": "float32", "low_memory": True} | SHALLOW),
    "authors": ((67, 45), 4, 0, AUTHORS | SHALLOW),
    "normalized": ((67, 45), 4, 3, {"normalize_gradients": True, "optimizer": "adam"} | SHALLOW),
}


def weights_of(name):
    if name == "vgg19":
        return Weights(
            "vgg19", random_network("vgg19", seed=3), tuple(OXFORD_MEAN / 255), "", "", ""
        )
    return load_weights(embedded_path())


def region_targets(targets, shape, layers, grams):
    """Two regions, left and right, with a soft edge; the upper rows are not to change."""
    ramp = np.linspace(0, 1, shape[1]) * np.ones((shape[0], 1))
    maps, shares = guidance.make_guides(np.stack([ramp, 1 - ramp]), "vgg16", layers)
    free = np.arange(shape[0])[None, :, None, None] > 5
    return Targets(
        targets.content,
        {layer: np.stack([gram[0], 2 * gram[0]])[None] for layer, gram in grams.items()},
        {layer: np.float64(each) for layer, each in maps.items()},
        {layer: np.float64(each) for layer, each in shares.items()},
        np.broadcast_to(free, (1, *shape, 1)),
    )


def on_host(array):
    of_all = array.is_fully_addressable
    return np.array(array if of_all else multihost_utils.process_allgather(array, tiled=True))


def compare(name):
    shape, count, steps, given = CASES[name]
    if jax.process_count() > 1:
        count = jax.device_count()
    settings = Settings(**given)
    weights = weights_of(settings.weights)
    alone = program.make_program(settings, weights)
    params = jax.tree.map(np.float64, weights.params)
    random = np.random.default_rng(0)
    image, content, style = (random.uniform(size=(*s, 3)) for s in (shape, shape, (50, 61)))
    of_terms = jax.tree.map(jnp.float64, LossWeights.from_settings(settings))

    def targets_of(one):
        grams = executors.style_grams(one, params, style)
        found = Targets(executors.content_features(one, params, content), grams)
        if not name.startswith("regions"):
            return found
        return region_targets(found, shape, settings.style_layers, grams)

    def gradient_of(one, image, params, targets):
        found = jax.value_and_grad(program.objective, argnums=1, has_aux=True)
        (loss, _), gradient = found(one, image, params, targets, of_terms)
        return loss, gradient

    def take_steps(programs, image, params, targets):
        carry, totals = programs.start(image), []
        for _ in range(steps):
            carry, losses = programs.step(carry, params, targets, of_terms)
            totals.append(float(losses.total))
        return on_host(carry.outcome), totals

    found = {}
    together = program.make_program(settings, weights, "tpu") if "tiles" in name else alone
    for one in (alone, replace(together, rows=Rows(count))):
        devices = executors._first_devices(one)
        one_at = executors._with_height(one, shape[0])
        programs = executors.jitted_on(one_at, devices, has_lanes=False)
        targets = executors.pad_targets(targets_of(one), one_at.rows)
        padded = executors._pad_rows(image, 0, one_at.rows)
        specs = jax.tree.map(lambda each: each.spec, programs.arguments[0])
        shardings = programs.images, programs.whole, programs.arguments[0]
        arguments = executors.place((padded, params, targets), shardings)
        if steps:
            outcome, losses = take_steps(programs, *arguments)
            moved = outcome - padded
        else:
            evaluate = jax.jit(
                jax.shard_map(
                    partial(gradient_of, one_at),
                    mesh=programs.whole.mesh,
                    in_specs=(P(AXIS), P(), specs),
                    out_specs=(P(), P(AXIS)),
                    check_vma=False,
                )
            )
            loss, gradient = evaluate(*arguments)
            losses, moved = [float(loss)], on_host(gradient)
        assert not moved[shape[0] :].any(), "a gradient beyond the image"
        found[one.rows.devices] = losses[0], losses[-1], moved[: shape[0]]
    first, last, moved = found[1]
    firsts, lasts, moves = found[count]
    return {
        "first loss": abs(firsts / first - 1),
        "last loss": abs(lasts / last - 1),
        "change or gradient": np.abs(moves - moved).max() / np.abs(moved).max(),
    }


if __name__ == "__main__":
    if "JAX_PROCESS_ID" in os.environ:
        distributed.join()
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    PRECISIONS["float32"] = np.float64, jax.lax.Precision.HIGHEST
    # Several bands of the third block too, and some rows too many.
    row_bands.BAND_NUMBERS, row_bands.MIN_ROWS, row_bands.MIN_BANDS = 1, 6, 2
    found = {name: jax.tree.map(float, compare(name)) for name in sys.argv[1:] or CASES}
    print(json.dumps(found, indent=1))
