"""Batch and match: its closed form, on a Gaussian target exact, and on one that is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import training
from vi_jax.training.matching import _update

DIM = 6
START = training.Gaussian(jnp.zeros(DIM), jnp.eye(DIM))
SCALES = jnp.geomspace(0.01, 100.0, DIM)


def correlated(z):
    mixed = (z - SCALES) / SCALES + 0.9 * jnp.roll((z - SCALES) / SCALES, 1)
    return -mixed @ mixed / 2


def test_an_update_solves_its_equation():
    """Σ U Σ + Σ = V, with U and V written out as the paper has them."""
    rng = np.random.default_rng(0)
    z, scores = (jnp.asarray(rng.standard_normal((4, DIM)), jnp.float32) for _ in range(2))
    q = training.Gaussian(jnp.ones(DIM), jnp.diag(jnp.arange(1.0, DIM + 1)))
    strength = 3.0
    new = jax.jit(_update)(q, z, scores, jnp.ones(4, bool), strength)
    pull = strength / (1 + strength)
    u = strength * np.cov(scores.T, ddof=0) + pull * np.outer(scores.mean(0), scores.mean(0))
    apart = q.loc - z.mean(0)
    v = q.scale_tril @ q.scale_tril.T + strength * np.cov(z.T, ddof=0) + pull * np.outer(apart, apart)
    sigma = new.scale_tril @ new.scale_tril.T
    np.testing.assert_allclose(sigma @ u @ sigma + sigma, v, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(new.loc, q.loc / 4 + pull * (sigma @ scores.mean(0) + z.mean(0)), rtol=1e-3, atol=1e-3)


def test_a_gaussian_of_any_scales_is_found_without_a_rate():
    """From N(0, I), with sds from 0.01 to 100: no gradient method would, in these coordinates."""
    found = training.batch_and_match(jax.random.key(0), correlated, START, num_steps=60)
    covariance = np.linalg.inv(-np.asarray(jax.hessian(correlated)(SCALES), np.float64))
    sd = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose((found.gaussian.loc - SCALES) / sd, 0, atol=0.01)
    tril = np.asarray(found.gaussian.scale_tril, np.float64) / sd[:, None]
    np.testing.assert_allclose(tril @ tril.T, covariance / np.outer(sd, sd), atol=0.02)
    assert found.num_skipped == 0


def test_draws_that_are_not_finite_are_left_out_and_none_at_all_leaves_the_gaussian():
    def half(z):
        return jnp.where(z[0] > 1.5, jnp.nan, -z @ z / 2)

    found = training.batch_and_match(jax.random.key(0), half, START, num_steps=50)
    np.testing.assert_allclose(found.gaussian.scale_tril, jnp.eye(DIM), atol=0.02)
    found = training.batch_and_match(jax.random.key(0), lambda z: jnp.nan * z[0], START, num_steps=50)
    assert found.num_skipped == 50
    np.testing.assert_array_equal(found.gaussian.scale_tril, START.scale_tril)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: training.batch_and_match(key, correlated, START, num_draws=1), "at least 2, got 1"),
        (
            lambda key: training.batch_and_match(key, correlated, START._replace(loc=jnp.zeros(2))),
            r"\[D\] and \[D, D\]",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
