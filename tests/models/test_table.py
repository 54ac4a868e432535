"""Finite tables: what the cells say, by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")
CELLS = np.array(models.EYE_COLOURS.cells)
KEY = jax.random.key(0)


def probabilities(exact, theta, shape=CELLS.shape):
    log_joint = jax.jit(exact.model.log_joint)
    return np.exp([[log_joint(theta, x, z) for z in range(shape[1])] for x in range(shape[0])])


def test_eye_colour_cells_add_up_to_what_they_say_and_not_to_what_was_printed():
    exact = models.table(models.EYE_COLOURS.cells)
    evidence = jnp.exp(jax.vmap(exact.log_evidence, in_axes=(None, 0))(exact.model.init(KEY), jnp.arange(3)))
    np.testing.assert_allclose(evidence, [0.19, 0.37, 0.43], rtol=1e-12)  # printed: .19, .37, .44
    np.testing.assert_allclose(evidence.sum(), 0.99, rtol=1e-12)  # printed: 1.00
    assert CELLS.shape == (len(models.EYE_COLOURS.x), len(models.EYE_COLOURS.z))


def test_three_states_oracle():
    exact = models.table(models.THREE_STATES)
    theta, x = exact.model.init(KEY), jnp.array(0)
    log_q = jax.nn.log_softmax(jnp.array([0.1, -0.4, 0.3]))
    log_joint = jnp.stack([exact.model.log_joint(theta, x, z) for z in range(3)])
    log_posterior = jnp.stack([exact.posterior(theta, x).log_prob(z) for z in range(3)])
    np.testing.assert_allclose(exact.log_evidence(theta, x), -1.27296568, atol=1e-8)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_q) * (log_joint - log_q)), -1.66574242, atol=1e-8)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_posterior) * (log_joint - log_q)), -0.95284999, atol=1e-8)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_q) * (log_q - log_posterior)), 0.39277674, atol=1e-8)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_posterior) * (log_posterior - log_q)), 0.32011569, atol=1e-8)


@pytest.mark.parametrize(("num_samples", "mean_log"), [(1, -1.605297), (2, None), (4, None)])
def test_naive_estimate_is_unbiased_with_the_stated_variance(num_samples, mean_log):
    exact = models.table(models.THREE_STATES)
    theta, x = exact.model.init(KEY), jnp.array(0)
    joint = np.exp([exact.model.log_joint(theta, x, z) for z in range(3)])
    estimates = np.array([3 * joint[list(z)].mean() for z in itertools.product(range(3), repeat=num_samples)])
    np.testing.assert_allclose(estimates.mean(), np.exp(exact.log_evidence(theta, x)), rtol=1e-12)
    np.testing.assert_allclose(estimates.var(), 0.0518 / num_samples, rtol=1e-12)
    if mean_log is not None:
        np.testing.assert_allclose(np.log(estimates).mean(), mean_log, atol=1e-6)


@pytest.mark.parametrize("x", [0, 1, 2])
def test_gradient_of_the_evidence_is_the_posterior_and_zero_cells_do_not_poison_it(x):
    exact = models.table(CELLS)
    gradient = jax.grad(exact.log_evidence)(exact.model.init(KEY), jnp.array(x))
    expected = np.zeros_like(CELLS)
    expected[x] = CELLS[x] / CELLS[x].sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", [models.table, models.normalized_table])
def test_gradient_of_one_cell_does_not_see_the_empty_ones(make):
    exact = make([[0.0, 0.5], [0.25, 0.0]])
    theta = exact.model.init(KEY)
    gradient = jax.grad(exact.model.log_joint)(theta, jnp.array(0), jnp.array(1))
    share = np.array([[0, 2 / 3], [1 / 3, 0]]) if make is models.normalized_table else np.zeros((2, 2))
    np.testing.assert_allclose(gradient, np.array([[0, 1], [0, 0]]) - share, rtol=1e-12, atol=0)


def test_empty_row_has_evidence_minus_infinity_and_a_zero_gradient():
    exact = models.table([[0.0, 0.0], [0.3, 0.1]])
    value, gradient = jax.value_and_grad(exact.log_evidence)(exact.model.init(KEY), jnp.array(0))
    assert value == -np.inf
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


@pytest.mark.parametrize("outside", [-1, 3, 99])
def test_what_is_not_in_the_table_has_probability_zero(outside):
    exact = models.table(CELLS[:, :3])
    theta, inside, outside = exact.model.init(KEY), jnp.array(0), jnp.array(outside)
    assert exact.model.log_joint(theta, outside, inside) == -np.inf
    assert exact.model.log_joint(theta, inside, outside) == -np.inf
    assert exact.log_evidence(theta, outside) == -np.inf


def test_normalized_table_is_a_distribution_in_proportion_to_the_cells_at_every_theta():
    exact = models.normalized_table(7 * CELLS)
    theta = exact.model.init(KEY)
    np.testing.assert_allclose(probabilities(exact, theta), CELLS / 0.99, rtol=1e-12)
    np.testing.assert_allclose(probabilities(exact, theta + 3.0), CELLS / 0.99, rtol=1e-12)


def test_prior_and_likelihood_make_the_joint():
    model = models.normalized_table(CELLS).model
    theta = model.init(KEY)

    @jax.jit
    def product_and_joint(x, z):
        assert model.prior
        assert model.likelihood
        product = model.prior(theta).log_prob(z) + model.likelihood(theta, z).log_prob(x)
        return product, model.log_joint(theta, x, z)

    for x, z in itertools.product(range(3), range(8)):
        np.testing.assert_allclose(*product_and_joint(x, z), rtol=1e-12)


def test_samples_follow_the_cells():
    exact, num_draws = models.normalized_table(CELLS), 20_000
    assert exact.model.sample
    draw = jax.jit(jax.vmap(exact.model.sample, in_axes=(0, None)))
    x, z = draw(jax.random.split(KEY, num_draws), exact.model.init(KEY))
    counts = np.zeros(CELLS.shape)
    np.add.at(counts, (np.asarray(x), np.asarray(z)), 1)
    p = CELLS / CELLS.sum()
    assert np.all(np.abs(counts / num_draws - p) <= 4 * np.sqrt(p * (1 - p) / num_draws))


def test_zero_measure_is_legal_until_it_has_to_be_normalised():
    exact = models.table([[0.0, 0.0]])
    assert exact.log_evidence(exact.model.init(KEY), jnp.array(0)) == -np.inf
    with pytest.raises(ValueError, match="no cell above zero"):
        models.normalized_table([[0.0, 0.0]])


@pytest.mark.parametrize("make", [models.table, models.normalized_table])
@pytest.mark.parametrize(
    ("joint", "message"),
    [
        ([[0.2, -0.1]], r"joint\[0, 1\] is -0.1, .* exp\(cells\)"),
        ([[0.2], [np.nan]], r"joint\[1, 0\] is nan"),
        ([[np.inf]], r"joint\[0, 0\] is inf"),
        ([0.2, 0.1], r"\[X, Z\].* shape \(2,\)"),
        ([[]], r"at least one cell, got shape \(1, 0\)"),
    ],
)
def test_a_bad_table_is_refused_with_its_cell(make, joint, message):
    with pytest.raises(ValueError, match=message):
        make(joint)


def test_an_index_is_one_integer():
    exact = models.table(CELLS)
    theta = exact.model.init(KEY)
    with pytest.raises(TypeError, match=r"x must be an integer index.* float64"):
        exact.model.log_joint(theta, jnp.array(0.0), jnp.array(0))
    with pytest.raises(ValueError, match=r"z must be one integer.* shape \(2,\)"):
        exact.model.log_joint(theta, jnp.array(0), jnp.array([0, 1]))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32])
def test_every_integer_dtype_indexes_a_table_longer_than_its_range(dtype):
    exact = models.table(np.arange(1, 301)[None] / 1e4)
    value = exact.model.log_joint(exact.model.init(KEY), jnp.array(0, dtype), jnp.array(100, dtype))
    np.testing.assert_allclose(value, np.log(101 / 1e4), rtol=1e-12)
