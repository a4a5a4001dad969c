"""Whose colours a picture has: what the network is shown, and what its image is made into.

"style": the painting's, as it comes. "match": the painting is moved to the photograph's colours
first. "luminance": both are shown in grey, and the result gets the photograph's chroma.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nst_jax.engine.style_images import Painting
from nst_jax.images.color_transfer import join_luminance, match_colors, match_luminance, to_grey
from nst_jax.images.resize import resize
from nst_jax.settings.settings import Settings


class Palette:
    """Recolours the images of runs; what it has made once it need not make again."""

    def __init__(self):
        self._made: dict[tuple, Any] = {}

    def recolor(
        self, settings: Settings, content: np.ndarray | None, paintings: Sequence[Painting]
    ) -> tuple[np.ndarray | None, tuple[Painting, ...]]:
        """The photograph and the paintings as the network is shown them.

        Each painting is matched by itself, and at each of its style scales.

        Args:
            settings: `colors` and `color_map`.
            content: (H, W, 3) in [0, 1], in its own colours; None in a reconstruction of styles.
                The caller keeps it, and the paintings, alive while this palette is.
            paintings: likewise.
        """

        def moved(image: np.ndarray) -> np.ndarray:
            return self._once(recolor_style, settings, content, image)

        return self._once(recolor_content, settings, content), tuple(
            Painting(moved(each.image), tuple(map(moved, each.scaled))) for each in paintings
        )

    def _once(self, recolor: Callable, settings: Settings, *images: np.ndarray | None) -> Any:
        key = (recolor, settings.colors, settings.color_map, *map(id, images))
        if key not in self._made:
            self._made[key] = recolor(settings, *images)
        return self._made[key]


def recolor_content(settings: Settings, content: np.ndarray | None) -> np.ndarray | None:
    """The photograph as the network is shown it.

    Args:
        settings: `colors`.
        content: (H, W, 3) in [0, 1]; None in reconstructions, whose colours are "style".
    """
    return to_grey(content) if content is not None and settings.colors == "luminance" else content


def recolor_style(settings: Settings, content: np.ndarray | None, style: np.ndarray) -> np.ndarray:
    """One painting as the network is shown it.

    What leaves [0, 1] is clipped, as in the authors' code. No picture can show it; Gram matrices of
    it would pull the image out of the range, and by eye its bright parts burn out and get specks.
    Resizing for a coarser scale clips it, too.

    Args:
        settings: `colors` and `color_map`.
        content: (H, W, 3) in [0, 1], the photograph in its own colours.
        style: (H', W', 3) in [0, 1].
    """
    if content is None or settings.colors == "style":
        return style
    if settings.colors == "luminance":
        return match_luminance(style, content).clip(0, 1)
    return match_colors(style, content, settings.color_map).clip(0, 1)


def finish_image(settings: Settings, content: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """What is saved of an image that the optimiser made.

    Args:
        settings: `colors`.
        content: (H, W, 3) in [0, 1], the photograph in its own colours, at the full size.
        image: (h, w, 3), of any range, at the size of any scale.

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    if content is None or settings.colors != "luminance":
        return image.clip(0.0, 1.0)
    if content.shape != image.shape:
        content = resize(content, (image.shape[0], image.shape[1]))
    return join_luminance(image, content)
