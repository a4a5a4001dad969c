"""The images with which a run begins, and with which it goes on at each finer scale."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from nst_jax.engine.inputs import first_image, initial_image
from nst_jax.engine.pyramid import Scale, enlarge, image_at, images_at
from nst_jax.engine.regions import Regions, restore
from nst_jax.engine.style_images import Painting
from nst_jax.images.resize import resize
from nst_jax.settings.settings import Settings


class Starts(NamedTuple):
    """Where one run, or one lane, begins each scale.

    Attributes:
        settings: of the run.
        content: (H, W, 3), the photograph as the losses see it, at full size; or None.
        paintings: at full size.
        regions: likewise, or None.
    """

    settings: Settings
    content: np.ndarray | None
    paintings: Sequence[Painting]
    regions: Regions | None

    def first(self, scale: Scale) -> np.ndarray:
        """(H, W, 3), the initial image of a run that begins at this scale."""
        return self._restored(self._initial(scale, self.settings.init_noise), scale)

    def following(self, coarse: np.ndarray, scale: Scale) -> np.ndarray:
        """(H, W, 3), the image with which this scale begins, from what the one before has come to.

        That image, enlarged, has no detail, and what a photograph had of it would have to be found
        again. So the detail is that of the initial image: it keeps its own, and takes over what the
        coarse steps have changed. Noise gives none, since what is sharp in noise is not wanted.

        Args:
            coarse: (h, w, 3), the outcome of the scale before.
            scale: which begins.
        """
        enlarged = enlarge(coarse, scale.shape)
        share = 0.0 if self.settings.init == "noise" else 1.0 - self.settings.init_noise
        if share:
            initial = self._initial(scale)
            smooth = enlarge(resize(initial, (coarse.shape[0], coarse.shape[1])), scale.shape)
            enlarged = enlarged + np.float32(share) * (initial - smooth)
        return self._restored(enlarged, scale)

    def regions_at(self, scale: Scale) -> Regions | None:
        """The regions of the image at this scale."""
        return None if self.regions is None else self.regions.at(scale.shape)

    def _initial(self, scale: Scale, noise: float = 0.0) -> np.ndarray:
        settings = self.settings
        images = images_at(scale, self.content, first_image(self.paintings))
        grey, key = settings.colors == "luminance", jax.random.key(settings.seed)
        return np.asarray(initial_image(key, settings.init, *images, noise, grey), np.float32)

    def _restored(self, image: np.ndarray, scale: Scale) -> np.ndarray:
        return restore(self.regions_at(scale), image, image_at(scale, self.content))
