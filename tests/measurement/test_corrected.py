"""Moments from weighted draws: repeated draws, exact integrals, and errors against the spread that they predict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.measurement import pareto_k, posterior_moments, weighted_moments


def test_integer_weights_are_repeated_draws():
    rng = np.random.default_rng(0)
    draws, counts = rng.normal(size=(40, 2)), rng.integers(0, 4, 40)
    draws[counts == 0] = np.inf
    found = weighted_moments(jnp.asarray(draws), jnp.log(jnp.asarray(counts, float)))
    repeated = np.repeat(draws, counts, axis=0)
    total = counts.sum()
    np.testing.assert_allclose(found.mean, repeated.mean(axis=0), rtol=1e-5)
    unbiased = repeated.var(axis=0) / (1 - np.sum((counts / total) ** 2))
    np.testing.assert_allclose(found.sd, np.sqrt(unbiased), rtol=1e-5)


def test_equal_weights_are_the_moments_of_the_draws():
    draws = np.random.default_rng(1).normal(size=(101, 3))
    found = weighted_moments(jnp.asarray(draws), jnp.full(101, -7.0), levels=(0.1, 0.5))
    np.testing.assert_allclose(found.sd, draws.std(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean_error, draws.std(axis=0) / np.sqrt(101), rtol=1e-5)
    np.testing.assert_allclose(found.quantiles, np.quantile(draws, (0.1, 0.5), axis=0, method="hazen"), rtol=1e-4)
    np.testing.assert_allclose(found.effective_sample_size, 101 * 101 / 100, rtol=1e-4)


def test_errors_are_the_spread_over_batches_and_the_truth_lies_within_them():
    """q = N(0.3, 1.2²), p = N(0, 1): 2000 batches of 400 draws, as parameters of one call each."""
    z = 0.3 + 1.2 * jax.random.normal(jax.random.key(0), (2000, 400, 1))
    log_w = -(z**2) / 2 + ((z - 0.3) / 1.2) ** 2 / 2
    found = jax.jit(jax.vmap(weighted_moments))(z, log_w[..., 0])
    for value, error, truth in ((found.mean, found.mean_error, 0.0), (found.sd, found.sd_error, 1.0)):
        np.testing.assert_allclose(np.sqrt(np.mean(error**2)), value.std(), rtol=0.06)
        # Both are biased by O(1/S), a tenth of their error.
        assert abs(np.mean(value) - truth) < 4 * value.std() / np.sqrt(2000) + 0.1 * value.std()
    np.testing.assert_allclose(np.mean(found.quantiles[..., 0], axis=0), [-1.645, 0.0, 1.645], atol=0.02)


def test_corrected_moments_are_those_of_the_posterior_and_each_has_the_tail_of_its_influence():
    z = jax.random.normal(jax.random.key(1), (4000, 2)) * jnp.array([0.8, 1.3]) + jnp.array([0.2, 0.0])
    log_w = jnp.sum(-(z**2) / 2 + ((z - jnp.array([0.2, 0.0])) / jnp.array([0.8, 1.3])) ** 2 / 2, axis=1)
    found = posterior_moments(z, log_w)
    assert np.all(np.abs(found.corrected.mean / found.corrected.mean_error) < 4)
    assert np.all(np.abs((found.corrected.sd - 1) / found.corrected.sd_error) < 4)
    assert np.all(np.abs((found.raw.sd - 1) / found.raw.sd_error) > 10)
    offset, shape = z - found.corrected.mean, jax.jit(pareto_k)
    overall = shape(log_w)
    for order, k in ((1, found.mean_pareto_k), (2, found.sd_pareto_k)):
        for j in (0, 1):
            sides = [shape(log_w + order * jnp.log(jnp.maximum(sign * offset[:, j], 0))) for sign in (-1, 1)]
            np.testing.assert_allclose(k[j], max(overall, *sides), rtol=1e-3)
    # q is narrower than p in the first coordinate alone: w z² has the heavier tail there.
    assert found.sd_pareto_k[0] > found.sd_pareto_k[1]


def test_a_shift_alone_has_light_tails():
    """q = N(0, 1), p = N(−0.64, 1): every moment of w and of w z² is finite; the two sides together have k̂ near 2."""
    z = jax.random.normal(jax.random.key(2), (8, 4000))
    found = jax.vmap(lambda z: posterior_moments(z[:, None], -0.64 * z))(z)
    assert np.max(found.mean_pareto_k) < 0.5
    assert np.max(found.sd_pareto_k) < 0.65


def test_a_constant_is_known_exactly_and_needs_no_draws():
    z = jax.random.normal(jax.random.key(3), (4000,))
    found = posterior_moments(jnp.stack([jnp.full(4000, 0.7), 1e4 + 0.5 * z], axis=1), 0.1 * z)
    for moments in (found.raw, found.corrected):
        np.testing.assert_array_equal(moments.mean[0], np.float32(0.7))
        np.testing.assert_array_equal([moments.sd[0], moments.mean_error[0], moments.sd_error[0]], 0)
        assert moments.effective_sample_size[0] == np.inf
    # Numbers near 10⁴ are 0.001 apart in float32.
    mean, sd = found.raw.mean[1], found.raw.sd[1]
    exact = np.asarray(1e4 + 0.5 * z, np.float64)
    np.testing.assert_allclose([mean - 1e4, sd], [exact.mean() - 1e4, exact.std(ddof=1)], atol=6e-4)


def test_what_is_no_number_flows_and_what_does_not_fit_is_refused():
    draws = jnp.zeros((30, 1)).at[0].set(1.0)
    found = posterior_moments(draws, jnp.zeros(30).at[3].set(jnp.nan))
    assert np.isnan(found.corrected.mean).all()
    assert np.isfinite(found.raw.mean).all()
    with pytest.raises(ValueError, match=r"got shapes \(30,\) and \(30,\)"):
        posterior_moments(draws[:, 0], jnp.zeros(30))
    with pytest.raises(ValueError, match="between 0 and 1, got \\[5\\]"):
        weighted_moments(draws, jnp.zeros(30), levels=(5,))
