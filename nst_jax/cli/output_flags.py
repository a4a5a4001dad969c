"""The flags on what is written, which all commands that paint share; and what it is called."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_jax.cli.messages import say
from nst_jax.images import io
from nst_jax.images.encoders import MAX_DPI, PLAIN, SaveOptions


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags on what is written."""
    group = parser.add_argument_group("output")
    group.add_argument("--overwrite", action="store_true", help="replace a result that exists")
    group.add_argument(
        "--save-every", type=int, metavar="N", help="also save the best image every N steps"
    )
    group.add_argument(
        "--report-every",
        type=int,
        metavar="N",
        default=10,
        help="steps between entries of the record's history [10]",
    )
    group.add_argument(
        "--bits",
        type=int,
        metavar="8|16",
        help=f"per channel; 16 in a PNG or TIFF [{PLAIN.bits}]",
    )
    group.add_argument(
        "--dpi",
        type=int,
        metavar="N",
        help=f"resolution for printing, in pixels per inch, 1 to {MAX_DPI} [not said]",
    )
    group.add_argument(
        "--copy-exif",
        action="store_true",
        help="copy the photograph's EXIF data, the place included; not orientation and thumbnail",
    )


def save_options(
    options: argparse.Namespace, before: Mapping[str, Any] = PLAIN.metadata()
) -> SaveOptions:
    """What the flags say of the files, but for the EXIF data.

    Args:
        options: of the command line.
        before: how it was in a recorded run, for what was not typed; as `SaveOptions.metadata`.

    Raises:
        SettingsError: bits or dpi is out of range.
    """
    return SaveOptions(
        bits=before["bits"] if options.bits is None else options.bits,
        dpi=before["dpi"] if options.dpi is None else options.dpi,
    )


def with_exif(saving: SaveOptions, options: argparse.Namespace, photograph: str) -> SaveOptions:
    """With the photograph's EXIF data, where it was asked for; say so where there is none.

    Raises:
        ImageError: the photograph cannot be read.
    """
    if not options.copy_exif:
        return saving
    exif = io.read_exif(photograph)
    if exif is None:
        say(f"{photograph}: has no EXIF data to copy")
    return dataclasses.replace(saving, exif=exif)


def output_flags_of(options: argparse.Namespace) -> list[str]:
    """The flags that say the same of the files, where it is not the default."""
    bits = [] if options.bits in (None, PLAIN.bits) else ["--bits", str(options.bits)]
    dpi = [] if options.dpi is None else ["--dpi", str(options.dpi)]
    return [*bits, *dpi, *(["--copy-exif"] if options.copy_exif else [])]


def record_path(picture: Path) -> Path:
    """Where the record of a picture stands: beside it, with the suffix .json."""
    return picture.with_suffix(".json")


def intermediate_path(picture: Path, step: int) -> Path:
    """Where the best image of the first `step` steps is saved: OUT-00100.png beside OUT.png."""
    return picture.with_stem(f"{picture.stem}-{step:05d}")
