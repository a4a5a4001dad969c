"""What a sweep is to do: settings, images and weights, read once and checked to go together."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.errors import ImageError, SettingsError
from nst_jax.images import load_image
from nst_jax.inputs import ImageLike, as_image, canvas, check_given, choose_weights
from nst_jax.program import Program, make_program
from nst_jax.scales import Scale, schedule
from nst_jax.settings import INITS, Settings
from nst_jax.vgg import smallest_side
from nst_jax.weights import Weights

# One image for all lanes, or one for each.
Images = ImageLike | list[ImageLike | None] | tuple[ImageLike | None, ...] | None

# What may differ between the lanes of one sweep; the rest decides which program is compiled.
VARYING = (
    "ratio",
    "content_layer_weights",
    "style_layer_weights",
    "tv_weight",
    "tv_l1_weight",
    "seed",
    "init",
)


@dataclasses.dataclass(frozen=True)
class Job:
    """All that is needed to run the lanes: one entry of each tuple for each lane.

    Attributes:
        settings: of each lane.
        contents: (H, W, 3) of each, all of one shape, or None. Lanes may share an array.
        styles: (H', W', 3) of each, or None.
        weights: of the network, normalised where the settings say so.
        program: what is compiled.
    """

    settings: tuple[Settings, ...]
    contents: tuple[np.ndarray | None, ...]
    styles: tuple[np.ndarray | None, ...]
    weights: Weights
    program: Program

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3) of the generated images."""
        return canvas(self.contents[0], self.styles[0]).shape

    @property
    def scales(self) -> tuple[Scale, ...]:
        """That the lanes go through, all together; the full size is the last."""
        return schedule(self.settings[0], self.shape)


def prepare(
    content: Images,
    style: Images,
    settings: Sequence[Settings],
    weights: Weights | None = None,
) -> Job:
    """Read and check what a sweep needs; arguments and errors as in `sweep`."""
    settings = tuple(settings)
    _check_alike(settings)
    first, count = settings[0], len(settings)
    weights = choose_weights(first, weights)
    program = make_program(first, weights)
    contents = _read_each("content", content, count, first.size)
    styles = _read_each("style", style, count, first.style_size or first.size)
    for one, one_content, one_style in zip(settings, contents, styles, strict=True):
        check_given(one, one_content, one_style)
    _check_shapes(contents, styles)
    _check_sizes(first, (*contents, *styles))
    for init in {one.init for one in settings} - set(INITS):
        load_image(init)  # so that a mistake shows before the first round, not after
    return Job(settings, contents, styles, weights, program)


def _read_each(name: str, given: Images, count: int, size: int) -> tuple[np.ndarray | None, ...]:
    """One image for each lane; what several lanes share is read once."""
    if not isinstance(given, list | tuple):
        return (as_image(name, given, size),) * count
    if len(given) != count:
        raise SettingsError(
            f"there are {len(given)} {name} images for {count} lanes; wanted one image, or one "
            f"for each lane"
        )
    read: dict[Any, np.ndarray | None] = {}
    keys = [str(image) if isinstance(image, str | Path) else id(image) for image in given]
    for key, image in zip(keys, given, strict=True):
        if key not in read:
            read[key] = as_image(name, image, size)
    return tuple(read[key] for key in keys)


def _check_alike(settings: tuple[Settings, ...]) -> None:
    if not settings:
        raise SettingsError("a sweep needs at least one lane")
    for field in dataclasses.fields(Settings):
        values = {getattr(one, field.name) for one in settings}
        if field.name not in VARYING and len(values) > 1:
            shown = " and ".join(sorted(str(value) for value in values))
            raise SettingsError(
                f"lanes differ in {field.name} ({shown}); in one sweep they may differ in "
                f"{', '.join(VARYING)}: use one sweep for each"
            )


def _check_sizes(settings: Settings, images: Iterable[np.ndarray | None]) -> None:
    least = smallest_side(settings.layers)
    for image in images:
        if image is not None and min(image.shape[:2]) < least:
            height, width, _ = image.shape
            raise ImageError(
                f"an image of {width}×{height} px is too small for {max(settings.layers)}: each "
                f"side needs {least} px"
            )


def _check_shapes(
    contents: tuple[np.ndarray | None, ...], styles: tuple[np.ndarray | None, ...]
) -> None:
    pairs = zip(contents, styles, strict=True)
    shapes = {canvas(content, style).shape for content, style in pairs}
    if len(shapes) > 1:
        shown = " and ".join(f"{width}×{height}" for height, width, _ in sorted(shapes))
        raise ImageError(
            f"the images to be made would be of {shown} px; the lanes of one sweep need one size: "
            f"crop the content images alike, or use one sweep for each"
        )
