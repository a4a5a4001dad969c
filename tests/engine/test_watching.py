"""What a run shows now and then beside its callback; it changes no bit."""

import contextlib
import dataclasses

import numpy as np
import pytest

from nst_jax import Settings, stylize, sweep
from nst_jax.engine.monitor import _thinned

pytestmark = pytest.mark.usefixtures("equal_shares")

LAYERS = {"style_layers": ("conv1_1",), "content_layers": ("conv1_1",)}
BASE = Settings(steps=9, ratio=1e-4, lbfgs_memory=4, **LAYERS)


class Seen(contextlib.AbstractContextManager):
    """Looks after every so many steps, and keeps what it was told."""

    def __init__(self, every):
        self.every, self.told, self.shown, self.error = every, [], [], None

    def begin(self, settings):
        self.told.append(("begin", len(settings)))

    def is_due(self, step):
        return step % self.every == 0

    def show(self, look):
        progress, histories = look(3)
        self.told.append(("show", progress.lanes, progress.step))
        self.shown.append((progress, histories))

    def take(self, results):
        self.told.append(("take", tuple(results)))

    def __exit__(self, kind, error, trace):
        self.told.append(("end", kind))


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("scales", [1, 2])
def test_a_run_comes_out_the_same(normalized, photograph, painting, every, scales):
    """And it is shown what a callback would have been shown."""
    settings, watch, images = dataclasses.replace(BASE, scales=scales), Seen(every), {}

    def run(**options):
        return stylize(photograph, painting, settings, weights=normalized, **options)

    result = run(watch=watch)
    plain = run(callback=lambda p: images.update({p.step: p.image}), save_every=every)
    assert np.array_equal(result.image, plain.image) and result.history == plain.history
    steps = [step for step in range(9) if step % every == 0]  # the last is the result's
    shows = [("show", (0,), step) for step in steps]
    assert watch.told == [("begin", 1), *shows, ("take", (0,)), ("end", None)]
    for progress, _ in watch.shown:
        assert np.array_equal(progress.images[0], images[progress.step])
        assert 0 <= progress.work < 1 and progress.steps == 9


def test_histories_are_thinned(normalized, photograph, painting):
    watch, last = Seen(8), {}
    kwargs = {"weights": normalized, "report_every": 1, "watch": watch}
    stylize(photograph, painting, BASE, **kwargs, callback=lambda p: last.update({p.step: p}))
    progress, (history,) = watch.shown[-1]
    assert progress.step == 8 and [step for step, _ in history] == [0, 3, 6, 8]
    assert history[-1][1] == last[8].losses


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("at_most", [None, 1, 3, 20])
def test_thinning_keeps_the_ends(count, at_most):
    entries = [(step, None) for step in range(count)]
    kept = _thinned(entries, at_most)
    assert kept[:1] == entries[:1] and kept[-1:] == entries[-1:] and kept == sorted(set(kept))
    assert len(kept) == count if at_most in (None, 20) else len(kept) <= 2 * at_most + 1


def test_rounds_of_a_sweep(normalized, photograph, painting):
    lanes = [dataclasses.replace(BASE, ratio=ratio) for ratio in (1e-5, 1e-4, 1e-3)]
    watch = Seen(6)
    sweep(photograph, painting, lanes, weights=normalized, lanes_at_once=2, watch=watch)
    rounds = [[("show", own, 0), ("show", own, 6), ("take", own)] for own in ((0, 1), (2,))]
    assert watch.told == [("begin", 3), *rounds[0], *rounds[1], ("end", None)]
    assert watch.shown[1][0].images.shape == (2, *photograph.shape)
    left = [progress.seconds_left(3) for progress, _ in watch.shown]
    assert left[0] is None and left[2] is None and left[1] > left[3] > 0


def test_a_run_that_is_ended_or_fails(normalized, photograph, painting):
    def end(error):
        def callback(progress):
            if progress.step == 2:
                raise error

        return callback

    watch = Seen(1)
    stylize(
        photograph, painting, BASE, weights=normalized, watch=watch, callback=end(StopIteration)
    )
    assert watch.told[-2:] == [("take", (0,)), ("end", None)]
    with pytest.raises(ZeroDivisionError):
        stylize(
            photograph,
            painting,
            BASE,
            weights=normalized,
            watch=watch,
            callback=end(ZeroDivisionError),
        )
    assert watch.told[-1] == ("end", ZeroDivisionError)
