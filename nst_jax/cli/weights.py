"""`nst-jax weights`: list, fetch, convert, verify and normalize the network's parameters."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn

from nst_jax.cli.messages import answer, say, say_new_folder
from nst_jax.cli.output_flags import output_file
from nst_jax.cli.progress import make_bar
from nst_jax.errors import WeightsError
from nst_jax.files import made_folder
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.convert import convert
from nst_jax.weights.fetch import SOURCES, fetch
from nst_jax.weights.locate import (
    available_weights,
    calibration_folder,
    embedded_path,
    find_weights,
    user_folder,
)
from nst_jax.weights.parameters import Weights, floored_means
from nst_jax.weights.storage import SUFFIX, load_weights, save_weights

IMAGES_HELP = "photographs to normalize with, better some 200 [50 that come with the package]"


def add_command(commands: Any) -> None:
    """Add `weights` and its actions to the parser's commands."""
    parser = commands.add_parser("weights", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, run: Callable[..., bool], text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run, no_normalize=False)
        if run in (_fetch, _convert, _normalize):
            action.add_argument("--overwrite", action="store_true", help="replace an existing file")
            action.add_argument("--images", metavar="DIR", type=Path, help=IMAGES_HELP)
        if run in (_fetch, _convert):
            text = "leave out the mean activations: for filters as trained"
            action.add_argument("--no-normalize", action="store_true", help=text)
        return action

    add("list", _list, "what is installed, and what can be fetched")
    action = add("fetch", _fetch, "download, verify, convert, normalize and install")
    action.add_argument("name", metavar="NAME", help=", ".join(SOURCES))
    action = add("convert", _convert, "convert a file of Keras, PyTorch, MatConvNet, …; normalize")
    action.add_argument("file", metavar="FILE")
    action.add_argument("-o", "--output", metavar="OUT", help="default: install it")
    action = add("verify", _verify, "check a weights file")
    action.add_argument("file", metavar="FILE", help="a path or the name of an installed file")
    action = add("normalize", _normalize, "compute mean activations over photographs")
    action.add_argument("file", metavar="FILE", help="a path or the name of an installed file")
    action.add_argument("-o", "--output", metavar="OUT", help="default: the same file")


def _list(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    for path in available_weights():
        try:
            weights = load_weights(path)
        except WeightsError as error:  # one bad file must not hide the others
            say(f"nst-jax: {error}")
            continue
        name, state = f"{weights.name:24s} {weights.architecture}", _state(weights)
        answer(f"{name}  {state:35s} {weights.source}  {path}")
    answer(f"can be fetched with nst-jax weights fetch NAME: {', '.join(SOURCES)}")
    return True


def _fetch(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    photographs = _photographs(options)  # a wrong folder is told before the download
    with make_bar(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as bar:

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        task = bar.add_task(options.name, total=None)
        path = fetch(options.name, user_folder(), show)
    _install(convert(path), None, photographs, options.overwrite)
    if path.parent != user_folder():
        say(f"Nothing was downloaded: {path} is the same file.")
    return True


def _convert(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    weights = convert(options.file)
    return _install(weights, options.output, _photographs(options), options.overwrite)


def _photographs(options: argparse.Namespace) -> list[Path]:
    """Those to normalize with, which come with the package unless named; none where asked for."""
    if options.no_normalize:
        return []
    return find_photographs(options.images or calibration_folder())


def _install(weights: Weights, typed: str | None, photographs: list[Path], overwrite: bool) -> bool:
    name = Path(weights.name + SUFFIX)
    output = output_file(typed, name) if typed else user_folder() / name
    _check_output(output, overwrite)
    with made_folder(output.parent) as is_new:
        if photographs:
            weights = _with_means(weights, photographs)
        save_weights(weights, output)
    say(f"{weights.source}, {weights.licence}; {_state(weights)}")
    if is_new and typed:
        say_new_folder(output.parent)
    answer(output)
    return True


def _with_means(weights: Weights, photographs: list[Path]) -> Weights:
    """The weights with mean activations over photographs, with a bar."""
    say(f"computing mean activations over {len(photographs)} photographs")
    with make_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("photographs", total=len(photographs))
        return add_activation_means(
            weights, photographs, progress=lambda done, _: bar.update(task, completed=done)
        )


def _state(weights: Weights) -> str:
    if weights.normalized:
        return f"normalized for {weights.normalized_for}"
    means = " and ".join(weights.activation_means)
    return f"can be normalized ({means})" if means else "no mean activations"


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != SUFFIX:
        raise WeightsError(f"{output}: wanted a name that ends in {SUFFIX}")
    if output.is_dir():
        raise WeightsError(f"{output}: is a folder; choose another name")
    if output.exists() and not overwrite:
        raise WeightsError(f"{output}: exists already; choose another name or add --overwrite")


def _verify(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    weights = load_weights(find_weights(options.file))
    layers = weights.params.values()
    count = sum(tensor.size for parts in layers for tensor in parts.values())
    answer(f"name         {weights.name}")
    answer(f"network      {weights.architecture}, {len(layers)} convolutions, {count} values")
    answer(f"source       {weights.source}, sha256 {weights.source_sha256}")
    answer(f"license      {weights.licence}")
    answer(f"sha256       {weights.sha256}")
    answer(f"activations  {_state(weights)}")
    for pooling, means in weights.activation_means.items():
        rare = sum((floor > means[layer]).sum() for layer, floor in floored_means(means).items())
        answer(f"             means of {pooling} pooling for every filter, {rare} at the floor")
    return True


def _normalize(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    path = find_weights(options.file)
    output = output_file(options.output, path)
    if options.output:
        _check_output(output, options.overwrite)
    if output.resolve() == embedded_path():
        raise WeightsError(f"{path} comes with the package; name another file with -o")
    with made_folder(output.parent) as is_new:
        save_weights(_with_means(load_weights(path), _photographs(options)), output)
    if is_new:
        say_new_folder(output.parent)
    answer(output)
    return True
