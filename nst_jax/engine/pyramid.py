"""From coarse to fine: at which sizes an image is optimized, and for how many steps at each.

Large shapes and colors settle at a small size, where a step costs little; the full size adds the
detail (`initial_images` says with which image). The losses of different sizes are not comparable.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from nst_jax.images.resize import fit_size, resample, resize

MIN_SIDE = 32  # px, the short side of the coarsest image; the network itself permits 16
# What the scales get of the steps, the coarsest first, by the number of scales. Those of two and
# three were picked from eleven by what it cost to come to a loss, on one pair of images at 256 px;
# at 512 px two scales were no sooner than the full size alone. The others are guesses.
SHARES: dict[int, tuple[float, ...]] = {
    1: (1,),
    2: (1, 2),
    3: (1, 2, 9),
    4: (1, 1, 2, 9),
    5: (1, 1, 1, 2, 9),
    6: (1, 1, 1, 1, 2, 9),
}


class Scale(NamedTuple):
    """One of the sizes that a run goes through.

    Attributes:
        shape: (H, W) of the generated image.
        steps: spent on it.
        divisor: what the sides of the full size are divided by: 1, 2, 4, …
    """

    shape: tuple[int, int]
    steps: int
    divisor: int

    @property
    def size(self) -> int:
        """The long side, in pixels."""
        return max(self.shape)


def schedule(shape: Sequence[int], *, scales: int, steps: int) -> tuple[Scale, ...]:
    """The scales of a run of an image (H, W, …), the coarsest first, with `steps` in all.

    Those whose short side would be less than `MIN_SIDE`, or that would have no steps, are left
    out; never the full size, which gets the steps that rounding leaves over.
    """
    full = (shape[0], shape[1])
    divisors = [2**halvings for halvings in reversed(range(scales))]
    large = [d for d in divisors if d == 1 or min(_divided(full, d)) >= MIN_SIDE]
    shares = SHARES[len(large)]
    counts = [int(steps * share / sum(shares)) for share in shares[:-1]]
    counts.append(steps - sum(counts))
    return tuple(
        Scale(_divided(full, divisor), count, divisor)
        for divisor, count in zip(large, counts, strict=True)
        if count or divisor == 1
    )


def numbered(scales: Sequence[Scale]) -> Iterator[tuple[Scale, range]]:
    """Each scale with the numbers of the steps at which its images are evaluated.

    A run of n steps evaluates n + 1 images. The one after the last step belongs to the full size;
    what the last update of a coarser scale makes is not evaluated, and not used.
    """
    first = 0
    for scale in scales:
        following = first + scale.steps + (scale is scales[-1])
        yield scale, range(first, following)
        first = following


def scale_at(scales: Sequence[Scale], step: int) -> Scale:
    """The scale at which the image of a step is evaluated."""
    return next((scale for scale, steps in numbered(scales) if step in steps), scales[-1])


def work_done(scales: Sequence[Scale], step: int) -> float:
    """How much of the run's work is done at a step, 0 to 1; the work of a step is its pixels."""
    done = whole = 0
    for scale, numbers in numbered(scales):
        pixels = scale.shape[0] * scale.shape[1]
        done += pixels * min(max(step - numbers.start, 0), scale.steps)
        whole += pixels * scale.steps
    return done / whole if whole else 1.0


@overload
def image_at(scale: Scale, image: np.ndarray) -> np.ndarray: ...
@overload
def image_at(scale: Scale, image: None) -> None: ...
def image_at(scale: Scale, image: np.ndarray | None) -> np.ndarray | None:
    """An image (h, w, 3) in [0, 1] of a scale, made from that of the full size, (H, W, 3).

    Content and style images get smaller by the same factor, so that strokes keep their size in the
    picture; but none so small that its short side is less than `MIN_SIDE`.
    """
    if image is None:
        return None
    full, divisor = (image.shape[0], image.shape[1]), scale.divisor
    while divisor > 1 and min(_divided(full, divisor)) < MIN_SIDE:
        divisor //= 2
    return image if divisor == 1 else resize(image, _divided(full, divisor))


def enlarge(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Images (H, W, 3) or (N, H, W, 3) of one scale at the size of another, not clipped."""
    if images.shape[-3:-1] == shape:
        return images
    if images.ndim == 3:
        return resample(images, shape)
    return np.stack([resample(image, shape) for image in images])


def _divided(shape: tuple[int, int], divisor: int) -> tuple[int, int]:
    """A shape with its long side divided, halves up, and the other side in proportion."""
    return fit_size(*shape, max(1, (2 * max(shape) + divisor) // (2 * divisor)))
