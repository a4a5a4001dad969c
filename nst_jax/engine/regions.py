"""The regions of a run: their masks, read and checked, and the style image that each takes.

A region without a style image stays as the content image, as does what is in no region. Matching
the content alone would not do that: within 76 px of its edge conv4_2 sees the painted region, too,
and pulls at both. So these pixels begin as the content image's, and have no gradient.

What of a photograph is transparent is in no region; where there are no masks, the rest is one.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nst_jax.errors import ImageError, SettingsError
from nst_jax.images import io, masks
from nst_jax.images.resize import interpolate
from nst_jax.losses import guidance

MIXTURE = -1  # in the place of a style image's number: all of them, by their shares
WORTH = 0.05  # per cent of the pixels: of gaps and overlaps, what is worth telling


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image.

    Attributes:
        masks: (R, H, W), float32, of the generated image; their sum is 1 at most.
        styles: number of each region's style image, from 0; `MIXTURE` for all of them; None for a
            region without style.
        style_masks: (H', W') float32, the part of its style image that each takes; None: all of it.
        facts: what a user should know of the masks, a line each.
    """

    masks: np.ndarray
    styles: tuple[int | None, ...]
    style_masks: tuple[np.ndarray | None, ...]
    facts: tuple[str, ...] = ()

    def at(self, shape: tuple[int, int]) -> "Regions":
        """The same regions of an image of another size, (H, W)."""
        if self.masks.shape[1:] == shape:
            return self
        resized = np.stack([interpolate(mask, shape) for mask in self.masks])
        return dataclasses.replace(self, masks=resized)

    @property
    def free(self) -> np.ndarray:
        """Whether style goes to a pixel, (H, W, 1); the others stay as the content image."""
        painted = np.array([number is not None for number in self.styles])
        return self.masks[painted].any(axis=0)[..., None]


@dataclasses.dataclass(frozen=True)
class _Picture:
    """What one file says: its masks (R, H, W), and the regions' colors where it has colors."""

    file: str
    masks: np.ndarray
    colors: np.ndarray | None

    @classmethod
    def read(cls, file: str) -> "_Picture":
        picture = io.load_with_alpha(file)
        with _naming(file):
            return cls(file, *masks.decode(*picture))

    def mask_of(self, color: np.ndarray | None) -> np.ndarray:
        """(H, W), of a gray picture; of one that has colors that of a region's own."""
        if self.colors is None:
            return self.masks[0]
        if color is None:
            raise ImageError(
                f"{self.file}: has colors, and the content mask has none to match; give a gray "
                f"picture"
            )
        place = masks.match_color(self.colors, color)
        if place is None:
            raise ImageError(
                f"{self.file}: has no area of #{masks.to_hexadecimal(color)}, a color of the "
                f"content mask; paint one, or give none in its place"
            )
        return self.masks[place]


def read_regions(
    content_mask: Sequence[str],
    style_mask: Sequence[str],
    region_styles: Sequence[int] | None,
    shape: Sequence[int],
    style_shapes: Sequence[Sequence[int]],
    alpha: np.ndarray | None = None,
) -> Regions | None:
    """Read masks; None where none is named, and nothing is transparent.

    Args:
        content_mask: files, one for each region, or one in which each has a color.
        style_mask: files, or "none" for the whole; one for each region, or none at all.
        region_styles: number of each region's style image, from 1, or 0 for none; None: 1, 2, ….
        shape: (H, W, …) of the generated image.
        style_shapes: (H', W', …) of each style image.
        alpha: (H, W) in [0, 1], how opaque the content image is; None: all of it.

    Raises:
        ImageError: a mask cannot be read, has another aspect than its image, is empty, lies where
            the content image is transparent, or is colored where it may not be.
        SettingsError: there are not as many regions, style masks or style images as the others
            want.
    """
    if not content_mask:
        return None if alpha is None else _opaque_region(alpha)
    given = [_Picture.read(file) for file in content_mask]
    for each in given:
        if each.colors is not None and len(given) > 1:
            raise ImageError(
                f"{each.file}: has colors, and is one of {len(given)} content masks; give one "
                f"color-coded picture alone, or a gray one for each region"
            )
    colors = given[0].colors
    parts = np.concatenate([_fitted(each.file, each.masks, shape, alpha) for each in given])
    chosen = _choose_styles(region_styles, len(parts), len(style_shapes))
    style_masks = _read_style_masks(style_mask, colors, chosen, style_shapes)
    if colors is None:
        names = [Path(file).name for file in content_mask]
    else:
        names = [f"#{masks.to_hexadecimal(color)}" for color in colors]
    facts = [_describe(names, parts)]
    unused = [str(number + 1) for number in range(len(style_shapes)) if number not in chosen]
    if unused:
        facts.append(f"regions: no region takes painting {', '.join(unused)}")
    return Regions(masks.share_out(parts), chosen, style_masks, tuple(facts))


def restore(regions: Regions, image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) with the content image's pixels where no style goes, float32.

    They do not change from there. All three are of one size.
    """
    return np.where(regions.free, image, content).astype(np.float32, copy=False)


def describe_regions(regions: Regions, architecture: str, layers: Sequence[str]) -> list[str]:
    """What a user should know, a line each: shares, gaps, overlaps, and regions that are small.

    Args:
        regions: at full size.
        architecture: "vgg16" or "vgg19".
        layers: with style.
    """
    lines = list(regions.facts)
    parts = zip(regions.styles, regions.masks, regions.style_masks, strict=True)
    for number, (style, mask, style_mask) in enumerate(parts, 1):
        named = {f"region {number}": mask, f"region {number}'s part of its painting": style_mask}
        for name, part in named.items():
            if style in (None, MIXTURE) or part is None:
                continue
            crossed = guidance.crossings(part[None], architecture, layers)
            fields = ", ".join(f"{crossing.layer} ({crossing.field} px)" for crossing in crossed)
            if fields:
                lines.append(
                    f"{name} has no room for the receptive field of {fields}: style crosses its "
                    f"edge there"
                )
    return lines


@contextlib.contextmanager
def _naming(file: str) -> Iterator[None]:
    """Name the file in errors of what is in it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from error


def _opaque_region(alpha: np.ndarray) -> Regions:
    share = 100 * float(np.mean(1 - alpha))
    facts = (f"transparency: {share:.1f} % of the photograph, where nothing is painted",)
    return Regions(alpha[None], (MIXTURE,), (None,), facts if share else ())


def _fitted(
    file: str, parts: np.ndarray, shape: Sequence[int], alpha: np.ndarray | None = None
) -> np.ndarray:
    """Masks (R, h, w) at the size of their image, (R, H, W); of each something is left."""
    with _naming(file):
        fitted = masks.fit(parts, (shape[0], shape[1]))
        if not fitted.any(axis=(1, 2)).all():
            raise ImageError(
                "is black or transparent all over, so that its region is empty; paint it white"
            )
        if alpha is not None:
            fitted = fitted * alpha
            if not fitted.any(axis=(1, 2)).all():
                raise ImageError("has a region where all of the photograph is transparent; move it")
    return fitted


def _choose_styles(numbers: Sequence[int] | None, count: int, given: int) -> tuple[int | None, ...]:
    """The number of each region's style image, from 0, or None."""
    if numbers is None:
        if count != given:
            raise SettingsError(
                f"there are {_number(count, 'region')} for {_number(given, 'painting')}; give "
                f"one painting each, or say which with region_styles, such as 1,none"
            )
        return tuple(range(count))
    if len(numbers) != count:
        raise SettingsError(
            f"region_styles has {len(numbers)} entries for {_number(count, 'region')}; wanted one "
            f"each"
        )
    if max(numbers) > given:
        raise SettingsError(
            f"region_styles names painting {max(numbers)}, and there are {given}; count from 1"
        )
    return tuple(number - 1 if number else None for number in numbers)


def _read_style_masks(
    files: Sequence[str],
    colors: np.ndarray | None,
    chosen: Sequence[int | None],
    style_shapes: Sequence[Sequence[int]],
) -> tuple[np.ndarray | None, ...]:
    """The part (H', W') of its style image that each region takes, or None for the whole."""
    if not files:
        return (None,) * len(chosen)
    if len(files) != len(chosen):
        raise SettingsError(
            f"style_mask has {_number(len(files), 'file')} for {_number(len(chosen), 'region')}; "
            f"wanted one each, or none in the place of one"
        )
    pictures = {file: _Picture.read(file) for file in files if file != "none"}
    found: list[np.ndarray | None] = []
    for region, (file, number) in enumerate(zip(files, chosen, strict=True)):
        if number is None or file == "none":
            found.append(None)
            continue
        part = pictures[file].mask_of(None if colors is None else colors[region])
        found.append(_fitted(file, part[None], style_shapes[number])[0])
    return tuple(found)


def _describe(names: Sequence[str], parts: np.ndarray) -> str:
    """One line: the regions with their shares, and what gaps and overlaps there are."""
    pairs = zip(names, parts, strict=True)
    shares = [f"{n} {name} {100 * part.mean():.1f} %" for n, (name, part) in enumerate(pairs, 1)]
    line = f"regions: {', '.join(shares)}"
    gaps, overlaps = (100 * share for share in masks.measure_coverage(parts))
    if gaps >= WORTH:
        line += f"; {gaps:.1f} % of the pixels are in none and stay as they are"
    if overlaps >= WORTH:
        line += f"; {overlaps:.1f} % are in several, which share them"
    return line


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
