"""The package's two calls: one setting, or many at once."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from nst_jax.engine import distributed
from nst_jax.engine.checkpoint import CheckpointFile
from nst_jax.engine.fitting import fitted
from nst_jax.engine.options import RunOptions
from nst_jax.engine.pace import AUTO, read_interval
from nst_jax.engine.problem import ContentImages, StyleImages, prepare_problem
from nst_jax.engine.results import Callback, Result, SweepCallback, Watch, told_of_first_lane
from nst_jax.engine.runner import Runner
from nst_jax.engine.sharing import AUTO as AUTO_DEVICES
from nst_jax.engine.sharing import Devices, shared
from nst_jax.engine.style_images import ImageLike, StyleLike, list_style_images
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights

REMEDY = "remove it to begin anew, or name another"


def stylize(
    content: ImageLike | None,
    style: StyleLike | None,
    settings: Settings | None = None,
    *,
    weights: Weights | None = None,
    callback: Callback | None = None,
    report_every: int = 10,
    save_every: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: str = "auto",
    watch: Watch | None = None,
    devices: Devices = AUTO_DEVICES,
) -> Result:
    """Paint the content image in the manner of the style image.

    Args:
        content: path, bytes, open file ("rb") or image of Pillow's, resized so that its long side
            is `settings.size`; or an array (H, W, 3), sRGB in [0, 1], taken as it is, with alpha
            (H, W, 4). Where it is transparent nothing is painted. May be None where there are no
            content layers: the style alone is reconstructed.
        style: any of these; a file is resized to `settings.style_size`, and goes on white. Or
            several of these, whose Gram matrices are mixed as style_blend and layers_per_style say,
            or which go to the regions of content_mask. The path of a folder stands for its images,
            by name. None reconstructs the content alone.
        settings: of the run; None takes the defaults.
        weights: of the network; None finds `settings.weights`.
        callback: called after every step with a Progress. It may raise StopIteration to end the
            run there (as in `scipy.optimize.minimize`).
        report_every: steps between entries of the history.
        save_every: steps between calls of the callback that carry the image.
        checkpoint: path of a file that the run goes on from, if it is there, and keeps as it goes
            on and where the callback ends it; a run that comes to its end removes it. That it
            cannot be written is a warning.
        checkpoint_every: how often: "50" steps, "300s", "10m", "2h"; "auto" takes 2 % of the time
            at most, and none in the first minute; "never".
        watch: a WatchPage, which shows the run in a browser.
        devices: that share the image, each some of its rows: a number; "all"; "auto": as few as it
            fits in. The result is the same but for rounding. Of several processes, after
            `jax.distributed.initialize`, each must make this same call, of which the first
            alone reads the images; "auto" and "all" take all devices of all of them.

    Returns:
        The image of least loss, or the average, and how it came about.

    Raises:
        ImageError: an image cannot be read, or an array is no image in [0, 1].
        SettingsError: a setting does not fit the network or the images, or makes the first loss
            overflow; the run does not fit into memory (with what would); the checkpoint is of
            another run, or of other versions.
        WeightsError: there are no such weights.
    """
    styles, interval = (list_style_images(style),), read_interval(checkpoint_every)
    of_one = (content,), styles, (settings or Settings(),), weights
    given = distributed.from_first(partial(prepare_problem, *of_one))
    path = None if checkpoint is None else distributed.own(Path(checkpoint))
    problem = fitted(shared(given, devices, path), going_on=path)
    file = CheckpointFile(path, problem, warnings.warn, REMEDY) if path else None
    options = RunOptions(
        callback and told_of_first_lane(callback),
        report_every,
        save_every,
        must_be_finite=True,
        keep=file.keep if file and interval else None,
        checkpoint_every=interval or AUTO,
        watch=watch if distributed.is_first() else None,
    )
    with options.watch or nullcontext():
        finished = next(Runner(problem, options, file.load() if file else None).run())
    result = finished.results[0]
    if file and finished.checkpoint:
        file.keep(finished.checkpoint)
    elif file and result.completed:
        file.remove()
    return result


def sweep(
    content: ContentImages,
    style: StyleImages,
    settings: Sequence[Settings],
    *,
    weights: Weights | None = None,
    callback: SweepCallback | None = None,
    report_every: int = 10,
    save_every: int | None = None,
    lanes_at_once: int | None = None,
    memory: int | None = None,
    watch: Watch | None = None,
    rows: Devices = 1,
) -> list[Result]:
    """Run many settings together, each as `stylize` would run it alone.

    One compiled program serves all lanes: each step evaluates every lane's loss and gradient once.
    Lanes are spread over all local devices and, after `jax.distributed.initialize`, over all
    processes; then each process must make this same call, and each returns all the results.

    Args:
        content: one image for all lanes, or a list with one for each; of one shape.
        style: one image for all lanes, or a list with one for each; of any shapes. To mix several,
            a list with a tuple of them for each lane, or the path of a folder for all.
        settings: one for each lane. They may differ in what `settings.LANE_SETTINGS` names (ratio,
            seed, init, …), and in their masks, but not in the number of regions.
        weights: of the network; None finds `settings[0].weights`.
        callback: called after every step with a SweepProgress. It may raise StopIteration to end
            the sweep there.
        report_every: steps between entries of the histories.
        save_every: steps between calls of the callback that carry the images.
        lanes_at_once: at most, in each process, rounded up to a multiple of its devices; None takes
            as many as fit into memory.
        memory: bytes that each device may use; None means nearly all that is free.
        watch: a WatchPage, which shows the run in a browser.
        rows: devices that share each image, a number that divides those of this process, or "all"
            of all processes.

    Returns:
        One result for each lane, in their order. Where the callback ended the sweep, those that ran
        have `completed` false, and those that had not begun are missing. A lane whose first loss is
        not finite keeps its initial image, and its losses say so (`losses.total` is inf).

    Raises:
        ImageError: an image cannot be read, or the content images differ in shape.
        SettingsError: settings differ in what they may not, do not fit the network or the images,
            or one lane alone does not fit into memory.
        WeightsError: there are no such weights.
    """
    page = watch if distributed.is_first() else None
    options = RunOptions(callback, report_every, save_every, lanes_at_once, memory, watch=page)
    given = distributed.from_first(partial(prepare_problem, content, style, settings, weights))
    problem = fitted(shared(given, rows, flag="rows"), memory)
    results: dict[int, Result] = {}
    with page or nullcontext():
        for finished in Runner(problem, options).run():
            results |= finished.results
    return [results[lane] for lane in sorted(results)]
