"""`nst-jax weights`: list, fetch, convert, verify and normalize the network's parameters."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn

from nst_jax.cli.messages import answer, say
from nst_jax.cli.progress import make_bar
from nst_jax.errors import WeightsError
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.convert import convert
from nst_jax.weights.fetch import SOURCES, fetch
from nst_jax.weights.locate import available_weights, embedded_path, find_weights, user_folder
from nst_jax.weights.parameters import Weights, floored_means
from nst_jax.weights.storage import SUFFIX, load_weights, save_weights


def add_command(commands: Any) -> None:
    """Add `weights` and its actions to the parser's commands."""
    parser = commands.add_parser("weights", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, run: Callable[..., bool], text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run)
        if run in (_fetch, _convert, _normalize):
            action.add_argument("--overwrite", action="store_true", help="replace an existing file")
        return action

    add("list", _list, "what is installed, and what can be fetched")
    action = add("fetch", _fetch, "download, verify, convert and install")
    action.add_argument("name", metavar="NAME", help=", ".join(SOURCES))
    action = add("convert", _convert, "convert a file of Keras, PyTorch, MatConvNet, …")
    action.add_argument("file", metavar="FILE")
    action.add_argument("-o", "--output", metavar="OUT", type=Path, help="default: install it")
    action = add("verify", _verify, "check a weights file")
    action.add_argument("file", metavar="FILE", help="a path or the name of an installed file")
    action = add("normalize", _normalize, "compute mean activations over photographs")
    action.add_argument("file", metavar="FILE", help="a path or the name of an installed file")
    action.add_argument("--images", metavar="DIR", required=True, help="some 200 photographs")
    action.add_argument("-o", "--output", metavar="OUT", type=Path, help="default: the same file")


def _list(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    for path in available_weights():
        try:
            weights = load_weights(path)
        except WeightsError as error:  # one bad file must not hide the others
            say(f"nst-jax: {error}")
            continue
        means = "can be normalized" if weights.activation_means else "no mean activations"
        answer(f"{weights.name:24s} {weights.architecture}  {means:20s} {weights.source}  {path}")
    answer(f"can be fetched with nst-jax weights fetch NAME: {', '.join(SOURCES)}")
    return True


def _fetch(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    with make_bar(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as bar:

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        task = bar.add_task(options.name, total=None)
        path = fetch(options.name, user_folder(), show)
    _install(convert(path), None, options.overwrite)
    if path.parent != user_folder():
        say(f"Nothing was downloaded: {path} is the same file.")
    return True


def _convert(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    return _install(convert(options.file), options.output, options.overwrite)


def _install(weights: Weights, output: Path | None, overwrite: bool) -> bool:
    if output is None:
        output = user_folder() / (weights.name + SUFFIX)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WeightsError(f"{output.parent}: cannot be made ({error.strerror})") from error
    _check_output(output, overwrite)
    save_weights(weights, output)
    say(
        f"{weights.source}, {weights.licence}. Not normalized yet, as the paper's ratios want it: "
        f"nst-jax weights normalize {output} --images FOLDER_OF_PHOTOGRAPHS"
    )
    answer(output)
    return True


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != SUFFIX:
        raise WeightsError(f"{output}: wanted a name that ends in {SUFFIX}")
    if not output.parent.is_dir():
        raise WeightsError(f"{output}: there is no folder {output.parent}; make it first")
    if output.is_dir():
        raise WeightsError(f"{output}: is a folder; choose another name")
    if output.exists() and not overwrite:
        raise WeightsError(f"{output}: exists already; choose another name or add --overwrite")


def _verify(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    weights = load_weights(find_weights(options.file))
    layers, means = weights.params.values(), weights.activation_means
    count = sum(tensor.size for parts in layers for tensor in parts.values())
    activations = "no means, so it cannot be normalized"
    if means is not None:
        rare = sum((floor > means[layer]).sum() for layer, floor in floored_means(means).items())
        activations = f"means of every filter, {rare} of them at the floor"
    answer(f"name         {weights.name}")
    answer(f"network      {weights.architecture}, {len(layers)} convolutions, {count} values")
    answer(f"source       {weights.source}, sha256 {weights.source_sha256}")
    answer(f"license      {weights.licence}")
    answer(f"sha256       {weights.sha256}")
    answer(f"activations  {activations}")
    return True


def _normalize(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    path = find_weights(options.file)
    output = options.output or path
    if options.output:
        _check_output(output, options.overwrite)
    if output.resolve() == embedded_path():
        raise WeightsError(f"{path} comes with the package; name another file with -o")
    weights, photographs = load_weights(path), find_photographs(options.images)
    with make_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("photographs", total=len(photographs))
        weights = add_activation_means(
            weights, photographs, progress=lambda done, _: bar.update(task, completed=done)
        )
    answer(save_weights(weights, output))
    return True
