"""VGG as a Flax module, its operators, and Winograd's and the row-by-row form of them."""
