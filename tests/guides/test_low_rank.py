"""Diagonal plus low rank: its density at extremes, and the optimum that it must reach."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import vi_jax as vi
from vi_jax import bounds, estimators, guides, models

KEY = jax.random.key(0)


@pytest.mark.usefixtures("x64")
def test_noise_has_one_number_per_coordinate_and_factor_and_entropy_is_the_closed_form():
    guide = guides.low_rank(3, 2)
    phi = guides.LowRank(jnp.array([1.0, 2, 3]), jnp.array([0.1, -0.2, 0.3]), jnp.array([[1.0, 0], [2, -1], [0.5, 3]]))
    q = guide.distribution(phi, ())
    columns = jax.vmap(lambda noise: guide.from_noise(phi, (), noise) - phi.loc)(jnp.eye(5)).T
    np.testing.assert_allclose(columns @ columns.T, q.covariance(), rtol=1e-12)
    reference = stats.multivariate_normal(q.mean(), q.covariance())
    np.testing.assert_allclose(q.entropy(), reference.entropy(), rtol=1e-12)
    np.testing.assert_allclose(q.stddev() ** 2, np.diag(q.covariance()), rtol=1e-12)
    with pytest.raises(ValueError, match=r"noise must have shape \(5,\)"):
        guide.from_noise(phi, (), jnp.zeros(3))


def test_float32_keeps_the_density_where_factors_are_a_thousand_times_the_diagonal():
    rng = np.random.default_rng(0)
    factors, scale = 1000 * rng.normal(size=(6, 2)), np.full(6, 0.5)
    z = factors @ rng.normal(size=2) + scale * rng.normal(size=6)
    found = guides.LowRankNormal(*(jnp.asarray(a, jnp.float32) for a in (np.zeros(6), scale, factors))).log_prob(
        jnp.asarray(z, jnp.float32)
    )
    expected = stats.multivariate_normal(np.zeros(6), np.diag(scale**2) + factors @ factors.T).logpdf(z)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.usefixtures("x64")
def test_a_gaussian_of_this_form_is_reached_with_no_gap_from_the_random_start():
    """The whole covariance is found, so that every mean of log w over 8 draws is log Z."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(4, 1))
    exact = models.gaussian_target(rng.normal(size=4), np.diag([0.2, 0.5, 0.3, 0.4]) + factors @ factors.T)
    guide = guides.low_rank(4, 1)
    objective = vi.value_and_grad(exact.model, guide, bounds.elbo, estimators.sticking_the_landing, num_samples=8)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 2000))
    _, history = vi.fit(KEY, objective, optimizer, vi.Params((), guide.init(KEY)), jnp.zeros((1, 1)), num_steps=2000)
    assert history.value[0] < -0.5
    np.testing.assert_allclose(history.value[-10:], 0, atol=1e-3)


@pytest.mark.usefixtures("x64")
def test_factors_of_zero_are_stationary_and_init_does_not_start_there():
    covariance = jnp.array([[1.0, 0.9], [0.9, 1.0]])

    def expected_log_density(phi):  # E_q[log N(z; 0, C)] + H(q), exactly
        q = guides.low_rank(2, 1).distribution(phi, ())
        return q.entropy() - jnp.trace(jnp.linalg.solve(covariance, q.covariance())) / 2

    start = guides.low_rank(2, 1).init(KEY)
    slope = jax.jit(jax.grad(expected_log_density))
    assert np.all(np.asarray(slope(start._replace(factors=jnp.zeros((2, 1)))).factors) == 0)
    assert np.all(np.asarray(slope(start).factors) != 0)
