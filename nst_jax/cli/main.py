"""The command `nst-jax`: flags, exit codes, and which function does the work.

Exit codes: 0 done; 2 the user's mistake, in one line; 130 after Ctrl-C; 1 anything else. Standard
output carries what was asked for (the paths written, one a line), standard error all the rest.
"""

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich_argparse import RichHelpFormatter

import nst_jax
from nst_jax.cli.interruption import exit_code
from nst_jax.cli.messages import accept_any_text, say
from nst_jax.cli.other_programs import refusal
from nst_jax.errors import FailedLanesError, MisplacedError, NSTError, PeerLostError, SettingsError

DONE, FAILED, USER_ERROR = 0, 1, 2
PLATFORM_EXTRAS = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}  # of this package, by JAX_PLATFORMS
# The modules of the commands. Only that of the command typed is imported: JAX takes a second.
COMMANDS = {
    "stylize": "paint a photograph in the manner of a painting",
    "sweep": "many settings at once: a sheet, a page, a picture each",
    "reconstruct": "what each layer keeps of an image",
    "rerun": "a picture again, as it was or changed",
    "plan": "what a device would do with a run, before it is rented",
    "weights": "list, fetch, convert, verify and normalize the network's parameters",
    "info": "versions, devices and weights found",
}


class _Help(RichHelpFormatter):
    """Help with colors on a terminal, and no list of all the options in the usage."""

    group_name_formatter = str
    help_markup = text_markup = False  # brackets hold defaults

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=24)

    def add_usage(self, usage, actions, groups, prefix=None) -> None:
        named = [action for action in actions if not action.option_strings]
        shown = [*named, _OPTIONS] if len(named) < len(actions) else named
        super().add_usage(usage, shown, (), prefix)


_OPTIONS = argparse.Action([], "options", metavar="[OPTION …]")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def __init__(self, **options):
        super().__init__(**options, formatter_class=_Help, add_help=False)
        self.add_argument("-h", "--help", action="help", help="show this, defaults in [ ]")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Refuse other programs' flags, of which argparse would take some for abbreviations."""
        words = list(args or ())
        by_a_subparser = self._subparsers and words and not words[0].startswith("-")
        if not by_a_subparser and (reason := refusal(words, self._option_string_actions)):
            self.error(reason)
        words = list(map(self._told_apart, words, [*words[1:], ""]))
        return super().parse_known_args(words, namespace)

    def _told_apart(self, word: str, following: str) -> str:
        """A flag whose value may be left out takes the one it knows, not a CONTENT after it."""
        flags = self._option_string_actions
        meant = [flag for flag in flags if flag.startswith(word)] if word[:2] == "--" else []
        if len(meant) != 1 or flags[meant[0]].nargs != "?":
            return word
        if following in (flags[meant[0]].metavar, "true", "false"):
            return word
        return f"{meant[0]}=true"

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
        options = make_parser(arguments).parse_args(arguments)
        if hasattr(options, "compilation_cache"):
            _keep_compilations(options.compilation_cache)
        completed = options.run(options, arguments)
    except SystemExit as stop:  # argparse has said what is wrong, or has shown its help
        return int(stop.code or 0)
    except NSTError as error:
        say(f"nst-jax: {error}")
        return USER_ERROR
    except KeyboardInterrupt:
        say("nst-jax: interrupted before there was a result")
        completed = False
    except (FailedLanesError, MisplacedError) as error:
        say(f"nst-jax: {error}")
        return FAILED
    except PeerLostError as error:
        say(f"nst-jax: {error}")
        os._exit(FAILED)  # JAX's farewell to the processes that are gone would abort this one
    except OSError as error:  # that no module expected, such as a full disk under standard output
        say(f"nst-jax: {error}")
        return FAILED
    except (MemoryError, RuntimeError, AssertionError) as error:
        line, code = _explain(error)
        say(f"nst-jax: {line}")
        return code
    return DONE if completed else exit_code()


def _keep_compilations(asked: str | None) -> None:
    """Keep compiled programs in the folder asked for, or in the user's, if it can be made."""
    from nst_jax.engine.compilation_cache import default_folder, keep_compilations

    if asked:
        if asked != "none":
            keep_compilations(Path(asked))
    elif not os.environ.get("JAX_COMPILATION_CACHE_DIR"):  # else JAX has been told
        with contextlib.suppress(SettingsError):
            keep_compilations(default_folder())


def _explain(error: Exception) -> tuple[str, int]:
    """What the machine lacks, in one line, and the exit code; another error is raised again."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "the device ran out of memory; use --low-memory, --lbfgs-history bfloat16, "
            "--optimizer adam or a smaller --size, in a sweep fewer --lanes"
        ), FAILED
    asked, reason = os.environ.get("JAX_PLATFORMS", ""), str(error).partition(" (set JAX_")[0]
    # JAX asserts, too, that there is a device, where a plugin that was asked for is not installed.
    raised_at = traceback.extract_tb(error.__traceback__)[-1].filename
    if "initialize backend" not in reason and not (asked and "xla_bridge" in raised_at):
        raise error
    extras = [PLATFORM_EXTRAS[name] for name in asked.lower().split(",") if name in PLATFORM_EXTRAS]
    names = ", ".join(("cpu", *PLATFORM_EXTRAS))
    remedy = f'pip install "nst-jax[{extras[0]}]"' if extras else f"choose from {names}"
    why = " ".join(reason.split()) or "JAX has no such device here"
    return f"JAX_PLATFORMS={asked}: {remedy}, or unset the variable ({why})", USER_ERROR


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows all commands, and the flags of the one that is typed first."""
    parser = _Parser(prog="nst-jax", description=nst_jax.__doc__)
    parser.add_argument("--version", action="version", version=nst_jax.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, meaning in COMMANDS.items():
        if [command] == [*arguments[:1]]:
            importlib.import_module(f"nst_jax.cli.{command}").add_command(commands)
        else:
            commands.add_parser(command, help=meaning)
    return parser
