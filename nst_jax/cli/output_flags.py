"""The flags on what is written, which all commands that paint share."""

import argparse
import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nst_jax.cli.interruption import ctrl_c_at_once
from nst_jax.cli.messages import say
from nst_jax.cli.settings_flags import add_value
from nst_jax.engine import distributed
from nst_jax.engine.pace import AUTO, read_interval
from nst_jax.engine.sharing import AUTO as AUTO_DEVICES
from nst_jax.engine.sharing import read_devices
from nst_jax.images import io
from nst_jax.images.encoders import MAX_DPI, PLAIN, SaveOptions


def add_output_flags(parser: argparse.ArgumentParser, metavar: str, meaning: str) -> None:
    """Add the flags on what is written; -o with this placeholder and help."""
    group = parser.add_argument_group("output")
    add = partial(add_value, group)
    group.add_argument("-o", "--output", metavar=metavar, help=meaning)
    group.add_argument("--overwrite", action="store_true", help="replace a result that exists")
    resume = "go on from a checkpoint, with --overwrite, too"
    group.add_argument("--resume", action="store_true", help=resume)
    every = "N steps, Ns, Nm, Nh, never [at 2 %% of the time]"
    add("--checkpoint-every", read_interval, "N", every, AUTO)
    watch = "shows the run on a page: OUT.html, DIR/watch.html"
    group.add_argument("--watch", action="store_true", help=watch)
    add("--save-every", int, "N", "also save the best image every N steps")
    add("--report-every", int, "N", "steps between entries of the record's history [10]", 10)
    add("--bits", int, "8|16", f"per channel; 16 in a PNG or TIFF [{PLAIN.bits}]")
    add("--dpi", int, "N", f"pixels per inch in print, 1 to {MAX_DPI} [not said]")
    exif = "with the photograph's EXIF data, the place included"
    group.add_argument("--copy-exif", action="store_true", help=exif)
    nothing = "no command and paths in pictures; records have them"
    group.add_argument("--no-metadata", action="store_true", help=nothing)


def add_devices_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag on how many devices share the picture."""
    group = parser.add_argument_group("devices")
    shared = "N that share the picture, each some of its rows, or all [auto: as few as it fits in]"
    add_value(group, "--devices", read_devices, "auto", shared, AUTO_DEVICES)
    add_joining_flag(group)


def add_joining_flag(group: Any) -> None:
    """Add the flag on other processes of the same run."""
    joining = "join this run's other processes (jax.distributed)"
    group.add_argument("--distributed", action="store_true", help=joining)


def join_if_asked(options: argparse.Namespace) -> None:
    """Join the run's other processes, before any device is used, and whatever else goes wrong."""
    if options.distributed:
        minutes = distributed.JOIN_SECONDS // 60
        say(f"waiting for the other processes of this run, {minutes} minutes at most")
        with ctrl_c_at_once():
            distributed.join()


def output_file(typed: str | None, default: Path) -> Path:
    """Where one file goes; a name that ends in a slash is the folder for the default name."""
    if typed is None:
        return default
    is_folder = typed.endswith(("/", os.sep))
    return Path(typed) / default.name if is_folder else Path(typed)


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
    typed = {name: getattr(options, name) for name in ("bits", "dpi")}
    typed["text"] = False if options.no_metadata else None
    return SaveOptions(**{k: before[k] if value is None else value for k, value in typed.items()})


def with_exif(
    saving: SaveOptions, options: argparse.Namespace, photograph: str | None
) -> SaveOptions:
    """With the photograph's EXIF data, where it was asked for; say so where there is none.

    Raises:
        ImageError: the photograph cannot be read.
    """
    if not options.copy_exif or photograph is None:
        return saving
    exif = io.read_exif(photograph)
    if exif is None:
        say(f"{photograph}: has no EXIF data to copy")
    return dataclasses.replace(saving, exif=exif)


def output_flags_of(options: argparse.Namespace) -> list[str]:
    """The flags that say the same of the files, where it is not the default."""
    bits = [] if options.bits in (None, PLAIN.bits) else ["--bits", str(options.bits)]
    dpi = [] if options.dpi is None else ["--dpi", str(options.dpi)]
    switches = {"--copy-exif": options.copy_exif, "--no-metadata": options.no_metadata}
    return [*bits, *dpi, *(flag for flag, typed in switches.items() if typed)]
