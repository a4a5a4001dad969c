"""Times nst_jax against PyTorch, and compares ways of its own: `python -m scripts.benchmark`."""
