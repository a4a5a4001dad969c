"""A page that shows a run as it goes on: one HTML file, written anew every few seconds."""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from nst_jax.engine.pace import AUTO, Pace
from nst_jax.engine.results import History, Look, Result, why_not_finite
from nst_jax.files import write_bytes
from nst_jax.settings.settings import Settings
from nst_jax.sweeps.page_template import fill_template, preview_of

SECONDS = 3.0  # between two writings, at least
SIDE = 512  # pixels of one picture, the long side
PIXELS = 3 * SIDE**2  # of all pictures together
QUALITY, COLOR = 80, "4:2:0"
POINTS, ALL_POINTS = 300, 6000  # of a curve, and of all curves together
MARK = b'<meta name="generator" content="nst_jax watch">'
ALONE = "picture"  # what the one lane of a single run is called


class WatchPage:
    """Shows a run in a browser: newest pictures, loss curves, step, time spent and time left.

    Give it to `stylize` or `sweep` as `watch`, and open its file: it needs no server, and looks for
    news on disk. It is written at most every few seconds, and so seldom that it takes 2 % of the
    time at most. That it cannot be written is told once, and ends no run.

    Attributes:
        path: of the page.
    """

    def __init__(
        self,
        path: str | Path,
        title: str | None = None,
        *,
        axes: Sequence[Mapping[str, Any]] = (),
        places: Mapping[str, Mapping[str, int]] | None = None,
        running: Sequence[str] = (),
        links: Mapping[str, str] | None = None,
        tell: Callable[[str], object] = warnings.warn,
    ):
        """Take what to show; without `places`, a lane for each setting of the run.

        Args:
            path: of the HTML file; its folder must exist, and what stands there is replaced.
            title: of the page; None takes the file's name.
            axes: of a grid, each with `name`, `title` and `labels`.
            places: {name of a lane: {name of an axis: number of the label}}.
            running: the names of the run's lanes, in their order; the run may have more.
            links: {text: file beside the page} to be shown when the run is over.
            tell: is told that the page cannot be written.
        """
        self.path = Path(path)
        self._title, self._tell, self._links = title or self.path.stem, tell, links or {}
        self._given = None if places is None else (axes, places, running)
        self._pace = Pace(AUTO, 0, SECONDS)
        self._told = self._begun = False
        self._lay_out(*(self._given or ((), {}, ())))

    def _lay_out(
        self,
        axes: Sequence[Mapping[str, Any]],
        places: Mapping[str, Mapping[str, int]],
        running: Sequence[str],
    ) -> None:
        """Begin with lanes of which nothing is known."""
        self._running, self._spent = running, 0.0
        self._lanes: dict[str, dict[str, Any]] = {
            name: {"name": name, "place": place, "state": "waiting", "reason": ""}
            | {"loss": None, "history": [], "picture": None}
            for name, place in places.items()
        }
        self._run: dict[str, Any] = {
            "title": self._title,
            "links": [
                [text, quote(f, errors="surrogateescape")] for text, f in self._links.items()
            ],
            "axes": axes,
            "run": time.time(),
            "state": "compiling",
            "reason": "",
            "together": "",
            **{"step": 0, "steps": None, "size": None},
            **{"work": 0.0, "seconds": 0.0, "left": None},
            **{"written": time.time(), "apart": SECONDS},
        }

    def begin(self, settings: Sequence[Settings]) -> None:
        """Begin the page of a run of these settings."""
        if self._given is None:
            self._lay_out(*_one_axis(settings))
        self._begun = True
        self._pace.is_due(0)
        self._write("compiling")

    def is_due(self, step: int) -> bool:
        """Whether it is time to show a step."""
        return self._pace.is_due(step)

    def show(self, look: Look) -> None:
        """Show lanes in the middle of their run."""
        began = time.perf_counter()
        progress, histories = look(max(2, min(POINTS, ALL_POINTS // len(self._lanes))))
        assert progress.images is not None
        seen = zip(progress.lanes, progress.losses.total, histories, progress.images, strict=True)
        for number, loss, history, image in seen:
            if number < len(self._running):
                self.set_lane(self._running[number], "running", loss, rows_of(history), image)
        first, together = progress.done + 1, min(progress.together, len(self._running))
        last, count = progress.done + together, len(self._running)
        self._run |= {
            "together": f"lanes {first} to {last} of {count}" if count > 1 else "",
            "step": progress.step,
            "steps": progress.steps,
            "size": progress.size,
            "work": (progress.done + together * progress.work) / count,
            "seconds": self._spent + progress.seconds,
            "left": progress.seconds_left(count),
        }
        self._write("painting")
        self._pace.spent(time.perf_counter() - began)

    def take(self, results: Mapping[int, Result]) -> None:
        """Take what lanes have come to; the page has it when it is written next."""
        for number, result in results.items():
            if number < len(self._running):
                state = "done" if result.completed else "stopped"
                loss, reason = result.losses.total, ""
                if not math.isfinite(loss):
                    state, reason = "failed", why_not_finite(result.history[-1][1])
                name, image = self._running[number], result.image
                self.set_lane(name, state, loss, rows_of(result.history), image, reason)
        for result in results.values():
            self._spent += result.run_seconds
            self._run |= {"seconds": self._spent, "left": None, "together": ""}
            self._run |= {"step": result.evaluations - 1, "steps": result.settings.steps}
            break  # all of a round had the same steps and the same time

    def set_lane(
        self,
        name: str,
        state: str,
        loss: Any,
        rows: Sequence[Sequence[Any]],
        image: np.ndarray | None,
        reason: str = "",
    ) -> None:
        """Set what is shown of a lane.

        Args:
            name: of the lane.
            state: waiting, running, done, stopped or failed.
            loss: the newest, or None.
            rows: of the curves, as `rows_of` has them.
            image: (H, W, 3) float sRGB in [0, 1], or None.
            reason: why it failed.
        """
        side = min(SIDE, round(math.sqrt(PIXELS / len(self._lanes))))
        stride = max(1, len(rows) // POINTS)
        self._lanes[name] |= {
            "state": state,
            "reason": reason,
            "loss": _number(loss),
            "history": [
                [step, *map(_number, values)] for step, *values in [*rows[:-1:stride], *rows[-1:]]
            ],
            "picture": None if image is None else preview_of(image, side, QUALITY, COLOR),
        }

    def __enter__(self) -> "WatchPage":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Say how the run ended; of one that was refused before it began nothing."""
        if not self._begun:
            return
        self._begun = False
        states = {lane["state"] for lane in self._lanes.values()}
        if isinstance(error, KeyboardInterrupt):
            self._write("stopped", "at once; nothing of the lanes that ran was saved")
        elif error is not None:
            self._write("failed", str(error) or type(error).__name__)
        elif states <= {"done", "failed"}:
            self._run["work"] = 1.0
            self._write("finished")
        else:
            self._write("stopped", "the best image so far is kept")

    def _write(self, state: str, reason: str = "") -> None:
        now = time.time()
        self._run |= {"state": state, "reason": reason}
        self._run |= {"apart": now - self._run["written"], "written": now}
        page = fill_template(
            "watch.html", self._title, self._run | {"lanes": [*self._lanes.values()]}
        )
        try:
            write_bytes(self.path, page.encode())
        except OSError as error:
            if not self._told:
                reason = error.strerror or str(error)
                self._tell(f"{self.path}: the page cannot be written ({reason}); the run goes on")
            self._told = True


def rows_of(history: History) -> list[tuple[Any, ...]]:
    """Step, and the total, content and style loss of each entry."""
    return [(step, each.total, each.content, each.style) for step, each in history]


def is_watch_page(path: Path) -> bool:
    """Whether a file is such a page: of an earlier run, it may be replaced."""
    with suppress(OSError), open(path, "rb") as file:
        return MARK in file.read(1000)
    return False


def _one_axis(
    settings: Sequence[Settings],
) -> tuple[Sequence[Mapping[str, Any]], dict[str, dict[str, int]], Sequence[str]]:
    """Axes, places and names of lanes, labeled by what differs between their settings."""
    if len(settings) == 1:
        return (), {ALONE: {}}, (ALONE,)
    values = [asdict(each) for each in settings]
    differing = [
        name for name in values[0] if any(each[name] != values[0][name] for each in values)
    ]
    labels = [", ".join(f"{name} {each[name]}" for name in differing) for each in values]
    labels = [label or str(number) for number, label in enumerate(labels, 1)]
    names = [str(number) for number in range(len(settings))]
    axis = {"name": "lane", "title": "setting", "labels": labels}
    return (axis,), {name: {"lane": number} for number, name in enumerate(names)}, names


def _number(value: Any) -> float | None:
    """With four digits; None for what JSON cannot say."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
