"""The command `nst-jax`: flags, exit codes, and which function does the work.

Exit codes: 0 done; 2 the user's mistake, in one line; 130 after Ctrl-C; 1 anything else. Standard
output carries what was asked for (the paths written, one a line), standard error all the rest.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

import jax

import nst_jax
from nst_jax.cli import reconstruct, rerun, stylize, sweep, weights
from nst_jax.cli.progress import accept_any_text, answer, say
from nst_jax.engine.compilation_cache import keep_compilations
from nst_jax.errors import FailedLanesError, NSTError, PeerLostError
from nst_jax.records import write
from nst_jax.weights.locate import available_weights

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class _Help(argparse.HelpFormatter):
    """Help on few lines: no list of options in the usage, no line for a long flag alone."""

    COLUMN = 22  # of the meanings

    def add_usage(self, usage, actions, groups, prefix=None) -> None:
        named = [action for action in actions if not action.option_strings]
        shown = [*named, _OPTIONS] if len(named) < len(actions) else named
        super().add_usage(usage, shown, (), prefix)

    def _format_action(self, action) -> str:
        if not action.help or not action.option_strings:
            return super()._format_action(action)
        placeholder = "" if action.nargs == 0 else f" {self._format_args(action, '')}"
        flags = "  " + ", ".join(action.option_strings) + placeholder
        meaning = re.sub(r"\(default: (.*)\)", r"[\1]", self._expand_help(action))
        lines = textwrap.wrap(
            meaning,
            self._width,
            initial_indent=flags.ljust(self.COLUMN - 2) + "  ",
            subsequent_indent=" " * self.COLUMN,
            break_on_hyphens=False,
        )
        return "\n".join(lines) + "\n"


_OPTIONS = argparse.Action([], "options", metavar="[OPTION …]")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def __init__(self, **how: Any):
        super().__init__(**how, formatter_class=_Help, add_help=False)
        self.add_argument("-h", "--help", action="help", help="show this, defaults in [ ]")

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message} (see {self.prog} --help)")
        sys.exit(USER_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        arguments: what was typed after `nst-jax`; None takes it from the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    accept_any_text()
    try:
        options = make_parser().parse_args(arguments)
        if folder := getattr(options, "compilation_cache", None):
            keep_compilations(folder)
        completed = options.run(options, arguments)
    except SystemExit as stop:  # argparse has said what is wrong, or has shown its help
        return int(stop.code or 0)
    except NSTError as error:
        say(f"nst-jax: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        say("nst-jax: interrupted before there was a result")
        completed = False
    except (FailedLanesError, PeerLostError) as error:
        say(f"nst-jax: {error}")
        return FAILED
    except OSError as error:  # that no module expected, such as a full disk under standard output
        say(f"nst-jax: {error}")
        return FAILED
    except (MemoryError, RuntimeError) as error:
        say(f"nst-jax: {_explain(error)}")
        return FAILED
    return DONE if completed else INTERRUPTED


def _explain(error: MemoryError | RuntimeError) -> str:
    """What the machine lacks, in one line; an error that says nothing of that is raised again."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "the device ran out of memory; use --low-memory, --lbfgs-history bfloat16, "
            "--optimizer adam or a smaller --size, in a sweep fewer --lanes"
        )
    if "initialize backend" in str(error):  # JAX_PLATFORMS asks for a device that is not there
        return str(error).splitlines()[0]
    raise error


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what is parsed has the command's function as `run`."""
    parser = _Parser(prog="nst-jax", description=nst_jax.__doc__)
    parser.add_argument("--version", action="version", version=nst_jax.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    stylize.add_command(commands)
    sweep.add_command(commands)
    reconstruct.add_command(commands)
    rerun.add_command(commands)
    weights.add_command(commands)
    info = commands.add_parser("info", help="versions, devices and weights found")
    info.set_defaults(run=_info)
    return parser


def _info(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    for name, version in write.versions().items():
        answer(f"{name:10s} {version}")
    for device in jax.devices():
        answer(f"{'device':10s} {device.platform}: {device.device_kind}")
    for path in available_weights():
        answer(f"{'weights':10s} {path.stem} ({path})")
    return True
