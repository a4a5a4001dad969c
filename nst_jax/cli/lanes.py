"""What `sweep` and `reconstruct` share: a grid of lanes, run into a folder."""

import argparse
import contextlib
import dataclasses
import itertools
import math
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax

from nst_jax.cli.checkpoints import (
    check_room,
    keep_interrupted,
    picture_bytes,
    say_going_on,
    say_if_memory_is_short,
)
from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import (
    answer,
    say,
    say_new_folder,
    say_nothing_gained,
    say_where_to_watch,
)
from nst_jax.cli.output_flags import (
    add_joining_flag,
    add_output_flags,
    join_if_asked,
    output_flags_of,
    save_options,
    with_exif,
)
from nst_jax.cli.progress import ProgressBar
from nst_jax.cli.running import choose_network, describe_fit, make_callback, paths_on_the_way
from nst_jax.cli.settings_flags import add_settings_flags, add_value, read_settings
from nst_jax.engine import distributed
from nst_jax.engine.checkpoint import (
    AnotherRunError,
    Checkpoint,
    CheckpointFile,
    checkpoint_bytes,
)
from nst_jax.engine.fitting import fitted
from nst_jax.engine.options import RunOptions
from nst_jax.engine.pace import AUTO
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.runner import Round, Runner
from nst_jax.engine.sharing import read_devices, shared
from nst_jax.errors import FailedLanesError, MisplacedError, SettingsError
from nst_jax.files import made_folder, remove_abandoned
from nst_jax.host_memory import as_text
from nst_jax.records.write import check_replaceable
from nst_jax.settings.settings import Settings
from nst_jax.sweeps.grid import Grid, Lane
from nst_jax.sweeps.results_folder import SweepFolder
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights

REMEDY = "choose another folder, or begin anew with --overwrite"
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def byte_count(text: str) -> int:
    """Read 8GB, 800MB, 8e9."""
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    number = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 1 <= number < math.inf:
        raise ValueError(text)
    return int(number)


def add_run_flags(parser: argparse.ArgumentParser, default_folder: str) -> None:
    """Add the flags on settings, on how many lanes run at once, and on what is written."""
    add_settings_flags(parser)
    group = parser.add_argument_group("lanes")
    add = partial(add_value, group)
    add("--lanes", int, "N", "at once, a multiple of the devices [as many as fit]")
    add("--rows", read_devices, "N", "devices that share each image, or all [1]", 1)
    add("--memory", byte_count, "SIZE", "of each device, such as 8GB [nearly all that is free]")
    add_joining_flag(group)
    folder = f"folder, new or of the same command [{default_folder}]"
    add_output_flags(parser, "DIR", folder)


def paint_lanes(
    make_grid: Callable[[Settings], Grid],
    command_for_one: Callable[[Grid, Lane], list[str]],
    options: argparse.Namespace,
    arguments: Sequence[str],
) -> bool:
    """Run a grid into a folder; return whether it went to its end.

    Of several processes the first alone reads, looks at the folder, writes and answers; but each
    writes what it goes on from.

    Args:
        make_grid: the settings of the command line → the grid.
        command_for_one: a lane → the arguments that make it alone.
        options: of the command line; output is the folder.
        arguments: as they were typed.

    Raises:
        FailedLanesError: it did, and lanes have come to nothing.
    """
    join_if_asked(options)
    run_options = RunOptions(
        None,
        options.report_every,
        options.save_every,
        options.lanes,
        options.memory,
        checkpoint_every=options.checkpoint_every or AUTO,
    )
    if run_options.save_every and jax.process_count() > 1:
        raise SettingsError("--save-every works in one process only; leave out --distributed")

    weights: Weights | None = None  # in the first process, which alone prepares the problem

    def read() -> SweepFolder:
        nonlocal weights
        wanted, saving = read_settings(options), save_options(options)
        weights = load_weights(find_weights(wanted.weights))
        settings, weights, network = choose_network(wanted, weights)
        grid = make_grid(settings)
        say(network)
        saving = with_exif(saving, options, grid.sources[0].file)
        flags = output_flags_of(options)
        alone = {lane.name: [*command_for_one(grid, lane), *flags] for lane in grid.lanes}
        again = {name: shlex.join(["nst-jax", *command]) for name, command in alone.items()}
        command = shlex.join(["nst-jax", *arguments])
        path = Path(options.output)
        return SweepFolder(path, grid, weights, command, again, saving, say)

    folder = distributed.from_first(read)
    grid = folder.grid

    def take_up() -> tuple[list[Lane], bool]:
        lanes = folder.resume(options.overwrite, options.resume, options.watch)
        steps, every = grid.lanes[0].settings.steps, options.save_every
        paths = (paths_on_the_way(folder.file_of(lane), steps, every) for lane in lanes)
        files = [source.file for source in grid.sources]
        check_replaceable(itertools.chain(*paths), files, options.overwrite or folder.is_ours)
        return lanes, folder.overwriting

    lanes, folder.overwriting = distributed.from_first(take_up)
    is_first = distributed.is_first()
    if len(lanes) < len(grid.lanes) and is_first:
        say(f"{folder.path}: {len(grid.lanes) - len(lanes)} of {len(grid.lanes)} are finished")
    created = folder.created() if is_first else made_folder(folder.path)
    with created as in_new, Interruption() as interruption:
        completed = not lanes or _run(folder, lanes, weights, run_options, options, interruption)
        interruption.saving = True
        failures = folder.failures()
        for failure in failures:
            say(f"nst-jax: no picture for {failure}")
        if unimproved := folder.unimproved():
            say_nothing_gained(unimproved)
        if is_first:
            for path in folder.write_reports():
                answer(path)
            if in_new:
                say_new_folder(folder.path)
    if completed and folder.unwritten:
        raise MisplacedError(
            f"{folder.path}: not all could be written; free space, and the same command makes the "
            f"rest"
        )
    if completed and failures:
        raise FailedLanesError(f"lanes without a picture: {len(failures)} of {len(grid.lanes)}")
    return completed


def _run(
    folder: SweepFolder,
    lanes: list[Lane],
    weights: Weights | None,
    run_options: RunOptions,
    options: argparse.Namespace,
    interruption: Interruption,
) -> bool:
    """Run the lanes and write what comes of each round; return whether all of them ended."""
    contents, styles = zip(*map(folder.grid.files_of, lanes), strict=True)
    settings = [lane.settings for lane in lanes]
    given = distributed.from_first(partial(prepare_problem, contents, styles, settings, weights))
    given = shared(given, options.rows, flag="--rows")
    path, anew = distributed.own(folder.unfinished), folder.overwriting and not options.resume
    problem = fitted(given, run_options.memory, going_on=None if anew else path)
    file = CheckpointFile(path, problem, say, REMEDY)
    remove_abandoned(file.path)
    resumed = None
    if not anew:
        resumed = _take_up(file, anything_finished=len(lanes) < len(folder.grid.lanes))
    page = folder.watch_page(lanes) if options.watch and distributed.is_first() else None
    if page:
        say_where_to_watch(page.path)
    finished = Round({})
    with page or contextlib.nullcontext(), ProgressBar(len(lanes)) as bar:
        pictures = {number: folder.file_of(lane) for number, lane in enumerate(lanes)}
        savings = dict.fromkeys(pictures, folder.saving)
        callback = make_callback(bar, interruption, pictures, savings, problem)
        keep = file.keep if options.checkpoint_every else None
        run_options = dataclasses.replace(run_options, callback=callback, keep=keep, watch=page)
        runner = Runner(problem, run_options, resumed)
        size = checkpoint_bytes(problem, runner.executor.lanes) if keep else 0
        check_room(folder.path, len(lanes) * picture_bytes(problem, folder.saving), size)
        say_if_memory_is_short(problem, runner.executor.lanes, size > 0)
        if distributed.is_first():
            lines = _describe_rounds(runner, len(lanes)), *describe_fit(given, problem)
            for line in (*lines, *problem.describe()):
                say(line)
        del resumed  # the runner lets go of it after its rounds
        for finished in runner.run():
            interruption.saving = finished.stopped
            if distributed.is_first():
                for path in folder.add(finished.results, lanes):
                    answer(path)
            if folder.unwritten:
                file.hold()
            if not (finished.checkpoint or finished.waiting) and (keep or not finished.stopped):
                file.remove()
    if finished.checkpoint is not None:
        keep_interrupted(file, finished.checkpoint, folder.overwriting)
    elif distributed.is_first() and not (finished.stopped or folder.unwritten):
        folder.forget_unfinished()
    return not finished.stopped


def _take_up(file: CheckpointFile, anything_finished: bool) -> Checkpoint | None:
    """What this process goes on from, or None; of several processes all have the error of one."""
    resumed: Checkpoint | None = None
    problem: SettingsError | None = None
    try:
        resumed = file.load()
    except AnotherRunError as error:  # all of its lanes may be finished
        problem = None if anything_finished else error
    except SettingsError as error:
        problem = error
    for each in filter(None, distributed.gather(problem)):
        raise each
    if resumed:
        say_going_on(resumed)
    return resumed


def _describe_rounds(runner: Runner, lanes: int) -> str:
    """One line on how many lanes run at once, and what that needs."""
    at_once, rounds = runner.lanes_at_once, len(runner.rounds())
    devices = jax.devices()
    several = len(devices) > 1
    return (
        f"{min(at_once, lanes)} of {lanes} lanes at once on {len(devices)} {devices[0].platform} "
        f"device{'s' if several else ''}, {as_text(runner.needed_bytes)} of memory"
        + (" on each" if several else "")
        + (f", in {rounds} rounds" if rounds > 1 else "")
    )
