"""The colors of one image moved to another: pure functions of arrays.

Whose colors a generated image has is one of: "style": the style image's, as they come. "match":
the style image is moved to the content image's colors first. "luminance": the network is shown
both in gray, and the generated image gets the content image's chroma.

Images are float sRGB (H, W, 3), as files have them (not linear light), in [0, 1] unless it says
otherwise. All is computed in float64, band by band.

Source: Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving Color in Neural Artistic Style
Transfer", arXiv 1606.05897.
"""

from collections.abc import Callable

import numpy as np

from nst_jax.images.bands import bands, by_bands
from nst_jax.images.resize import resize

# Rec. 601, the luma Y' of YIQ and of Y'CbCr, with which the source and Hertzmann et al. 2001 work.
LUMA = np.array((0.299, 0.587, 0.114))
# Standard deviation, one level of 8 bits: what varies less counts as constant. To stretch it would
# make colored specks of rounding and of JPEG. The authors' code adds about its square to every
# variance instead, 1e-5, which leaves no map exact.
MIN_SPREAD = 1 / 255


def recolor_content(content: np.ndarray, colors: str) -> np.ndarray:
    """The content image (H, W, 3) as the network is shown it: in gray for "luminance"."""
    return to_gray(content) if colors == "luminance" else content


def recolor_style(
    style: np.ndarray, content: np.ndarray, colors: str, color_map: str
) -> np.ndarray:
    """A style image as the network is shown it.

    What leaves [0, 1] is clipped, as in the authors' code: Gram matrices of it would pull the image
    out of the range, and by eye its bright parts burn out and get specks.

    Args:
        style: (H, W, 3) in [0, 1].
        content: (H', W', 3) in [0, 1], in its own colors.
        colors: "style", "match" or "luminance".
        color_map: "cholesky", "pca" or "symmetric", for "match".

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    if colors == "luminance":
        moved = match_luminance(style, content)
    elif colors == "match":
        moved = match_colors(style, content, color_map)
    else:
        return style
    return moved.clip(0, 1, out=moved)


def finish_image(image: np.ndarray, content: np.ndarray, colors: str) -> np.ndarray:
    """What is saved of an image that the optimizer made.

    Args:
        image: (h, w, 3), of any range, at the size of any scale.
        content: (H, W, 3) in [0, 1], in its own colors, at the full size.
        colors: "style", "match" or "luminance".

    Returns:
        (h, w, 3) float32 in [0, 1].
    """
    if colors != "luminance":
        return image.clip(0.0, 1.0)
    return join_luminance(image, resize(content, (image.shape[0], image.shape[1])))


def match_colors(style: np.ndarray, content: np.ndarray, method: str) -> np.ndarray:
    """Move a style image's colors so that their mean and covariance are the content image's.

    x ↦ A (x − μ_S) + μ_C with A Σ_S Aᵀ = Σ_C, as `find_color_map` finds A.

    Exact wherever the style image's colors vary in as many directions as the content image's. One
    in gray gets shades of one color; one of a single color becomes the content image's mean.

    Args:
        style: (H, W, 3).
        content: (H', W', 3).
        method: "cholesky", "pca" or "symmetric".

    Returns:
        (H, W, 3) float32; it may leave [0, 1].

    Source: Gatys et al. 2016, color histogram matching.
    """
    mean, covariance = _statistics(style)
    wanted_mean, wanted_covariance = _statistics(content)
    matrix = find_color_map(covariance, wanted_covariance, method)
    return by_bands(lambda band: (band - mean) @ matrix.T + wanted_mean, style)


def find_color_map(covariance: np.ndarray, wanted: np.ndarray, method: str) -> np.ndarray:
    """The matrix A that makes colors of one covariance into colors of another: A Σ Aᵀ = Σ'.

    Each such matrix is Σ'^½ Q Σ^−½ with Q orthogonal and ½ the symmetric root; methods differ in Q.

    - "cholesky": A = L' L⁻¹ of the Cholesky factors. Red is made of red alone, green of red and
      green, so it depends on the order of the channels.
    - "pca": Q = 1, A = Σ'^½ Σ^−½. Gatys et al. call it Image Analogies' (Hertzmann et al. 2001).
    - "symmetric": A = Σ^−½ (Σ^½ Σ' Σ^½)^½ Σ^−½, the one that moves colors least (Pitié & Kokaram
      2007, "The linear Monge-Kantorovitch linear colour mapping").

    Where a covariance is singular, Q is replaced by the nearest isometry between the directions in
    which both vary, and A is 0 on those in which colors do not vary.

    Args:
        covariance: Σ, (3, 3).
        wanted: Σ', (3, 3).
        method: "cholesky", "pca" or "symmetric".

    Returns:
        (3, 3) float64.
    """
    (axes, spreads), (wanted_axes, wanted_spreads) = _principal(covariance), _principal(wanted)
    root = (axes * spreads) @ axes.T
    wanted_root = (wanted_axes * wanted_spreads) @ wanted_axes.T
    rotation = ROTATIONS[method](root, wanted_root)
    isometry = _nearest_isometry(wanted_axes.T @ rotation @ axes)
    return (wanted_axes * wanted_spreads) @ isometry @ (axes / spreads).T


def to_gray(image: np.ndarray) -> np.ndarray:
    """The luminance Y' = 0.299 R + 0.587 G + 0.114 B in all three channels, (H, W, 3) float32."""
    return by_bands(_luminance, image)


def match_luminance(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """A style image in gray, with the mean and the spread of the content image's luminance.

    Y' ↦ σ_C / σ_S (Y' − μ_S) + μ_C; a style image of one luminance becomes the mean.

    Args:
        style: (H, W, 3).
        content: (H', W', 3).

    Returns:
        (H, W, 3) float32, its channels equal; it may leave [0, 1].

    Source: Gatys et al. 2016, luminance-only transfer, after Hertzmann et al. 2001, "Image
    Analogies".
    """
    (mean, spread), (wanted_mean, wanted_spread) = map(_luminance_statistics, (style, content))
    scale = wanted_spread / spread if spread > MIN_SPREAD else 0.0
    return by_bands(lambda band: scale * (_luminance(band) - mean) + wanted_mean, style)


def join_luminance(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The luminance of one image with the chroma of another.

    I and Q of YIQ (and Cb and Cr) are sums of R, G and B with weights that add up to 0. To change
    Y' and keep them is to add the same to all three channels: the content image + (Y' − Y'_C).

    Deviation from Gatys et al. 2016: no channel is clipped, which would change the chroma. Each
    pixel's luminance is limited instead to where its chroma is inside the gamut.

    Args:
        image: (H, W, 3), of any range: gives the luminance.
        content: (H, W, 3): gives the chroma.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """

    def join(image: np.ndarray, content: np.ndarray) -> np.ndarray:
        content = content.astype(np.float64).clip(0, 1)
        change = _luminance(image) - _luminance(content)
        darkest = -content.min(axis=-1, keepdims=True)
        brightest = 1 - content.max(axis=-1, keepdims=True)
        return content + change.clip(darkest, brightest)

    return by_bands(join, image, content)


def _luminance(image: np.ndarray) -> np.ndarray:
    """(H, W, 1) float64."""
    return (image.astype(np.float64) @ LUMA)[..., None]


def _luminance_statistics(image: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of an image's luminance."""
    luminance = np.concatenate([_luminance(image[rows]) for rows in bands(*image.shape[:2])])
    return luminance.mean(), luminance.std()


def _statistics(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) of an image's colors, over all pixels."""
    count, parts = image.shape[0] * image.shape[1], list(bands(*image.shape[:2]))

    def colors(rows: slice) -> np.ndarray:
        return image[rows].reshape(-1, 3).astype(np.float64)

    mean = sum(colors(rows).sum(axis=0) for rows in parts) / count
    centered = ((colors(rows) - mean) for rows in parts)
    return mean, sum(each.T @ each for each in centered) / count


def _principal(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (3, r) in which colors vary, as columns, and their standard deviations (r,)."""
    variances, axes = np.linalg.eigh(covariance)
    varying = variances > MIN_SPREAD**2
    return axes[:, varying], np.sqrt(variances[varying])


def _nearest_isometry(matrix: np.ndarray) -> np.ndarray:
    """U Vᵀ of the singular value decomposition U S Vᵀ."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _to_cholesky_factor(root: np.ndarray) -> np.ndarray:
    """The orthogonal O such that Σ^½ O is lower triangular with no negative diagonal."""
    orthogonal, upper = np.linalg.qr(root)
    return orthogonal * np.where(np.diag(upper) < 0, -1.0, 1.0)


# Method: (Σ^½, Σ'^½) → the Q of `find_color_map`. With L = Σ^½ O, L' L⁻¹ is Σ'^½ O' Oᵀ Σ^−½.
ROTATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cholesky": lambda root, wanted: _to_cholesky_factor(wanted) @ _to_cholesky_factor(root).T,
    "pca": lambda root, wanted: np.eye(3),
    "symmetric": lambda root, wanted: _nearest_isometry(wanted @ root),
}
