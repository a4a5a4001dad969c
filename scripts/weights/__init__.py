"""Make the embedded weights, and check what they claim."""
