"""What a device would do, asked of XLA: memory, kernels, traffic, and the least time of a step."""
