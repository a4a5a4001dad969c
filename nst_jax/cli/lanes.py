"""What `sweep` and `reconstruct` share: a grid of lanes, run into a folder."""

import argparse
import contextlib
import dataclasses
import math
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import answer, say
from nst_jax.cli.network import describe_network, without_impossible
from nst_jax.cli.output_flags import intermediate_path, output_flags_of, save_options, with_exif
from nst_jax.cli.progress import LanesBar
from nst_jax.cli.settings_flags import read_settings
from nst_jax.engine import distributed
from nst_jax.engine.device_memory import as_text
from nst_jax.engine.problem import Problem, choose_weights, prepare_problem
from nst_jax.engine.pyramid import enlarge
from nst_jax.engine.results import SweepCallback, SweepProgress
from nst_jax.engine.runner import Round, Runner, RunOptions
from nst_jax.errors import FailedLanesError, SettingsError
from nst_jax.images import io
from nst_jax.settings.settings import Settings
from nst_jax.sweeps.grid import Grid, Lane, Source
from nst_jax.sweeps.results_folder import SweepFolder
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def byte_count(text: str) -> int:
    """Read 8GB, 800MB, 8e9."""
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    number = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 1 <= number < math.inf:
        raise ValueError(text)
    return int(number)


def add_folder_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """Add -o."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        help=f"folder of the results; where this command left off, it goes on [{default}]",
    )


def add_lane_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags on how many lanes run at once, and where."""
    group = parser.add_argument_group("lanes")
    group.add_argument(
        "--lanes",
        type=int,
        metavar="N",
        help="at once, a multiple of the devices [as many as fit]",
    )
    group.add_argument(
        "--memory",
        type=byte_count,
        metavar="SIZE",
        help="of each device, such as 8GB [nearly all that is free]",
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="join this run's other processes (jax.distributed)",
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        make_grid: the settings of the command line → the grid.
        command_for_one: a lane and the sources → the arguments that make it alone.
        output: the folder.
    """

    make_grid: Callable[[Settings], Grid]
    command_for_one: Callable[[Lane, Sequence[Source]], list[str]]
    output: Path


def paint_lanes(plan: Plan, options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Run a grid into a folder; return whether it went to its end.

    Of several processes the first alone looks at the folder, writes and answers.

    Raises:
        FailedLanesError: it did, and lanes have come to nothing.
    """
    if options.distributed:
        distributed.join()
    run_options = RunOptions(
        None, options.report_every, options.save_every, options.lanes, options.memory
    )
    if run_options.save_every and jax.process_count() > 1:
        raise SettingsError("--save-every works in one process only; leave out --distributed")
    wanted, saving = read_settings(options), save_options(options)
    weights = load_weights(find_weights(wanted.weights))
    grid = plan.make_grid(without_impossible(wanted, weights))
    say(describe_network(weights, wanted))
    weights = choose_weights(grid.lanes[0].settings, weights)
    saving = with_exif(saving, options, grid.sources[0].file)
    again = {
        lane.name: shlex.join(
            ["nst-jax", *plan.command_for_one(lane, grid.sources), *output_flags_of(options)]
        )
        for lane in grid.lanes
    }
    command = shlex.join(["nst-jax", *arguments])
    folder = SweepFolder(plan.output, grid, weights, command, again, saving)
    lanes = distributed.decided_by_first(lambda: folder.resume(options.overwrite))
    if len(lanes) < len(grid.lanes):
        say(f"{plan.output}: {len(grid.lanes) - len(lanes)} of {len(grid.lanes)} are finished")
    created = folder.created() if distributed.is_first() else contextlib.nullcontext()
    with created, Interruption() as interruption:
        completed = not lanes or _run(folder, lanes, weights, run_options, interruption)
        interruption.saving = True
        failures = folder.failures()
        for failure in failures:
            say(f"nst-jax: no picture for {failure}")
        if distributed.is_first():
            for path in folder.write_reports():
                answer(path)
    if completed and failures:
        raise FailedLanesError(f"lanes without a picture: {len(failures)} of {len(grid.lanes)}")
    return completed


def _prepare(lanes: Sequence[Lane], grid: Grid, weights: Weights) -> Problem:
    files = [source.file for source in grid.sources]
    contents = tuple(None if lane.content is None else files[lane.content] for lane in lanes)
    styles = tuple(tuple(files[number] for number in lane.style) for lane in lanes)
    return prepare_problem(contents, styles, [lane.settings for lane in lanes], weights)


def _run(
    folder: SweepFolder,
    lanes: list[Lane],
    weights: Weights,
    options: RunOptions,
    interruption: Interruption,
) -> bool:
    """Run the lanes and write what comes of each round; return whether all of them ended."""
    problem = _prepare(lanes, folder.grid, weights)
    resumed = None  # several processes might not see the same disk
    if jax.process_count() == 1:
        resumed = folder.load_unfinished(lanes, problem.program, problem.scales)
    if resumed:
        say(f"going on with {len(resumed.lanes)} of them at step {resumed.step}")
    finished = Round({})
    with LanesBar() as bar:
        callback = _make_callback(folder, lanes, problem, interruption, bar)
        runner = Runner(problem, dataclasses.replace(options, callback=callback), resumed)
        if distributed.is_first():
            say(describe_rounds(runner, len(lanes)))
            for line in problem.describe():
                say(line)
        del resumed  # the runner lets go of it after its rounds
        for finished in runner.run():
            interruption.saving = finished.stopped
            if distributed.is_first():
                for path in folder.add(finished.results, lanes):
                    answer(path)
    if distributed.is_first():
        _keep(folder, finished, lanes)
    return not finished.stopped


def describe_rounds(runner: Runner, lanes: int) -> str:
    """One line on how many lanes run at once, and what that needs."""
    at_once, rounds = runner.executor.lanes * jax.process_count(), len(runner.rounds())
    devices = jax.devices()
    return (
        f"{min(at_once, lanes)} of {lanes} lanes at once on {len(devices)} {devices[0].platform} "
        f"device{'s' if len(devices) > 1 else ''}, {as_text(runner.needed_bytes)} of memory"
        + (" on each" if len(devices) > 1 else "")
        + (f", in {rounds} rounds" if rounds > 1 else "")
    )


def _keep(folder: SweepFolder, last: Round, lanes: list[Lane]) -> None:
    """Keep what an interrupted round goes on from."""
    if last.checkpoint is None:
        folder.forget_unfinished()
        return
    try:
        folder.keep_unfinished(last.checkpoint, lanes)
        how = " without --overwrite" if folder.overwriting else ""
        say(f"interrupted; the same command{how} goes on from here")
    except OSError as error:
        folder.forget_unfinished()
        say(f"interrupted; what the lanes would go on from cannot be kept ({error})")


def _make_callback(
    folder: SweepFolder,
    lanes: list[Lane],
    problem: Problem,
    interruption: Interruption,
    bar: LanesBar,
) -> SweepCallback:
    def callback(progress: SweepProgress) -> None:
        interruption.stoppable = True
        if distributed.is_first():
            bar.show(progress)
        if progress.images is not None and 0 < progress.step < progress.steps:
            pictures = enlarge(progress.images, problem.scales[-1].shape)
            for number, image in zip(progress.lanes, pictures, strict=True):
                path = intermediate_path(folder.file_of(lanes[number]), progress.step)
                io.save_image(image, path, options=folder.saving)
                answer(path)
        if interruption.requested:
            raise StopIteration

    return callback
