"""The normal-gamma model: its integrals by quadrature; coordinate ascent and gradient ascent at one optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.optimize import minimize

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")
THETA = models.NormalGamma(*(np.float64(v) for v in (0.3, 0.7, 1.5, 2.0)))
X = np.array([0.5, -1.2, 2.0, 0.3])
EXACT = models.normal_gamma(len(X))
Q = models.NormalTimesGamma(*(np.float64(v) for v in (0.4, 3.0, 2.5, 4.0)))
GRID = np.stack(np.meshgrid(np.linspace(-12, 12, 801), np.linspace(-12, 7, 801), indexing="ij"), axis=-1).reshape(-1, 2)
CELL = 24 / 800 * 19 / 800


def floats(distribution):
    return type(distribution)(*map(jnp.asarray, distribution))


@pytest.fixture(scope="module")
def on_the_grid():
    """log p(x, z), log p(z | x) and log q(z) at 801² points: the trapezoid rule in (μ, log τ)."""
    with jax.enable_x64(True):
        theta, q, posterior = floats(THETA), floats(Q), EXACT.posterior(floats(THETA), jnp.asarray(X))
        log_joint = jax.vmap(lambda z: EXACT.model.log_joint(theta, X, z))(GRID)
        return log_joint, *(jax.vmap(d.log_prob)(GRID) for d in (posterior, q))


@pytest.fixture(scope="module")
def optimum():
    """q and the ELBOs of coordinate ascent, from a bad start."""
    with jax.enable_x64(True):
        return models.normal_gamma_coordinate_ascent(floats(THETA), floats(Q), X, num_steps=40)


def test_evidence_and_normalisation_by_quadrature(on_the_grid):
    log_joint, log_posterior, log_q = map(np.exp, on_the_grid)
    np.testing.assert_allclose(np.log(log_joint.sum() * CELL), EXACT.log_evidence(floats(THETA), X), rtol=1e-6)
    np.testing.assert_allclose(log_posterior.sum() * CELL, 1, rtol=1e-6)
    np.testing.assert_allclose(log_q.sum() * CELL, 1, rtol=1e-6)


def test_elbo_is_the_expectation_of_log_w_and_its_gap_is_the_kl(on_the_grid):
    log_joint, log_posterior, log_q = on_the_grid
    weight = np.exp(log_q) * CELL
    elbo = models.normal_gamma_elbo(floats(THETA), floats(Q), X)
    np.testing.assert_allclose(elbo, np.sum(weight * (log_joint - log_q)), rtol=1e-6)
    gap = EXACT.log_evidence(floats(THETA), X) - elbo
    np.testing.assert_allclose(gap, np.sum(weight * (log_q - log_posterior)), rtol=1e-5)
    assert gap > 0.1


def test_coordinate_ascent_never_lowers_the_elbo_and_contracts_at_the_stated_rate(optimum):
    q, elbos = optimum
    assert np.all(np.diff(elbos) > -1e-12)
    assert elbos[0] > models.normal_gamma_elbo(floats(THETA), floats(Q), X) + 0.1
    after = EXACT.posterior(floats(THETA), X)
    np.testing.assert_allclose(q.rate, after.rate * q.shape / after.shape, rtol=1e-12)
    np.testing.assert_allclose(q.shape / q.rate, after.shape / after.rate, rtol=1e-12)
    first, second = (
        models.normal_gamma_coordinate_ascent(floats(THETA), floats(Q), X, num_steps=n)[0].rate for n in (1, 2)
    )
    np.testing.assert_allclose((second - q.rate) / (first - q.rate), 1 / (2 * after.shape + 1), rtol=1e-9)


def test_gradient_ascent_and_coordinate_ascent_meet(optimum):
    """Two climbs of one function that share no update: BFGS knows gradients alone, coordinate ascent none."""

    def unpack(free):
        return models.NormalTimesGamma(free[0], *jnp.exp(free[1:]))

    def loss(free):
        return -models.normal_gamma_elbo(THETA, unpack(free), X)

    result = jax.jit(lambda start: minimize(loss, start, method="BFGS"))(jnp.array([2.0, 0.0, 0.0, 0.0]))
    q, elbos = optimum
    np.testing.assert_allclose(-result.fun, elbos[-1], atol=1e-8)
    np.testing.assert_allclose(np.array(unpack(result.x)), np.array(q), rtol=1e-4)
    assert elbos[-1] < EXACT.log_evidence(floats(THETA), X) - 0.01


def test_the_samplers_have_the_stated_moments(optimum):
    after, q = EXACT.posterior(floats(THETA), X), optimum[0]
    keys = jax.random.split(jax.random.key(0), 20_000)
    variance = {"posterior": after.rate / (after.counts * (after.shape - 1)), "q": 1 / q.precision}
    for name, distribution in (("posterior", after), ("q", q)):
        mu, log_tau = jax.jit(jax.vmap(lambda key, d=distribution: d.sample(seed=key)))(keys).T
        tau = np.exp(log_tau)
        mean = distribution.shape / distribution.rate
        features = np.stack([mu - after.loc, tau - mean, (mu - after.loc) ** 2 - variance[name]])
        features = np.concatenate([features, (tau - mean)[None] ** 2 - mean / distribution.rate])
        assert np.all(np.abs(features.mean(1)) < 4 * features.std(1) / np.sqrt(len(keys)))


def test_ancestral_data_have_the_models_moments():
    theta = floats(models.NormalGamma(0.3, 0.7, 5.0, 2.0))
    x, z = jax.jit(jax.vmap(EXACT.model.sample, in_axes=(0, None)))(jax.random.split(jax.random.key(1), 20_000), theta)
    standard = (x - z[:, :1]) * np.exp(z[:, 1:] / 2)
    features = np.concatenate([standard, standard**2 - 1, (standard[:, 0] * standard[:, 1])[:, None]], axis=1)
    assert np.all(np.abs(features.mean(0)) < 4 * features.std(0) / np.sqrt(len(x)))


@pytest.mark.parametrize("shape", [(), (3,), (1, 4)])
def test_a_data_set_of_another_size_never_broadcasts(shape):
    for call in (EXACT.log_evidence, EXACT.posterior, lambda t, x: EXACT.model.log_joint(t, x, jnp.zeros(2))):
        with pytest.raises(ValueError, match=r"x must have shape \(4,\)"):
            call(floats(THETA), jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"z must have shape \(2,\)"):
        EXACT.model.log_joint(floats(THETA), jnp.asarray(X), jnp.zeros(3))
