"""One picture of a run: where it goes, the steps on the way to it, the picture and its record."""

import argparse
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from itertools import chain, count
from pathlib import Path

from nst_jax.cli.checkpoints import (
    check_room,
    keep_interrupted,
    picture_bytes,
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
from nst_jax.cli.output_flags import with_exif
from nst_jax.cli.progress import ProgressBar
from nst_jax.cli.running import choose_network, describe_fit, make_callback, paths_on_the_way
from nst_jax.engine import distributed
from nst_jax.engine.checkpoint import Checkpoint, CheckpointFile, checkpoint_bytes
from nst_jax.engine.fitting import fitted
from nst_jax.engine.options import RunOptions, check_intervals
from nst_jax.engine.pace import AUTO
from nst_jax.engine.problem import Problem, prepare_problem
from nst_jax.engine.pyramid import scale_at
from nst_jax.engine.results import Result
from nst_jax.engine.runner import Runner
from nst_jax.engine.sharing import shared
from nst_jax.errors import ImageError, MisplacedError, NSTError, SettingsError
from nst_jax.files import made_folder, remove_abandoned, reserved
from nst_jax.images import io
from nst_jax.images.encoders import SaveOptions
from nst_jax.records.read import read_recorded
from nst_jax.records.resolve_inputs import is_unchanged
from nst_jax.records.write import (
    check_replaceable,
    image_text,
    input_files,
    input_metadata,
    make_record,
    save_record,
)
from nst_jax.settings.settings import Settings
from nst_jax.sweeps.watch_page import ALONE, WatchPage, is_watch_page
from nst_jax.weights.parameters import Weights

REMEDY = "choose another name, or begin anew with --overwrite"


@dataclasses.dataclass(frozen=True)
class Picture:
    """What is to be painted, and how it is written.

    Attributes:
        path: of the picture; the record and the pictures on the way are called after it.
        settings: as the user wants them.
        content: file of the content image, or None.
        styles: files of the style images, or none.
        saving: bits and resolution.
        command: as it was typed.
        copies: as many as were run together when it was recorded: among them it rounds as then.
            Where not as many fit into memory there are fewer.
        stop: number of the last step to be evaluated; None goes to the end.
        remarks: to be said before it begins.
    """

    path: Path
    settings: Settings
    content: str | None
    styles: tuple[str, ...]
    saving: SaveOptions
    command: str
    copies: int = 1
    stop: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def record(self) -> Path:
        """Where the record stands."""
        return self.path.with_suffix(".json")

    @property
    def checkpoint(self) -> Path:
        """Where the run, of several processes this one, keeps what it goes on from."""
        return distributed.own(self.path.with_name(f"{self.path.name}.checkpoint"))

    @property
    def page(self) -> Path:
        """Where the run is to be watched."""
        return self.path.with_suffix(".html")

    @property
    def files(self) -> Mapping[str, str | Path]:
        """All that are read, from `input_files`."""
        return input_files(self.settings, self.content, self.styles)

    @cached_property
    def inputs(self) -> Mapping[str, Mapping[str, str]]:
        """Those for the record, from `input_metadata`."""
        return input_metadata(self.files)


def check_picture(picture: Picture, options: argparse.Namespace) -> None:
    """Refuse, before any work is done, to write over a result, an input or a folder.

    What a run that is gone on with has left may be replaced; `_take_up` sees to that.

    Raises:
        ImageError: the picture, its record or one on the way would do that.
        SettingsError: the number of steps between reports or pictures is less than 1.
    """
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    inputs, replacing = picture.files.values(), options.overwrite or picture.checkpoint.is_file()
    settings = picture.settings
    side = settings.size if picture.content else settings.style_size or settings.size
    io.check_writable(picture.path, replacing, picture.saving, side)
    check_replaceable(_outputs(picture, options), inputs, replacing)
    check_replaceable([picture.checkpoint], inputs, overwrite=True)
    if options.watch:
        check_replaceable([picture.page], inputs, options.overwrite or is_watch_page(picture.page))


def _outputs(picture: Picture, options: argparse.Namespace) -> list[Path]:
    """The picture, its record and the pictures on the way."""
    on_the_way = paths_on_the_way(picture.path, picture.settings.steps, options.save_every)
    return [picture.path, picture.record, *on_the_way]


def _take_up(
    picture: Picture, file: CheckpointFile, options: argparse.Namespace
) -> Checkpoint | None:
    """What the run goes on from, or None; and refuse to write over what is not of this run.

    Raises:
        ImageError: the picture, its record or one on the way is there, and of another run.
        SettingsError: the checkpoint is of another run, of other versions or of a later step.
    """
    resumed = file.load() if options.resume or not options.overwrite else None
    if resumed and picture.stop is not None and resumed.step > picture.stop + 1:
        last = picture.stop
        raise SettingsError(f"{file.path}: is of step {resumed.step}, beyond {last}; remove it")

    def check() -> None:
        outputs = _outputs(picture, options)
        if resumed:
            mine = any(_is_of(picture, path) for path in outputs[:2])
            outputs = [] if mine else outputs[:2]
        check_replaceable(outputs, picture.files.values(), options.overwrite)
        if resumed:
            say(f"going on at step {resumed.step}")
        elif options.resume:
            say(f"{file.path}: there is nothing to go on from; beginning")

    distributed.from_first(check)
    return resumed


def _is_of(picture: Picture, path: Path) -> bool:
    """Whether a picture or record that is there was made of these inputs with these settings."""
    with contextlib.suppress(NSTError):
        return is_unchanged(picture.settings, picture.inputs, read_recorded(path))
    return False


def paint_picture(
    prepare: Callable[[], tuple[Picture, Weights]], options: argparse.Namespace
) -> bool:
    """Paint a picture, and write it and its record; return whether Ctrl-C left the run alone.

    Of several processes the first alone reads and writes, but for what each goes on from.

    Args:
        prepare: finds out what is to be painted, and checks that; the network's weights.
        options: of the command line.

    Raises:
        MisplacedError: it could not be written where it was to stand.
    """

    def read() -> tuple[Picture, str, Problem, SaveOptions]:
        picture, weights = prepare()
        settings, weights, network = choose_network(picture.settings, weights)
        styles, many = (picture.styles,) * picture.copies, (settings,) * picture.copies
        problem = prepare_problem(picture.content, styles, many, weights)
        return picture, network, problem, with_exif(picture.saving, options, picture.content)

    picture, network, given, saving = distributed.from_first(read)
    is_first, copies = distributed.is_first(), picture.copies
    going_on = None if options.overwrite and not options.resume else picture.checkpoint
    given = shared(given, options.devices, going_on)
    problem = fitted(given, going_on=going_on)
    picture = dataclasses.replace(picture, settings=problem.settings[0])
    inputs = picture.inputs if is_first else {}  # as they are now: the run may be long
    file = CheckpointFile(picture.checkpoint, problem, say, REMEDY)
    page = _watch_page(picture) if options.watch and is_first else None
    with (
        made_folder(picture.path.parent) as is_new,
        reserved(picture.path) if is_first else contextlib.nullcontext(True) as alone,
        Interruption() as interruption,
        page or contextlib.nullcontext(),  # whose last writing no signal ends
    ):
        remove_abandoned(file.path)

        def begin() -> None:
            if not alone:
                raise ImageError(f"{picture.path}: another run is making it; choose another name")
            for path in (picture.path, picture.record, picture.page):
                remove_abandoned(path)
            described = *describe_fit(given, problem), *problem.describe()
            for line in (*picture.remarks, network, *described):
                say(line)

        distributed.from_first(begin)
        resumed = _take_up(picture, file, options)
        ours = resumed is not None and any(map(os.path.lexists, (picture.path, picture.record)))
        replacing = options.overwrite or ours
        size = checkpoint_bytes(problem, copies) if options.checkpoint_every else 0
        room = picture.path.parent, picture_bytes(problem, saving), size
        distributed.from_first(partial(check_room, *room))
        say_if_memory_is_short(problem, copies, size > 0)
        if page:
            say_where_to_watch(page.path)
        pictures = {0: picture.path} if is_first else {}
        with ProgressBar(1) as bar:
            run_options = RunOptions(
                make_callback(bar, interruption, pictures, {0: saving}, problem),
                options.report_every,
                options.save_every,
                lanes_at_once=copies,
                must_be_finite=copies == 1,
                stop=picture.stop,
                keep=file.keep if options.checkpoint_every else None,
                checkpoint_every=options.checkpoint_every or AUTO,
                watch=page,
            )
            runner = Runner(problem, run_options, resumed)
            del resumed  # the runner lets go of it
            finished = next(runner.run())
        result = finished.results[0]
        interruption.saving = True
        make = partial(_write, picture, result, inputs, saving, replacing, is_new)
        places = distributed.from_first(make)
        in_place = places == (picture.path, picture.record)
        ended = result.completed or not finished.stopped
        if finished.checkpoint:
            keep_interrupted(file, finished.checkpoint, options.overwrite)
        elif ended and in_place:  # else the same command makes it again where it was to stand
            file.remove()
    if not in_place:
        raise MisplacedError(f"{picture.path}: picture and record are {places[0]} and {places[1]}")
    return ended


def _write(
    picture: Picture,
    result: Result,
    inputs: Mapping[str, Mapping[str, str]],
    saving: SaveOptions,
    replacing: bool,
    is_new: bool,
) -> tuple[Path, Path]:
    """Write a picture and its record, say what became of it, and return where they are."""
    record = make_record(result, picture.command, inputs, saving)
    say(_describe_result(result))
    if result.improved is False:
        say_nothing_gained([str(picture.path)])
    if picture.copies > 1 and result.compiled_lanes != picture.copies:
        say(
            f"not {picture.copies} copies fit into memory: the picture may come out a little "
            f"different"
        )
    text, alpha = image_text(record), result.alpha
    save = partial(io.save_image, result.image, text=text, options=saving, alpha=alpha)
    place = write_somewhere(save, picture.path, replacing)
    answer(place)
    beside = place.with_suffix(picture.record.suffix)
    record_place = write_somewhere(partial(save_record, record), beside, replacing)
    if is_new and place == picture.path:
        say_new_folder(place.parent)
    return place, record_place


def _watch_page(picture: Picture) -> WatchPage:
    """The page of a run, not yet written."""
    sources = [picture.content, *picture.styles]
    title = " × ".join(Path(each).name for each in sources if each is not None)
    links = {"the picture": picture.path.name, "its record": picture.record.name}
    return WatchPage(
        picture.page, title, places={ALONE: {}}, running=[ALONE], links=links, tell=say
    )


def write_somewhere(write: Callable[[Path], None], path: Path, overwrite: bool) -> Path:
    """Write a file where it is to stand, or in the working or the temporary folder; say why.

    The run may have taken hours, and its place be full, gone or, without `overwrite`, taken by now.

    Raises:
        ImageError: there is nothing to be written.
        MisplacedError: it cannot be written anywhere.
    """
    others = Path.cwd(), Path(tempfile.gettempdir())
    asked = path if overwrite else _free_place(path)
    for place in (asked, *(_free_place(folder / path.name) for folder in others)):
        try:
            write(place)
            return place
        except ImageError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            say(f"nst-jax: {error}")
    raise MisplacedError(f"{path}: not written, nor in {others[0]} or {others[1]}")


def _free_place(path: Path) -> Path:
    """The path, or the next one with a number where nothing stands."""
    places = chain([path], (path.with_stem(f"{path.stem}-{n}") for n in count(2)))
    return next(place for place in places if not place.exists())


def _describe_result(result: Result) -> str:
    """One line on what became of the loss, at the size of the result, and how long it took."""
    scale = scale_at(result.scales, result.evaluations - 1)
    at_size = f" at {scale.size} px" if len(result.scales) > 1 else ""
    return (
        f"loss {result.first_losses.total:.4g} → {result.losses.total:.4g}{at_size} in "
        f"{result.evaluations} evaluations, {result.run_seconds:.1f} s "
        f"(and {result.compile_seconds:.1f} s compiling)"
        + (f", {result.restarts} restarts" if result.restarts else "")
    )
