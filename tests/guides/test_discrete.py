"""The categorical guide, by enumeration of its support."""

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
