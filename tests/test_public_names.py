"""What version 0.2 offered from its flat modules can still be imported from there."""

import importlib

import pytest

NAMES = {
    "ops": "BLOCK BORDERS average_pool2x2 bias_relu conv3x3 gram_matrix guided_gram_matrix "
    "max_pool2x2 observe pad_border",
    "vgg": "BLOCKS Convolution FILTERS PADDINGS POOLINGS VGG block_of canonical_layer "
    "check_images convolutions_up_to extract_features kernel_shapes last_layer layer_names "
    "observe_features smallest_side subtract_mean",
    "lbfgs": "CURVATURE_FLOOR LANE_AXES LBFGSState Preconditioner forget lbfgs scale_by_lbfgs",
    "losses": "ABSOLUTE_SMOOTHING CONVENTIONS Features LossWeights Losses NORM_FLOOR Targets "
    "absolute_variation content_loss gram_observers guided_style_loss normalize_gradient "
    "style_loss total_loss total_variation",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_version_0_2(name):
    module = importlib.import_module(f"nst_jax.{name}")
    assert not [public for public in NAMES[name].split() if not hasattr(module, public)]
    assert sorted(module.__all__) == sorted(NAMES[name].split())
