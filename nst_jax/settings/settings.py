"""What a run is told: checked once, here. Each default of a run stands here.

Static settings (names, sizes, the optimiser) decide which program is compiled; traced ones (the
ratio and the weights of layers and of the total variation) are arguments of that program. Some
change only the images and targets that the program is given.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nst_jax.architecture import canonical_layer, layer_names
from nst_jax.errors import SettingsError
from nst_jax.settings import style_blend as mixing
from nst_jax.settings.layer_weights import weights_in_order

INITS = ("content", "noise", "style")
OPTIMIZERS = ("lbfgs", "adam")
COLORS = ("style", "luminance", "match")
COLOR_MAPS = ("cholesky", "pca", "symmetric")
CONVENTIONS = ("paper", "authors", "equations")
PADDINGS = ("zero", "reflect", "replicate")
POOLINGS = ("average", "max")
PRECISIONS = ("float32", "tf32", "bfloat16")
HISTORIES = ("float32", "bfloat16")
LEARNING_RATES = {
    "lbfgs": 1.0,  # the quasi-Newton step
    "adam": 0.02,  # of the range [0, 1]: five levels of 8 bits, in the first step
}
# By the pictures of the samples at 256 and 512 px (README, "Which ratio?"): from noise the content
# must first appear and wants more weight; where it is there from the start, less keeps it.
RATIO_FROM_NOISE, RATIO_FROM_IMAGE = 1e-4, 1e-5
# Likewise with normalised gradients, at 160 px: pictures and losses like those of the above.
PULL_FROM_NOISE, PULL_FROM_IMAGE = 0.1, 0.01
LARGEST_SIZE = 16384  # px; beyond it one float32 layer of 64 filters alone passes 64 GB
# Type, least and most of each number.
WEIGHT = (float, 0, 1e38)  # float32 ends there
NUMBERS: dict[str, tuple[type, float, float]] = {
    "size": (int, 16, LARGEST_SIZE),
    "style_size": (int, 16, LARGEST_SIZE),
    "steps": (int, 0, 10**7),
    "seed": (int, 0, 2**32 - 1),
    "lbfgs_memory": (int, 1, 1000),
    "scales": (int, 1, 6),
    "ratio": WEIGHT,
    "tv_weight": WEIGHT,
    "tv_l1_weight": WEIGHT,
    "average": (int, 0, 10**6),
    "learning_rate": (float, 1e-9, 1e3),
    "init_noise": (float, 0, 1),
}
# Likewise, of each number of a sequence.
SEQUENCES: dict[str, tuple[type, float, float]] = {
    "style_scale": (float, 0.01, 100),
    "style_blend": WEIGHT,
    "content_layer_weights": WEIGHT,
    "style_layer_weights": WEIGHT,
    "region_styles": (int, 0, 1000),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Attributes:
        size: long side of the generated image, pixels; static.
        style_size: long side of each style image, pixels; None means `size`. Static.
        style_blend: one weight ≥ 0 per painting, taken over their sum; None means equal.
        style_scale: size of the paintings against `style_size`, 0.01 to 100: strokes grow and
            shrink with it. Of several numbers, or one, each painting at all of them: the mean of
            the Gram matrices.
        layers_per_style: the style layers that each painting carries, so that fine texture comes
            from one and coarse from another; None means all (`mixing`).
        content_mask: files of masks, one grey one for each region of the generated image (white
            inside), or one in which each region has a colour (`masks`); none: no regions.
        style_mask: likewise, of each region's painting, the part that the region takes; "none" for
            all of it. One for each region, or none at all.
        region_styles: the painting of each region, counted from 1; 0 or "none": it stays as it was
            photographed. None: the first region takes the first painting, and so on.
        steps: updates of the image, ≥ 0.
        ratio: α/β, content against style; None means 1e-4 from noise, else 1e-5, and is for the
            convention "paper" only; with normalised gradients 0.1 and 0.01, in each. Traced.
        init: "content", "noise", "style" (the first painting) or the path of an image: where the
            optimisation starts.
        init_noise: how much of that is replaced by noise, 0 to 1 (only noise).
        seed: of the noise, 0 to 2³²−1.
        content_layers: names such as conv4_2; none reconstructs the style alone. Static.
        content_layer_weights: one per content layer; None means 1 / (number of layers). May be
            given as {layer: weight}, the others 0, or as a preset's name (`layer_weights`). Traced.
        style_layers: names; none reconstructs the content alone. Static.
        style_layer_weights: w_l, one per style layer; likewise. Traced.
        pooling: "average" or "max"; static.
        convention: "paper", "authors" or "equations": what the ratio multiplies (`losses`). Static.
        weights: "auto", "vgg19", "vgg16", an installed name or a path.
        normalize: whether to scale the network's filters to a mean activation of 1.
        optimizer: "lbfgs" or "adam"; static.
        learning_rate: None means 1 for L-BFGS and 0.02 for Adam, which lowers it; static.
        lbfgs_memory: pairs of history, ≥ 1; static.
        lbfgs_history: "float32" or "bfloat16", the type that they are kept in; static.
        precondition: whether the optimiser works in variables in which broad areas change as easily
            as details: the same loss, sooner (`preconditioning`); static.
        tv_weight: weight of the total variation, ≥ 0; traced.
        colors: "style", the painting's; "luminance", the photograph's chroma, and only luminance is
            painted; or "match", the painting moved to the photograph's colours first (`palette`).
            Changes arrays only.
        color_map: "cholesky", "pca" or "symmetric": how "match" moves them (`recolor.color_map`).
            Changes arrays only.
        tv_l1_weight: weight of the absolute total variation, which spares edges, ≥ 0; traced.
        padding: "zero", "reflect" or "replicate": what surrounds each layer's maps. Static.
        average: N ≥ 1 makes the result the mean of the last images, about N of them (`program`);
            0 takes the image of least loss. Static.
        normalize_gradients: whether each layer's term pulls as its weight says, however large it
            is (`losses.normalize_gradient`); the ratio then compares pulls, not losses. Static.
        precision: "float32", "tf32" (products rounded as the hardware likes best: TF32 on NVIDIA,
            bfloat16 on TPU, no difference on CPU) or "bfloat16" (activations too); static.
        scales: sizes that the image goes through, 1 to 6, each twice the one before, and the last
            `size`; those of less than 32 px are left out. `steps` is the sum over all of
            them. Static.
        low_memory: whether the first blocks are computed in bands of rows, and again for the
            gradient: the same losses, later, in less memory (`bands`); static.

    Raises:
        SettingsError: a value is unknown or out of range.
    """

    size: int = 512
    style_size: int | None = None
    style_blend: tuple[float, ...] | None = None
    style_scale: tuple[float, ...] = (1.0,)
    layers_per_style: tuple[tuple[str, ...], ...] | None = None
    content_mask: tuple[str, ...] = ()
    style_mask: tuple[str, ...] = ()
    region_styles: tuple[int, ...] | None = None
    steps: int = 500
    ratio: float | None = None
    init: str = "content"
    init_noise: float = 0.0
    seed: int = 0
    content_layers: tuple[str, ...] = ("conv4_2",)
    content_layer_weights: tuple[float, ...] | None = None
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    style_layer_weights: tuple[float, ...] | None = None
    pooling: str = "average"
    convention: str = "paper"
    weights: str = "auto"
    normalize: bool = True
    optimizer: str = "lbfgs"
    learning_rate: float | None = None
    lbfgs_memory: int = 50
    lbfgs_history: str = "float32"
    precondition: bool = True
    tv_weight: float = 0.0
    colors: str = "style"
    color_map: str = "pca"  # as in the code of Gatys et al. 2016
    tv_l1_weight: float = 0.0
    padding: str = "zero"
    average: int = 0
    normalize_gradients: bool = False
    precision: str = "float32"
    scales: int = 1
    low_memory: bool = False

    def __post_init__(self):
        for name in ("content_layers", "style_layers"):
            self._set(name, _canonical_layers(name, getattr(self, name)))
        for name in ("init", "weights"):
            self._set(name, str(getattr(self, name)))  # a Path, too; the record holds text
        _check_one_of("pooling", self.pooling, POOLINGS)
        _check_one_of("padding", self.padding, PADDINGS)
        _check_one_of("convention", self.convention, CONVENTIONS)
        _check_one_of("optimizer", self.optimizer, OPTIMIZERS)
        _check_one_of("precision", self.precision, PRECISIONS)
        _check_one_of("lbfgs_history", self.lbfgs_history, HISTORIES)
        _check_one_of("colors", self.colors, COLORS)
        _check_one_of("color_map", self.color_map, COLOR_MAPS)
        for name in NUMBERS:
            value = getattr(self, name)
            if value is not None or getattr(Settings, name) is not None:  # the default may be None
                self._set(name, _number(name, value))
        self._check_layers()
        self._check_paintings()
        self._check_regions()
        if self.low_memory and self.normalize_gradients and self.style_layers:
            raise SettingsError(
                "low_memory does not go with normalize_gradients, whose norms are those of whole "
                "layers; leave one of them out"
            )
        if self.colors != "style" and not self.is_transfer:
            raise SettingsError(
                f"colors is {self.colors!r}, which needs a photograph and a painting; a "
                f"reconstruction has the colours of its one image: leave it out"
            )
        wanting = self.ratio is None and self.is_transfer and not self.normalize_gradients
        if wanting and self.convention != "paper":
            raise SettingsError(
                f"ratio has no default in the convention {self.convention!r}; give one (in "
                f"'authors' it is 1024 times that of 'paper' for conv4_2, in 'equations' it is "
                f"that of 'paper' over the layer's number of positions)"
            )

    def _set(self, name: str, value: Any) -> None:
        """Replace a field, while the settings are being made, by its canonical form."""
        object.__setattr__(self, name, value)

    def _check_layers(self) -> None:
        if not self.layers:
            raise SettingsError(
                f"content_layers and style_layers are both empty; wanted at least one layer of "
                f"{', '.join(layer_names('vgg19'))}"
            )
        for kind in ("content", "style"):
            name = f"{kind}_layer_weights"
            weights, layers = getattr(self, name), getattr(self, f"{kind}_layers")
            if weights is None:
                continue
            weights = _numbers(name, weights_in_order(name, weights, layers))
            self._set(name, weights)
            if len(weights) != len(layers):
                raise SettingsError(
                    f"{name} has {len(weights)} numbers for {len(layers)} {kind} layers "
                    f"({', '.join(layers)}); wanted one each"
                )

    def _check_paintings(self) -> None:
        scales = self.style_scale
        scales = _numbers("style_scale", scales if isinstance(scales, Iterable) else (scales,))
        if not scales:
            raise SettingsError("style_scale has no number; wanted at least one, such as 1")
        self._set("style_scale", scales)
        if self.style_blend is not None:
            self._set("style_blend", _numbers("style_blend", self.style_blend))
        if self.layers_per_style is not None:
            sets = _sequence("layers_per_style", self.layers_per_style)
            sets = tuple(_canonical_layers("layers_per_style", layers) for layers in sets)
            self._set("layers_per_style", sets)
        mixing.check_mixture(self.style_layers, self.style_blend, self.layers_per_style)

    def _check_regions(self) -> None:
        for name in ("content_mask", "style_mask"):
            files = getattr(self, name)
            files = (files,) if isinstance(files, str | Path) else _sequence(name, files)
            self._set(name, tuple(str(file) for file in files))
        if self.region_styles is not None:
            given = _sequence("region_styles", self.region_styles)
            numbers = _numbers("region_styles", [0 if n in (None, "none") else n for n in given])
            self._set("region_styles", numbers)
            if not any(numbers):
                raise SettingsError("region_styles has no painting; give at least one region its")
        if not self.content_mask:
            for name in ("style_mask", "region_styles"):
                if getattr(self, name):
                    raise SettingsError(f"{name} needs the regions of a content_mask; give one")
            return
        if not self.style_layers:
            raise SettingsError("content_mask says where style goes, and style_layers is empty")
        for name in ("style_blend", "layers_per_style"):
            if getattr(self, name) is not None:
                raise SettingsError(
                    f"{name} does not go with content_mask: a region takes one painting, with all "
                    f"style layers; leave one of them out"
                )

    @property
    def is_transfer(self) -> bool:
        """Whether both content and style are asked for; else one of them is reconstructed."""
        return bool(self.content_layers and self.style_layers)

    @property
    def content_weight(self) -> float:
        """α, with its default filled in; β is 1."""
        if self.ratio is not None:
            return self.ratio
        if not self.is_transfer:
            return 1.0
        from_noise = self.init == "noise" or self.init_noise == 1
        if self.normalize_gradients:
            return PULL_FROM_NOISE if from_noise else PULL_FROM_IMAGE
        return RATIO_FROM_NOISE if from_noise else RATIO_FROM_IMAGE

    @property
    def content_terms(self) -> dict[str, float]:
        """The weight of each content layer, with the default filled in."""
        return _terms(self.content_layers, self.content_layer_weights)

    @property
    def style_terms(self) -> dict[str, float]:
        """The w_l of each style layer, with the default filled in."""
        return _terms(self.style_layers, self.style_layer_weights)

    def style_shares(self, paintings: int) -> dict[str, tuple[float, ...]]:
        """How much each of so many paintings gives to the target of each style layer.

        Raises:
            SettingsError: style_blend or layers_per_style are for another number of paintings.
        """
        return mixing.shares_of(
            self.style_layers, paintings, self.style_blend, self.layers_per_style
        )

    @property
    def step_size(self) -> float:
        """The learning rate, with the optimiser's default filled in."""
        chosen = self.learning_rate
        return LEARNING_RATES[self.optimizer] if chosen is None else chosen

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that a loss reads, each once."""
        return tuple(dict.fromkeys(self.style_layers + self.content_layers))


def _terms(layers: tuple[str, ...], weights: tuple[float, ...] | None) -> dict[str, float]:
    return dict(zip(layers, weights or (1 / max(len(layers), 1),) * len(layers), strict=True))


def without_idle_layers(settings: Settings) -> Settings:
    """Settings of the same loss, without the layers whose weight is 0."""
    changes: dict[str, Any] = {}
    for kind, terms in (("content", settings.content_terms), ("style", settings.style_terms)):
        layers = {layer: weight for layer, weight in terms.items() if weight}
        equal = all(weight == 1 / len(layers) for weight in layers.values())
        changes[f"{kind}_layers"] = tuple(layers)
        changes[f"{kind}_layer_weights"] = None if equal else tuple(layers.values())
    if settings.layers_per_style is not None:
        active = changes["style_layers"]
        changes["layers_per_style"] = tuple(
            tuple(layer for layer in own if layer in active) for own in settings.layers_per_style
        )
    return dataclasses.replace(settings, **changes)


# Gatys et al. 2015, section "Methods", and the caption of Figure 2.
PAPER = {
    "init": "noise",
    "optimizer": "lbfgs",
    "precondition": False,
    "pooling": "average",
    "content_layers": ("conv4_2",),
    "content_layer_weights": None,
    "style_layers": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    "style_layer_weights": None,
    "convention": "paper",
    "ratio": 1e-3,
    "tv_weight": 0.0,
    "tv_l1_weight": 0.0,
    "padding": "zero",
    "average": 0,
    "normalize_gradients": False,
    "normalize": True,
}
PRESETS = {"paper": PAPER}


def _check_one_of(name: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        close = difflib.get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"{name} is {value!r}; wanted one of {', '.join(known)}{hint}")


def _number(name: str, value: Any) -> float:
    """A Python number, whatever kind came in: records are JSON, which has no NumPy's."""
    kind, least, most = {**NUMBERS, **SEQUENCES}[name]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most or kind(number) != number:
        whole = "a whole number, " if kind is int else ""
        raise SettingsError(f"{name} is {value}; wanted {whole}{least:.10g} to {most:.10g}")
    return kind(number)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    return tuple(_number(name, value) for value in _sequence(name, values))


def _sequence(name: str, value: Any) -> tuple:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise SettingsError(f"{name} is {value!r}; wanted a sequence, such as a tuple")
    return tuple(value)


def _canonical_layers(name: str, layers: Iterable[str]) -> tuple[str, ...]:
    """Names as VGG-19 has them; whether a network has the layer is checked once it is known."""
    layers = tuple(canonical_layer(str(layer), "vgg19") for layer in _sequence(name, layers))
    if len(set(layers)) != len(layers):
        raise SettingsError(f"{name} names a layer twice: {', '.join(layers)}")
    return layers
