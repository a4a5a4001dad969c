"""What is to be run, for one setting or many: read once, and checked to go together."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from nst_jax.architecture import smallest_side
from nst_jax.engine.identity import identify
from nst_jax.engine.initial_images import InitialImages
from nst_jax.engine.program import Program, make_program
from nst_jax.engine.pyramid import MIN_SIDE, Scale, image_at, schedule
from nst_jax.engine.regions import describe_regions, read_regions
from nst_jax.engine.style_images import (
    ImageLike,
    StyleImage,
    StyleImageReader,
    StyleLike,
    identity,
    list_style_images,
    read_image,
)
from nst_jax.engine.targets import compute_targets, content_targets, style_targets
from nst_jax.errors import ImageError, SettingsError
from nst_jax.images import color_transfer
from nst_jax.images.io import load_image
from nst_jax.images.opening import hold
from nst_jax.images.resize import interpolate
from nst_jax.losses.terms import LossWeights, Targets
from nst_jax.rows import ALONE, Rows
from nst_jax.settings.settings import INITS, LANE_SETTINGS, Settings
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights, cannot_normalize, normalize
from nst_jax.weights.storage import load_weights

# One image for all lanes, or one for each; of the style, an entry may be several images.
ContentImages = ImageLike | list[ImageLike | None] | tuple[ImageLike | None, ...] | None
StyleImages = ImageLike | StyleImage | list[StyleLike | None] | tuple[StyleLike | None, ...] | None


class CompiledStep(NamedTuple):
    """A step that was compiled to know what it needs, so that the run need not compile it again."""

    compiled: jax.stages.Compiled
    seconds: float


class _Once(dict[Any, Any]):
    """Computes what is asked for under a key, and remembers it."""

    def __call__(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key not in self:
            self[key] = compute()
        return self[key]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """All that is needed to run the lanes: one entry of each tuple for each; they may share arrays.

    Attributes:
        originals: (H, W, 3), the content images in their own colors, or None.
        style_images: as the losses see them.
        initial_images: the content image as the losses see it, regions, and how a scale begins.
        weights: of the network, normalized where the settings say so.
        alphas: (H, W) in [0, 1], how opaque the content images are, or None: all of it.
        fits: the step of one lane at full size, where it is known to fit into memory.
    """

    settings: tuple[Settings, ...]
    originals: tuple[np.ndarray | None, ...]
    style_images: tuple[tuple[StyleImage, ...], ...]
    initial_images: tuple[InitialImages, ...]
    weights: Weights
    program: Program
    alphas: tuple[np.ndarray | None, ...]
    fits: CompiledStep | None = None
    _once: _Once = dataclasses.field(default_factory=_Once, repr=False)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of the generated images."""
        return self.initial_images[0].shape

    @property
    def shapes(self) -> tuple[Any, ...]:
        """The program, and the shapes of all images that it is compiled for."""
        styles = {scaled.shape for lane in self.style_images for s in lane for scaled in s.scaled}
        return (self.program, self.shape, *sorted(styles))

    @cached_property
    def scales(self) -> tuple[Scale, ...]:
        """That the lanes go through, all together; the full size is the last."""
        first = self.settings[0]
        return schedule(self.shape, scales=first.scales, steps=first.steps)

    @cached_property
    def identities(self) -> tuple[dict[str, Any], ...]:
        """What decides each lane's result, as `identify` has it."""
        return tuple(identify(self, lane) for lane in range(len(self.settings)))

    def changed(self, **settings: Any) -> "Problem":
        """With other values of static settings that no image depends on, such as low_memory."""
        static = dataclasses.replace(self.program.static, **settings)
        return dataclasses.replace(
            self,
            settings=tuple(dataclasses.replace(one, **settings) for one in self.settings),
            program=dataclasses.replace(self.program, static=static),
            fits=None,
            _once=_Once(),
        )

    def shared(self, devices: int) -> "Problem":
        """With each image shared by so many devices."""
        program = dataclasses.replace(self.program, rows=Rows(devices))
        return dataclasses.replace(self, program=program, _once=_Once())

    def describe(self) -> list[str]:
        """What a user should know of scales and regions, where there are any; a line each."""
        settings, scales, lines = self.settings[0], self.scales, []
        if settings.scales > 1:
            line = ", ".join(f"{scale.steps} steps at {scale.size} px" for scale in scales)
            if left_out := settings.scales - len(scales):
                line += f"; {left_out} left out, for less than {MIN_SIDE} px or want of steps"
            lines = [f"scales: {line}"]
        for regions in filter(None, dict.fromkeys(each.regions for each in self.initial_images)):
            lines += describe_regions(regions, self.program.architecture, settings.style_layers)
        return lines

    def targets(self, lane: int, scale: Scale) -> Targets:
        """What a lane is compared with at a scale, on the host; what lanes share, computed once."""
        initial, style_images = self.initial_images[lane], self.style_images[lane]
        content_image, regions = initial.content, initial.regions
        network = self.program, self.weights.params
        shares = self.settings[lane].style_shares(len(style_images))
        mixture = (*shares.items(), *(tuple(map(id, each.scaled)) for each in style_images))

        def compute_content() -> Any:
            features = content_targets(*network, image_at(scale, content_image))
            # What devices share is too large for one place.
            return features if self.program.rows.devices > 1 else jax.device_get(features)

        def compute_style() -> Any:
            pictures = [[image_at(scale, one) for one in each.scaled] for each in style_images]
            resized = None if regions is None else regions.at(scale.shape)
            is_free = content_image is None
            return jax.device_get(style_targets(*network, pictures, shares, resized, is_free))

        content = self._once((scale, id(content_image)), compute_content)
        style: Targets = self._once((scale, id(regions), mixture), compute_style)
        return style._replace(content=content)

    def target_shapes(
        self, program: Program | None = None, shape: tuple[int, int] | None = None
    ) -> Targets:
        """Shapes and types of a lane's targets at full size; nothing is computed.

        Args:
            program: in place of the problem's own.
            shape: (H, W) in place of the problem's; its regions are left out then.
        """
        initial, style_images = self.initial_images[0], self.style_images[0]
        content: Any = initial.content
        if shape and content is not None:
            content = jax.ShapeDtypeStruct((*shape, 3), content.dtype)
        shares = self.settings[0].style_shares(len(style_images))
        pictures = [list(each.scaled) for each in style_images] or None
        alone = dataclasses.replace(program or self.program, rows=ALONE)
        network = alone, self.weights.params
        regions = initial.regions if shape is None else None
        return jax.eval_shape(
            lambda content: compute_targets(*network, content, pictures, shares, regions), content
        )

    def loss_weights(self, lane: int) -> LossWeights:
        """What the terms of a lane's loss are multiplied with: float32 scalars."""
        return LossWeights.from_settings(self.settings[lane])

    def finish(self, lane: int, image: np.ndarray) -> np.ndarray:
        """What is shown, (h, w, 3) float32 in [0, 1], of an image of a lane, of any range."""
        original, alpha = self.originals[lane], self.alphas[lane]
        if original is None:
            return image.clip(0.0, 1.0)
        finished = color_transfer.finish_image(image, original, self.settings[lane].colors)
        if alpha is None:
            return finished
        # No color so opaque is darker on white.
        opaque = interpolate(alpha, image.shape[:2])[..., None]
        return np.maximum(finished, 1 - opaque, out=finished)


def prepare_problem(
    content: ContentImages,
    style: StyleImages,
    settings: Sequence[Settings],
    weights: Weights | None = None,
) -> Problem:
    """Read and check all that the lanes need; nothing is compiled or computed on a device.

    What is given is what `sweep` takes.

    Raises:
        ImageError: an image cannot be read, is too small for the deepest layer, or the content
            images differ in shape.
        SettingsError: settings differ in what they may not, or do not fit the network or images.
        WeightsError: there are no such weights.
    """
    settings = tuple(settings)
    _check_alike(settings)
    first, count = settings[0], len(settings)
    weights = choose_weights(first, weights)
    # What is static is the same for all, but whether any lane smooths chroma.
    program = make_program(max(settings, key=lambda one: one.chroma_smoothing), weights)
    once = _Once()

    def held(given: Any) -> Any:  # an open file that lanes share is read once
        return once(("held", identity(given)), partial(hold, given))

    contents = [held(each) for each in _one_for_each("content", content, count)]
    styles = [list_style_images(each, held) for each in _one_for_each("style", style, count)]
    for one, one_content, one_style in zip(settings, contents, styles, strict=True):
        _check_given(one, one_content, one_style or None)
        one.style_shares(len(one_style))
    reader = StyleImageReader(first.style_size or first.size)
    originals, alphas, style_images, lanes = [], [], [], []
    for one, one_content, one_style in zip(settings, contents, styles, strict=True):
        original, alpha = None, None
        if one_content is not None:
            read = partial(read_image, "content", one_content, first.size)
            original, alpha = once(("content", identity(one_content)), read)
        given = reader.read(one_style, one.style_scale)
        for image in (original, *(image for each in given for image in each.scaled)):
            _check_side(image, first.layers)
        seen, seen_style = _as_seen(one, original, alpha, given, once)
        file = None
        if one.init not in INITS:
            file = once(("init", one.init), partial(load_image, one.init))
        first_style = seen_style[0].image if seen_style else None
        originals.append(original)
        alphas.append(alpha)
        style_images.append(seen_style)
        lanes.append(InitialImages(one, seen, first_style, None, file))
    _check_shapes(lanes)
    # Where one is transparent all have a region of what is opaque: they share a program.
    opaque = None if all(alpha is None for alpha in alphas) else np.ones(lanes[0].shape[:2], "f4")
    initial_images: list[InitialImages] = []
    for lane, seen_style, alpha in zip(lanes, style_images, alphas, strict=True):
        one, shapes = lane.settings, tuple(each.image.shape for each in seen_style)
        named = (one.content_mask, one.style_mask, one.region_styles, lane.shape, shapes)
        regions = partial(read_regions, *named, opaque if alpha is None else alpha)
        initial_images.append(lane._replace(regions=once((named, id(alpha)), regions)))
    _check_region_counts(initial_images)
    of_lanes = tuple(originals), tuple(style_images), tuple(initial_images)
    return Problem(settings, *of_lanes, weights, program, tuple(alphas))


def choose_weights(settings: Settings, weights: Weights | None) -> Weights:
    """The weights, normalized for the pooling if the settings say so; None finds the settings'.

    Raises:
        WeightsError: there are no such weights.
    """
    weights = weights or load_weights(find_weights(settings.weights))
    if not settings.normalize:
        return weights
    if settings.pooling not in weights.activation_means and not weights.normalized:
        warnings.warn(cannot_normalize(weights, settings.pooling), stacklevel=5)
        return weights
    return normalize(weights, settings.pooling)


def _as_seen(
    settings: Settings,
    original: np.ndarray | None,
    alpha: np.ndarray | None,
    given: Sequence[StyleImage],
    once: _Once,
) -> tuple[np.ndarray | None, tuple[StyleImage, ...]]:
    """The content image and the style images, at each of their scales, as the losses see them."""
    if original is None:
        return None, tuple(given)
    colors, color_map = settings.colors, settings.color_map
    shown = original
    if alpha is not None and colors != "style":
        shown = original[alpha > 0][:, None]  # without white that is not there

    def recolored(image: np.ndarray) -> np.ndarray:
        recolor = partial(color_transfer.recolor_style, image, shown, colors, color_map)
        return once((colors, color_map, id(original), id(image)), recolor)

    recolor = partial(color_transfer.recolor_content, original, colors)
    return once((colors, id(original)), recolor), tuple(
        StyleImage(recolored(each.image), tuple(map(recolored, each.scaled))) for each in given
    )


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


def _check_given(settings: Settings, content: object, style: object) -> None:
    """Refuse settings that want an image which is None."""
    for kind, image in (("content", content), ("style", style)):
        layers = getattr(settings, f"{kind}_layers")
        if image is None and (layers or settings.init == kind):
            why = f"{kind} layers {', '.join(layers)}" if layers else f"init {kind}"
            raise SettingsError(
                f"there is no {kind} image, and the settings want one ({why}); give one, or "
                f"change the settings"
            )
    if content is None and style is None:
        raise SettingsError("there is neither a content nor a style image; give one")


def _check_alike(settings: tuple[Settings, ...]) -> None:
    if not settings:
        raise SettingsError("a sweep needs at least one lane")
    for field in dataclasses.fields(Settings):
        values = {getattr(one, field.name) for one in settings}
        if field.name not in LANE_SETTINGS and len(values) > 1:
            raise SettingsError(
                f"lanes differ in {field.name} ({' and '.join(sorted(map(str, values)))}); in one "
                f"sweep they may differ in {', '.join(LANE_SETTINGS)}: use one sweep for each"
            )


def _check_side(image: np.ndarray | None, layers: Sequence[str]) -> None:
    smallest = smallest_side(layers)
    if image is not None and min(image.shape[:2]) < smallest:
        height, width, _ = image.shape
        raise ImageError(
            f"an image of {width}×{height} px is too small for {max(layers)}: each side needs "
            f"{smallest} px"
        )


def _check_shapes(lanes: Sequence[InitialImages]) -> None:
    shapes = sorted({lane.shape for lane in lanes})
    if len(shapes) > 1:
        shown = " and ".join(f"{width}×{height}" for height, width, _ in shapes)
        raise ImageError(
            f"the images to be made would be of {shown} px; the lanes of one sweep need one size: "
            f"crop the content images alike, or use one sweep for each"
        )


def _check_region_counts(lanes: Sequence[InitialImages]) -> None:
    counts = sorted({0 if each.regions is None else len(each.regions.masks) for each in lanes})
    if len(counts) > 1:
        raise SettingsError(
            f"lanes have {' and '.join(map(str, counts))} regions; in one sweep masks may differ, "
            f"and their number may not: use one sweep for each"
        )
