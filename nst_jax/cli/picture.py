"""One picture of a run: where it goes, the steps on the way to it, the picture and its record."""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain, count
from pathlib import Path

from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import answer, say, say_new_folder, say_nothing_gained
from nst_jax.cli.output_flags import with_exif
from nst_jax.cli.progress import ProgressBar
from nst_jax.cli.running import choose_network, intermediate_path, make_callback
from nst_jax.engine.options import RunOptions, check_intervals
from nst_jax.engine.problem import prepare_problem
from nst_jax.engine.pyramid import scale_at
from nst_jax.engine.results import Result
from nst_jax.engine.runner import Runner
from nst_jax.errors import ImageError, MisplacedError
from nst_jax.files import made_folder, reserved
from nst_jax.images import io
from nst_jax.images.encoders import SaveOptions
from nst_jax.records.write import (
    check_replaceable,
    image_text,
    input_files,
    input_metadata,
    make_record,
    save_record,
)
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights


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
    """

    path: Path
    settings: Settings
    content: str | None
    styles: tuple[str, ...]
    saving: SaveOptions
    command: str

    @property
    def record(self) -> Path:
        """Where the record stands."""
        return self.path.with_suffix(".json")

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

    Raises:
        ImageError: the picture, its record or one on the way would do that.
        SettingsError: the number of steps between reports or pictures is less than 1.
    """
    check_intervals(report_every=options.report_every, save_every=options.save_every)
    io.check_writable(picture.path, options.overwrite, picture.saving)
    steps = picture.settings.steps
    every = options.save_every or max(steps, 1)
    on_the_way = (intermediate_path(picture.path, n) for n in range(every, steps, every))
    outputs = (picture.path, picture.record, *on_the_way)
    check_replaceable(outputs, picture.files.values(), options.overwrite)


def paint_picture(
    picture: Picture,
    weights: Weights,
    options: argparse.Namespace,
    copies: int = 1,
    stop: int | None = None,
    remarks: Sequence[str] = (),
) -> tuple[Result, bool]:
    """Paint a picture, and write it and its record.

    Args:
        picture: that was checked.
        weights: of the network.
        options: of the command line: report_every, save_every and copy_exif.
        copies: as many as were run together when it was recorded: among them it rounds as then.
            Where not as many fit into memory there are fewer.
        stop: number of the last step to be evaluated; None goes to the end.
        remarks: to be said before it begins.

    Returns:
        The result, and whether Ctrl-C left the run alone.

    Raises:
        MisplacedError: it could not be written where it was to stand.
    """
    settings, weights, network = choose_network(picture.settings, weights)
    styles, many = (picture.styles,) * copies, (settings,) * copies
    problem = prepare_problem(picture.content, styles, many, weights)
    saving = with_exif(picture.saving, options, picture.content)
    inputs = picture.inputs  # as they are now: the run may be long
    for line in (*remarks, network, *problem.describe()):
        say(line)
    folder = made_folder(picture.path.parent)
    with folder as is_new, reserved(picture.path) as alone, Interruption() as interruption:
        if not alone:
            raise ImageError(f"{picture.path}: another run is making it; choose another name")
        with ProgressBar(1) as bar:
            shape = problem.scales[-1].shape
            run_options = RunOptions(
                make_callback(bar, interruption, {0: picture.path}, saving, shape),
                options.report_every,
                options.save_every,
                lanes_at_once=copies,
                within_memory=copies > 1,
                must_be_finite=copies == 1,
                stop=stop,
                resumable=False,
            )
            result = next(Runner(problem, run_options).run()).results[0]
        interruption.saving = True
        record = make_record(result, picture.command, inputs, saving)
        say(_describe_result(result))
        if result.improved is False:
            say_nothing_gained([str(picture.path)])
        save = partial(io.save_image, result.image, text=image_text(record), options=saving)
        place = _write_somewhere(save, picture.path, options.overwrite)
        answer(place)
        beside = place.with_suffix(picture.record.suffix)
        record_place = _write_somewhere(partial(save_record, record), beside, options.overwrite)
        if is_new and place == picture.path:
            say_new_folder(place.parent)
    if (place, record_place) != (picture.path, picture.record):
        raise MisplacedError(f"{picture.path}: picture and record are {place} and {record_place}")
    return result, result.completed or not interruption.requested


def _write_somewhere(write: Callable[[Path], None], path: Path, overwrite: bool) -> Path:
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
