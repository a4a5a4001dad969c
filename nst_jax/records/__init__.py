"""Records of runs: written, read, their inputs found again, and done again."""
