"""The images of runs in the colors that the network is shown, each made once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nst_jax.engine.style_images import Painting
from nst_jax.images import color_transfer
from nst_jax.settings.settings import Settings


class Palette:
    """Recolors the images of runs; what it has made once it need not make again."""

    def __init__(self):
        self._made: dict[tuple, Any] = {}

    def recolor(
        self, settings: Settings, content: np.ndarray | None, paintings: Sequence[Painting]
    ) -> tuple[np.ndarray | None, tuple[Painting, ...]]:
        """The content image and the style images as the network is shown them.

        Each style image is matched by itself, and at each of its style scales.

        Args:
            settings: `colors` and `color_map`.
            content: (H, W, 3) in [0, 1], in its own colors; None in a reconstruction of styles.
                The caller keeps it, and the style images, alive while this palette is.
            paintings: in their own colors, (H', W', 3) in [0, 1] each.
        """
        if content is None:
            return None, tuple(paintings)

        def shown(style: np.ndarray) -> np.ndarray:
            return self._once(
                color_transfer.recolor_style, style, content, settings.colors, settings.color_map
            )

        return self._once(color_transfer.recolor_content, content, settings.colors), tuple(
            Painting(shown(each.image), tuple(map(shown, each.scaled))) for each in paintings
        )

    def _once(self, recolor, *arguments):
        key = (recolor, *(id(a) if isinstance(a, np.ndarray) else a for a in arguments))
        if key not in self._made:
            self._made[key] = recolor(*arguments)
        return self._made[key]


def finish_image(settings: Settings, content: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """What is saved, (h, w, 3) in [0, 1], of an image that the optimizer made."""
    if content is None:
        return image.clip(0.0, 1.0)
    return color_transfer.finish_image(image, content, settings.colors)
