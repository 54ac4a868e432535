"""The categorical and the Bernoulli guide, by enumeration of their supports."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import guides

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NO_DATA = np.zeros(1)
LOGITS = np.array([0.1, -0.4, 0.3])


@jax.jit
def log_prob(phi, z):
    return guides.categorical(3).distribution(phi, NO_DATA).log_prob(z)


def test_support_is_every_value_and_their_probabilities_are_the_softmax():
    guide = guides.categorical(3)
    np.testing.assert_array_equal(guide.support, [0, 1, 2])
    q = jnp.exp(jax.vmap(log_prob, in_axes=(None, 0))(LOGITS + 5, guide.support))
    np.testing.assert_allclose(q, np.exp(LOGITS) / np.exp(LOGITS).sum(), rtol=1e-12)


def test_score_is_the_indicator_minus_the_probabilities():
    for z in range(3):
        score = jax.grad(log_prob)(LOGITS, jnp.array(z))
        np.testing.assert_allclose(score, np.eye(3)[z] - jax.nn.softmax(LOGITS), rtol=1e-12)


def test_initial_guide_is_uniform():
    guide = guides.categorical(5)
    q = jnp.exp(jax.vmap(guide.distribution(guide.init(KEY), NO_DATA).log_prob)(guide.support))
    np.testing.assert_allclose(q, 0.2, rtol=1e-12)


def test_a_logit_of_minus_infinity_excludes_a_value_and_spoils_no_other():
    phi = np.where([True, False, True], LOGITS, -np.inf)
    assert log_prob(phi, jnp.array(1)) == -np.inf
    rest = np.exp(LOGITS[::2]) / np.exp(LOGITS[::2]).sum()
    value, score = jax.value_and_grad(log_prob)(phi, jnp.array(2))
    np.testing.assert_allclose(value, np.log(rest[1]), rtol=1e-12)
    np.testing.assert_allclose(score, [-rest[0], 0, 1 - rest[1]], rtol=1e-12)


def test_draws_follow_the_probabilities():
    num_draws = 20_000
    q = guides.categorical(3).distribution(LOGITS, NO_DATA)
    z = jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(KEY, num_draws))
    p = np.asarray(jax.nn.softmax(LOGITS))
    frequency = np.bincount(z, minlength=3) / num_draws
    assert jnp.issubdtype(z.dtype, jnp.integer)
    assert np.all(np.abs(frequency - p) < 4 * np.sqrt(p * (1 - p) / num_draws))


def test_enumerated_gradient_of_the_elbo_is_the_exact_one():
    log_joint = jnp.log(jnp.array([0.20, 0.05, 0.03]))

    def elbo(phi):
        log_q = jax.vmap(log_prob, in_axes=(None, 0))(phi, guides.categorical(3).support)
        return jnp.sum(jnp.exp(log_q) * (log_joint - log_q))

    value, gradient = jax.value_and_grad(elbo)(LOGITS)
    np.testing.assert_allclose(value, -1.66574242, atol=1e-8)
    np.testing.assert_allclose(gradient, [0.38750937, 0.04494531, -0.43245469], atol=1e-8)


@jax.jit
def bernoulli_log_prob(phi, z):
    return guides.bernoulli(3).distribution(phi, NO_DATA).log_prob(z)


def test_bernoulli_support_is_every_code_once_and_its_probabilities_are_products():
    support = guides.bernoulli(3).support
    assert sorted(map(tuple, support.tolist())) == sorted(itertools.product((0.0, 1.0), repeat=3))
    assert support[6].tolist() == [0, 1, 1]
    on = 1 / (1 + np.exp(-LOGITS))
    q = np.prod(np.where(support == 1, on, 1 - on), axis=1)
    np.testing.assert_allclose(jnp.exp(jax.vmap(bernoulli_log_prob, (None, 0))(LOGITS, support)), q, rtol=1e-12)


def test_bernoulli_score_is_the_bit_minus_its_probability_even_where_a_bit_is_certain():
    for phi, z in ((LOGITS, [0.0, 1.0, 1.0]), (np.array([800.0, -800.0, 0.0]), [1.0, 0.0, 1.0])):
        value, score = jax.value_and_grad(bernoulli_log_prob)(phi, jnp.array(z))
        np.testing.assert_allclose(score, z - 1 / (1 + np.exp(-np.clip(phi, -700, 700))), atol=1e-12)
        assert np.isfinite(value)


def test_bernoulli_starts_uniform_and_lists_no_support_that_would_not_fit():
    guide = guides.bernoulli(13)
    assert guide.support is None
    assert guides.bernoulli(12).support.shape == (4096, 12)
    assert guides.bernoulli_encoder(2, 13).support is None
    log_q = guide.distribution(guide.init(KEY), NO_DATA).log_prob(jnp.arange(13.0) % 2)
    np.testing.assert_allclose(log_q, -13 * np.log(2), rtol=1e-12)


def test_bernoulli_draws_are_bits_with_the_stated_frequencies_and_no_correlation():
    num_draws = 20_000
    q = guides.bernoulli(3).distribution(jnp.asarray(LOGITS), NO_DATA)
    z = np.asarray(jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(KEY, num_draws)))
    assert set(np.unique(z)) == {0.0, 1.0}
    code = (z @ [1, 2, 4]).astype(int)
    p = np.exp(jax.vmap(bernoulli_log_prob, (None, 0))(LOGITS, guides.bernoulli(3).support))
    frequency = np.bincount(code, minlength=8) / num_draws
    assert np.all(np.abs(frequency - p) < 4 * np.sqrt(p * (1 - p) / num_draws))


def test_a_support_is_scored_in_the_precision_of_the_logits():
    with jax.enable_x64(False):
        guide = guides.bernoulli(3)
    assert guide.support.dtype == jnp.float32
    log_q = jax.jit(jax.vmap(guide.distribution(jnp.asarray(LOGITS), NO_DATA).log_prob))(guide.support)
    assert log_q.dtype == jnp.float64
    np.testing.assert_allclose(jnp.exp(log_q).sum(), 1, rtol=1e-12)
