"""Many settings at once, from Python."""

from collections.abc import Sequence

from nst_jax.engine.job import Images, Styles, prepare
from nst_jax.engine.rounds import Options, SweepCallback, run
from nst_jax.engine.transfer import Result
from nst_jax.settings.settings import Settings
from nst_jax.weights.parameters import Weights


def sweep(
    content: Images,
    style: Styles,
    settings: Sequence[Settings],
    *,
    weights: Weights | None = None,
    callback: SweepCallback | None = None,
    report_every: int = 10,
    save_every: int | None = None,
    lanes_at_once: int | None = None,
    memory: int | None = None,
) -> list[Result]:
    """Run many settings together, each as `stylize` would run it alone.

    One compiled program serves all lanes: each step evaluates every lane's loss and gradient once.
    Lanes are spread over all local devices and, after `jax.distributed.initialize`, over all
    processes; then each process must make this same call, and each returns all the results.

    Args:
        content: one image for all lanes, or a list with one for each; of one shape. As in
            `stylize`.
        style: likewise; of any shapes. To mix paintings, give a list with a tuple of them for
            each lane (or the path of a folder, whose images are mixed in every lane).
        settings: one for each lane. They may differ in what `job.VARYING` names: ratio, layer
            weights, tv_weight, seed, init, init_noise, style_blend, style_scale, layers_per_style,
            colors, color_map, and in their masks, but not in the number of regions.
        weights: of the network; None finds `settings[0].weights`.
        callback: called after every step with a SweepProgress. It may raise StopIteration to end
            the sweep there.
        report_every: steps between entries of the histories.
        save_every: steps between calls of the callback that carry the images.
        lanes_at_once: at most, in each process, rounded up to a multiple of its devices; None takes
            as many as fit into memory.
        memory: bytes that each device may use; None means nearly all that is free.

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
    options = Options(callback, report_every, save_every, lanes_at_once, memory)
    job = prepare(content, style, settings, weights)
    results: dict[int, Result] = {}
    for finished in run(job, options):
        results |= finished.results
    return [results[lane] for lane in sorted(results)]
