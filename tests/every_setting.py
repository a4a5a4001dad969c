"""Values of settings that are none of their defaults."""

# Each setting with a value that is not its default.
OTHER = {
    "size": 99,
    "style_size": 77,
    "style_blend": (3.0, 7.0),
    "style_scale": (0.5, 2.0),
    "layers_per_style": (("conv1_2",), ("conv5_3", "conv1_2")),
    "steps": 5,
    "ratio": 0.5,
    "init": 'schön 絵\\".png',
    "init_noise": 0.25,
    "noise_amplitude": 0.5,
    "seed": 3,
    "content_layers": ("conv3_1", "conv3_2"),
    "content_layer_weights": (1.0, 0.5),
    "style_layers": ("conv1_2", "conv5_3"),
    "style_layer_weights": (0.25, 1e-30),
    "pooling": "max",
    "convention": "equations",
    "weights": "vgg16",
    "normalize": False,
    "optimizer": "adam",
    "learning_rate": 0.1,
    "lbfgs_memory": 7,
    "precondition": False,
    "lbfgs_history": "bfloat16",
    "smooth_chroma": 3.0,
    "tv_weight": 1e38,
    "tv_l1_weight": 0.25,
    "colors": "match",
    "color_map": "symmetric",
    "padding": "reflect",
    "average": 9,
    "normalize_gradients": True,
    "precision": "bfloat16",
    "scales": 3,
}
# They do not go with those of mixtures.
REGIONS = {
    "content_mask": ("a,b.png", "c.png"),
    "style_mask": ("none", 'd".png'),
    "region_styles": (2, 0),
}
LEAN = {"low_memory": True}  # not with normalized gradients
