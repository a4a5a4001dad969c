"""The run: where it starts, how it goes on, what it compiles, how it stops and what it recovers."""

import dataclasses
import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import SAMPLES
from run_from import run_from
from scipy.linalg import sqrtm

from nst_jax import NSTError, Settings, SettingsError, stylize
from nst_jax.engine import program as steps
from nst_jax.engine.initial_images import initial_image
from nst_jax.engine.program import (
    Best,
    Carry,
    jitted,
    lane_axes,
    make_program,
    prepare_parameters,
    start,
    step,
)
from nst_jax.engine.targets import compute_targets
from nst_jax.images import io
from nst_jax.images.color_transfer import match_luminance
from nst_jax.images.resize import cover
from nst_jax.losses.terms import LossWeights, PackedLosses

pytestmark = pytest.mark.usefixtures("equal_shares")

# Small and quick; the same program throughout, so that it is compiled once.
LAYERS = {"style_layers": ("conv1_1", "conv2_1"), "content_layers": ("conv2_1",)}
ALL_LAYERS = {name: getattr(Settings(), name) for name in LAYERS}
QUICK = Settings(steps=12, ratio=1e-4, lbfgs_memory=5, **LAYERS)
# One float32 program against another on the same numbers.
SAME = 1e-5
COLORED = 1e-3  # after three steps of L-BFGS, from targets that differ by rounding
CHROMA = 1e-6  # float32


@pytest.fixture(scope="module")
def photograph():
    """(32, 48, 3): smaller than the suite's, since there are many runs."""
    return io.load_image(SAMPLES / "china.jpg", 48)


@pytest.fixture(scope="module")
def painting():
    """(40, 32, 3), likewise."""
    return io.load_image(SAMPLES / "van_gogh_cafe_terrace.jpg", 40)


@pytest.fixture(scope="module")
def run(normalized, photograph, painting):
    def run(settings=QUICK, content=photograph, style=painting, **options):
        return stylize(content, style, settings, weights=normalized, **options)

    return run


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls(run, optimizer):
    result = run(dataclasses.replace(QUICK, optimizer=optimizer), report_every=1)
    assert result.losses.total < 0.7 * result.history[0][1].total
    assert result.losses.total == min(losses.total for _, losses in result.history)
    assert [number for number, _ in result.history] == list(range(13))
    assert result.evaluations == 13
    assert result.completed and result.restarts == 0


def test_the_result_is_a_picture(run, photograph):
    result = run()
    assert result.image.shape == photograph.shape
    assert result.image.dtype == np.float32
    assert 0 <= result.image.min() and result.image.max() <= 1


def test_zero_steps_give_the_initial_image(run, photograph):
    result = run(dataclasses.replace(QUICK, steps=0))
    assert np.array_equal(result.image, photograph)
    assert result.evaluations == 1


def test_terms_add_up(run):
    settings = dataclasses.replace(QUICK, tv_weight=0.3, style_layer_weights=(1, 0.5))
    losses = run(settings).losses
    style = sum(
        weight * losses.style_layers[layer]
        for weight, layer in zip((1, 0.5), settings.style_layers, strict=True)
    )
    assert losses.style == pytest.approx(style, rel=SAME)
    assert losses.total == pytest.approx(1e-4 * losses.content + style + 0.3 * losses.tv, rel=SAME)


def test_the_same_seed_gives_the_same_picture(run):
    noise = dataclasses.replace(QUICK, init="noise", steps=4)
    first, second = run(noise), run(noise)
    other = run(dataclasses.replace(noise, seed=1))
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)


def test_everything_is_compiled_once(run, normalized, caplog):
    """One compilation of the step in a run; none for another ratio, seed or number of steps."""
    jitted.cache_clear()
    settings = dataclasses.replace(QUICK, lbfgs_memory=3)
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        run(settings, save_every=2)
        compiled = [r.getMessage() for r in caplog.records if "Finished XLA" in r.getMessage()]
        assert sum("jit(step)" in message for message in compiled) == 1
        caplog.clear()
        run(dataclasses.replace(settings, ratio=1e-2, tv_weight=1.0, steps=5))
        compiled = [r.getMessage() for r in caplog.records if "Finished XLA" in r.getMessage()]
        assert not any("jit(step)" in message for message in compiled)
        assert not any("jit(style_grams)" in message for message in compiled)


def test_paths_are_loaded_at_their_sizes(normalized):
    settings = dataclasses.replace(QUICK, size=48, style_size=40, steps=1)
    result = stylize(
        SAMPLES / "china.jpg",
        str(SAMPLES / "van_gogh_cafe_terrace.jpg"),
        settings,
        weights=normalized,
    )
    assert result.image.shape == (32, 48, 3)


def test_weights_are_found_and_normalised(photograph, painting):
    result = stylize(photograph, painting, dataclasses.replace(QUICK, steps=0, weights="vgg16"))
    assert result.weights.name == "vgg16-imagenet"
    assert result.weights.normalized
    plain = dataclasses.replace(QUICK, steps=0, weights="vgg16", normalize=False)
    assert not stylize(photograph, painting, plain).weights.normalized


def test_callback_sees_every_step_and_images_where_asked(run):
    seen = []
    result = run(callback=seen.append, save_every=5)
    assert [progress.step for progress in seen] == list(range(13))
    assert [p.step for p in seen if p.image is not None] == [0, 5, 10]
    assert all(p.image.shape == result.image.shape for p in seen if p.image is not None)
    assert all(isinstance(p.losses.total, float) for p in seen)


def test_a_callback_can_stop_the_run(run):
    seen = []

    def stop_at_three(progress):
        seen.append(progress)
        if progress.step == 3:
            raise StopIteration
        return True  # as tqdm's update may; it means nothing

    result = run(callback=stop_at_three, report_every=1)
    assert not result.completed
    assert [progress.step for progress in seen] == [0, 1, 2, 3]
    # A step may have been in flight already: it counts, and its image may be the best.
    assert result.evaluations in (4, 5)
    assert [number for number, _ in result.history] == list(range(result.evaluations))
    assert result.losses.total == min(losses.total for _, losses in result.history)


def test_initial_images(photograph, painting):
    key = jax.random.key(0)
    assert np.array_equal(initial_image(key, "content", photograph, painting), photograph)
    noise = np.asarray(initial_image(key, "noise", photograph, painting, amplitude=1.0))
    assert noise.shape == photograph.shape
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.std() == pytest.approx(12**-0.5, abs=0.01)  # of the uniform distribution
    style = initial_image(key, "style", photograph, painting)
    assert style.shape == photograph.shape
    mirrored = np.flip(photograph, axis=1)
    given = initial_image(key, "a file", photograph, painting, file=mirrored)
    assert np.array_equal(given, mirrored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((64, 64)), r"content image has shape \(64, 64\)"),
        (np.zeros((64, 64, 5)), "wanted"),
        (np.zeros((64, 64, 4)), "transparent throughout"),
        (np.zeros((0, 64, 3)), "wanted"),
        (np.full((64, 64, 3), np.nan), "values from nan to nan"),
        (np.full((64, 64, 3), 255, np.uint8), "values from 255 to 255; wanted .* divide"),
        (np.full((64, 64, 3), -1.0), "values from -1"),
        (np.zeros((1, 64, 3)), "too small for conv2_1"),
    ],
)
def test_images_that_make_no_sense(run, content, message):
    with pytest.raises(NSTError, match=message):
        run(content=content)


def test_a_first_loss_that_overflows_is_refused(run):
    with pytest.raises(SettingsError, match="smaller ratio"):
        run(dataclasses.replace(QUICK, ratio=1e38, init="noise"))


def test_a_layer_that_the_network_lacks_is_refused(run):
    with pytest.raises(SettingsError, match="vgg16 has no layer 'conv5_4'"):
        run(dataclasses.replace(QUICK, style_layers=("conv5_4",)))


@pytest.fixture(scope="module")
def problem(normalized, photograph, painting):
    """A program and the arguments of its step."""
    program = make_program(QUICK, normalized)
    params = prepare_parameters(program, normalized.params, photograph.shape)
    targets = compute_targets(program, normalized.params, photograph, painting)
    return program, (params, targets, LossWeights.from_settings(QUICK))


def changed(program, **static):
    """The program of other settings."""
    return dataclasses.replace(program, static=dataclasses.replace(program.static, **static))


def advance(program, carry, arguments):
    """One step, keeping the carry."""
    return jitted(program).step(jax.tree.map(jnp.copy, carry), *arguments)


def spoil(carry, image):
    return carry._replace(image=jnp.full_like(carry.image, image))


@pytest.mark.parametrize("image", [np.nan, np.inf, 1e3])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_lost_image_goes_back_to_the_best(problem, photograph, image, optimizer):
    """A loss that is not finite, or has exploded: the best image again, an empty history."""
    program, arguments = problem
    program = changed(program, optimizer=optimizer, learning_rate=0.05)
    carry = jitted(program).start(photograph)
    for _ in range(4):
        carry, _ = advance(program, carry, arguments)
    assert int(carry.restarts) == 0
    recovered, losses = advance(program, spoil(carry, image), arguments)
    assert not float(losses.total) < 10 * float(carry.best.losses.total)
    assert int(recovered.restarts) == 1
    assert np.array_equal(recovered.image, carry.best.image)
    assert np.array_equal(recovered.best.image, carry.best.image)
    fresh = jitted(program).start(carry.best.image)
    fresh = fresh._replace(best=carry.best, shrink=recovered.shrink)
    for _ in range(3):  # from here it goes as a new run would, with shorter steps
        recovered, losses = advance(program, recovered, arguments)
        fresh, expected = advance(program, fresh, arguments)
        assert float(losses.total) == pytest.approx(float(expected.total), rel=1e-3)
    assert float(recovered.best.losses.total) <= float(carry.best.losses.total)


# Each loss of a run, whatever its images: falling, above the best for once, twice, five times, as
# bad as the best, exploded, not finite.
SCRIPT = [8, 6, 7, 5, 5.5, 9, 4, 4.1, 4.2, 4.3, 4, 4.4, 4.5, 3, 900, 3.5, np.nan, 3.1, 2, 2.5, 1]


def simulate(losses, patience):
    """(restarts, rises, shrink, number of the best) after each loss, by the rule in plain words."""
    best, number, restarts, rises, shrink, rows = np.inf, None, 0, 0, 1.0, []
    for at, loss in enumerate(losses):
        rises = rises + 1 if loss > best else 0
        if not np.isfinite(loss) or loss > 100 * best or (patience and rises == patience):
            restarts, rises, shrink = restarts + 1, 0, shrink / 4
        elif loss < best:
            best, number, shrink = loss, at, min(1.0, 2 * shrink)
        rows.append((restarts, rises, shrink, number))
    return rows


@pytest.mark.parametrize(
    "static, patience",
    [
        ({"precondition": False}, 3),
        ({"precondition": True}, 3),
        ({"optimizer": "adam", "learning_rate": 1e-4}, 0),
    ],
    ids=["plain", "preconditioned", "adam"],
)
def test_the_image_goes_back_after_three_losses_above_the_best(
    problem, random, monkeypatch, static, patience
):
    """Against a simulation; two lanes, of which one lags behind, like two runs."""
    program, (_, targets, weights) = problem
    program = changed(program, **static)

    def scripted(program, image, loss, targets, weights):
        total = loss + jnp.sum(image - jax.lax.stop_gradient(image))
        losses = start(program, image).best.losses.unpack()
        return total, jax.tree.map(lambda _: total, losses)

    monkeypatch.setattr(steps, "objective", scripted)
    lanes = lane_axes(program)
    advance_lanes = jax.jit(
        jax.vmap(
            lambda carry, loss: step(program, carry, loss, targets, weights)[0], (lanes, 0), lanes
        )
    )
    scripts = np.float32([SCRIPT, [9, *SCRIPT[:-1]]])
    carry = jax.vmap(partial(start, program), 0, lanes)(
        random.uniform(0, 1, (2, 6, 5, 3)).astype(np.float32)
    )
    seen = [[], []]
    for number, losses in enumerate(scripts.T):
        images, carry = carry.image, advance_lanes(carry, losses)
        for lane in range(2):
            seen[lane].append(np.asarray(images[lane]))
            restarts, rises, shrink, best = simulate(scripts[lane], patience)[number]
            before = simulate(scripts[lane], patience)[number - 1][0] if number else 0
            assert int(carry.restarts[lane]) == restarts and float(carry.shrink[lane]) == shrink
            assert not patience or int(carry.rises[lane]) == rises
            assert np.array_equal(carry.best.image[lane], seen[lane][best])
            went_back = np.array_equal(carry.image[lane], seen[lane][best])
            assert went_back == (restarts > before)


@pytest.mark.slow
def test_luminance_of_a_small_picture_ends_below_a_third_of_its_start(normalized):
    """Its first steps, preconditioned, are too long, and the loss stays above its start."""
    settings = Settings(size=64, colors="luminance", steps=60)
    files = SAMPLES / "china.jpg", SAMPLES / "van_gogh_night_cafe.jpg"
    result = stylize(*files, settings, weights=normalized)
    assert result.improved and result.losses.total < result.history[0][1].total / 3


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 0.1} | ALL_LAYERS,
        {"ratio": 1.0} | ALL_LAYERS,
        {"optimizer": "adam", "learning_rate": 1.0},
    ],
    ids=["0.1", "1", "adam far too fast"],
)
def test_a_run_whose_first_step_is_too_long_still_ends_below_its_start(run, settings):
    """The same first step again would explode again, for ever."""
    result = run(dataclasses.replace(QUICK, steps=20, **settings))
    assert result.losses.total < 0.999 * result.history[0][1].total


def test_lanes_do_not_disturb_each_other(problem, photograph):
    """A vmap over carries and ratios: each lane as if alone, beside one that is lost."""
    program, (params, targets, weights) = problem
    ratios = [1e-5, 1e-3, 1e-4]

    def one(ratio, carry):
        lane = weights._replace(content=jnp.float32(ratio))
        return advance(program, carry, (params, targets, lane))

    single = jitted(program).start(photograph)
    alone = []
    for ratio in ratios:
        carry = single
        for _ in range(3):
            carry, losses = one(ratio, carry)
        alone.append(float(losses.total))

    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), single)
    lanes = lanes._replace(image=lanes.image.at[2].set(jnp.nan))
    contents = jnp.float32(ratios)

    @jax.jit
    def together(lanes):
        def lane(carry, content):
            return step(program, carry, params, targets, weights._replace(content=content))

        return jax.vmap(lane)(lanes, contents)

    for _ in range(3):
        lanes, losses = together(lanes)
    assert np.asarray(losses.total)[:2] == pytest.approx(np.array(alone[:2]), rel=1e-3)
    assert list(np.asarray(lanes.restarts)) == [0, 0, 1]


def test_start_has_an_infinite_best(problem, photograph):
    program, _ = problem
    carry = start(program, jnp.asarray(photograph))
    assert isinstance(carry, Carry) and isinstance(carry.best, Best)
    assert isinstance(carry.best.losses, PackedLosses)
    assert float(carry.best.losses.total) == np.inf


def test_a_run_from_any_image(normalized, photograph, painting):
    other = np.flip(photograph, axis=1).copy()
    result = run_from(other, photograph, painting, QUICK, normalized)
    assert result.losses.total < result.history[0][1].total


def test_bfloat16_is_near_float32(run):
    exact = run(dataclasses.replace(QUICK, steps=0)).history[0][1]
    rough = run(dataclasses.replace(QUICK, steps=0, precision="bfloat16")).history[0][1]
    assert rough.style != exact.style
    assert rough.style == pytest.approx(exact.style, rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_only_convolutions_may_be_rough(problem, normalized, photograph, precision):
    """Gram matrices and L-BFGS ask for the highest precision, whatever the network does."""
    program, (_, *arguments) = problem
    arguments = (normalized.params, *arguments)  # as on a GPU
    program = changed(program, precision=precision)
    carry = jitted(program).start(photograph)
    lowered = jitted(program).step.lower(carry, *arguments).as_text().splitlines()
    products = [line for line in lowered if "dot_general" in line]
    convolutions = [line for line in lowered if "stablehlo.convolution" in line]
    assert products and all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    wanted = "HIGHEST" if precision == "float32" else "DEFAULT"
    assert all(f"#stablehlo<precision {wanted}>" in line for line in convolutions)


def test_weights_that_cannot_be_normalized_are_reported(photograph, painting, embedded):
    means = {"average": embedded.activation_means["average"]}  # as files of version 0.2 have them
    plain = dataclasses.replace(embedded, activation_means=means)
    settings = dataclasses.replace(QUICK, steps=0, pooling="max")
    with pytest.warns(UserWarning, match="no mean activations of max pooling, so it cannot be"):
        result = stylize(photograph, painting, settings, weights=plain)
    assert not result.weights.normalized


def test_weights_are_normalized_for_the_pooling(photograph, painting, embedded):
    """With the means of another, the loss of the start would be some thousand times as large."""
    losses = []
    for pooling in ("average", "max"):
        settings = dataclasses.replace(QUICK, steps=0, pooling=pooling)
        result = stylize(photograph, painting, settings, weights=embedded)
        assert result.weights.normalized_for == pooling
        losses.append(result.losses.style)
    assert 0.3 < losses[1] / losses[0] < 3


@pytest.mark.parametrize("name", ["report_every", "save_every"])
def test_intervals_below_one(run, name):
    with pytest.raises(SettingsError, match=f"{name} is 0; wanted at least 1"):
        run(**{name: 0})


# ---- Colours


def recolored(colors, **changes):
    """Plain gradients: at this size they do more in three steps."""
    return dataclasses.replace(QUICK, colors=colors, steps=3, precondition=False, **changes)


def chroma_of(image):
    """I and Q of YIQ, in float64."""
    return image.astype(np.float64) @ np.array([(0.596, -0.274, -0.322), (0.211, -0.523, 0.312)]).T


def luminance_of(image):
    """In three equal channels, float64."""
    return np.repeat((image.astype(np.float64) @ (0.299, 0.587, 0.114))[..., None], 3, axis=-1)


def moved_colors(style, content):
    """By the map of Gatys et al. 2016, Σ_C^½ Σ_S^−½, in float64, clipped."""
    (mean, root), (own_mean, own_root) = (
        (colors.mean(axis=0), sqrtm(np.cov(colors.T, bias=True)))
        for colors in (image.astype(float).reshape(-1, 3) for image in (content, style))
    )
    moved = (style - own_mean) @ np.linalg.inv(own_root) @ root + mean
    return moved.clip(0, 1).astype(np.float32)


def test_matched_colours_are_a_run_with_a_painting_of_these_colours(run, photograph, painting):
    result = run(recolored("match"))
    expected = run(recolored("style"), style=moved_colors(painting, photograph))
    assert result.losses.total == pytest.approx(expected.losses.total, rel=COLORED)
    assert np.abs(result.image - expected.image).max() < COLORED
    assert result.losses.total != pytest.approx(run(recolored("style")).losses.total, rel=0.1)


def test_several_paintings_are_matched_each_by_itself(run, photograph, painting):
    paintings = (painting, np.flip(photograph, axis=-1) ** 2)
    settings = dataclasses.replace(recolored("match"), style_blend=(1, 3), steps=0)
    result = run(settings, style=paintings)
    moved = tuple(moved_colors(each, photograph) for each in paintings)
    expected = run(dataclasses.replace(settings, colors="style"), style=moved)
    assert result.losses.style == pytest.approx(expected.losses.style, rel=COLORED)


def test_luminance_is_a_run_in_grey_with_the_chroma_of_the_photograph(run, photograph, painting):
    seen = []
    result = run(recolored("luminance"), callback=seen.append, save_every=1)
    grey, own = luminance_of(photograph), luminance_of(painting)
    own = (own - own.mean()) * grey.std() / own.std() + grey.mean()
    expected = run(recolored("style"), grey, own.clip(0, 1))
    assert result.losses.total == pytest.approx(expected.losses.total, rel=COLORED)
    inside = (result.image.min(axis=-1) > 0) & (result.image.max(axis=-1) < 1)
    got, wanted = luminance_of(result.image), luminance_of(expected.image)
    assert inside.mean() > 0.3 and np.abs(got - wanted)[inside].max() < 0.01
    for image in [result.image, *(progress.image for progress in seen)]:
        assert np.abs(chroma_of(image) - chroma_of(photograph)).max() < CHROMA
        assert image.min() >= 0 and image.max() <= 1
    assert np.abs(result.image - photograph).max() > 0.02  # something happened


@pytest.mark.parametrize("colors", ["luminance", "match"])
@pytest.mark.parametrize("grey", ["photograph", "painting", "both"])
def test_colours_of_grey_images(run, photograph, painting, colors, grey):
    content, style = photograph, painting
    content = content if grey == "painting" else luminance_of(content)
    style = style if grey == "photograph" else luminance_of(style)
    result = run(dataclasses.replace(QUICK, colors=colors), content, style)
    assert np.isfinite(result.losses.total)
    assert result.losses.total < result.history[0][1].total
    if colors == "luminance":
        assert np.abs(chroma_of(result.image) - chroma_of(content)).max() < CHROMA


@pytest.mark.parametrize("noise", [0.0, 0.25])
@pytest.mark.parametrize("init", ["noise", "style", "start.png"])
def test_initial_images_of_luminance_are_grey(
    run, photograph, painting, tmp_path, monkeypatch, init, noise
):
    """Seen with a grey photograph, whose chroma of 0 hides nothing."""
    monkeypatch.chdir(tmp_path)
    io.save_image(np.flip(photograph, axis=1), "start.png")
    grey = np.repeat(photograph[..., :1], 3, axis=-1)
    start = {"init": init, "init_noise": noise, "noise_amplitude": 1.0}
    settings = dataclasses.replace(recolored("luminance", **start), steps=0)
    image = run(settings, grey).image
    assert np.ptp(image, axis=-1).max() < CHROMA
    white = run(dataclasses.replace(settings, init="noise"), grey).image
    assert np.ptp(white, axis=-1).max() < CHROMA
    assert white.std() == pytest.approx(12**-0.5, abs=0.01)  # not the sum of three channels
    wanted = {
        "noise": lambda: white,
        "style": lambda: cover(match_luminance(painting, grey).clip(0, 1), (32, 48)),
        "start.png": lambda: luminance_of(io.load_image(init)),
    }[init]()
    assert np.abs(image - ((1 - noise) * wanted + noise * white)).max() < CHROMA


# ---- The mean of the last images, and normalised gradients


def images_of(program, arguments, image, steps):
    """Those that are evaluated: the initial one, and one after each step."""
    carry, found = jitted(program).start(image), []
    for _ in range(steps + 1):
        found.append(np.float64(carry.image))
        carry, _ = advance(program, carry, arguments)
    return found


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("span", [1, 4])
def test_average(run, problem, normalized, photograph, painting, optimizer, span):
    """Weights fall by 1 − 2/(N+1) and sum to 1; the losses are those of that very image."""
    noise = {"init": "noise", "noise_amplitude": 1.0, "smooth_chroma": 0.0}
    steps = 5  # with each, what two programs round differently grows
    settings = dataclasses.replace(QUICK, optimizer=optimizer, average=span, steps=steps, **noise)
    result = run(settings, report_every=1)
    program = changed(make_program(settings, normalized), average=0)
    noise = jax.random.uniform(jax.random.key(0), photograph.shape)
    found = images_of(program, problem[1], noise, steps)
    weights = (1 - 2 / (span + 1)) ** np.arange(steps, -1, -1.0)
    mean = np.tensordot(weights / weights.sum(), found, 1)
    assert np.abs(result.image - mean.clip(0, 1)).max() < 1e-5
    still = dataclasses.replace(QUICK, steps=0)
    alone = run_from(mean, photograph, painting, still, normalized)
    assert result.losses.total == pytest.approx(alone.losses.total, rel=1e-4)
    assert result.evaluations == len(result.history) == steps + 1
    if span == 1:  # the last image
        assert result.losses.total == pytest.approx(result.history[-1][1].total, rel=SAME)


def test_an_average_costs_nothing_where_it_is_not_asked_for(problem, photograph):
    program, _ = problem
    leaves = [
        len(jax.tree.leaves(jax.eval_shape(jitted(one).start, photograph)))
        for one in (program, changed(program, average=5))
    ]
    assert leaves[1] == leaves[0] + 2


def test_a_lost_image_does_not_count(problem, photograph):
    program = changed(problem[0], average=3)
    carry, _ = advance(program, jitted(program).start(photograph), problem[1])
    for image in (np.nan, np.inf, 1e3):
        lost, _ = advance(program, spoil(carry, image), problem[1])
        assert np.array_equal(lost.outcome, carry.outcome)
        assert np.array_equal(lost.outcome, photograph)


def test_the_callback_sees_the_average(run):
    seen = []
    result = run(dataclasses.replace(QUICK, average=4), callback=seen.append, save_every=6)
    assert np.array_equal(seen[12].image, result.image)


@pytest.mark.parametrize("step", [1, 3])
def test_an_average_of_a_run_that_was_stopped(run, step):
    def stop(progress):
        if progress.step == step:
            raise StopIteration

    result = run(dataclasses.replace(QUICK, average=4), callback=stop)
    assert not result.completed and result.evaluations in (step + 1, step + 2)
    assert np.isfinite(result.losses.total)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_normalized_gradients(run, optimizer):
    """Both terms fall, whatever their size; the last image is the result."""
    settings = dataclasses.replace(QUICK, normalize_gradients=True, init="noise", ratio=1.0)
    falls = []
    conventions = ("paper", "equations") if optimizer == "lbfgs" else ("paper",)
    for convention in conventions:
        one = dataclasses.replace(settings, convention=convention, optimizer=optimizer)
        result = run(one, report_every=1)
        first, last = result.history[0][1], result.history[-1][1]
        assert result.losses == last and result.restarts == 0
        assert last.content < 0.95 * first.content and last.style < 0.7 * first.style
        falls.append((last.content / first.content, last.style / first.style))
    assert falls[0] == pytest.approx(falls[-1], rel=0.02)  # 1536 times as much content


def test_one_scale_is_the_plain_loop(run, problem, photograph):
    """Bit for bit: the functions of the program, and nothing between them."""
    program, arguments = problem
    carry, totals = jitted(program).start(photograph), []
    for _ in range(QUICK.steps + 1):
        carry, losses = advance(program, carry, arguments)
        totals.append(float(losses.total))
    result = run(dataclasses.replace(QUICK, scales=1), report_every=1)
    assert [losses.total for _, losses in result.history] == totals
    assert np.array_equal(result.image, np.asarray(carry.best.image).clip(0, 1))
