"""PyTorch's objective, its gradient and its runs against ours: two implementations of one paper.

Images are noise: where values tie under max pooling, ours shares the gradient and PyTorch gives
it to the first. Zeros after the ReLU tie often, but there the ReLU's gradient is 0 in both.
"""

import dataclasses
import itertools
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from layouts import OXFORD_MEAN, random_network

from nst_jax import Settings, load_image, stylize
from nst_jax.engine.program import make_program, objective
from nst_jax.engine.targets import compute_targets
from nst_jax.losses.terms import CONVENTIONS, LossWeights
from nst_jax.network.vgg import POOLINGS, PRECISIONS
from nst_jax.weights.parameters import Weights

torch = pytest.importorskip("torch")
from scripts.benchmark.pytorch_objective import Objective, Options, cuda_flags, to_image  # noqa: E402
from scripts.benchmark.pytorch_reference import main, make_adam, make_lbfgs, run  # noqa: E402

# Sums of 10⁴ products through ten layers, rounded to 1e-16 each; the loss's weights are float64.
FLOAT64 = 1e-9
# The same in float32, with 6e-8. A gradient's error is taken against its norm.
FLOAT32 = 1e-4
# Under max pooling rounding decides near ties, each of which moves a whole value of the gradient:
# 5e-7 becomes 2e-4 through five blocks, and twenty steps end 5e-4 of their way apart.
NEAR_TIES = 1e-2
# Twenty steps carry the float32 gradient's error along, through a landscape that bends it.
TRAJECTORY = 1e-3
# One implementation in two memory formats, or compiled: other orders of the same float32 sums.
REORDERED = 1e-5
# bfloat16 keeps 8 bits, 4e-3, and the errors of ten layers and their gradients add up to 0.06.
BFLOAT16 = 0.1

STEPS = 20
HEIGHT, WIDTH = 35, 45  # odd sides: 17 × 22, 8 × 11, 4 × 5, 2 × 2
# Two of each, of unequal weights; conv5_1 is the deepest that a default reads.
UNEQUAL = {
    "content_layers": ("conv2_2", "conv4_2"),
    "content_layer_weights": (0.3, 0.9),
    "style_layers": ("conv1_1", "conv3_1", "conv5_1"),
    "style_layer_weights": (0.2, 0.7, 0.5),
}
# For what needs no depth, and for runs.
SHALLOW = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_2")}
# So that content and style both count: the conventions differ by the number of positions.
RATIOS = {"paper": 5e-2, "authors": 10.0, "equations": 1e-4, "paper-0.2": 1e-2}
CASES = list(itertools.product(CONVENTIONS, POOLINGS))


@pytest.fixture(scope="module")
def random_vgg19():
    """A random VGG-19 of full width."""
    mean = tuple(OXFORD_MEAN / 255)
    return Weights("vgg19", random_network("vgg19", seed=3), mean, "random", "", "")


@pytest.fixture
def content(random):
    return random.random((HEIGHT, WIDTH, 3), np.float32)


@pytest.fixture
def style(random):
    return random.random((33, 38, 3), np.float32)


@pytest.fixture
def image(random):
    return random.random((HEIGHT, WIDTH, 3), np.float32)


def make_ours(settings, weights, content, style, dtype=np.float32):
    """image (H, W, 3) → (loss, gradient) by `nst_jax`."""
    params = jax.tree.map(lambda tensor: jnp.asarray(tensor, dtype), weights.params)
    weights = dataclasses.replace(weights, params=params)
    program = make_program(settings, weights)
    content, style = (None if i is None else i.astype(dtype) for i in (content, style))
    targets = compute_targets(program, weights.params, content, style)
    terms = LossWeights(
        settings.content_weight,
        1.0,
        settings.tv_weight,
        settings.content_terms,
        settings.style_terms,
    )
    terms = jax.tree.map(lambda weight: jnp.asarray(weight, dtype), terms)

    gradient_of = jax.jit(jax.value_and_grad(objective, argnums=1, has_aux=True), static_argnums=0)

    def value_and_gradient(image):
        image = jnp.asarray(image, dtype)
        (loss, _), gradient = gradient_of(program, image, params, targets, terms)
        return float(loss), np.asarray(gradient)

    return value_and_gradient


def make_theirs(settings, weights, content, style, **options):
    """image (H, W, 3) → (loss, gradient) by PyTorch."""
    theirs = Objective(settings, weights, content, style, Options(**options))

    def value_and_gradient(image):
        loss, gradient = theirs.value_and_gradient(theirs.start(image))
        return float(loss), to_image(gradient)

    return value_and_gradient


def distance(array, expected):
    """Of two arrays, relative to the norm of the second."""
    return np.linalg.norm(array - expected) / np.linalg.norm(expected)


def assert_alike(got, expected, tolerance):
    """Both are (loss, gradient)."""
    assert got[0] == pytest.approx(expected[0], rel=tolerance)
    assert distance(got[1], expected[1]) < tolerance


@pytest.fixture
def in_float64(monkeypatch):
    """Let "float32" be float64."""
    monkeypatch.setitem(PRECISIONS, "float32", (np.float64, jax.lax.Precision.HIGHEST))
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("convention", "pooling"), CASES)
def test_loss_and_gradient_in_float64(
    in_float64, normalized, content, style, image, convention, pooling
):
    settings = Settings(
        convention=convention, pooling=pooling, ratio=RATIOS[convention], tv_weight=0.1, **UNEQUAL
    )
    inputs = settings, normalized, content, style
    ours = make_ours(*inputs, np.float64)(image)
    theirs = make_theirs(*inputs, dtype="float64")(image)
    assert_alike(theirs, ours, FLOAT64)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vgg19_in_float64(in_float64, random_vgg19, content, style, image, pooling):
    layers = {"content_layers": ("conv3_4",), "style_layers": ("conv1_2", "conv4_4")}
    inputs = Settings(pooling=pooling, **layers), random_vgg19, content, style
    ours = make_ours(*inputs, np.float64)(image)
    theirs = make_theirs(*inputs, dtype="float64")(image)
    assert_alike(theirs, ours, FLOAT64)


@pytest.mark.parametrize("wanted", ["content", "style"])
def test_reconstruction_in_float64(in_float64, normalized, content, style, image, wanted):
    """Of one image, without the other."""
    other = "style" if wanted == "content" else "content"
    settings = Settings(**{f"{wanted}_layers": ("conv1_1", "conv2_2"), f"{other}_layers": ()})
    images = {"content": content, "style": style} | {other: None}
    ours = make_ours(settings, normalized, **images, dtype=np.float64)(image)
    theirs = make_theirs(settings, normalized, **images, dtype="float64")(image)
    assert_alike(theirs, ours, FLOAT64)


def test_max_pooling_shares_a_tie_differently(in_float64, normalized, content, style):
    """On a flat image every window ties: the losses agree, the gradients do not."""
    flat = np.full_like(content, 0.5)
    for pooling, least, most in (("average", 0, FLOAT64), ("max", 0.01, 1)):
        inputs = Settings(pooling=pooling, ratio=1.0, **SHALLOW), normalized, content, style
        loss, gradient = make_ours(*inputs, np.float64)(flat)
        their_loss, their_gradient = make_theirs(*inputs, dtype="float64")(flat)
        assert their_loss == pytest.approx(loss, rel=FLOAT64)
        assert least <= distance(their_gradient, gradient) < most


def descend(value_and_gradient, image, rate, steps):
    """Losses of plain gradient descent, and the image that it ends at."""
    losses, image = [], image.copy()
    for _ in range(steps):
        loss, gradient = value_and_gradient(image)
        losses.append(loss)
        image -= rate * gradient
    return losses, image


@pytest.mark.parametrize(("convention", "pooling"), CASES)
def test_gradient_descent_in_float32(normalized, content, style, image, convention, pooling):
    settings = Settings(
        convention=convention,
        pooling=pooling,
        ratio=RATIOS[convention],
        tv_weight=0.1,
        **SHALLOW,
    )
    inputs = settings, normalized, content, style
    ours, theirs = make_ours(*inputs, np.float32), make_theirs(*inputs)
    (first, gradient), (their_first, their_gradient) = ours(image), theirs(image)
    assert their_first == pytest.approx(first, rel=FLOAT32)
    assert distance(their_gradient, gradient) < (NEAR_TIES if pooling == "max" else FLOAT32)
    rate = np.float32(0.02 / np.abs(gradient).max())
    losses, end = descend(ours, image, rate, STEPS)
    their_losses, their_end = descend(theirs, image, rate, STEPS)
    assert losses[-1] < 0.9 * losses[0]
    assert their_losses == pytest.approx(losses, rel=TRAJECTORY)
    way = distance(their_end - image, end - image)
    assert way < (NEAR_TIES if pooling == "max" else TRAJECTORY)


OPTIONS = {
    "tf32, which a CPU has not": ({"precision": "tf32"}, REORDERED),
    "bfloat16": ({"precision": "bfloat16"}, BFLOAT16),
}


@pytest.mark.parametrize(("options", "tolerance"), OPTIONS.values(), ids=OPTIONS)
def test_options_change_the_rounding_only(normalized, content, style, image, options, tolerance):
    inputs = Settings(ratio=1e-2, **UNEQUAL), normalized, content, style
    plain, other = make_theirs(*inputs)(image), make_theirs(*inputs, **options)(image)
    assert_alike(other, plain, tolerance)


def test_bfloat16_as_ours(normalized, content, style, image):
    """As near to ours as either is to float32: only sums within a convolution differ."""
    settings = Settings(ratio=1e-2, precision="bfloat16", **SHALLOW)
    inputs = settings, normalized, content, style
    ours, theirs = make_ours(*inputs)(image), make_theirs(*inputs, precision="bfloat16")(image)
    assert_alike(theirs, ours, BFLOAT16)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_loss_can_be_compiled(normalized, content, style, image, monkeypatch):
    """Traced whole, forward and backward; its C++ or Triton takes PyTorch a minute to make."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    inputs = Settings(ratio=1e-2, tv_weight=0.1, **SHALLOW), normalized, content, style
    assert_alike(make_theirs(*inputs, compile=True)(image), make_theirs(*inputs)(image), REORDERED)


def test_global_switches_are_put_back():
    def state():
        backends = torch.backends
        return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark

    before = state()
    for precision, tf32 in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with cuda_flags(precision):
            assert state() == (False, tf32, True)
        assert state() == before


@pytest.fixture
def small(normalized, content, style):
    """An objective that takes milliseconds."""
    return Objective(Settings(ratio=1e-2, **SHALLOW), normalized, content, style)


@pytest.fixture
def evaluations(small, monkeypatch):
    """The images that the objective's loss was taken of, as they come."""
    images, original = [], small.value_and_gradient

    def counted(image):
        images.append(image.clone())
        return original(image)

    monkeypatch.setattr(small, "value_and_gradient", counted)
    return images


@pytest.mark.parametrize("make", [make_lbfgs, make_adam])
def test_run_returns_the_image_of_least_loss(small, evaluations, image, make):
    outcome = run(make(small, image), 12)
    assert len(evaluations) == len(outcome.losses) == len(outcome.seconds) == 12
    assert outcome.seconds == sorted(outcome.seconds) and outcome.seconds[0] > 0
    best = int(np.argmin(outcome.losses))
    np.testing.assert_array_equal(outcome.image, to_image(evaluations[best]))
    loss, _ = small.value_and_gradient(small.start(outcome.image))
    assert float(loss) == min(outcome.losses)
    assert outcome.losses[best] < outcome.losses[0]


@pytest.mark.parametrize("make", [make_lbfgs, make_adam])
def test_each_step_evaluates_once(small, evaluations, image, make):
    stepper, loss_of = make(small, image), small._total_loss
    for count in range(1, 6):
        before = stepper.image.clone()
        loss = stepper.step()
        assert len(evaluations) == count
        assert torch.equal(evaluations[-1], before) and float(loss) == float(loss_of(before))
        assert not torch.equal(stepper.image, before)


def test_single_steps_of_lbfgs_keep_its_history(small, image):
    """Steps of one evaluation end where torch's own loop over as many does."""
    stepper = make_lbfgs(small, image, history=4)
    losses = [float(stepper.step()) for _ in range(10)]
    tensor, expected = small.start(image), []
    whole = torch.optim.LBFGS(
        [tensor], max_iter=10, max_eval=20, history_size=4, tolerance_grad=0, tolerance_change=0
    )

    def closure():
        loss, tensor.grad = small.value_and_gradient(tensor)
        expected.append(float(loss))
        return loss

    whole.step(closure)
    assert losses == expected
    assert torch.equal(stepper.image, tensor)


def test_adam_as_ours(normalized, photograph, painting):
    """The same update, clipped alike, where it is not preconditioned: ten losses of both."""
    layers = ("conv1_1", "conv2_1")
    settings = Settings(optimizer="adam", steps=9, style_layers=layers, precondition=False)
    ours = stylize(photograph, painting, settings, weights=normalized, report_every=1)
    objective = Objective(settings, normalized, photograph, painting)
    theirs = run(make_adam(objective, photograph), 10)
    expected = [losses.total for _, losses in ours.history]
    assert theirs.losses == pytest.approx(expected, rel=TRAJECTORY)
    assert 0 <= theirs.image.min() and theirs.image.max() <= 1


def test_command_prints_the_path_alone(tmp_path, monkeypatch, capsys):
    output, samples = tmp_path / "out.png", reference.SAMPLES
    images = samples / "china.jpg", samples / "van_gogh_cafe_terrace.jpg"
    flags = "-o", output, "--size", 32, "--evaluations", 3
    monkeypatch.setattr(sys, "argv", [str(word) for word in ("script", *images, *flags)])
    main()
    assert capsys.readouterr().out == f"{output}\n"
    assert load_image(output).shape == load_image(images[0], 32).shape
