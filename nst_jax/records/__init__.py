"""Records of runs: written, read, and their inputs found again."""
