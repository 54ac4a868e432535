"""Regression: the linear one against dense Gaussians, the logistic one against its formula and German credit."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.mean_field import fitted
from vi_jax import data, models

NUM_DATA, DIM = 6, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(NUM_DATA, DIM))
DATA = models.Regression(X, X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=NUM_DATA))
LABELLED = models.Regression(X, np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]))
W = np.array([0.4, -1.0, 2.0])
needs_data = pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")


@pytest.fixture
def linear(x64):
    exact = models.linear_regression(NUM_DATA, DIM, prior_variance=4.0, variance=0.25)
    return exact, exact.model.init(jax.random.key(0)), jax.tree.map(jnp.asarray, DATA)


def test_the_evidence_is_a_dense_gaussian_and_the_posterior_solves_the_normal_equations(linear):
    exact, theta, x = linear
    with jax.numpy_dtype_promotion("strict"):
        evidence, q = exact.log_evidence(theta, x), exact.posterior(theta, x)
    dense = stats.multivariate_normal(np.zeros(NUM_DATA), 4 * X @ X.T + 0.25 * np.eye(NUM_DATA))
    np.testing.assert_allclose(evidence, dense.logpdf(DATA.targets), rtol=1e-12)
    # Least squares with √(s²/v) w appended to the residuals.
    rows = np.concatenate([X, np.sqrt(0.25 / 4) * np.eye(DIM)])
    solution = np.linalg.lstsq(rows, np.append(DATA.targets, np.zeros(DIM)))[0]
    np.testing.assert_allclose(q.mean(), solution, rtol=1e-10)
    np.testing.assert_allclose(q.covariance(), 0.25 * np.linalg.inv(rows.T @ rows), rtol=1e-10, atol=1e-14)


def test_posterior_times_evidence_is_the_joint_and_so_are_their_gradients(linear):
    exact, theta, x = linear
    prior, noise = stats.norm.logpdf(W, 0, 2).sum(), stats.norm.logpdf(DATA.targets, X @ W, 0.5).sum()

    def joint(theta):
        return exact.model.log_joint(theta, x, jnp.asarray(W))

    def product(theta):
        return exact.log_evidence(theta, x) + exact.posterior(theta, x).log_prob(jnp.asarray(W))

    value, slopes = jax.jit(jax.value_and_grad(joint))(theta)
    expected, expected_slopes = jax.jit(jax.value_and_grad(product))(theta)
    np.testing.assert_allclose([value, expected], prior + noise, rtol=1e-12)
    np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-9)


def test_one_row_at_a_time_is_right_on_average(linear):
    for model, x in ((linear[0].model, linear[2]), (models.logistic_regression(NUM_DATA, DIM), LABELLED)):
        theta = model.init(jax.random.key(0))
        alone = [model.log_joint(theta, jax.tree.map(lambda a, i=i: a[i : i + 1], x), W) for i in range(NUM_DATA)]
        np.testing.assert_allclose(np.mean(alone), model.log_joint(theta, x, jnp.asarray(W)), rtol=1e-12)


def test_the_logistic_joint_is_its_formula_far_out_too(x64):
    model = models.logistic_regression(NUM_DATA, DIM, prior_variance=9.0)
    for w in (W, 400 * W):
        signs = np.where(LABELLED.targets == 1, 1, -1)
        expected = stats.norm.logpdf(w, 0, 3).sum() - np.logaddexp(0, -signs * (X @ w)).sum()
        with jax.numpy_dtype_promotion("strict"):
            found = model.log_joint((), jax.tree.map(jnp.asarray, LABELLED), jnp.asarray(w))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@needs_data
def test_mean_field_reaches_its_elbo_on_german_credit():
    credit = data.german_credit()
    x = jax.tree.map(lambda leaf: leaf[None], models.Regression(credit.x, credit.y))
    found = fitted(models.logistic_regression(1000, 25), 25, x, num_steps=3000)
    assert abs(found.elbo + 531.708) < 0.05


def test_a_label_other_than_zero_and_one_is_not_scored():
    wrong = LABELLED._replace(targets=2 * LABELLED.targets - 1)
    assert np.isnan(models.logistic_regression(NUM_DATA, DIM).log_joint((), wrong, jnp.zeros(DIM)))


def test_what_does_not_fit_is_named():
    exact, theta = models.linear_regression(NUM_DATA, DIM), models.RegressionVariances(jnp.zeros(()), jnp.zeros(()))
    with pytest.raises(ValueError, match=r"features of x must have shape \(6, 3\).*got \(2, 3\)"):
        exact.log_evidence(theta, jax.tree.map(lambda leaf: leaf[:2], DATA))
    with pytest.raises(ValueError, match="num_data = 6"):
        exact.model.log_joint(theta, jax.tree.map(lambda leaf: np.append(leaf, leaf, 0), DATA), jnp.zeros(DIM))
    with pytest.raises(ValueError, match=r"z must have shape \(3,\)"):
        exact.model.log_joint(theta, DATA, jnp.zeros(2))
    for make in (models.linear_regression, models.logistic_regression):
        with pytest.raises(ValueError, match="prior_variance must be positive and finite, got 0"):
            make(NUM_DATA, DIM, prior_variance=0)
        with pytest.raises(TypeError, match="dim must be a Python integer"):
            make(NUM_DATA, 2.5)
