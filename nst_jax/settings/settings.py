"""What a run is told: each setting declared once, in `Settings`, and checked when one is made.

Flags, settings files, axes of sweeps, records and docs/settings.md derive from the declarations. A
new setting needs a field here, and the code that makes use of it.
"""

import dataclasses
from collections.abc import Mapping
from numbers import Real
from typing import Any

from nst_jax.architecture import layer_names
from nst_jax.errors import SettingsError
from nst_jax.settings import style_blend as blending
from nst_jax.settings.declaration import Group, SweepAxis, declarations
from nst_jax.settings.layer_weights import PRESET_WEIGHTS, read_layer_weights, weights_in_order
from nst_jax.settings.values import (
    FILES,
    LAYERS,
    SWITCH,
    SWITCH_OR_AUTO,
    WEIGHT,
    choice,
    many,
    real,
    text,
    whole,
)

INITS = ("content", "noise", "style")
LEARNING_RATES = {
    "lbfgs": 1.0,  # the quasi-Newton step
    "adam": 0.02,  # of the range [0, 1]: five levels of 8 bits, in the first step
}
# {convention: (from noise, from an image)}. From noise the content must first appear: the paper's
# own. Where it is there from the start, less keeps it: by the pictures of the samples at 256 and
# 512 px (docs/paper.md, "Which ratio?").
DEFAULT_RATIOS = {"paper": (1e-3, 5e-5), "paper-0.2": (1e-4, 1e-5)}
# By the same samples at 160 px, with normalized gradients: pictures and losses like those above.
PULL_FROM_NOISE, PULL_FROM_IMAGE = 0.1, 0.01
# Of `optim.preconditioner`. From noise fine color that nothing calls for comes and stays; from an
# image there is little of it, and pictures are as they were.
CHROMA_FROM_NOISE = 5.0
NO_STYLE = (None, "none")
MAX_SIZE = 16384  # px; beyond it one float32 layer of 64 filters alone passes 64 GB
PIXELS = whole(16, MAX_SIZE, "PX")
STYLE_NUMBER = whole(0, 1000)
REGION_STYLE = dataclasses.replace(
    STYLE_NUMBER,
    read=lambda number: 0 if number == "none" else int(number),
    canonical=lambda name, value: STYLE_NUMBER.canonical(name, 0 if value in NO_STYLE else value),
)
LAYER_WEIGHTS = dataclasses.replace(
    many(WEIGHT),
    read=read_layer_weights,
    canonical=lambda name, value: value,  # until the layers are known
    placeholder="W,…|L=W,…",
)
picture, styles, regions = Group("picture"), Group("style images"), Group("regions")
optimization, network = Group("optimization"), Group("network and losses")
GROUPS = tuple(group.title for group in (picture, styles, regions, optimization, network))


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one run; docs/settings.md has them in a table, with defaults and ranges.

    Raises:
        SettingsError: a value is unknown or out of range.
    """

    size: int = picture.static(512, PIXELS, "long side of the result")
    style_size: int | None = styles.static(
        None, PIXELS, "long side of each STYLE", shown="as --size"
    )
    style_blend: tuple[float, ...] | None = styles.arrays(
        None, many(WEIGHT), "weight of each STYLE", shown="equal", since="0.2"
    )
    style_scale: tuple[float, ...] = styles.arrays(
        (1.0,),
        many(real(0.01, 100, "S"), alone=(Real,)),
        "size against that, for strokes; several mix",
        notes="the Gram matrices are then the means over all of them",
        axis=SweepAxis("--style-scales", "scale", "style scale"),
        since="0.2",
    )
    layers_per_style: tuple[tuple[str, ...], ...] | None = styles.arrays(
        None,
        many(LAYERS, separator="/"),
        "style layers that each STYLE carries",
        shown="all",
        since="0.2",
    )
    content_mask: tuple[str, ...] = regions.arrays(
        (),
        FILES,
        "a region, white on black; again for each further one (or one picture, a color each)",
        since="0.2",
    )
    style_mask: tuple[str, ...] = regions.arrays(
        (), FILES, "part of its STYLE that each takes, or none", shown="all of it", since="0.2"
    )
    region_styles: tuple[int, ...] | None = regions.arrays(
        None,
        many(REGION_STYLE),
        "number of each region's STYLE, or none",
        notes="counted from 1; with none, or 0, the region stays as it is in the content image",
        shown="1,2,…",
        since="0.2",
    )
    steps: int = optimization.loop(
        500, whole(0, 10**7), "updates of the image", notes="the sum over all scales"
    )
    ratio: float | None = picture.traced(
        None,
        dataclasses.replace(WEIGHT, placeholder="α/β"),
        "content against style",
        notes="only the convention paper has a default; with normalized gradients each has, "
        f"{PULL_FROM_NOISE:g} from noise, else {PULL_FROM_IMAGE:g}",
        shown="{:g} from noise, else {:g}".format(*DEFAULT_RATIOS["paper"]),
        axis=SweepAxis("--ratios", "ratio", "ratio α/β"),
    )
    init: str = picture.arrays(
        "content",
        text("START"),
        "content, noise, style (the first) or FILE",
        axis=SweepAxis("--inits", "init", "start"),
    )
    init_noise: float = picture.arrays(
        0.0,
        real(0, 1, "F"),
        "part of the start that is noise instead, 0 to 1",
        axis=SweepAxis("--init-noises", "noise", "noise in the start"),
        since="0.2",
    )
    noise_amplitude: float = picture.arrays(
        0.01,
        real(0, 1, "A"),
        "range of the noise around mid-gray, 0 to 1",
        notes="1 is all from black to white; what the network does not see of it stays",
        since="0.3",
        when_absent=1.0,
    )
    seed: int = picture.arrays(
        0, whole(0, 2**32 - 1), "of the noise", axis=SweepAxis("--seeds", "seed", "seed")
    )
    content_layers: tuple[str, ...] = network.static(
        ("conv4_2",),
        LAYERS,
        "layers that keep the content",
        notes="none reconstructs the style alone",
    )
    content_layer_weights: tuple[float, ...] | None = network.traced(
        None, LAYER_WEIGHTS, "one per content layer", shown="equal, sum 1"
    )
    style_layers: tuple[str, ...] = network.static(
        ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        LAYERS,
        "layers that carry the style",
        notes="none reconstructs the content alone",
    )
    style_layer_weights: tuple[float, ...] | None = network.traced(
        None,
        LAYER_WEIGHTS,
        f"one per style layer, or {', '.join(PRESET_WEIGHTS)}",
        notes="layers that are not named get 0",
        shown="paper: equal",
        aliases=("--layer-weights",),
    )
    pooling: str = network.static("average", choice("average", "max"), "between the blocks")
    convention: str = network.static(
        "paper",
        choice("paper", "authors", "equations", "paper-0.2"),
        "of the losses",
        notes="what the ratio multiplies; paper-0.2 is what version 0.2 called paper",
    )
    weights: str = network.static("auto", text("NAME|FILE"), "auto, vgg19, vgg16, NAME or FILE")
    normalize: bool = network.arrays(
        True,
        SWITCH,
        "filters as trained, not scaled to mean activations 1",
        lanes_may_differ=False,  # they share the parameters
    )
    optimizer: str = optimization.static(
        "lbfgs", choice("lbfgs", "adam"), "how the image is updated"
    )
    learning_rate: float | None = optimization.static(
        None,
        real(1e-9, 1e3, "R"),
        "length of a step",
        notes="Adam lowers it on the way",
        shown=", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATES.items()),
    )
    lbfgs_memory: int = optimization.static(
        50, whole(1, 1000, "M"), "pairs of history, each as large as two images"
    )
    lbfgs_history: str = optimization.static(
        "float32",
        choice("float32", "bfloat16"),
        "type of these pairs",
        since="0.2",
    )
    precondition: bool = optimization.static(
        True,
        SWITCH,
        "plain gradients: the same loss later, broad areas last",
        since="0.2",
        when_absent=False,
    )
    smooth_chroma: float | None = optimization.traced(
        None,
        real(0, 100, "S"),
        "delay of fine color",
        notes="against fine form, with preconditioning; as low a loss, and less color noise",
        shown=f"{CHROMA_FROM_NOISE:g} from noise, else 0",
        since="0.3",
        when_absent=0.0,
    )
    tv_weight: float = picture.traced(
        0.0,
        WEIGHT,
        "smoothness: weight of the total variation",
        axis=SweepAxis("--tv-weights", "tv", "total variation"),
    )
    tv_l1_weight: float = picture.traced(
        0.0,
        WEIGHT,
        "the same with absolute differences: spares edges",
        axis=SweepAxis("--tv-l1-weights", "tv-l1", "absolute variation"),
        since="0.2",
    )
    colors: str = picture.arrays(
        "style",
        choice("style", "luminance", "match"),
        "the STYLE's, the CONTENT's (only luminance is painted), or the STYLE's moved to those",
        axis=SweepAxis("--color-modes", "colors", "colors"),
        since="0.2",
    )
    color_map: str = picture.arrays(
        "pca",  # as in the code of Gatys et al. 2016
        choice("cholesky", "pca", "symmetric"),
        "how match moves them",
        axis=SweepAxis("--color-maps", "map", "color map"),
        since="0.2",
    )
    padding: str = network.static(
        "zero", choice("zero", "reflect", "replicate"), "around the maps", since="0.2"
    )
    average: int = optimization.static(
        0, whole(0, 10**6), "mean of about N last images; 0: the best one", since="0.2"
    )
    normalize_gradients: bool = network.static(
        False,
        SWITCH,
        "each layer's term pulls as its weight says",
        notes="however large it is; the ratio then compares pulls, and has another default",
        since="0.2",
    )
    precision: str = network.static(
        "auto",
        choice("auto", "float32", "tf32", "bfloat16"),
        "of the network",
        notes="losses are float32 always; tf32 rounds what is multiplied (to TF32 on NVIDIA, to "
        "bfloat16 on TPU, not at all on CPU), bfloat16 the activations, too; auto is tf32 on "
        "GPUs and TPUs, float32 on CPUs",
    )
    scales: int = optimization.static(
        1,
        whole(1, 6),
        "sizes from coarse to fine, sharing the steps",
        notes="each is twice the one before; those of less than 32 px are left out",
        since="0.2",
    )
    low_memory: bool | str = network.static(
        False,
        SWITCH_OR_AUTO,
        "large images in bands: less memory, up to half slower",
        notes="auto: where memory is too small otherwise, and then less history, too, if needed",
        since="0.2",
    )

    def __post_init__(self):
        for name, declared in SETTINGS.items():
            value = getattr(self, name)
            if value is not None or declared.default is not None:
                self._set(name, declared.value.canonical(name, value))
        self._check_layers()
        if not self.style_scale:
            raise SettingsError("style_scale has no number; wanted at least one, such as 1")
        blending.check_mixture(self.style_layers, self.style_blend, self.layers_per_style)
        self._check_regions()
        if self.low_memory is True and self.normalize_gradients and self.style_layers:
            raise SettingsError(
                "low_memory does not go with normalize_gradients, whose norms are those of whole "
                "layers; leave one of them out"
            )
        if self.colors != "style" and not self.is_transfer:
            raise SettingsError(
                f"colors is {self.colors!r}, which needs a photograph and a painting; a "
                f"reconstruction has the colors of its one image: leave it out"
            )
        wanting = self.ratio is None and self.is_transfer and not self.normalize_gradients
        if wanting and self.convention not in DEFAULT_RATIOS:
            raise SettingsError(
                f"ratio has no default in the convention {self.convention!r}; give one (in "
                f"'authors' it is 205 times that of 'paper' for conv4_2, in 'equations' it is "
                f"that of 'paper' over 5 times the layer's number of positions)"
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
            weights = many(WEIGHT).canonical(name, weights_in_order(name, weights, layers))
            self._set(name, weights)
            if len(weights) != len(layers):
                raise SettingsError(
                    f"{name} has {len(weights)} numbers for {len(layers)} {kind} layers "
                    f"({', '.join(layers)}); wanted one each"
                )

    def _check_regions(self) -> None:
        if self.region_styles is not None and not any(self.region_styles):
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
    def starts_from_noise(self) -> bool:
        """Whether the initial image is noise and nothing else."""
        return self.init == "noise" or self.init_noise == 1

    @property
    def chroma_smoothing(self) -> float:
        """What `optim.preconditioner` is given, with the default filled in."""
        if self.smooth_chroma is not None:
            return self.smooth_chroma
        return CHROMA_FROM_NOISE if self.starts_from_noise else 0.0

    @property
    def content_weight(self) -> float:
        """α, with its default filled in; β is 1."""
        if self.ratio is not None:
            return self.ratio
        if not self.is_transfer:
            return 1.0
        if self.normalize_gradients:
            return PULL_FROM_NOISE if self.starts_from_noise else PULL_FROM_IMAGE
        ratio_from_noise, ratio_from_image = DEFAULT_RATIOS[self.convention]
        return ratio_from_noise if self.starts_from_noise else ratio_from_image

    @property
    def content_terms(self) -> dict[str, float]:
        """The weight of each content layer, with the default filled in."""
        return _terms(self.content_layers, self.content_layer_weights)

    @property
    def style_terms(self) -> dict[str, float]:
        """The w_l of each style layer, with the default filled in."""
        return _terms(self.style_layers, self.style_layer_weights)

    def style_shares(self, count: int) -> dict[str, tuple[float, ...]]:
        """How much each of so many style images gives to the target of each style layer.

        Raises:
            SettingsError: style_blend or layers_per_style are for another number of them.
        """
        return blending.shares_of(self.style_layers, count, self.style_blend, self.layers_per_style)

    @property
    def step_size(self) -> float:
        """The learning rate, with the optimizer's default filled in."""
        chosen = self.learning_rate
        return LEARNING_RATES[self.optimizer] if chosen is None else chosen

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that a loss reads, each once."""
        return tuple(dict.fromkeys(self.style_layers + self.content_layers))

    @property
    def static_part(self) -> "Settings":
        """The settings that decide the program; all that does not is as by default.

        Of `smooth_chroma` that is whether there is any, 0 or 1: a program without it rounds as
        programs did that did not know it.
        """
        others = {
            name: setting.default
            for name, setting in SETTINGS.items()
            if setting.kind != "static" or name in TOLD_BY_ARRAYS
        }
        smooths = float(self.precondition and self.chroma_smoothing > 0)
        derived = {"ratio": 1.0, "learning_rate": self.step_size, "smooth_chroma": smooths}
        return dataclasses.replace(self, **others | derived)


def _terms(layers: tuple[str, ...], weights: tuple[float, ...] | None) -> dict[str, float]:
    return dict(zip(layers, weights or (1 / max(len(layers), 1),) * len(layers), strict=True))


# Static, but told by the shapes of arrays, or by the parameters.
TOLD_BY_ARRAYS = ("size", "style_size", "scales", "weights")


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


# Gatys et al. 2015, section "Methods", and the caption of Figure 2. How the optimizer gets there is
# not said here: preconditioned or not, the objective is the same.
PAPER = {
    "init": "noise",
    "optimizer": "lbfgs",
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

SETTINGS = declarations(Settings)
_meanings = "".join(f"        {name}: {one.meaning}.\n" for name, one in SETTINGS.items())
Settings.__doc__ = f"{Settings.__doc__}\n    Attributes:\n{_meanings}"


def settings_of_record(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of every setting, from a record's of any version, in today's words.

    What the version did not know is as its runs were. Up to 0.2, which did not know
    `noise_amplitude`, the convention `paper` was today's `paper-0.2`.
    """
    values = {name: one.when_absent for name, one in SETTINGS.items()} | dict(recorded)
    if "noise_amplitude" not in recorded and values["convention"] == "paper":
        values["convention"] = "paper-0.2"
    return values


# What may differ between the lanes of one sweep; the rest decides what they share.
LANE_SETTINGS = tuple(name for name, one in SETTINGS.items() if one.lanes_may_differ)
