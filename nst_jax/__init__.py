"""Neural style transfer (Gatys, Ecker & Bethge 2015) in JAX."""

__version__ = "0.1.0"
