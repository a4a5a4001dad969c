"""Measurements, figures and weights, each with a folder; all run from the root of the checkout."""

import argparse
import sys
from pathlib import Path

from nst_jax.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SAMPLES = DOCS / "samples"
CONTENT = SAMPLES / "china.jpg"
STYLE = SAMPLES / "van_gogh_cafe_terrace.jpg"


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written; defaults behind their flags' help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default else action.help


def make_parser(description: str, prog: str | None = None) -> argparse.ArgumentParser:
    """Of a script's command line; the description is the module's docstring."""
    return argparse.ArgumentParser(prog, description=description, formatter_class=_Help)


def publish(text: str, output: Path | None) -> None:
    """Print a document, or write it into a file."""
    if output:
        write_bytes(output, text.encode())
    else:
        print(text)


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)
