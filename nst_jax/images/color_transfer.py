"""The colours of one image moved to another: pure functions of arrays.

Images are float sRGB (H, W, 3), as files have them (not linear light), in [0, 1] unless it says
otherwise. Statistics are computed in float64.

Source: Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving Color in Neural Artistic Style
Transfer", arXiv 1606.05897.
"""

from collections.abc import Callable

import numpy as np

# Rec. 601, the luma Y' of YIQ and of Y'CbCr, with which the source and Hertzmann et al. 2001 work.
LUMA = np.array((0.299, 0.587, 0.114))
# Standard deviation, one level of 8 bits: what varies less counts as constant. To stretch it would
# make coloured specks of rounding and of JPEG. The authors' code adds 1e-5 to every variance
# instead, about this one squared, which leaves no map exact.
LEAST_SPREAD = 1 / 255


def match_colors(style: np.ndarray, content: np.ndarray, method: str) -> np.ndarray:
    """Move the painting's colours so that their mean and covariance are the photograph's.

    x ↦ A (x − μ_S) + μ_C with A Σ_S Aᵀ = Σ_C, as `color_map` finds A.

    Exact wherever the painting's colours vary in as many directions as the photograph's. A grey
    painting cannot take the colours of a photograph: its greys become shades of one colour. One of
    a single colour becomes the photograph's mean.

    Args:
        style: (H, W, 3), the painting.
        content: (H', W', 3), the photograph.
        method: one of `COLOR_MAPS`.

    Returns:
        (H, W, 3) float32; it may leave [0, 1].

    Source: Gatys et al. 2016, colour histogram matching.
    """
    mean, covariance = _statistics(style)
    wanted_mean, wanted_covariance = _statistics(content)
    matrix = color_map(covariance, wanted_covariance, method)
    return ((style - mean) @ matrix.T + wanted_mean).astype(np.float32)


def color_map(covariance: np.ndarray, wanted: np.ndarray, method: str) -> np.ndarray:
    """The matrix A that makes colours of one covariance into colours of another: A Σ Aᵀ = Σ'.

    Each such matrix is Σ'^½ Q Σ^−½ with Q orthogonal and ½ the symmetric root; methods differ in Q.

    - "cholesky": A = L' L⁻¹ of the Cholesky factors. Red is made of red alone, green of red and
      green, so it depends on the order of the channels.
    - "pca": Q = 1, A = Σ'^½ Σ^−½. Gatys et al. call it Image Analogies' (Hertzmann et al. 2001).
    - "symmetric": A = Σ^−½ (Σ^½ Σ' Σ^½)^½ Σ^−½, the one that moves colours least (Pitié & Kokaram
      2007, "The linear Monge-Kantorovitch linear colour mapping").

    Where a covariance is singular, Q is replaced by the nearest isometry between the directions in
    which both vary, and A is 0 on those in which colours do not vary.

    Args:
        covariance: Σ, (3, 3).
        wanted: Σ', (3, 3).
        method: one of `COLOR_MAPS`.

    Returns:
        (3, 3) float64.
    """
    (axes, spreads), (wanted_axes, wanted_spreads) = _principal(covariance), _principal(wanted)
    root = (axes * spreads) @ axes.T
    wanted_root = (wanted_axes * wanted_spreads) @ wanted_axes.T
    rotation = COLOR_MAPS[method](root, wanted_root)
    isometry = _nearest_isometry(wanted_axes.T @ rotation @ axes)
    return (wanted_axes * wanted_spreads) @ isometry @ (axes / spreads).T


def to_grey(image: np.ndarray) -> np.ndarray:
    """The luminance Y' = 0.299 R + 0.587 G + 0.114 B in all three channels, (H, W, 3) float32."""
    return _in_all_channels(_luminance(image))


def match_luminance(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The painting in grey, with the mean and the spread of the photograph's luminance.

    Y' ↦ σ_C / σ_S (Y' − μ_S) + μ_C; a painting of one luminance becomes the photograph's mean.

    Args:
        style: (H, W, 3), the painting.
        content: (H', W', 3), the photograph.

    Returns:
        (H, W, 3) float32, its channels equal; it may leave [0, 1].

    Source: Gatys et al. 2016, luminance-only transfer, after Hertzmann et al. 2001, "Image
    Analogies".
    """
    own, wanted = _luminance(style), _luminance(content)
    scale = wanted.std() / own.std() if own.std() > LEAST_SPREAD else 0.0
    return _in_all_channels(scale * (own - own.mean()) + wanted.mean())


def join_luminance(image: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """The luminance of one image with the chroma of another.

    I and Q of YIQ (and Cb and Cr) are sums of R, G and B with weights that add up to 0. To change
    Y' and keep them is to add the same to all three channels: the photograph + (Y' − Y'_C).

    Deviation from Gatys et al. 2016: no channel is clipped, which would change the chroma. Each
    pixel's luminance is limited instead to where its chroma is inside the gamut.

    Args:
        image: (H, W, 3), of any range: gives the luminance.
        photograph: (H, W, 3): gives the chroma.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    photograph = photograph.astype(np.float64).clip(0, 1)
    change = _luminance(image) - _luminance(photograph)
    least = -photograph.min(axis=-1, keepdims=True)
    most = 1 - photograph.max(axis=-1, keepdims=True)
    return (photograph + change.clip(least, most)).astype(np.float32)


def _luminance(image: np.ndarray) -> np.ndarray:
    """(H, W, 1) float64."""
    return (image.astype(np.float64) @ LUMA)[..., None]


def _in_all_channels(luminance: np.ndarray) -> np.ndarray:
    return np.repeat(luminance, 3, axis=-1).astype(np.float32)


def _statistics(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) of an image's colours, over all pixels."""
    colors = image.reshape(-1, 3).astype(np.float64)
    mean = colors.mean(axis=0)
    return mean, (colors - mean).T @ (colors - mean) / len(colors)


def _principal(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (3, r) in which colours vary, as columns, and their standard deviations (r,)."""
    variances, axes = np.linalg.eigh(covariance)
    varying = variances > LEAST_SPREAD**2
    return axes[:, varying], np.sqrt(variances[varying])


def _nearest_isometry(matrix: np.ndarray) -> np.ndarray:
    """U Vᵀ of the singular value decomposition U S Vᵀ."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _between_cholesky_factors(root: np.ndarray, wanted_root: np.ndarray) -> np.ndarray:
    """L' L⁻¹ = Σ'^½ O' Oᵀ Σ^−½, where L = Σ^½ O."""
    return _to_cholesky_factor(wanted_root) @ _to_cholesky_factor(root).T


def _to_cholesky_factor(root: np.ndarray) -> np.ndarray:
    """The orthogonal O such that Σ^½ O is lower triangular with no negative diagonal."""
    orthogonal, upper = np.linalg.qr(root)
    return orthogonal * np.where(np.diag(upper) < 0, -1.0, 1.0)


# Method: (Σ^½, Σ'^½) → the Q of `color_map`.
COLOR_MAPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cholesky": _between_cholesky_factors,
    "pca": lambda root, wanted_root: np.eye(3),
    "symmetric": lambda root, wanted_root: _nearest_isometry(wanted_root @ root),
}
