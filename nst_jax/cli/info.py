"""`nst-jax info`: versions, devices and weights found."""

import argparse
from collections.abc import Sequence
from typing import Any

import jax

from nst_jax.cli.messages import answer
from nst_jax.records.write import versions
from nst_jax.weights.locate import available_weights


def add_command(commands: Any) -> None:
    """Add `info` to the parser's commands."""
    commands.add_parser("info", description=__doc__).set_defaults(run=run)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """List them."""
    devices = jax.devices()  # before there is an answer: JAX may be told to use one it lacks
    for name, version in versions().items():
        answer(f"{name:10s} {version}")
    for device in devices:
        answer(f"{'device':10s} {device.platform}: {device.device_kind}")
    for path in available_weights():
        answer(f"{'weights':10s} {path.stem} ({path})")
    return True
