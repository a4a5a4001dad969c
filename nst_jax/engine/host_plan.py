"""What a run takes of the machine's own memory: from shapes, before anything is computed."""

from typing import Any

import jax
import numpy as np

from nst_jax.engine.fitting import bytes_of, least_bytes
from nst_jax.engine.problem import Problem
from nst_jax.images.resize import DECODED


def image_bytes(problem: Problem) -> int:
    """Of the images and masks that were read, and that stay until the run ends; each once."""
    held: list[np.ndarray | None] = [*problem.originals, *problem.alphas]
    for initial, style_images in zip(problem.initial_images, problem.style_images, strict=True):
        held += [initial.content, initial.style, initial.file]
        held += [image for each in style_images for image in (each.image, *each.scaled)]
        if initial.regions is not None:
            held += [initial.regions.masks, *initial.regions.style_masks]
    return sum({id(each): each.nbytes for each in held if each is not None}.values())


def run_bytes(problem: Problem, lanes: int, checkpoint: int = 0) -> int:
    """What comes beside those while lanes run, at the most; nearly.

    Targets, and either the pictures, as the devices made them and as they are shown, one of them
    being encoded; or the largest piece of a checkpoint.

    Args:
        problem: that was prepared.
        lanes: at once.
        checkpoint: bytes of that piece; 0 where there will be none.
    """
    height, width, colors = problem.shape
    targets: Any = problem.target_shapes()
    if problem.program.rows.devices > 1:  # they keep the content's, and have it in parts
        targets = targets._replace(content={})
    pictures = 2 * lanes * 4 * height * width * colors + DECODED * height * width
    return lanes * bytes_of(targets) + max(pictures, checkpoint)


def device_bytes(problem: Problem, lanes: int) -> int:
    """What devices without memory of their own, CPUs, need of the machine's, at the least."""
    if jax.default_backend() != "cpu":
        return 0
    return lanes * problem.program.rows.devices * least_bytes(problem)
