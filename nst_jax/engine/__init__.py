"""A run, of one setting or many: what it reads, what is compiled, its steps, its results."""
