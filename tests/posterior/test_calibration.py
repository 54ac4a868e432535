"""Calibration of guides whose posterior is known, and the two tests against the laws that they use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vi_jax as vi
from vi_jax.guides import MeanField
from vi_jax.posterior import calibration, simulation_based_calibration

GUIDE = vi.guides.mean_field(2)


def _sample(key, theta):
    del theta
    z, noise = jax.random.normal(key, (2, 2))
    return z + noise, z


# z ~ N(0, I), x ~ N(z, I): the posterior is N(x/2, I/2).
MODEL = vi.Model(lambda key: (), lambda theta, x, z: -jnp.sum(z**2 + (x - z) ** 2) / 2, sample=_sample)


def calibrated(loc=0.0, scale=1.0):
    """Of a guide that is the posterior but for a shift, in posterior sd, and a factor on its sd."""
    sd = np.sqrt(0.5)

    def fit(key, x):
        return MeanField(x[0] / 2 + loc * sd * jnp.array([1.0, 0.0]), jnp.full(2, jnp.log(scale * sd)))

    return simulation_based_calibration(jax.random.key(0), MODEL, GUIDE, (), fit, num_data_sets=500, num_draws=50)


def test_the_posterior_is_calibrated():
    found = calibrated()
    assert found.probabilities.shape == (500, 2)
    assert np.all(found.symmetry_p_value > 0.05)
    assert np.all(found.uniformity_p_value > 0.05)
    np.testing.assert_allclose(found.bias, 0, atol=4 * np.sqrt(1 / 12 / 500))
    np.testing.assert_allclose(found.spread, 1, atol=4 * np.sqrt(0.8 / 500))


def test_a_shifted_guide_is_found_in_the_coordinate_that_is_shifted():
    found = calibrated(loc=0.4)
    assert found.symmetry_p_value[0] < 1e-4
    assert found.bias[0] < -0.05
    assert found.symmetry_p_value[1] > 0.05


def test_a_narrow_guide_is_symmetric_but_not_uniform():
    found = calibrated(scale=0.6)
    assert np.all(found.symmetry_p_value > 0.01)
    assert np.all(found.uniformity_p_value < 1e-4)
    assert np.all(found.spread > 1.2)


def test_each_test_rejects_what_is_uniform_as_often_as_it_says():
    p = np.random.default_rng(0).random((300, 4000), np.float32)
    found = calibration(jnp.asarray(p))
    for p_value in (found.symmetry_p_value, found.uniformity_p_value):
        for level in (0.01, 0.05, 0.3):
            assert abs(np.mean(p_value < level) - level) < 4 * np.sqrt(level * (1 - level) / 4000) + 0.1 * level
    # The same statistic as the two samples', whose law takes them for independent.
    two_samples = [stats.ks_2samp(column, 1 - column, method="asymp") for column in p.T[:1000]]
    assert np.mean(np.array([two.pvalue for two in two_samples]) < 0.05) > 0.08
    at_random = [_beyond(np.sqrt(300) * two.statistic) for two in two_samples[:20]]
    np.testing.assert_allclose(found.symmetry_p_value[:20], at_random, atol=1e-3)
    expected = [stats.kstest(column, "uniform").pvalue for column in p.T[:20]]
    np.testing.assert_allclose(found.uniformity_p_value[:20], expected, atol=0.01)


def _beyond(t):
    """P(sup |W| > t), by reflection."""
    k = np.arange(-20, 21)
    return 1 - np.sum((-1.0) ** k * (stats.norm.cdf((2 * k + 1) * t) - stats.norm.cdf((2 * k - 1) * t)))


def test_a_fit_that_gives_no_number_is_not_calibrated():
    p = jnp.full((40, 2), 0.5).at[3, 0].set(jnp.nan)
    found = calibration(p)
    assert np.isnan(found.symmetry_p_value[0])
    assert found.uniformity_p_value[1] < 1e-4
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration(3 * p)
    with pytest.raises(ValueError, match="no sample"):
        simulation_based_calibration(
            jax.random.key(0), MODEL._replace(sample=None), GUIDE, (), lambda key, x: x, num_data_sets=2
        )
