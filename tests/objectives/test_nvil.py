"""NVIL: unbiased whatever its baseline, the score function without one, and less noise once it has learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NET, GUIDE = models.sigmoid_belief_net(3, 4), guides.bernoulli_encoder(4, 3, hidden=())
X = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])
KEYS = jax.random.split(KEY, 20_000)
DENSE, SGD = objectives.dense_predictor(4, hidden=3, mean=[0.5, 1, 0.5, 0.5]), optax.sgd(0.05)
NVIL = objectives.nvil(NET.model, GUIDE, DENSE, SGD, num_samples=2, divisor=jnp.ones_like)


def point() -> vi.Params:
    theta = NET.model.init(KEY)
    return vi.Params(theta._replace(W=3 * theta.W, b=jnp.array([0.5, -1.0, 0.2])), GUIDE.init(jax.random.key(1)))


def start(mean: float = 0.0, scale: float = 0.0, predictor=DENSE, optimizer=SGD) -> objectives.Baseline:
    """C = scale · (the same direction for all), c = mean."""
    baseline = objectives.start_baseline(jax.random.key(2), predictor, optimizer)
    psi = jax.tree.map(lambda leaf: leaf + scale, baseline.psi)
    return baseline._replace(psi=psi, mean=jnp.asarray(mean))


@pytest.fixture(scope="module")
def gradients():
    """A jitted function: baseline -> gradients `[R, P]`, on the same draws for every baseline."""

    def one(key, baseline):
        return ravel_pytree(NVIL(key, point(), X, baseline)[1])[0]

    return jax.jit(lambda baseline: jax.lax.map(lambda key: one(key, baseline), KEYS, batch_size=5000))


def squares(gradients):
    return np.square(np.asarray(gradients)[:, -15:]).sum(axis=1)


def test_unbiased_at_every_baseline_and_quieter_at_one_that_has_learned(gradients):
    exact = np.asarray(ravel_pytree(objectives.enumerated(NET.model, GUIDE)(KEY, point(), X)[1])[0])

    @jax.jit
    def learn(baseline):
        step = jax.lax.scan(lambda b, key: (NVIL(key, point(), X, b)[2], None), baseline, KEYS[:2000])
        return step[0]

    learned = learn(start())
    none, wild, good = (np.asarray(gradients(b)) for b in (start(), start(3.0, -2.0), learned))
    for samples in (none, wild, good):
        assert z_scores(samples, exact).max() < 4.5
    gain = squares(none) - squares(good)
    assert gain.mean() > 10 * gain.std() / np.sqrt(len(gain))
    assert squares(good).mean() < 0.3 * squares(none).mean() < squares(wild).mean()
    # What it predicts of each datum is its ELBO, up to the running mean, which the last five steps make.
    predicted = jax.vmap(DENSE.predict, (None, 0))(learned.psi, X)
    elbo = jax.vmap(lambda x: vi.exact.elbo(NET, GUIDE, point(), x))(X)
    np.testing.assert_allclose(predicted[0] - predicted[1], elbo[0] - elbo[1], atol=0.1)
    np.testing.assert_allclose(predicted + learned.mean, elbo, atol=1)


def test_with_a_constant_of_one_it_is_the_score_function_draw_by_draw():
    """REINFORCE of one draw multiplies the score by L − a = log w − 1."""
    nothing = objectives.no_prediction()
    objective = objectives.nvil(NET.model, GUIDE, nothing, SGD, divisor=jnp.ones_like)
    ours = objective(KEY, point(), X, start(1.0, predictor=nothing))
    plain = vi.value_and_grad(NET.model, GUIDE, vi.bounds.elbo, vi.estimators.score_function, num_samples=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), ours[:2], plain(KEY, point(), X))


def test_a_step_of_the_baseline_is_that_of_least_squares_and_divides_by_the_deviation_before_it():
    log_w = vi.log_weights(KEY, NET.model, GUIDE, point(), X, num_samples=2).T
    before = start(-2.0, 0.3)._replace(variance=jnp.asarray(9.0))

    def half_square(psi):
        predicted = jax.vmap(DENSE.predict, (None, 0))(psi, X)[:, None]
        return jnp.mean((log_w - predicted + 2.0) ** 2) / 2, log_w - predicted

    slope, beyond = jax.grad(half_square, has_aux=True)(before.psi)
    values, plain, after = NVIL(KEY, point(), X, before)
    np.testing.assert_allclose(values, log_w.mean(axis=1), rtol=1e-12)
    expected = jax.tree.map(lambda psi, g: psi - 0.05 * g, before.psi, slope)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), after.psi, expected)
    np.testing.assert_allclose(after.mean, 0.8 * -2.0 + 0.2 * beyond.mean(), rtol=1e-12)
    np.testing.assert_allclose(after.variance, 0.8 * 9.0 + 0.2 * beyond.var(), rtol=1e-12)
    divided = objectives.nvil(NET.model, GUIDE, DENSE, SGD, num_samples=2)
    for variance, factor in ((9.0, 3.0), (0.25, 1.0)):
        _, gradient, _ = divided(KEY, point(), X, before._replace(variance=jnp.asarray(variance)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(factor * a, b, rtol=1e-9), gradient.phi, plain.phi)  # noqa: B023
        jax.tree.map(np.testing.assert_array_equal, gradient.theta, plain.theta)


def test_an_impossible_datum_moves_nothing():
    def log_joint(theta, x, z):
        return jnp.where(x[0] > 0, theta @ z, -jnp.inf)

    model, bits = vi.Model(lambda key: jnp.ones(2), log_joint), guides.bernoulli(2)
    constant = objectives.no_prediction()
    objective = objectives.nvil(model, bits, constant, SGD, divisor=jnp.ones_like)
    params, baseline = vi.Params(jnp.ones(2), jnp.array([0.3, -0.2])), start(0.5, predictor=constant)
    both = objective(KEY, params, jnp.array([[1.0], [0.0]]), baseline)
    alone = objective(KEY, params, jnp.array([[1.0]]), baseline)
    assert both[0][1] == -jnp.inf
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-12), both[1], alone[1])
    jax.tree.map(np.testing.assert_array_equal, both[2], alone[2])


def test_a_number_that_is_none_is_seen_in_the_gradient_and_teaches_nothing():
    model = vi.Model(lambda key: jnp.ones(2), lambda theta, x, z: jnp.where(x[0] > 0, theta @ z, jnp.nan))
    constant = objectives.no_prediction()
    objective = objectives.nvil(model, guides.bernoulli(2), constant, SGD)
    params, baseline = vi.Params(jnp.ones(2), jnp.array([0.3, -0.2])), start(0.5, predictor=constant)
    values, gradient, after = objective(KEY, params, jnp.array([[1.0], [0.0]]), baseline)
    assert list(jnp.isnan(values)) == [False, True]
    assert jnp.all(jnp.isnan(gradient.phi))
    assert jnp.isfinite(after.mean)


def test_a_prediction_that_would_broadcast_is_refused():
    vector = DENSE._replace(predict=lambda psi, x: DENSE.predict(psi, x)[None])
    objective = objectives.nvil(NET.model, GUIDE, vector, SGD)
    with pytest.raises(ValueError, match=r"predict must return a scalar per datum, got shape \(1,\)"):
        objective(KEY, point(), X, start(predictor=vector))


def test_what_it_cannot_take_is_refused():
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        objectives.nvil(NET.model, GUIDE, DENSE, SGD, num_samples=0)
    with pytest.raises(ValueError, match="hidden must be at least 1, got 0"):
        objectives.dense_predictor(4, hidden=0)
    with pytest.raises(ValueError, match="mean must be 4 finite numbers"):
        objectives.dense_predictor(4, mean=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"x has shape \(3,\)|x must"):
        DENSE.predict(DENSE.init(KEY), jnp.zeros(3))
    with pytest.raises(TypeError, match="typed key"):
        objectives.start_baseline(jnp.zeros(2, jnp.uint32), DENSE, SGD)
