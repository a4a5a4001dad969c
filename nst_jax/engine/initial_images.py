"""The images with which a run begins, and with which it goes on at each finer scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.engine.pyramid import Scale, enlarge, image_at
from nst_jax.engine.regions import Regions, restore
from nst_jax.images import resize
from nst_jax.images.bands import bands
from nst_jax.images.color_transfer import to_gray
from nst_jax.settings.settings import Settings


class InitialImages(NamedTuple):
    """Where one lane begins each scale; all is at full size.

    Attributes:
        settings: of the lane.
        content: (H, W, 3), the content image as the losses see it, or None.
        style: (H', W', 3), the first style image as the losses see it, or None.
        file: (H', W', 3), the image that `settings.init` names, if it names one.
    """

    settings: Settings
    content: np.ndarray | None
    style: np.ndarray | None
    regions: Regions | None = None
    file: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of the generated image: the content image's, or that of the only one."""
        return _output_shape(self.content, self.style)

    def coarsest_image(self, scale: Scale) -> np.ndarray:
        """(H, W, 3), float32, the initial image of a run that begins at this scale."""
        return self._restored(self._initial(scale, self.settings.init_noise), scale)

    def refine(self, coarse: np.ndarray, scale: Scale) -> np.ndarray:
        """(H, W, 3), float32, with which a scale begins, from the (h, w, 3) of the last one.

        Enlarged, that has no detail, and what a content image had of it would have to be found
        again. So the initial image keeps its detail, and takes over what the coarse steps have
        changed. Noise gives none, since what is sharp in noise is not wanted.
        """
        enlarged = enlarge(coarse, scale.shape)
        share = 0.0 if self.settings.init == "noise" else 1.0 - self.settings.init_noise
        if share:
            initial = self._initial(scale)
            smooth = resize.resize(initial, (coarse.shape[0], coarse.shape[1]))
            # Three images at once, not six: what is enlarged is ours, and initial not.
            detail = enlarge(smooth, scale.shape)
            np.subtract(initial, detail, out=detail)
            detail *= np.float32(share)
            enlarged += detail
        return self._restored(enlarged, scale)

    def _initial(self, scale: Scale, noise: float = 0.0) -> np.ndarray:
        settings = self.settings
        return initial_image(
            jax.random.key(settings.seed),
            settings.init,
            image_at(scale, self.content),
            image_at(scale, self.style),
            file=self.file,
            noise=noise,
            amplitude=settings.noise_amplitude,
            gray=settings.colors == "luminance",
        )

    def _restored(self, image: np.ndarray, scale: Scale) -> np.ndarray:
        if self.regions is None or self.content is None:
            return image
        return restore(self.regions.at(scale.shape), image, image_at(scale, self.content))


def initial_image(
    key: jax.Array,
    init: str,
    content: np.ndarray | None,
    style: np.ndarray | None,
    *,
    file: np.ndarray | None = None,
    noise: float = 0.0,
    amplitude: float = 1.0,
    gray: bool = False,
) -> np.ndarray:
    """The image that the optimization starts from: (H, W, 3), float32.

    Args:
        key: of the noise.
        init: "content"; "noise": white, around mid-gray; "style": the style image, cut to the
            content image's shape; anything else: `file`, cut to that shape.
        content: (H, W, 3) in [0, 1]; None where the style alone is reconstructed.
        style: (H', W', 3) in [0, 1]; None where the content alone is.
        file: (H', W', 3) in [0, 1].
        noise: f, how much of that image is replaced by noise: (1 − f) · image + f · noise.
        amplitude: a, of the noise: uniform over 0.5 ± a/2.
        gray: whether noise, and the image of a file, are to be gray; the other two are as they are.
    """
    shape = _output_shape(content, style)
    if init == "noise" or noise == 1:
        return _white_noise(key, shape, amplitude, gray)
    source = {"content": content, "style": style}.get(init)
    if source is None:
        assert file is not None  # `prepare_problem` has read it
        source = to_gray(file) if gray else file
    image = source if source.shape == shape else resize.cover(source, shape[:2])
    if not noise:
        return image
    mixed = _white_noise(key, shape, amplitude, gray)
    mixed *= noise
    for rows in bands(*shape[:2]):
        mixed[rows] += (1 - noise) * image[rows]
    return mixed


def _output_shape(content: np.ndarray | None, style: np.ndarray | None) -> tuple[int, int, int]:
    image = style if content is None else content
    assert image is not None  # `prepare_problem` has seen to it
    return image.shape[0], image.shape[1], 3


def _white_noise(
    key: jax.Array, shape: tuple[int, int, int], amplitude: float, gray: bool
) -> np.ndarray:
    """(H, W, 3), uniform over 0.5 ± amplitude/2; in gray, the same in all channels."""
    with jax.default_device(_host()):  # no other device may have room for a whole image
        values = np.array(jax.random.uniform(key, (*shape[:2], 1) if gray else shape, jnp.float32))
    values *= amplitude
    values += (1 - amplitude) / 2  # exact for 1
    return values.repeat(3, axis=-1) if gray else values


def _host() -> jax.Device | None:
    """The machine's own processor; None where JAX was told to leave it out."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
