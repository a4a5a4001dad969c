"""The losses, as pure functions of features: content, style, total variations, and their sum.

Each takes arrays with the images along the first axis and returns one number per image, (N,), in
float32 (float64 where the inputs are) whatever type the network computed in.

With F, P the features of the generated and the content image at M positions of C filters, and
G, A the Gram matrices of the generated and the style image, each divided by its own number of
positions, the conventions for what α/β multiplies are

    convention    content, per layer    style, per layer
    paper         Σ (F−P)² / (10 M)     Σ (G−A)² / (4 C²)
    authors       Σ (F−P)² / (M C)      Σ (G−A)² / C²
    equations     Σ (F−P)² / 2          Σ (G−A)² / (4 C²)
    paper-0.2     Σ (F−P)² / (2 M)      Σ (G−A)² / (4 C²)

`paper` is eq. 1 averaged over positions and divided by `PRINTED_RATIO_FACTOR`, and eq. 4: with
normalized weights the paper's printed ratios give the paper's Figures 2 and 3. `authors` is their
code of 2017; its ratio r is 5 r/(2C) in `paper`. `equations` is eq. 1 as printed, which grows with
the image's area. `paper-0.2` is what version 0.2 called `paper`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from nst_jax.network.gram import gram_matrix, guided_gram_matrix, over_devices
from nst_jax.rows import ALONE, Rows

if TYPE_CHECKING:
    from nst_jax.settings.settings import Settings

CONVENTIONS = ("paper", "authors", "equations", "paper-0.2")

# Calibrated by eye: at the ratios that the paper prints, eq. 1 averaged over positions weighs
# content 3 to 8 times too much (docs/paper.md, "What the ratio multiplies"). The paper's text comes
# to 5 if it prints α over the weight of each of its five style layers, without their w_l = 1/5.
PRINTED_RATIO_FACTOR = 5.0

# One level of 8 bits: smaller differences than that count nearly as squares.
ABSOLUTE_SMOOTHING = 1 / 255
# jcjohnson/neural-style: added to the norm that a gradient is divided by.
NORM_FLOOR = 1e-8

Features = Mapping[str, jax.Array]


class Targets(NamedTuple):
    """What the generated image is compared with.

    Attributes:
        content: {layer: (1, h, w, C)}, features of the content image, of the network's type.
        style: {layer: (1, C, C)}, Gram matrices of the style image, as `gram_matrix` has them;
            with regions {layer: (1, R, C, C)}, as `guided_gram_matrix` has them. float32.
        guides: {layer: (1, R, h, w)}, float32, the guidance maps of the generated image for every
            style layer, from `guidance.make_guides`; empty without regions.
        region_weights: {layer: (1, R)}, float32, the weights of `guidance.make_guides`, but 0 for a
            region that has no style; empty without regions.
        free: (1, H, W, 1) bool, whether a pixel of the generated image may change; None: all may.
    """

    content: Features
    style: Features
    guides: Features = {}
    region_weights: Features = {}
    free: jax.Array | None = None


class LossWeights(NamedTuple):
    """What the terms are multiplied with, and what else is traced, so that one program serves all.

    Attributes:
        content: α, a scalar.
        style: β, a scalar.
        tv: weight of the total variation, a scalar.
        content_layers: {layer: scalar}.
        style_layers: {layer: scalar}, the paper's w_l; 0 switches a layer off.
        tv_l1: weight of the absolute total variation, a scalar.
        chroma_smoothing: of no term, but of the optimizer's `preconditioner`, a scalar.
    """

    content: jax.Array
    style: jax.Array
    tv: jax.Array
    content_layers: Mapping[str, jax.Array]
    style_layers: Mapping[str, jax.Array]
    tv_l1: jax.Array | float = 0.0
    chroma_smoothing: jax.Array | float = 0.0

    @classmethod
    def from_settings(cls, settings: "Settings") -> "LossWeights":
        """Those that settings ask for, float32 scalars; β is 1."""
        return cls(
            content=jnp.float32(settings.content_weight),
            style=jnp.float32(1.0),
            tv=jnp.float32(settings.tv_weight),
            content_layers={name: jnp.float32(w) for name, w in settings.content_terms.items()},
            style_layers={name: jnp.float32(w) for name, w in settings.style_terms.items()},
            tv_l1=jnp.float32(settings.tv_l1_weight),
            chroma_smoothing=jnp.float32(settings.chroma_smoothing),
        )


class Losses(NamedTuple):
    """The total and its terms before their weights, one number per image.

    Attributes:
        total: α·content + β·style + tv_weight·tv + tv_l1_weight·tv_l1.
        content: Σ_l w_l · content loss of layer l.
        style: Σ_l w_l · style loss of layer l.
        tv: total variation.
        content_layers: {layer: content loss before its weight}.
        style_layers: {layer: style loss before w_l, the regions' together}.
        tv_l1: absolute total variation.
    """

    total: jax.Array
    content: jax.Array
    style: jax.Array
    tv: jax.Array
    content_layers: Mapping[str, jax.Array]
    style_layers: Mapping[str, jax.Array]
    tv_l1: jax.Array | float = 0.0


@jax.tree_util.register_pytree_node_class
class PackedLosses:
    """`Losses` as one array: a device chooses between two of them, and sends them, as one thing.

    Attributes:
        values: (…, K), the leaves of the losses, the total first.
        structure: of the tree that they are the leaves of.
    """

    def __init__(self, values: jax.Array, structure: jax.tree_util.PyTreeDef):
        """Take what `pack` makes."""
        self.values, self.structure = values, structure

    @classmethod
    def pack(cls, losses: Losses) -> "PackedLosses":
        """Pack losses whose leaves have one shape (…) and type."""
        leaves, structure = jax.tree.flatten(losses)
        return cls(jnp.stack(leaves, axis=-1), structure)

    @property
    def total(self) -> jax.Array:
        """(…), what is optimized."""
        return self.values[..., 0]

    def unpack(self) -> Losses:
        """The losses, each (…)."""
        leaves = [self.values[..., place] for place in range(self.values.shape[-1])]
        return jax.tree.unflatten(self.structure, leaves)

    def tree_flatten(self) -> tuple[tuple[jax.Array], jax.tree_util.PyTreeDef]:
        """For JAX: one leaf."""
        return (self.values,), self.structure

    @classmethod
    def tree_unflatten(cls, structure: Any, leaves: Any) -> "PackedLosses":
        """For JAX: put together again, whatever the leaf is."""
        return cls(leaves[0], structure)


def _widen(array: jax.Array) -> jax.Array:
    """The type that is summed in."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _sum_of_squares(difference: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(_widen(difference)), axis=tuple(range(1, difference.ndim)))


def content_loss(
    features: jax.Array,
    target_features: jax.Array,
    convention: str = "paper",
    rows: Rows = ALONE,
) -> jax.Array:
    """Squared error between the features of the generated and the content image.

    Σ (F−P)² / (10 M) in `paper`, / (M C) in `authors`, / 2 in `equations`, / (2 M) in `paper-0.2`.

    Args:
        features: (N, h, w, C), any float type.
        target_features: (N or 1, h, w, C).
        convention: one of `CONVENTIONS`.
        rows: that this device holds of them.

    Returns:
        (N,), float32.

    Source: Gatys et al. 2015, eq. 1. Deviation: `paper` averages over positions, and divides by
    `PRINTED_RATIO_FACTOR`.
    """
    _, held, width, channels = features.shape
    positions = float(rows.whole(held) * width)
    divisors = {
        "paper": PRINTED_RATIO_FACTOR * 2 * positions,
        "authors": positions * channels,
        "equations": 2.0,
        "paper-0.2": 2 * positions,
    }
    difference = _widen(features) - _widen(target_features)
    return rows.sum(_sum_of_squares(difference)) / divisors[convention]


def style_loss(gram: jax.Array, target_gram: jax.Array, convention: str = "paper") -> jax.Array:
    """Squared error between the Gram matrices of the generated and the style image.

    Σ (G−A)² / (4 C²), without the 4 in `authors`; both Grams are already divided by their M.

    Args:
        gram: (N, C, C), from `gram_matrix`.
        target_gram: (N or 1, C, C), from an image of any size.
        convention: one of `CONVENTIONS`.

    Returns:
        (N,), float32.

    Source: Gatys et al. 2015, eq. 4. Deviation: each Gram is divided by its own M, which is the
    same where the images have one size and makes sense where they have not.
    """
    channels = gram.shape[-1]
    factor = 1.0 if convention == "authors" else 4.0
    return _sum_of_squares(gram - target_gram) / (factor * float(channels) ** 2)


def guided_style_loss(
    grams: jax.Array, target_grams: jax.Array, region_weights: jax.Array, convention: str = "paper"
) -> jax.Array:
    """The style losses of all regions, times their weights: Σ_r λ_r · style_loss(G_r, A_r).

    Args:
        grams: (N, R, C, C), from `guided_gram_matrix`.
        target_grams: (N or 1, R, C, C), of the regions' own styles.
        region_weights: (N or 1, R), the λ_r.
        convention: one of `CONVENTIONS`.

    Returns:
        (N,), float32.

    Source: Gatys et al. 2017, section 4.1.
    """
    count, regions, channels, _ = grams.shape
    targets = jnp.broadcast_to(target_grams, grams.shape)
    square = (count * regions, channels, channels)
    each = style_loss(grams.reshape(square), targets.reshape(square), convention)
    return jnp.sum(region_weights * each.reshape(count, regions), axis=1)


def total_variation(images: jax.Array, rows: Rows = ALONE) -> jax.Array:
    """Squared differences between neighboring pixels, averaged over positions.

    Σ [(x_{i+1,j} − x_{i,j})² + (x_{i,j+1} − x_{i,j})²] / M, summed over channels.

    Args:
        images: (N, H, W, 3).
        rows: that this device holds of them.

    Returns:
        (N,), float32.

    Source: Mahendran & Vedaldi 2015, eq. 3 with β = 2. Deviation: divided by M = H·W, so that a
    weight means the same at every size.
    """
    _, held, width, _ = images.shape
    down, along = _differences(images, rows)
    sums = _sum_of_squares(down) + _sum_of_squares(along)
    return rows.sum(sums) / float(rows.whole(held) * width)


def absolute_variation(
    images: jax.Array, smoothing: float = ABSOLUTE_SMOOTHING, rows: Rows = ALONE
) -> jax.Array:
    """Absolute differences between neighboring pixels, averaged over positions.

    Σ [√(d² + ε²) − ε] / M over all d = x_{i+1,j} − x_{i,j} and x_{i,j+1} − x_{i,j}, summed over
    channels. Against `total_variation` an edge costs its height, not its height squared: speckle
    goes, and edges stay sharp.

    Args:
        images: (N, H, W, 3).
        smoothing: ε > 0, in units of the image's range; below it differences count as squares,
            which keeps the gradient continuous where neighbors are equal.
        rows: that this device holds of them.

    Returns:
        (N,), float32.

    Source: Rudin, Osher & Fatemi 1992, eq. 2.1; Mahendran & Vedaldi 2015, eq. 3 with β = 1.
    Deviations: anisotropic, the differences down and along each by itself; smoothed as in
    Charbonnier et al. 1994; divided by M = H·W.
    """
    _, held, width, _ = images.shape
    sums = []
    for differences in _differences(_widen(images), rows):
        squares = jnp.square(differences)
        # The difference of the docstring loses all its digits for small d; this is the same.
        heights = squares / (jnp.sqrt(squares + smoothing**2) + smoothing)
        sums.append(jnp.sum(heights, axis=(1, 2, 3)))
    return rows.sum(sums[0] + sums[1]) / float(rows.whole(held) * width)


def both_variations(images: jax.Array, rows: Rows = ALONE) -> tuple[jax.Array, jax.Array]:
    """`total_variation` and `absolute_variation` of images (N, H, W, 3): each (N,)."""
    return total_variation(images, rows), absolute_variation(images, rows=rows)


def _differences(images: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Of neighbors down and along, in images (N, H, W, 3); zeros beyond the image."""
    along = rows.masked(images[:, :, 1:] - images[:, :, :-1])
    if rows.devices == 1:
        return images[:, 1:] - images[:, :-1], along
    held = images.shape[1]
    down = rows.with_neighbors(images)[:, 2:] - images
    has_next = rows.top(held) + jnp.arange(held) + 1 < rows.whole(held)
    return jnp.where(has_next[:, None, None], down, 0), along


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def normalize_gradient(features: jax.Array, weight: jax.Array, rows: Rows = ALONE) -> jax.Array:
    """The features as they are; the gradient of what reads them is made as long as its weight.

    With g the gradient of weight · term with respect to the features of one image, what goes on
    to the network is weight · g / (‖g‖₁ + weight · ε), ε = 1e-8: the direction of the term's
    gradient, with the weight as its L1 norm. How large the term is does not matter, and a weight
    of 0 gives 0.

    Args:
        features: (N, h, w, C), any float type, read by one term only.
        weight: that the term is multiplied with in the loss, a scalar.
        rows: that this device holds of them.

    Returns:
        The features, (N, h, w, C).

    Source: jcjohnson/neural-style, `-normalize_gradients`, which divides the gradient of the term
    by its L1 norm and ε before it multiplies with the weight: the same. Deviations: each image by
    itself; from the first step on, where their code (commit 053a6e3) waits until the sum of the
    content terms passes 1.
    """
    return features


def _normalize_backward(rows, weight, cotangent):
    gradient = _widen(cotangent)
    norm = rows.sum(jnp.sum(jnp.abs(gradient), axis=(1, 2, 3), keepdims=True))
    floor = jnp.maximum(weight * NORM_FLOOR, jnp.finfo(gradient.dtype).tiny)
    normalized = weight * (gradient / (norm + floor))
    return normalized.astype(cotangent.dtype), jnp.zeros_like(weight)


normalize_gradient.defvjp(lambda features, weight, _: (features, weight), _normalize_backward)


def total_loss(
    images: jax.Array,
    features: Features,
    targets: Targets,
    weights: LossWeights,
    convention: str = "paper",
    grams: Features | None = None,
    normalize_gradients: bool = False,
    rows: Rows = ALONE,
    variations: tuple[jax.Array, jax.Array] | None = None,
) -> Losses:
    """L = α · L_content + β · L_style + tv_weight · TV + tv_l1_weight · TV₁, and its terms.

    Args:
        images: (N, H, W, 3), the generated images.
        features: {layer: (N, h, w, C)} of the images, for every layer of the targets.
        targets: of the content and the style image.
        weights: of the terms; a layer with weight 0 is computed and contributes nothing.
        convention: one of `CONVENTIONS`.
        grams: {layer: (N, C, C) or, with regions, (N, R, C, C)}, Gram matrices that are known
            already, from `gram_observers`; `features` need not have their layers then.
        normalize_gradients: make the gradient of each content and style layer's term, with respect
            to its features, as long as the term's weight (`normalize_gradient`). The losses are the
            same; that gradient is no longer theirs.
        rows: that this device holds of the images, features and guides; of these losses all devices
            have the same.
        variations: `both_variations` of the images, where they are known already.

    Returns:
        Losses, each (N,).

    Source: Gatys et al. 2015, eq. 5 and 7.
    """
    zeros = jnp.zeros(images.shape[0], jnp.promote_types(images.dtype, jnp.float32))
    content, style = zeros, zeros
    content_layers, style_layers = {}, {}
    for layer, target in targets.content.items():
        weight, maps = weights.content_layers[layer], features[layer]
        if normalize_gradients:
            maps = normalize_gradient(maps, weights.content * weight, rows)
        term = content_loss(maps, target, convention, rows)
        content_layers[layer] = term
        content += weight * term
    observers = gram_observers(targets, weights, normalize_gradients, rows)
    for layer, (gram_of, *arguments) in observers.items():
        gram = grams[layer] if grams else gram_of(features[layer], *arguments)
        target = targets.style[layer]
        if layer in targets.guides:
            term = guided_style_loss(gram, target, targets.region_weights[layer], convention)
        else:
            term = style_loss(gram, target, convention)
        style_layers[layer] = term
        style += weights.style_layers[layer] * term
    tv, tv_l1 = variations or both_variations(images, rows)
    total = weights.content * content + weights.style * style
    total += weights.tv * tv + weights.tv_l1 * tv_l1
    return Losses(total, content, style, tv, content_layers, style_layers, tv_l1)


def gram_observers(
    targets: Targets,
    weights: LossWeights,
    normalize_gradients: bool = False,
    rows: Rows = ALONE,
) -> dict[str, tuple[Any, ...]]:
    """{layer: (function, *arguments)} of the Gram matrices that are compared with these targets.

    `function(features, *arguments)`, of features (N, h, w, C), is what `total_loss` takes as
    `grams`; targets, weights, whether gradients are normalized and rows must be those that it is
    given.
    """
    observers: dict[str, tuple[Any, ...]] = {}
    for layer in targets.style:
        guides = (targets.guides[layer],) if layer in targets.guides else ()
        gram_of = over_devices(guided_gram_matrix if guides else gram_matrix, rows)
        if normalize_gradients:
            weight = weights.style * weights.style_layers[layer]
            observers[layer] = (partial(_of_normalized, gram_of, rows), weight, *guides)
        else:
            observers[layer] = (gram_of, *guides)
    return observers


def _of_normalized(
    gram_of: Callable[..., jax.Array],
    rows: Rows,
    features: jax.Array,
    weight: jax.Array,
    *guides: jax.Array,
) -> jax.Array:
    return gram_of(normalize_gradient(features, weight, rows), *guides)
