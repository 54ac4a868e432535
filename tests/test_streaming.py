"""Chunks over K change nothing; neither do draws of zero weight, whatever their derivative."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from tests.oracle import BOUNDS, ESTIMATORS
from vi_jax import bounds, estimators
from vi_jax.log_weights import batch_draws
from vi_jax.streaming import exchange_for, streamed_log_weights

NUM_SAMPLES = 4
KEY = jax.random.key(0)
PAIRS = [("iwae", name) for name in ESTIMATORS] + [("user's blend", "vimco")]
# Some draws of the first datum have zero weight, all of the second have.
EDGES = (0.0, 100.0)


@pytest.fixture(autouse=True)
def _eager_x64() -> Iterator[None]:
    """Compiling a row costs ten times what running it does."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def assert_trees_agree(actual, expected, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


# --- chunks -----------------------------------------------------------------------------------------------------------


def curved(bound: str, name: str, chunk_size: int | None):
    objective = vi.value_and_grad(
        problems.CURVED,
        problems.AMORTIZED,
        BOUNDS[bound].bound,
        ESTIMATORS[name].estimator,
        num_samples=NUM_SAMPLES,
        chunk_size=chunk_size,
    )
    return objective(KEY, problems.curved_params(), problems.curved_data())


@functools.cache
def whole() -> tuple[jax.Array, dict[str, vi.Params]]:
    rows = {f"{b}-{e}": (BOUNDS[b].bound, ESTIMATORS[e].estimator) for b, e in PAIRS}
    objective = vi.shared_gradients(problems.CURVED, problems.AMORTIZED, rows, num_samples=NUM_SAMPLES)
    return objective(KEY, problems.curved_params(), problems.curved_data())


@pytest.mark.parametrize(("bound", "name"), PAIRS)
def test_a_chunk_size_that_does_not_divide_k_changes_nothing(bound, name):
    values, gradient = curved(bound, name, 3)
    np.testing.assert_allclose(values, BOUNDS[bound].naive(whole()[0]), rtol=1e-12)
    assert_trees_agree(gradient, whole()[1][f"{bound}-{name}"])


@pytest.mark.parametrize("chunk_size", [1, NUM_SAMPLES + 3])
def test_no_chunk_size_changes_anything(chunk_size):
    with jax.disable_jit(False):
        values, gradient = curved("iwae", "doubly_reparameterized", chunk_size)
    np.testing.assert_allclose(values, BOUNDS["iwae"].naive(whole()[0]), rtol=1e-12)
    assert_trees_agree(gradient, whole()[1]["iwae-doubly_reparameterized"])


@pytest.mark.parametrize("chunk_size", [3, 4])
def test_streamed_log_weights_are_those_of_all_draws(chunk_size):
    params, x = problems.curved_params(), problems.curved_data()
    draws = batch_draws(KEY, x, jnp.arange(chunk_size))
    log_w = streamed_log_weights(problems.CURVED, problems.AMORTIZED, params, draws, NUM_SAMPLES, chunk_size)
    np.testing.assert_allclose(log_w, whole()[0], rtol=1e-12)


# --- zero weights -----------------------------------------------------------------------------------------------------


class PerDraw(NamedTuple):
    """Of one draw: log w, ∂_θ log p, ∂_z log w ∂_φ z and ∂_φ log q, by plain `jax.grad`."""

    log_w: jax.Array
    model: jax.Array
    path: dict
    score: dict


def per_draw(model: vi.Model, key: jax.Array, x) -> PerDraw:
    theta, phi = problems.edged_params()
    z, pull = jax.vjp(lambda phi: problems.FREE.distribution(phi, x).sample(seed=key), phi)
    q = problems.FREE.distribution(phi, x)
    slope = jax.grad(lambda z: model.log_joint(theta, x, z) - q.log_prob(z))(z)
    return PerDraw(
        model.log_joint(theta, x, z) - q.log_prob(z),
        jax.grad(model.log_joint)(theta, x, z),
        pull(slope)[0],
        jax.grad(lambda phi: problems.FREE.distribution(phi, x).log_prob(z))(phi),
    )


@functools.cache
def batch(model: vi.Model, seed: int, edges: tuple[float, ...] = EDGES) -> list[list[PerDraw]]:
    x = problems.edged_data(*edges)
    keys = [jax.random.fold_in(jax.random.key(seed), b) for b in range(len(edges))]
    return [
        [
            per_draw(model, jax.random.fold_in(key, k), jax.tree.map(lambda leaf, b=b: leaf[b], x))
            for k in range(NUM_SAMPLES)
        ]
        for b, key in enumerate(keys)
    ]


def expected_gradient(draws: list[list[PerDraw]], bound: str, name: str) -> vi.Params:
    """The sum over the draws that have a coefficient, and over no others."""
    total = jax.tree.map(jnp.zeros_like, problems.edged_params())
    for datum in draws:
        c = ESTIMATORS[name].estimator(BOUNDS[bound].bound)(jnp.stack([draw.log_w for draw in datum]))
        for k, draw in enumerate(datum):
            terms = [(c.score[k], vi.Params(jnp.zeros(()), draw.score))]
            if c.model[k] != 0:
                assert np.isfinite(draw.model)
                terms += [(c.model[k], vi.Params(draw.model, jax.tree.map(jnp.zeros_like, draw.path)))]
            if c.path[k] != 0:
                terms += [(c.path[k], vi.Params(jnp.zeros(()), draw.path))]
            for weight, gradient in terms:
                total = jax.tree.map(lambda t, g, w=weight: t + w * g / len(draws), total, gradient)
    return total


def edged(model: vi.Model, bound: str, name: str, chunk_size: int | None):
    return vi.value_and_grad(
        model,
        problems.FREE,
        BOUNDS[bound].bound,
        ESTIMATORS[name].estimator,
        num_samples=NUM_SAMPLES,
        chunk_size=chunk_size,
    )


def test_the_problem_is_as_hard_as_it_says():
    half, none = batch(problems.EDGED, 0)
    assert 0 < sum(np.isneginf(draw.log_w) for draw in half) < NUM_SAMPLES
    assert all(np.isneginf(draw.log_w) for draw in none)
    dead = [draw for draw in half + none if np.isneginf(draw.log_w)]
    assert all(np.isnan(draw.model) and np.isnan(draw.path["loc"][0]) for draw in dead)
    assert any(np.isnan(d.model) and np.isfinite(d.log_w) for d in batch(problems.CLIFF, 0)[0])


ZERO_WEIGHTS = [("iwae", name) for name in ESTIMATORS] + [
    (bound, name) for bound in ("elbo", "renyi(2)", "user's blend") for name in ("pathwise", "vimco")
]


@pytest.mark.parametrize(
    ("bound", "name", "chunk_size"),
    [(*pair, 3) for pair in ZERO_WEIGHTS[: len(ESTIMATORS)]] + [("iwae", "vimco", None), ("iwae", "pathwise", None)],
)
def test_draws_of_zero_weight_leave_the_gradient_of_the_others_as_it_is(bound, name, chunk_size):
    objective = edged(problems.EDGED, bound, name, chunk_size)
    values, gradient = objective(KEY, problems.edged_params(), problems.edged_data(*EDGES))
    log_w = jnp.array([[draw.log_w for draw in datum] for datum in batch(problems.EDGED, 0)]).T
    np.testing.assert_allclose(values, BOUNDS[bound].naive(log_w), rtol=1e-10)
    assert np.isneginf(values[1])
    assert_trees_agree(gradient, expected_gradient(batch(problems.EDGED, 0), bound, name))


def test_estimators_that_share_draws_of_zero_weight_do_not_poison_each_other():
    rows = {f"{b}-{e}": (BOUNDS[b].bound, ESTIMATORS[e].estimator) for b, e in ZERO_WEIGHTS}
    objective = vi.shared_gradients(problems.EDGED, problems.FREE, rows, num_samples=NUM_SAMPLES)
    _, gradients = objective(KEY, problems.edged_params(), problems.edged_data(*EDGES))
    for bound, name in ZERO_WEIGHTS:
        expected = expected_gradient(batch(problems.EDGED, 0), bound, name)
        assert_trees_agree(gradients[f"{bound}-{name}"], expected)


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("name", ["doubly_reparameterized", "score_function"])
def test_weights_that_underflow_do_not_poison_either(name, chunk_size):
    """A coefficient that is exactly zero though log w is finite, and a derivative that is NaN there."""
    objective = edged(problems.CLIFF, "iwae", name, chunk_size)
    _, gradient = objective(KEY, problems.edged_params(), problems.edged_data(0.0, -100.0))
    assert_trees_agree(gradient, expected_gradient(batch(problems.CLIFF, 0, (0.0, -100.0)), "iwae", name))


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("name", ["doubly_reparameterized", "vimco"])
def test_an_impossible_batch_has_value_minus_infinity_and_gradient_zero(name, chunk_size):
    objective = edged(problems.EDGED, "iwae", name, chunk_size)
    values, gradient = objective(KEY, problems.edged_params(), problems.edged_data(100.0, 200.0))
    np.testing.assert_array_equal(values, [-np.inf] * 2)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0.0), gradient)


@pytest.mark.parametrize(("name", "chunk_size"), [("doubly_reparameterized", None), ("vimco", 3)])
def test_one_poisoned_run_among_many(name, chunk_size):
    """Compiled, and mapped over seeds: some runs meet a zero weight and some do not."""
    seeds = (0, 1, 2, 3)
    met = [
        any(np.isneginf(draw.log_w) for draw in batch(problems.EDGED, s, (-0.9, -0.8))[b])
        for s in seeds
        for b in (0, 1)
    ]
    assert 0 < sum(met) < len(met)
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    objective = edged(problems.EDGED, "iwae", name, chunk_size)
    with jax.disable_jit(False):
        run = jax.vmap(objective, in_axes=(0, None, None))
        _, gradients = run(keys, problems.edged_params(), problems.edged_data(-0.9, -0.8))
    for s in seeds:
        expected = expected_gradient(batch(problems.EDGED, s, (-0.9, -0.8)), "iwae", name)
        assert_trees_agree(jax.tree.map(lambda leaf, s=s: leaf[s], gradients), expected)


def test_exchange_names_the_best_draw_of_a_datum_that_has_one():
    nothing = -jnp.inf
    log_w = jnp.array([[nothing, 1.0, nothing], [nothing, 3.0, -7.0], [nothing, jnp.nan, nothing]])
    exchange = exchange_for(log_w)
    np.testing.assert_array_equal(exchange.datum, [1, 1, 2])
    np.testing.assert_array_equal(exchange.draw, [1, 1, 1])
    assert exchange.found
    assert not exchange_for(log_w[:, :1]).found


def test_values_that_are_not_a_number_are_not_hidden():
    """Zero weights are legal; NaN is a bug of the model, and flows."""
    broken = problems.CURVED._replace(log_joint=lambda theta, x, z: jnp.log(-jnp.ones(())) + theta["mu"].sum())
    for chunk_size in (None, 3):
        objective = vi.value_and_grad(
            broken, problems.AMORTIZED, bounds.iwae, estimators.pathwise, num_samples=4, chunk_size=chunk_size
        )
        values, gradient = objective(KEY, problems.curved_params(), problems.curved_data())
        assert np.all(np.isnan(values))
        assert np.all(np.isnan(gradient.theta["mu"]))
