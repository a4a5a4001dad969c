"""The optimizers: L-BFGS with its history, the preconditioner, Adam."""
