"""What a sweep is to do: settings, images and weights, read once and checked to go together."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.architecture import smallest_side
from nst_jax.engine.inputs import canvas, check_given, choose_weights, first_image
from nst_jax.engine.palette import Palette
from nst_jax.engine.program import Program, make_program
from nst_jax.engine.pyramid import Scale, schedule
from nst_jax.engine.regions import Regions, read_regions
from nst_jax.engine.style_images import (
    ImageLike,
    Painting,
    PaintingReader,
    StyleLike,
    as_image,
    one_by_one,
)
from nst_jax.errors import ImageError, SettingsError
from nst_jax.images.io import load_image
from nst_jax.settings.settings import INITS, Settings
from nst_jax.weights.parameters import Weights

# One image for all lanes, or one for each; of the style, an entry may be several paintings.
Images = ImageLike | list[ImageLike | None] | tuple[ImageLike | None, ...] | None
Styles = ImageLike | Painting | list[StyleLike | None] | tuple[StyleLike | None, ...] | None

# What may differ between the lanes of one sweep; the rest decides which program is compiled.
VARYING = (
    "ratio",
    "content_layer_weights",
    "style_layer_weights",
    "tv_weight",
    "tv_l1_weight",
    "seed",
    "init",
    "init_noise",
    "style_blend",
    "style_scale",
    "layers_per_style",
    "colors",
    "color_map",
    "content_mask",
    "style_mask",
    "region_styles",
)


@dataclasses.dataclass(frozen=True)
class Job:
    """All that is needed to run the lanes: one entry of each tuple for each lane.

    Attributes:
        settings: of each lane.
        contents: (H, W, 3) of each as the network is shown it, all of one shape, or None. Lanes may
            share an array.
        styles: the paintings of each as the network is shown them, or none. Lanes may share their
            arrays.
        photographs: (H, W, 3) of each in its own colours, or None.
        weights: of the network, normalised where the settings say so.
        program: what is compiled.
        regions: of each, as many in all lanes, or None in all. Lanes may share one.
    """

    settings: tuple[Settings, ...]
    contents: tuple[np.ndarray | None, ...]
    styles: tuple[tuple[Painting, ...], ...]
    photographs: tuple[np.ndarray | None, ...]
    weights: Weights
    program: Program
    regions: tuple[Regions | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3) of the generated images."""
        return canvas(self.contents[0], first_image(self.styles[0])).shape

    @property
    def scales(self) -> tuple[Scale, ...]:
        """That the lanes go through, all together; the full size is the last."""
        return schedule(self.settings[0], self.shape)


def prepare(
    content: Images,
    style: Styles,
    settings: Sequence[Settings],
    weights: Weights | None = None,
) -> Job:
    """Read and check what a sweep needs; arguments and errors as in `sweep`."""
    settings = tuple(settings)
    _check_alike(settings)
    first, count = settings[0], len(settings)
    weights = choose_weights(first, weights)
    program = make_program(first, weights)
    given = [one_by_one(each) for each in _one_for_each("style", style, count)]
    contents = _read_each(_one_for_each("content", content, count), first.size)
    for one, one_content, paintings in zip(settings, contents, given, strict=True):
        check_given(one, one_content, paintings or None)
        one.style_shares(len(paintings))
    reader = PaintingReader(first)
    styles = tuple(
        reader.read(each, one.style_scale) for each, one in zip(given, settings, strict=True)
    )
    _check_shapes(contents, styles)
    scaled = (image for lane in styles for painting in lane for image in painting.scaled)
    _check_sizes(first, (*contents, *scaled))
    for init in {one.init for one in settings} - set(INITS):
        load_image(init)  # so that a mistake shows before the first round, not after
    regions = _regions(settings, contents, styles)
    palette = Palette()
    shown = [palette.recolor(*lane) for lane in zip(settings, contents, styles, strict=True)]
    seen, styles = tuple(lane[0] for lane in shown), tuple(lane[1] for lane in shown)
    return Job(settings, seen, styles, contents, weights, program, regions)


def _regions(
    settings: Sequence[Settings],
    contents: Sequence[np.ndarray | None],
    styles: Sequence[Sequence[Painting]],
) -> tuple[Regions | None, ...]:
    """The regions of each lane; what several lanes share is read once."""
    read: dict[tuple, Regions | None] = {}
    keys = [
        (one.content_mask, one.style_mask, one.region_styles, *(id(each.image) for each in style))
        for one, style in zip(settings, styles, strict=True)
    ]
    for key, one, content, style in zip(keys, settings, contents, styles, strict=True):
        if key not in read:
            shape = canvas(content, first_image(style)).shape
            read[key] = read_regions(one, shape, style)
    regions = tuple(read[key] for key in keys)
    counts = sorted({0 if each is None else len(each.masks) for each in regions})
    if len(counts) > 1:
        raise SettingsError(
            f"lanes have {' and '.join(map(str, counts))} regions; in one sweep masks may differ, "
            f"and their number may not: use one sweep for each"
        )
    return regions


def _one_for_each(name: str, given: Any, count: int) -> Sequence:
    if not isinstance(given, list | tuple):
        return (given,) * count
    if len(given) != count:
        raise SettingsError(
            f"there are {len(given)} {name} images for {count} lanes; wanted one image, or one "
            f"for each lane"
            + (" (several in one lane: a tuple of them for each lane)" if name == "style" else "")
        )
    return given


def _read_each(given: Sequence[ImageLike | None], size: int) -> tuple[np.ndarray | None, ...]:
    """The content image of each lane; what several lanes share is read once."""
    read: dict[Any, np.ndarray | None] = {}
    keys = [str(image) if isinstance(image, str | Path) else id(image) for image in given]
    for key, image in zip(keys, given, strict=True):
        if key not in read:
            read[key] = as_image("content", image, size)
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
    contents: Sequence[np.ndarray | None], styles: Sequence[Sequence[Painting]]
) -> None:
    pairs = zip(contents, styles, strict=True)
    shapes = {canvas(content, first_image(paintings)).shape for content, paintings in pairs}
    if len(shapes) > 1:
        shown = " and ".join(f"{width}×{height}" for height, width, _ in sorted(shapes))
        raise ImageError(
            f"the images to be made would be of {shown} px; the lanes of one sweep need one size: "
            f"crop the content images alike, or use one sweep for each"
        )
