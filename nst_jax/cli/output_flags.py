"""The flags on how pictures are written, which `stylize`, `sweep` and `reconstruct` share."""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from nst_jax.cli.progress import say
from nst_jax.images import io
from nst_jax.images.encoders import MAX_DPI, PLAIN, SaveOptions


def add_file_flags(group: argparse._ArgumentGroup) -> None:
    """Add the flags on bits, resolution and EXIF data."""
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
