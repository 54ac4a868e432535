"""The mixture of Bernoulli images: a probability over all images, also where some pixels are hidden."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import models

pytestmark = pytest.mark.usefixtures("x64")
MIXTURE = models.bernoulli_mixture(3, 4, mean=[0.1, 0.5, 0.9, 1.0])
IMAGES = jnp.array(list(itertools.product([0.0, 1.0], repeat=4)))


def theta():
    drawn = MIXTURE.model.init(jax.random.key(0))
    return drawn._replace(logits=jnp.array([0.3, -1.0, 0.7]))


def log_evidence(x):
    return jax.vmap(MIXTURE.log_evidence, in_axes=(None, 0))(theta(), x)


def test_the_probabilities_of_all_images_sum_to_one():
    np.testing.assert_allclose(jnp.exp(log_evidence(IMAGES)).sum(), 1, rtol=1e-12)


def test_hidden_pixels_are_summed_out():
    visible = np.array([True, False, True, False])
    completions = IMAGES[(IMAGES[:, 0] == 1) & (IMAGES[:, 2] == 0)]
    found = MIXTURE.log_evidence(theta(), models.observe(completions[0], visible))
    np.testing.assert_allclose(found, jax.nn.logsumexp(log_evidence(completions)), rtol=1e-12)


def test_ancestral_draws_follow_the_evidence():
    num_draws = 20_000
    x, z = jax.vmap(lambda key: MIXTURE.model.sample(key, theta()))(jax.random.split(jax.random.key(1), num_draws))
    p = np.exp(np.asarray(log_evidence(IMAGES)))
    frequency = np.bincount(np.asarray(x @ jnp.array([8.0, 4.0, 2.0, 1.0])).astype(int), minlength=16) / num_draws
    assert np.all(np.abs(frequency - p) < 4.5 * np.sqrt(p * (1 - p) / num_draws))
    np.testing.assert_allclose(np.bincount(z) / num_draws, jax.nn.softmax(theta().logits), atol=0.015)


def test_components_start_around_the_mean():
    # Given a spread of logits of one, the logit of the clipped mean is the centre of many components.
    many = models.bernoulli_mixture(4000, 2, mean=[0.2, 0.0]).model.init(jax.random.key(0))
    np.testing.assert_allclose(many.pixel_logits.mean(axis=0), np.log([0.25, 0.001 / 0.999]), atol=0.07)


def test_an_index_outside_the_components_has_probability_zero_and_a_batch_is_refused():
    for z in (-1, 3):
        assert MIXTURE.model.log_joint(theta(), IMAGES[0], jnp.array(z)) == -jnp.inf
    with pytest.raises(ValueError, match=r"x must have shape \(4,\)"):
        MIXTURE.log_evidence(theta(), IMAGES)
