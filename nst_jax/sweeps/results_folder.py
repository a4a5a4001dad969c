"""The folder of a sweep: a picture and a record for each lane, the sheet, the page, what to resume.

A lane is finished when `sweep.json` has its record, under the same key, and its picture is there.
The key is a checksum of all that decides the result: settings, weights, the bytes of its images.
"""

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from nst_jax.engine.checkpoint import BEFORE
from nst_jax.engine.fitting import as_it_came_to
from nst_jax.engine.identity import first_difference, resolved_settings
from nst_jax.engine.results import Result, why_not_finite
from nst_jax.errors import ImageError, NSTError, SettingsError
from nst_jax.files import made_folder, remove_abandoned, reserved
from nst_jax.images import io
from nst_jax.images.encoders import PLAIN, SaveOptions
from nst_jax.records.write import (
    check_replaceable,
    file_metadata,
    image_text,
    input_files,
    make_record,
    save_bytes,
    save_record,
)
from nst_jax.settings.declaration import FIRST_VERSION
from nst_jax.settings.settings import SETTINGS, settings_of_record, without_idle_layers
from nst_jax.sweeps.contact_sheet import Cell, join_pictures, make_sweep_sheet
from nst_jax.sweeps.grid import Grid, Lane
from nst_jax.sweeps.html_report import PREVIEW_SIDE, make_page
from nst_jax.sweeps.watch_page import WatchPage, is_watch_page
from nst_jax.weights.parameters import Weights

MAX_SIZE_OFFERED = 1024  # px; more than this not every machine manages
RECORD, SHEET, PAGE, UNFINISHED = "sweep.json", "grid.png", "index.html", "unfinished.safetensors"
WATCH = "watch.html"
ROW = ("step", "loss", "content", "style")  # what its curves are made of
NOT_WRITTEN = "not written"  # of a lane whose picture had no room
OTHERS = "other images or weights"  # where no setting differs
NEEDED = {"name", "key", "settings", "completed", "error"}  # of a lane's record, to take it up


class SweepFolder:
    """Where the results of one sweep go.

    Attributes:
        path, grid, saving: as given.
        keys: {lane's name: key}.
        overwriting: whether what an earlier run left is of no use.
        unwritten: whether anything could not be written so far; the same command makes it.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        weights: Weights,
        command: str,
        again: Mapping[str, str],
        saving: SaveOptions = PLAIN,
        tell: Callable[[str], object] = lambda line: None,
    ):
        """Look at what is there, without changing anything.

        Args:
            path: of the folder; it need not exist.
            grid: of the sweep.
            weights: as the network will use them.
            command: as it was typed.
            again: {lane's name: the command that makes it alone}.
            saving: how the pictures are written, those that are saved on the way as well; the sheet
                is always plain.
            tell: is told what cannot be written.

        Raises:
            ImageError: an input cannot be read, or the folder's name is taken by a file.
        """
        self.path, self.grid, self.saving = path, grid, saving
        self.overwriting = self.unwritten = self._cleared = False
        self._tell = tell
        self._command, self._again = command, again
        self._inputs = _read_inputs(grid)
        self.keys = {lane.name: self._key_of(lane, weights) for lane in grid.lanes}
        self._records: dict[str, dict[str, Any]] = {}
        if path.exists() and not path.is_dir():
            raise ImageError(f"{path}: is a file; name a folder, new or of the same sweep")

    def file_of(self, lane: Lane) -> Path:
        """Where a lane's picture goes."""
        return self.path / f"{lane.name}.png"

    @property
    def unfinished(self) -> Path:
        """Where the first process of the run keeps what its running lanes go on from."""
        return self.path / UNFINISHED

    @property
    def is_ours(self) -> bool:
        """Whether a run of this sweep has been here, once `resume` has refused another's."""
        return any(path.is_file() for path in (self.path / RECORD, self.unfinished))

    def forget_unfinished(self) -> None:
        """Remove what any process of this run, or of one before, went on from."""
        stem, suffix = Path(UNFINISHED).stem, Path(UNFINISHED).suffix
        for path in self.path.glob(f"{stem}*"):
            if re.fullmatch(rf"{stem}(-\d+)?{suffix}({BEFORE})?", path.name):
                with contextlib.suppress(OSError):
                    path.unlink()

    def resume(self, overwrite: bool, going_on: bool = False, watch: bool = False) -> list[Lane]:
        """Take over what an earlier run of this sweep finished; return the lanes still to be done.

        Finished are also those that have come to nothing: they would again.

        Args:
            overwrite: do all of them, whatever is there.
            going_on: though `overwrite`, take over what is of this sweep.
            watch: whether there will be a page to watch it on.

        Raises:
            SettingsError: the folder holds another sweep.
            ImageError: a file that is no result of this sweep stands where one would go, or an
                input or a folder, which nothing replaces.
        """
        lanes = list(self.grid.lanes)
        results = [self.file_of(lane) for lane in lanes]
        results += [self.path / name for name in (RECORD, SHEET, PAGE, UNFINISHED)]
        inputs = [file["file"] for each in self._inputs.values() for file in each.values()]
        check_replaceable(results, inputs, overwrite=True)
        if watch:
            page = self.path / WATCH
            check_replaceable([page], inputs, overwrite or is_watch_page(page))
        self.overwriting = overwrite and not going_on
        if not self.overwriting:
            try:
                self._take_over(lanes)
            except NSTError:
                if not overwrite:
                    raise
                self.overwriting, self._records = True, {}
        finished = {name for name, record in self._records.items() if record["completed"]}
        return [lane for lane in lanes if lane.name not in finished]

    def _take_over(self, lanes: list[Lane]) -> None:
        """The records of what an earlier run made; errors as `resume` has them."""
        earlier = self._read_records()
        if reason := self._why_another(earlier):
            raise SettingsError(
                f"{self.path} holds another sweep ({reason}); choose another or add --overwrite"
            )
        for lane in lanes:
            record = earlier.get(lane.name)
            if record and (record["error"] is not None or self.file_of(lane).is_file()):
                self._records[lane.name] = record | self._place_of(lane)
        taken = [self.file_of(lane) for lane in lanes if lane.name not in earlier]
        taken += [self.path / name for name in (RECORD, SHEET, PAGE) if not earlier]
        for path in taken:
            if os.path.lexists(path):
                raise ImageError(f"{path}: exists already; choose another folder or --overwrite")

    def watch_page(self, lanes: list[Lane]) -> WatchPage:
        """The page on which these lanes are watched, not yet written; the others are finished."""
        page = WatchPage(
            self.path / WATCH,
            self.grid.title,
            axes=self._axes(),
            places={lane.name: lane.place for lane in self.grid.lanes},
            running=[lane.name for lane in lanes],
            links={"compare them": PAGE},
            tell=self._tell,
        )
        for lane in self.grid.lanes:
            if lane not in lanes:
                record, image = self._records[lane.name], self._cell_of(lane).image
                entries = record.get("history", [])
                rows = [[each.get(term) for term in ROW] for each in entries]
                loss, reason = record.get("result", {}).get("loss"), record["error"] or ""
                page.set_lane(lane.name, "failed" if reason else "done", loss, rows, image, reason)
        return page

    @contextlib.contextmanager
    def created(self) -> Iterator[bool]:
        """Make the folder, as `own_folder` does, and remove what killed processes have left."""
        with own_folder(self.path) as is_nowhere:
            own = (self.path / name for name in (RECORD, SHEET, PAGE, WATCH))
            for path in (*own, *map(self.file_of, self.grid.lanes)):
                remove_abandoned(path)
            yield is_nowhere

    def add(self, finished: Mapping[int, Result], lanes: list[Lane]) -> list[Path]:
        """Write the pictures and records of a round; return the paths of those written.

        Args:
            finished: the round; its numbers count `lanes`.
            lanes: from `resume`.
        """
        done = [(lanes[number], result) for number, result in finished.items()]
        records = {lane.name: self._make_record(lane, result) for lane, result in done}
        # Not complete until the pictures are there: if the disk is full, they are done again.
        incomplete = {name: r | {"completed": False} for name, r in records.items()}
        if not self._written(partial(self._save_records, incomplete)):
            return []  # pictures without records would be of someone else
        if self.overwriting and not self._cleared:
            self._cleared = True
            for lane in self.grid.lanes:
                self.file_of(lane).unlink(missing_ok=True)
        paths = []
        for lane, result in done:
            record, path = records[lane.name], self.file_of(lane)
            if record["error"] is None:
                text = image_text(record)
                image = result.image, path, text, self.saving, result.alpha
                if self._written(partial(io.save_image, *image)):
                    paths.append(path)
                else:
                    records[lane.name] = incomplete[lane.name]
        self._written(partial(self._save_records, records))
        return paths

    def _written(self, write: Callable[[], None]) -> bool:
        """Whether a file could be written; if not, that is told."""
        try:
            write()
        except ImageError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            self._tell(f"nst-jax: {error}")
            self.unwritten = True
            return False
        return True

    def _save_records(self, records: Mapping[str, dict[str, Any]]) -> None:
        """Write sweep.json, of these lanes and those before."""
        self._records |= records
        save_record(self._sweep(), self.path / RECORD)

    def failures(self) -> list[str]:
        """One line for each lane that has no picture, though it ran."""
        return [f"{n}: {r['error']}" for n, r in self._records.items() if r["error"] is not None]

    def unimproved(self) -> list[str]:
        """The names of lanes whose loss is no lower than at the start; of old records none."""
        results = {n: r.get("result", {}) for n, r in self._records.items() if r["error"] is None}
        return [name for name, one in results.items() if one.get("improved") is False]

    def write_reports(self) -> list[Path]:
        """Write sheet and page, of the pictures that there are; return the paths of those written.

        The page offers commands at the size of the content image, within reason.
        """
        # Of lanes that an earlier run finished, the places may be new.
        self._written(partial(self._save_records, {}))
        cells = {lane.name: self._cell_of(lane) for lane in self.grid.lanes}
        sources = [io.load_image(source.file, PREVIEW_SIDE) for source in self.grid.sources]
        sheet, page = self.path / SHEET, self.path / PAGE
        drawn = make_sweep_sheet(self.grid, cells, sources)
        images = {self.file_of(lane).name: cells[lane.name].image for lane in self.grid.lanes}
        images |= {_source_key(number): image for number, image in enumerate(sources)}
        for numbers in {lane.style for lane in self.grid.lanes if len(lane.style) > 1}:
            images[_source_key(*numbers)] = join_pictures([sources[number] for number in numbers])
        own_size = min(io.long_side(self.grid.sources[0].file), MAX_SIZE_OFFERED)
        full_size = max(self.grid.lanes[0].settings.size, own_size)
        sweep = self._sweep() | {"full_size": full_size}
        sweep["lanes"] = [
            one if images[one["file"]] is not None else one | {"error": one["error"] or NOT_WRITTEN}
            for one in sweep["lanes"]
        ]
        shown = make_page(sweep, images).encode()
        writers = {
            sheet: partial(io.save_image, drawn, sheet),
            page: partial(save_bytes, shown, page),
        }
        return [path for path, write in writers.items() if self._written(write)]

    def _cell_of(self, lane: Lane) -> Cell:
        """A lane's picture as it is, and what to say of one that has none or was interrupted."""
        record = self._records.get(lane.name)
        if record is None:
            return Cell(None, "not begun")
        if record["error"] is not None:
            return Cell(None, record["error"])
        if not self.file_of(lane).is_file():
            return Cell(None, NOT_WRITTEN)
        note = "" if record["completed"] else "interrupted"
        return Cell(io.load_image(self.file_of(lane)), note)

    def _sweep(self) -> dict[str, Any]:
        """The content of sweep.json."""
        return {
            "title": self.grid.title,
            "command": self._command,
            "axes": self._axes(),
            "sources": [
                {"key": _source_key(n), "role": each.role, "label": each.label, "file": each.file}
                for n, each in enumerate(self.grid.sources)
            ],
            "lanes": [self._records[n.name] for n in self.grid.lanes if n.name in self._records],
        }

    def _axes(self) -> list[dict[str, Any]]:
        return [
            {"name": axis.name, "title": axis.title, "labels": [p.label for p in axis.points]}
            for axis in self.grid.axes
        ]

    def _make_record(self, lane: Lane, result: Result) -> dict[str, Any]:
        failed = not math.isfinite(result.losses.total)  # as every one since its scale began
        return {
            **self._place_of(lane),
            "error": why_not_finite(result.history[-1][1]) if failed else None,
            **make_record(result, self._command, self._inputs[lane.name], self.saving),
        }

    def _place_of(self, lane: Lane) -> dict[str, Any]:
        """What a lane's record says of its place in this grid, which may be larger than another."""
        return {
            "name": lane.name,
            "file": self.file_of(lane).name,
            "key": self.keys[lane.name],
            "place": lane.place,
            "content": lane.content,
            "style": lane.style if len(lane.style) > 1 else next(iter(lane.style), None),
            "again": self._again[lane.name],
        }

    def _key_of(self, lane: Lane, weights: Weights) -> str:
        settings, later = resolved_settings(without_idle_layers(lane.settings)), _later_defaults()
        facts = {
            "settings": {n: v for n, v in settings.items() if n not in later or v != later[n]},
            "weights": [weights.sha256, weights.normalized],
            "inputs": {role: each["sha256"] for role, each in self._inputs[lane.name].items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _read_records(self) -> dict[str, dict[str, Any]]:
        """The records of an earlier run, by name; those that are not ours make an error."""
        path = self.path / RECORD
        if not path.exists():
            return {}
        try:
            records = json.loads(path.read_text("utf-8"))["lanes"]
            if not all(NEEDED <= set(record) for record in records):
                raise ValueError(f"a lane lacks one of {', '.join(sorted(NEEDED))}")
            return {r["name"]: r | {"settings": dict(r["settings"])} for r in records}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{path}: is no record of a sweep; choose another folder or add --overwrite"
            ) from error

    def _why_another(self, earlier: Mapping[str, dict[str, Any]]) -> str | None:
        """In what an earlier run's records are of another sweep; None where they are of this."""
        for lane in self.grid.lanes:
            if (record := earlier.get(lane.name)) is None:
                continue
            output = PLAIN.metadata() | record.get("output", {})  # which old records lack
            if (record["key"], output) != (self.keys[lane.name], self.saving.metadata()):
                then = settings_of_record(record["settings"]) | output
                given = as_it_came_to(lane.settings, then)
                now = resolved_settings(given) | self.saving.metadata()
                return f"there {lane.name} has {first_difference(then, now) or OTHERS}"
        foreign = sorted(set(earlier) - set(self.keys))
        return f"it has the lane {foreign[0]}" if foreign else None


@contextlib.contextmanager
def own_folder(path: Path) -> Iterator[bool]:
    """Make a folder, for this process alone; say whether the one it is in was made, too.

    It is removed if it is still empty in the end.

    Raises:
        NSTError: it cannot be made.
        ImageError: it cannot be written, or another process has it.
    """
    is_nowhere = not path.parent.is_dir()
    with made_folder(path):
        io.check_writable(path / SHEET, overwrite=True)
        with reserved(path) as alone:
            if not alone:
                raise ImageError(f"{path}: another run is making it; choose another folder")
            yield is_nowhere


def _source_key(*numbers: int) -> str:
    """The name of a source, or of several side by side, in sweep.json and on the page."""
    return "-".join(("source", *map(str, numbers)))


def _read_inputs(grid: Grid) -> dict[str, dict[str, dict[str, str]]]:
    """{lane's name: {role: {file, sha256}}}, every file read once."""
    read, inputs = cache(file_metadata), {}
    for lane in grid.lanes:
        files = input_files(lane.settings, *grid.files_of(lane))
        inputs[lane.name] = {role: read(file) for role, file in files.items()}
    return inputs


def _later_defaults() -> dict[str, Any]:
    """{name: default} of settings that old folders do not know: keys are made without these.

    Not where a run without the setting did something else: those lanes are painted anew.
    """
    later = [one for one in SETTINGS.values() if one.since != FIRST_VERSION]
    return {one.name: one.default for one in later if one.default == one.when_absent}
