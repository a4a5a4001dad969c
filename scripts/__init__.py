"""Measurements, figures and weights, each with a folder; all run from the root of the checkout."""
