"""Sums over all binary codes: every code once, in memory that does not grow, with exact gradients."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")


def polynomial(theta, z):
    """Tells any two codes apart: no two have the same value, whatever their order."""
    return theta["linear"][: z.size] @ z + jnp.sin(3 * z @ theta["mixed"][: z.size, : z.size] @ z)


@pytest.fixture(scope="module")
def theta():
    rng = np.random.default_rng(0)
    return {"linear": 2 * rng.normal(size=16), "mixed": rng.normal(size=(16, 16))}


def brute_force(theta, dim):
    all_codes = np.array(list(itertools.product((0.0, 1.0), repeat=dim)))
    return jax.nn.logsumexp(jax.vmap(lambda z: polynomial(theta, z))(all_codes))


@pytest.mark.parametrize(("dim", "chunk_size"), [(1, 4096), (9, 512), (10, 2), (9, 4), (13, 37), (13, 4096)])
def test_value_and_gradient_are_those_of_one_sum_whatever_the_chunk_size(theta, dim, chunk_size):
    def streamed(theta):
        return models.log_sum_over_codes(lambda z: polynomial(theta, z), dim, chunk_size=chunk_size)

    value, gradient = jax.jit(jax.value_and_grad(streamed))(theta)
    expected_value, expected = jax.jit(jax.value_and_grad(lambda theta: brute_force(theta, dim)))(theta)
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13), gradient, expected)


@pytest.mark.parametrize("differentiate", [lambda f: f, jax.grad], ids=["value", "gradient"])
def test_memory_does_not_grow_with_the_number_of_codes(differentiate):
    def temporary_bytes(dim):
        exact = models.sigmoid_belief_net(dim, 16)
        theta = jax.eval_shape(exact.model.init, jax.random.key(0))
        compiled = jax.jit(differentiate(exact.log_evidence)).lower(theta, jnp.zeros(16)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # 256 times as many codes; a table of them would be 34 MB of logits alone.
    assert temporary_bytes(22) < 1.3 * temporary_bytes(14) < 8e6


def test_partial_sums_do_not_pile_up_in_a_long_loop():
    def temporary_bytes(dim):
        streamed = jax.jit(jax.grad(lambda w: models.log_sum_over_codes(lambda z: w[:dim] @ z, dim, chunk_size=32)))
        return streamed.lower(jnp.zeros(20)).compile().memory_analysis().temp_size_in_bytes

    # Four levels of loops against two. One loop over 2^15 chunks would hold a partial sum for each: 260 kB.
    assert temporary_bytes(20) < 3 * temporary_bytes(10) < 60_000


def test_every_code_of_24_bits_is_counted_once():
    # The sum factorises: 2^24 terms against 24.
    weights = jnp.asarray(np.random.default_rng(1).normal(size=24))
    value = jax.jit(lambda w: models.log_sum_over_codes(lambda z: w @ z, 24))(weights)
    np.testing.assert_allclose(value, jnp.sum(jax.nn.softplus(weights)), rtol=1e-13)


def test_single_precision_is_right_to_its_stated_digits():
    weights = np.random.default_rng(2).normal(size=16)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("strict"):
        value = jax.jit(lambda w: models.log_sum_over_codes(lambda z: w @ z, 16))(jnp.asarray(weights, jnp.float32))
    assert value.dtype == jnp.float32
    assert abs(float(value) - np.sum(np.log1p(np.exp(weights)))) < 1e-5


def test_zero_terms_are_legal_and_a_sum_of_zeros_has_a_gradient_of_zero():
    def log_f(scale, z):
        # Zero for every code whose highest bit is set: half of the loop's chunks are empty.
        return jnp.where(z[-1] == 1, -jnp.inf, scale * jnp.sum(z))

    streamed = jax.jit(
        jax.value_and_grad(lambda scale: models.log_sum_over_codes(lambda z: log_f(scale, z), 6, chunk_size=4))
    )
    value, gradient = streamed(0.7)
    np.testing.assert_allclose(value, 5 * math.log1p(math.exp(0.7)), rtol=1e-12)
    np.testing.assert_allclose(gradient, 5 / (1 + math.exp(-0.7)), rtol=1e-12)
    nothing = lambda scale: models.log_sum_over_codes(lambda z: scale * z[0] - jnp.inf, 6, chunk_size=4)  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(nothing))(0.7)
    assert value == -jnp.inf
    assert gradient == 0


def test_a_value_that_is_not_a_number_is_not_hidden():
    assert np.isnan(models.log_sum_over_codes(lambda z: jnp.where(z.sum() == 2, jnp.nan, 0.0), 3, chunk_size=2))


def test_codes_are_the_bits_of_their_row():
    table = models.codes(5)
    np.testing.assert_array_equal(table @ 2.0 ** np.arange(5), np.arange(32))


def test_code_distribution_is_the_softmax_over_codes_and_its_draws_follow_it():
    logits = np.random.default_rng(3).normal(size=8) + 50
    logits[5] = -np.inf
    q = models.CodeDistribution(jnp.asarray(logits))
    p = np.exp(logits - 50) / np.exp(logits - 50).sum()
    table = np.asarray(models.codes(3))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(jax.vmap(q.log_prob)(table), np.log(p), rtol=1e-12)
    np.testing.assert_allclose(q.mean(), p @ table, rtol=1e-12)
    np.testing.assert_allclose(q.entropy(), -np.sum(p[p > 0] * np.log(p[p > 0])), rtol=1e-12)
    assert q.log_prob(jnp.array([0.0, 0.5, 1.0])) == -np.inf
    num_draws = 20_000
    z = jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(jax.random.key(0), num_draws))
    frequency = np.bincount(np.asarray(z @ 2.0 ** np.arange(3), int), minlength=8) / num_draws
    assert np.all(np.abs(frequency - p) <= 4 * np.sqrt(p * (1 - p) / num_draws))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: models.codes(21), ValueError, "dim=21 means a table of 2.21 codes.*log_sum_over_codes"),
        (lambda: models.codes(0), ValueError, "dim must be .*got 0"),
        (lambda: models.log_sum_over_codes(jnp.sum, 3.0), TypeError, "dim must be .*got 3.0"),
        (lambda: models.log_sum_over_codes(jnp.sum, 3, chunk_size=1), ValueError, "chunk_size must be at least 2.*1"),
        (lambda: models.CodeDistribution(jnp.zeros(8)).log_prob(jnp.zeros(2)), ValueError, r"z must have shape \(3,\)"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
