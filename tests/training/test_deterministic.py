"""DADVI on a Gaussian: its optimum is known, so the Monte Carlo error it claims is held against the one it makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import training
from vi_jax.guides import MeanField

MEAN = jnp.array([1.0, -2.0, 0.5])
PRECISION = jnp.array([[2.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 3.0]])
BEST = np.concatenate([MEAN, -np.log(np.diagonal(PRECISION)) / 2])
BEST_ELBO = 1.5 * np.log(2 * np.pi) - np.sum(np.log(np.diagonal(PRECISION))) / 2
START = MeanField(jnp.zeros(3), jnp.zeros(3))
REPEATS = 200


def normal(z):
    return -(z - MEAN) @ PRECISION @ (z - MEAN) / 2


@pytest.fixture(scope="module")
def fits():
    keys = jax.random.split(jax.random.key(0), REPEATS)
    return jax.jit(jax.vmap(lambda key: training.fit_deterministic(key, normal, START, num_draws=100)))(keys)


def test_the_standard_error_covers_the_exact_optimum_at_its_rate(fits):
    z = (np.concatenate(fits.phi, axis=1) - BEST) / np.concatenate(fits.standard_error, axis=1)
    assert np.all(fits.converged)
    assert np.all(np.abs(z.mean(axis=0)) < 0.3)  # four errors of a mean of 200; φ̂ has a bias of O(1/N) too
    assert np.all((z.std(axis=0) > 0.8) & (z.std(axis=0) < 1.3))
    assert 0.9 < np.mean(np.abs(z) < 1.96) < 0.97


def test_linear_response_is_the_covariance_that_mean_field_has_not(fits):
    mean, error = fits.covariance.mean(axis=0), fits.covariance.std(axis=0) / REPEATS**0.5
    np.testing.assert_array_less(np.abs(mean - np.linalg.inv(PRECISION)), 4 * error + 0.02)


def test_the_elbo_is_too_high_by_the_optimism_it_states(fits):
    excess = fits.elbo - BEST_ELBO
    error = excess.std() / REPEATS**0.5
    # Of the 2 × optimism between a sample's maximum and its value on other draws, one half is above the best.
    assert abs(excess.mean() - fits.optimism.mean() / 2) < 4 * error
    assert 0.02 < fits.optimism.mean() < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: training.fit_deterministic(key, normal, START, num_draws=1), "at least 2, got 1"),
        (lambda key: training.fit_deterministic(key, normal, MeanField(0.0, jnp.ones(2))), r"two vectors \[D\]"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
