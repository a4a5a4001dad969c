"""L-BFGS against the textbook's two-loop recursion in NumPy float64, and against optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nst_jax.optim.lbfgs import (
    CURVATURE_FLOOR,
    LANE_AXES,
    LBFGSState,
    forget,
    lbfgs,
    scale_by_lbfgs,
)

# Against float64: 25 steps, each with sums over 40 numbers in float32, amplified by the curvature.
DIRECTION = 1e-3


def two_loop(gradient, pairs):
    """H g by Nocedal & Wright 2006, algorithm 7.4; pairs oldest first."""
    direction, alphas = gradient.copy(), []
    for s, y in reversed(pairs):
        alpha = s @ direction / (s @ y)
        direction = direction - alpha * y
        alphas.append(alpha)
    s, y = pairs[-1]
    direction = direction * (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        direction = direction + s * (alpha - y @ direction / (s @ y))
    return direction


class Quadratic:
    """½ xᵀAx with eigenvalues from 0.1 to 10."""

    def __init__(self, size, random):
        basis, _ = np.linalg.qr(random.standard_normal((size, size)))
        self.matrix = basis @ np.diag(np.geomspace(0.1, 10, size)) @ basis.T

    def gradient(self, x):
        return jnp.asarray(self.matrix, x.dtype) @ x


def record(transformation, gradient_of, start, steps):
    """Points, gradients and updates of a run with unit steps."""

    @jax.jit
    def step(x, state):
        gradient = gradient_of(x)
        direction, state = transformation.update(gradient, state, x)
        return gradient, direction, state

    x, state, rows = start, transformation.init(start), []
    for _ in range(steps):
        gradient, direction, state = step(x, state)
        rows.append([np.asarray(a, np.float64) for a in (x, gradient, direction)])
        x = x - direction
    return rows, state


TILED = pytest.mark.parametrize("tiled", [False, True])


@TILED
@pytest.mark.parametrize("memory", [1, 2, 5, 50])
def test_directions_are_those_of_the_two_loop_recursion(random, memory, tiled):
    problem = Quadratic(40, random)
    start = jnp.asarray(random.standard_normal(40), jnp.float32)
    rows, _ = record(scale_by_lbfgs(memory, tiled=tiled), problem.gradient, start, 25)
    for k in range(1, len(rows)):
        first = max(0, k - memory)
        pairs = [
            (rows[i + 1][0] - rows[i][0], rows[i + 1][1] - rows[i][1]) for i in range(first, k)
        ]
        expected = two_loop(rows[k][1], pairs)
        error = np.linalg.norm(rows[k][2] - expected) / np.linalg.norm(expected)
        assert error < DIRECTION, k


@TILED
@pytest.mark.parametrize("memory", [2, 50])
def test_a_history_in_bfloat16_is_that_of_the_rounded_pairs(random, memory, tiled):
    """The textbook's recursion over the pairs as they are kept, in order of time."""
    problem = Quadratic(40, random)
    start = jnp.asarray(random.standard_normal(40), jnp.float32)
    half = scale_by_lbfgs(memory, history=jnp.bfloat16, tiled=tiled)
    rows, _ = record(half, problem.gradient, start, 12)

    def kept(after, before):
        rounded = jnp.asarray(np.float32(after) - np.float32(before)).astype(jnp.bfloat16)
        return np.asarray(rounded, np.float64)

    for k in range(1, len(rows)):
        pairs = [
            tuple(kept(rows[i + 1][part], rows[i][part]) for part in (0, 1))
            for i in range(max(0, k - memory), k)
        ]
        expected = two_loop(rows[k][1], pairs)
        error = np.linalg.norm(rows[k][2] - expected) / np.linalg.norm(expected)
        assert error < DIRECTION, k


@pytest.mark.parametrize("memory", [3, 50])
def test_directions_are_optax_s_in_float64(random, memory):
    """Over 50 steps, so the ring has turned; float64 leaves no room for luck."""
    with jax.enable_x64(True):
        problem, start = Quadratic(40, random), jnp.asarray(random.standard_normal(40))
        ours, _ = record(scale_by_lbfgs(memory), problem.gradient, start, 50)
        theirs = optax.scale_by_lbfgs(memory)
        expected, _ = record(theirs, problem.gradient, start, 50)
    for k, ((_, gradient, got), (_, _, wanted)) in enumerate(zip(ours, expected, strict=True)):
        if np.linalg.norm(gradient) < 1e-8:
            break  # converged: what is left is rounding
        assert np.linalg.norm(got - wanted) < 1e-5 * np.linalg.norm(wanted), k
    assert k > 10


def test_first_direction_is_the_gradient_no_longer_than_one(random):
    start = jnp.zeros(7)
    for length in (0.3, 5.0):
        gradient = random.standard_normal(7)
        gradient = jnp.asarray(length * gradient / np.linalg.norm(gradient), jnp.float32)
        (direction,), _ = feed(scale_by_lbfgs(4), [(start, gradient)])
        assert float(jnp.linalg.norm(direction)) == pytest.approx(min(length, 1.0), rel=1e-6)


def feed(transformation, points_and_gradients, state=None):
    """Update with given points and gradients; return the directions and the last state."""
    directions, update = [], jax.jit(transformation.update)
    for x, gradient in points_and_gradients:
        state = transformation.init(x) if state is None else state
        direction, state = update(gradient, state, x)
        directions.append(np.asarray(direction))
    return directions, state


def test_pairs_without_positive_curvature_are_skipped():
    """A pair with y = −s would turn the direction uphill; with y ⟂ s it is noise."""
    x, y = jnp.float32([[0.0, 0.0], [1.0, 0.0]])
    for change in ([-1.0, 0.0], [0.0, 1.0], [CURVATURE_FLOOR / 2, 1.0], [np.nan, 0.0], [0.0, 0.0]):
        gradient = jnp.float32([0.5, 0.5])
        _, state = feed(scale_by_lbfgs(3), [(x, gradient), (y, gradient + jnp.float32(change))])
        assert not np.any(state.valid)
        assert np.all(np.isfinite(state.steps)) and np.all(np.isfinite(state.changes))


def test_a_skipped_pair_does_not_change_what_the_others_say(random):
    """Good pair, bad pair: the direction is that of the good pair alone."""
    points = [jnp.float32(random.standard_normal(6)) for _ in range(3)]
    g0, g1 = jnp.float32(random.standard_normal(6)), None
    g1 = g0 + 2 * (points[1] - points[0])
    g2 = g1 - (points[2] - points[1])
    directions, state = feed(scale_by_lbfgs(4), [(points[0], g0), (points[1], g1), (points[2], g2)])
    s = np.asarray(points[1] - points[0], np.float64)
    expected = two_loop(np.asarray(g2, np.float64), [(s, 2 * s)])
    assert list(state.valid) == [False, True, False, False]
    assert directions[2] == pytest.approx(expected, abs=1e-5)


def test_forget_empties_the_history(random):
    problem = Quadratic(9, random)
    start = jnp.asarray(random.standard_normal(9), jnp.float32)
    transformation = scale_by_lbfgs(4)
    _, state = record(transformation, problem.gradient, start, 6)
    gradient = problem.gradient(start)
    (once_more,), state = feed(transformation, [(start, gradient)], forget(state))
    (fresh,), _ = feed(transformation, [(start, gradient)])
    assert once_more == pytest.approx(fresh)
    assert not np.any(state.valid)


def test_history_after_a_restart_is_that_of_a_fresh_run(random):
    """Also where old rows are still there, and the ring starts in the middle."""
    problem = Quadratic(12, random)
    transformation = scale_by_lbfgs(5)
    start = jnp.asarray(random.standard_normal(12), jnp.float32)
    _, used = record(transformation, problem.gradient, start, 7)
    state_of = {"fresh": transformation.init(start), "restarted": forget(used)}
    directions, update = {}, jax.jit(transformation.update)
    for name, state in state_of.items():
        x, directions[name] = start, []
        for _ in range(9):
            direction, state = update(problem.gradient(x), state, x)
            directions[name].append(np.asarray(direction))
            x = x - direction
    assert np.array(directions["restarted"]) == pytest.approx(
        np.array(directions["fresh"]), rel=1e-3, abs=1e-5
    )


def test_lanes_of_a_vmap_equal_single_runs(random):
    problem, transformation = Quadratic(10, random), lbfgs(1.0, 4)
    starts = jnp.asarray(random.standard_normal((3, 10)), jnp.float32)

    def run(x):
        def step(carry, _):
            x, state = carry
            updates, state = transformation.update(problem.gradient(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        (x, _), _ = jax.lax.scan(step, (x, transformation.init(x)), None, length=8)
        return x

    lanes, alone = jax.jit(jax.vmap(run))(starts), jax.jit(run)
    for start, lane in zip(starts, lanes, strict=True):
        assert np.asarray(lane) == pytest.approx(np.asarray(alone(start)), abs=1e-4)


def test_parameters_may_be_any_tree(random):
    """A tree gives the updates of its numbers in one row."""
    values = random.standard_normal(6).astype(np.float32)
    tree = {"a": jnp.asarray(values[:2]), "b": jnp.asarray(values[2:]).reshape(2, 2)}
    flat, transformation = jnp.asarray(values), scale_by_lbfgs(3)
    state_tree, state_flat = transformation.init(tree), transformation.init(flat)
    update = jax.jit(transformation.update)
    for scale in (1.0, 0.5, 0.2):
        scaled = jax.tree.map(lambda leaf, s=scale: s * leaf, tree)
        got, state_tree = update(jax.tree.map(jnp.sin, scaled), state_tree, scaled)
        wanted, state_flat = update(jnp.sin(scale * flat), state_flat, scale * flat)
        got = np.concatenate([np.ravel(got["a"]), np.ravel(got["b"])])
        assert got == pytest.approx(np.asarray(wanted), rel=1e-6)


def test_minimises_rosenbrock():
    def rosenbrock(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    x, transformation = jnp.float32([0.7, 0.6]), lbfgs(1.0, 10)
    state = transformation.init(x)

    @jax.jit
    def advance(x, state):
        updates, state = transformation.update(jax.grad(rosenbrock)(x), state, x)
        return optax.apply_updates(x, updates), state

    for _ in range(60):
        x, state = advance(x, state)
    assert np.asarray(x) == pytest.approx(np.ones(2), abs=1e-2)


@pytest.mark.parametrize(("history", "size"), [(None, 4), (jnp.bfloat16, 2)])
@pytest.mark.parametrize("lanes", [0, 2])
def test_history_is_updated_in_place(history, size, lanes):
    """Donated, the two (m, n) arrays are aliased: no step copies them, nor makes them wider."""
    transformation, image = scale_by_lbfgs(64, history=history), jnp.zeros((16, 16, 3))
    init, update = transformation.init, transformation.update
    if lanes:
        image = jnp.zeros((lanes, *image.shape))
        init = jax.vmap(init, out_axes=LANE_AXES)
        update = jax.vmap(update, in_axes=(0, LANE_AXES, 0), out_axes=(0, LANE_AXES))
    state = jax.eval_shape(init, image)
    step = jax.jit(update, donate_argnums=1)
    memory = step.lower(image, state, image).compile().memory_analysis()
    pairs = 2 * 64 * image.size * size
    assert isinstance(state, LBFGSState)
    assert memory.alias_size_in_bytes >= pairs
    assert memory.alias_size_in_bytes < 1.3 * pairs
    assert memory.temp_size_in_bytes < pairs / 2


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="memory is 0"):
        scale_by_lbfgs(0)
    transformation = scale_by_lbfgs(2)
    with pytest.raises(ValueError, match="params"):
        transformation.update(jnp.ones(2), transformation.init(jnp.ones(2)))
