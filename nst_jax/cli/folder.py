"""A picture for every photograph of a folder, or for every frame of a video.

Those of one shape share one compiled program, as many at once as fit into memory and gain time.
Each picture has a record of its own, as if it were alone; by that the same command knows what it
need not make again.
"""

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nst_jax.cli.checkpoints import (
    check_room,
    picture_bytes,
    say_going_on,
    say_if_memory_is_short,
)
from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import NAMED, answer, say, say_new_folder, say_nothing_gained
from nst_jax.cli.output_flags import save_options
from nst_jax.cli.picture import Picture, write_somewhere
from nst_jax.cli.progress import ProgressBar
from nst_jax.cli.running import choose_network, describe_fit, make_callback, paths_on_the_way
from nst_jax.engine.checkpoint import (
    AnotherRunError,
    Checkpoint,
    CheckpointFile,
    checkpoint_bytes,
    identities_in,
)
from nst_jax.engine.fitting import SPARING, as_it_came_to, fitted
from nst_jax.engine.identity import first_difference, resolved_settings
from nst_jax.engine.options import RunOptions
from nst_jax.engine.pace import AUTO
from nst_jax.engine.problem import Problem, prepare_problem
from nst_jax.engine.results import Result, SweepProgress, why_not_finite
from nst_jax.engine.runner import Runner
from nst_jax.engine.style_images import StyleImageReader, list_files
from nst_jax.errors import FailedLanesError, ImageError, MisplacedError, NSTError, SettingsError
from nst_jax.files import remove_abandoned
from nst_jax.host_memory import as_text
from nst_jax.images import io
from nst_jax.images.encoders import ENCODERS
from nst_jax.records.read import Recorded, read_recorded
from nst_jax.records.resolve_inputs import is_unchanged
from nst_jax.records.write import check_replaceable, image_text, make_record, save_record
from nst_jax.settings.settings import Settings
from nst_jax.sweeps.results_folder import OTHERS, UNFINISHED, own_folder
from nst_jax.weights.locate import find_weights
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import load_weights

PREVIOUS = "previous"  # of --init: each frame starts from the picture of the one before it
REMEDY = "remove it, and only the pictures in it begin anew"  # of other versions


class Kind(NamedTuple):
    """What decides, beside the settings, which program paints a photograph."""

    height: int
    width: int
    is_transparent: bool

    def __str__(self) -> str:
        return f"{self.width}×{self.height}" + " with transparency" * self.is_transparent


def paint_folder(
    wanted: Settings, output: Path, options: argparse.Namespace, arguments: Sequence[str]
) -> bool:
    """Paint what a folder has; return whether it went to its end.

    Args:
        wanted: the settings of the command line.
        output: the folder of the pictures.
        options: of the command line; content is the folder of the photographs.
        arguments: as they were typed.

    Raises:
        FailedLanesError: it did, and photographs could not be read or have come to nothing.
        MisplacedError: it did, and not all could be written where they were to stand.
        NSTError: nothing can be painted, or what is there is of another command.
    """
    _check_folders(wanted, output, options)
    in_turn = wanted.init == PREVIOUS
    if in_turn:  # where the first frame starts
        wanted = dataclasses.replace(wanted, init="content")
    settings, weights, network = choose_network(wanted, load_weights(find_weights(wanted.weights)))
    shared = tuple(list_files(options.styles, say)), save_options(options)
    command = shlex.join(["nst-jax", *arguments])
    pictures = [
        Picture(output / f"{Path(photo).stem}.png", settings, photo, *shared, command)
        for photo in sorted(list_files([options.content], say), key=_natural)
    ]
    _check_names(pictures, options.save_every)
    say(network)
    work = _FolderWork(output, pictures, weights, options, in_turn)
    completed = True
    if work.is_to_do:
        with own_folder(output) as is_new, Interruption() as interruption:
            completed = work.paint(interruption)
            if is_new:
                say_new_folder(output)
    work.report(completed)
    return completed


class _FolderWork:
    """The pictures of a folder: which of them are there, and making the others."""

    def __init__(
        self,
        output: Path,
        pictures: Sequence[Picture],
        weights: Weights,
        options: argparse.Namespace,
        in_turn: bool,
    ):
        """Look at all photographs, and at what is there; nothing is changed.

        Args:
            output: the folder of the pictures.
            pictures: in their order.
            weights: as the network will use them.
            options: of the command line.
            in_turn: whether each picture starts from the one before it.

        Raises:
            ImageError: no photograph can be painted, or a style image cannot be read.
            SettingsError: what is there is of another command; frames are of several shapes.
        """
        self._output, self._weights, self._options = output, weights, options
        self._in_turn = in_turn
        self._last: Path | None = None  # the picture that the next frame starts from
        self._anew = options.overwrite and not options.resume
        first = pictures[0]
        reader = StyleImageReader(first.settings.style_size or first.settings.size)
        self._styles = reader.read(first.styles, first.settings.style_scale)
        self._run_options = RunOptions(
            None,
            options.report_every,
            options.save_every,
            lanes_at_once=1 if in_turn else None,
            checkpoint_every=options.checkpoint_every or AUTO,
        )
        self._to_do: dict[Kind, list[Picture]] = defaultdict(list)
        self._counts: Counter[Kind] = Counter()  # with those that are finished
        self._all, self._done = len(pictures), 0
        self._ours: set[Path] = set()  # what is there, and of this command
        self._failures: dict[str, str] = {}  # by photograph
        self._unimproved: list[str] = []
        self._misplaced: list[Path] = []
        there = () if self._anew else identities_in(output / UNFINISHED)
        self._inputs_there = [identity["inputs"] for identity in there]
        self._interrupted: set[Path] = set()  # pictures that a checkpoint is of
        self._sort_out(pictures)

    def _sort_out(self, pictures: Sequence[Picture]) -> None:
        for given in pictures:
            picture = self._following(given)
            outputs = [picture.path, picture.record, *self._on_the_way(picture)]
            check_replaceable(outputs, picture.files.values(), overwrite=True)
            try:
                if self._options.copy_exif:
                    exif = io.read_exif(given.content or "")
                    saving = dataclasses.replace(picture.saving, exif=exif)
                    picture = dataclasses.replace(picture, saving=saving)
                finished = self._is_finished(picture) and not (self._in_turn and self._to_do)
                kind = _kind_of_result(picture.path) if finished else self._kind_of(picture)
            except ImageError as error:
                self._failures[str(given.content)] = str(error)
                continue
            self._counts[kind] += 1
            if finished:
                self._done, self._last = self._done + 1, picture.path
            else:
                self._to_do[kind].append(picture)
        known = self._options.overwrite or self._ours or os.path.lexists(self._output / UNFINISHED)
        fresh = (path for each in pictures for path in self._on_the_way(each))
        check_replaceable(fresh, (), overwrite=bool(known))
        if not (self._counts or self._ours):
            raise ImageError(next(iter(self._failures.values())))
        if self._in_turn and len(self._counts) > 1:
            shapes = " and ".join(map(str, self._counts))
            raise SettingsError(f"--init {PREVIOUS} is for frames of one shape in px, not {shapes}")
        for photo, reason in self._failures.items():
            say(f"nst-jax: {photo} is left out: {reason.removeprefix(f'{photo}: ')}")
        if self._done:
            say(f"{self._output}: {self._done} of {sum(self._counts.values())} are finished")

    def _on_the_way(self, picture: Picture) -> list[Path]:
        return paths_on_the_way(picture.path, picture.settings.steps, self._options.save_every)

    def _following(self, picture: Picture, **changes: Any) -> Picture:
        """The picture with other settings; where frames go in turn, from the last one on."""
        if self._in_turn and self._last is not None:
            changes["init"] = str(self._last)
        settings = dataclasses.replace(picture.settings, **changes)
        return dataclasses.replace(picture, settings=settings)

    def _is_finished(self, picture: Picture) -> bool:
        """Whether picture and record are there, and would come out the same.

        Raises:
            ImageError: an input cannot be read, or it has come to nothing, and would again.
            SettingsError: what is there is of another command, and is not to be replaced.
        """
        if self._anew or not (os.path.lexists(picture.path) or os.path.lexists(picture.record)):
            return False
        recorded = _recorded(picture)
        reason = self._why_another(picture, recorded, wherever_it_started=self._in_turn)
        if reason and not self._options.overwrite:
            raise SettingsError(
                f"{self._output} holds other pictures ({picture.path.name} {reason}); choose "
                f"another folder, or replace what is another with --overwrite --resume"
            )
        if reason or recorded is None:
            return False
        self._ours.add(picture.path)
        if recorded.stopped_at is not None:
            return False
        if recorded.error is not None and not self._in_turn:
            raise ImageError(f"{picture.content}: {recorded.error}")
        there = picture.path.is_file() and picture.record.is_file()
        return there and self._why_another(picture, recorded) is None

    def _why_another(
        self, picture: Picture, recorded: Recorded | None, wherever_it_started: bool = False
    ) -> str | None:
        """In what that which is there is not this picture; None where it is."""
        if recorded is None:
            return "has no record"
        settings, inputs = picture.settings, dict(picture.inputs)
        settings = as_it_came_to(settings, dataclasses.asdict(recorded.settings))
        if wherever_it_started:  # the frame before may be made anew
            settings = dataclasses.replace(settings, init=recorded.settings.init)
            inputs.pop("init", None)
            inputs |= {role: file for role, file in recorded.inputs.items() if role == "init"}
        then, now = recorded.output, picture.saving.metadata()
        of_weights = recorded.weights.get("sha256") == self._weights.sha256
        if is_unchanged(settings, inputs, recorded) and of_weights and then == now:
            return None
        then, now = (
            resolved_settings(one) | dict(output)
            for one, output in ((recorded.settings, then), (settings, now))
        )
        return f"has {first_difference(then, now) or OTHERS}"

    def _kind_of(self, picture: Picture) -> Kind:
        """What program a photograph takes; errors as `prepare_problem` has them."""
        problem = self._problem_of([picture])
        if self._inputs_there and problem.identities[0]["inputs"] in self._inputs_there:
            self._interrupted.add(picture.path)
        return Kind(*problem.shape[:2], problem.alphas[0] is not None)

    def _problem_of(self, pictures: Sequence[Picture]) -> Problem:
        contents, settings = ([getattr(p, n) for p in pictures] for n in ("content", "settings"))
        return prepare_problem(contents, [self._styles] * len(pictures), settings, self._weights)

    @property
    def is_to_do(self) -> bool:
        """Whether anything is to be painted."""
        return bool(self._to_do)

    def paint(self, interruption: Interruption) -> bool:
        """Paint what is not there yet; return whether that went to its end."""
        count = sum(self._counts.values())
        for pictures in self._to_do.values() if not self._in_turn else ():
            pictures.sort(key=lambda one: one.path not in self._interrupted)
        kinds = sorted(self._to_do, key=self._turn_of)
        with ProgressBar(count, "picture") as bar:
            try:
                completed = all(self._paint_kind(kind, bar, interruption) for kind in kinds)
            except KeyboardInterrupt:
                completed = False
        if not completed:
            how = " with --resume" if self._options.overwrite else ""
            say(f"interrupted after {self._done} of {count}; the same command{how} makes the rest")
        return completed

    def _turn_of(self, kind: Kind) -> tuple[bool, int]:
        """The largest first; before them what was interrupted, whose checkpoint others replace."""
        begun = any(one.path in self._interrupted for one in self._to_do[kind])
        return not begun, -kind.height * kind.width

    def _paint_kind(self, kind: Kind, bar: ProgressBar, interruption: Interruption) -> bool:
        """Paint the photographs of one kind, with one program; return whether all of them ended."""
        pictures, saving = self._to_do[kind], self._to_do[kind][0].saving
        copies = 1 if self._in_turn else self._counts[kind]
        # All as the first one: how many go at once depends on their number and shape only, and not
        # on how many of them are finished, so that what is made later rounds as the others did.
        given = self._problem_of([pictures[0]] * copies)
        problem = fitted(given, going_on=None if self._anew else self._output / UNFINISHED)
        like = Runner(problem, self._run_options)
        at_once = like.executor.lanes
        size = checkpoint_bytes(problem, at_once) if self._options.checkpoint_every else 0
        check_room(self._output, len(pictures) * picture_bytes(problem, saving), size)
        say_if_memory_is_short(problem, at_once, size > 0)
        say(
            f"{len(pictures)} pictures of {kind.width}×{kind.height} px, "
            f"{min(at_once, len(pictures))} at once, {as_text(like.needed_bytes)} of memory"
        )
        for line in (*describe_fit(given, problem), *problem.describe()):
            say(line)
        taken = {name: getattr(problem.settings[0], name) for name in SPARING[-1]}
        # All that were interrupted together, though fewer go at once now: else some would be lost.
        begun = 0 if self._in_turn else sum(one.path in self._interrupted for one in pictures)
        bounds = [0, *range(max(begun, at_once), len(pictures), at_once), len(pictures)]
        for first, end in itertools.pairwise(bounds):
            batch = [self._following(one, **taken) for one in pictures[first:end]]
            if self._in_turn and self._is_finished(self._following(pictures[first])):
                self._done, self._last = self._done + 1, batch[0].path
            elif not self._paint_batch(batch, like, bar, interruption):
                return False
        return True

    def _paint_batch(
        self, pictures: list[Picture], like: Runner, bar: ProgressBar, interruption: Interruption
    ) -> bool:
        """Paint pictures together and write them; return whether the run may go on."""
        interruption.stoppable = False  # all that there is has been saved
        problem = self._problem_of(pictures)
        file = CheckpointFile(self._output / UNFINISHED, problem, say, REMEDY)
        outputs = (path for each in pictures for path in (each.path, each.record))
        for path in (file.path, *outputs):
            remove_abandoned(path)
        resumed = self._take_up(file)
        paths = {number: picture.path for number, picture in enumerate(pictures)}
        savings = {number: picture.saving for number, picture in enumerate(pictures)}
        show = make_callback(bar, interruption, paths, savings, problem)

        def callback(progress: SweepProgress) -> None:
            show(dataclasses.replace(progress, done=self._done))

        keep = file.keep if self._options.checkpoint_every else None
        run_options = dataclasses.replace(self._run_options, callback=callback, keep=keep)
        for finished in Runner(problem, run_options, resumed, like).run():
            for number, result in finished.results.items():
                self._write(pictures[number], result)
            if self._misplaced:
                file.hold()
            if finished.checkpoint is not None:
                file.keep(finished.checkpoint)
            if finished.stopped:
                return False
            self._done += len(finished.results)
        file.remove()
        return not interruption.requested

    def _take_up(self, file: CheckpointFile) -> Checkpoint | None:
        """What the pictures go on from, or None."""
        resumed = None
        if not self._anew:
            with contextlib.suppress(AnotherRunError):  # of other photographs
                resumed = file.load()
        if resumed:
            say_going_on(resumed)
        return resumed

    def _write(self, picture: Picture, result: Result) -> None:
        """Write a record and its picture, in this order: a picture without one may be anybody's."""
        record = make_record(result, picture.command, picture.inputs, picture.saving)
        replacing = self._options.overwrite or picture.path in self._ours
        failed = not math.isfinite(result.losses.total)
        if failed:
            self._failures[str(picture.content)] = reason = why_not_finite(result.history[-1][1])
            say(f"nst-jax: {picture.content} has no picture: {reason}")
            record = {"error": reason} | record
        if replacing:  # the new record is not of the old picture
            picture.path.unlink(missing_ok=True)
        text, saving, alpha = image_text(record), picture.saving, result.alpha
        save = partial(io.save_image, result.image, text=text, options=saving, alpha=alpha)
        record_place = write_somewhere(partial(save_record, record), picture.record, replacing)
        if failed:
            return
        place = write_somewhere(save, picture.path, replacing)
        answer(place)
        if (place, record_place) != (picture.path, picture.record):
            self._misplaced.append(picture.path)
        if result.improved is False:
            self._unimproved.append(str(place))
        self._last = place

    def report(self, completed: bool) -> None:
        """Say what is not as it should be; errors as `paint_folder` has them."""
        if self._unimproved:
            say_nothing_gained(self._unimproved)
        if completed and self._misplaced:
            raise MisplacedError(
                f"{self._output}: not all could be written there, such as {self._misplaced[0]}; "
                f"free space, and the same command makes them again"
            )
        if completed and self._failures:
            count = len(self._failures)
            names, more = ", ".join([*self._failures][:NAMED]), count - NAMED
            names += f" and {more} more" if more > 0 else ""
            raise FailedLanesError(f"no picture for {count} of {self._all} photographs: {names}")


def _check_folders(wanted: Settings, output: Path, options: argparse.Namespace) -> None:
    """Refuse what makes no sense for a folder.

    Raises:
        SettingsError: it is asked for, or the pictures would lie among the photographs.
    """
    for flag, given in {"content-mask": wanted.content_mask, "watch": options.watch}.items():
        if given:
            raise SettingsError(
                f"--{flag} is for one photograph, and {options.content} is a folder; leave it "
                f"out, or paint them one by one"
            )
    if output.exists() and not output.is_dir():
        raise SettingsError(f"{output}: is a file; of a folder, -o is a folder")
    if output.suffix.lower() in ENCODERS and not output.is_dir():
        raise SettingsError(
            f"{options.content}: is a folder, and {output} the name of a picture; give an image, "
            f"or -o a folder"
        )
    if output.is_dir() and output.samefile(options.content):
        raise SettingsError(f"{output}: is the folder of the photographs; name another with -o")


def _check_names(pictures: Sequence[Picture], save_every: int | None) -> None:
    """Refuse photographs whose pictures would have one name, as a.jpg and a.png would.

    Or one and that of another's on the way, as a-00100.jpg and a.jpg.

    Raises:
        SettingsError: there are such.
    """
    by_name: dict[str, Picture] = {}
    for picture in pictures:
        name = picture.path.name.casefold()  # as file systems have it that know no case
        if (other := by_name.setdefault(name, picture)) is not picture:
            raise SettingsError(
                f"{other.content} and {picture.content} would both be {picture.path}; rename one"
            )
    for picture in pictures:
        for path in paths_on_the_way(picture.path, picture.settings.steps, save_every):
            if taken := by_name.get(path.name.casefold()):
                raise SettingsError(
                    f"{taken.content}, and {picture.content} on the way, would both be {path}; "
                    f"rename one or leave out --save-every"
                )


def _natural(file: str) -> list[str | int]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", file.casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def _recorded(picture: Picture) -> Recorded | None:
    """What the record that stands there says, or the picture; None where neither says anything."""
    for path in (picture.record, picture.path):
        with contextlib.suppress(NSTError):
            return read_recorded(path)
    return None


def _kind_of_result(path: Path) -> Kind:
    """Of a photograph, from the picture that was made of it; its record does not tell."""
    height, width, channels = io.shape_of(path)
    return Kind(height, width, channels == 4)
