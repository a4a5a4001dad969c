"""The optimisers: L-BFGS with its history, the preconditioner, Adam."""
