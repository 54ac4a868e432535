"""The jackknife is the textbook standard error where there is one, and Student's t is Student's t."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax.measurement import jackknife


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 19, 99, 1000])
def test_student_t_quantiles_are_scipys(degrees):
    for probability in (0.5, 0.75, 0.95, 0.975, 0.999):
        expected = stats.t.ppf(probability, degrees)
        np.testing.assert_allclose(jackknife.student_t_quantile(probability, degrees), expected, rtol=1e-9, atol=1e-12)


def test_the_interval_takes_one_degree_of_freedom_per_group_but_one():
    np.testing.assert_allclose(jackknife.quantile(jnp.ones(20)), 2.0930240544, rtol=1e-9)


def test_for_a_mean_of_single_draws_it_is_sd_over_root_n_exactly():
    x = np.array([1.0, 4.0, -2.0, 0.5, 7.0])
    without = (x.sum() - x) / 4
    error = jackknife.standard_error(jnp.mean(x), jnp.asarray(without), jnp.ones(5))
    np.testing.assert_allclose(error, x.std(ddof=1) / np.sqrt(5), rtol=1e-6)


def test_for_a_mean_of_unequal_groups_its_square_is_the_variance_on_average():
    # Weights of equal groups, (G − 1)/G for all, would read 3 % too much here: 15 standard errors.
    sizes = np.array([1.0] * 5 + [3.0] * 5)
    n = sizes.sum()
    group_means = np.random.default_rng(0).normal(size=(20_000, 10)) / np.sqrt(sizes)
    whole = group_means @ sizes / n
    without = (whole[:, None] * n - group_means * sizes) / (n - sizes)
    squares = np.asarray(jax.jit(jax.vmap(jackknife.standard_error, (0, 0, None)))(whole, without, sizes)) ** 2 * n
    assert abs(squares.mean() - 1.0) < 4 * squares.std() / np.sqrt(20_000)
    assert squares.std() / np.sqrt(20_000) < 0.005


def test_without_a_finite_leave_out_value_the_error_is_infinite():
    assert jackknife.standard_error(jnp.zeros(()), jnp.array([0.0, -jnp.inf, 1.0]), jnp.ones(3)) == jnp.inf


def test_one_group_has_no_interval():
    with pytest.raises(ValueError, match="two groups of replicates, got 1: take num_groups=20"):
        jackknife.standard_error(jnp.zeros(()), jnp.zeros(1), jnp.ones(1))
    with pytest.raises(ValueError, match="two groups"):
        jackknife.quantile(jnp.ones(1))
