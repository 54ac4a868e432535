"""The diagonal Gaussian by its log scale is the one of distrax: draws, log-probability and their derivatives."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.guides.diagonal import DiagonalGaussian

LOC, LOG_SCALE = jnp.array([0.3, -1.0, 2.0]), jnp.array([-2.0, 0.0, 1.5])


def of_scale(loc, log_scale):
    return distrax.MultivariateNormalDiag(loc, jnp.exp(log_scale))


def draw_and_score(make, loc, log_scale):
    q = make(loc, log_scale)
    z = q.sample(seed=jax.random.key(0), sample_shape=(4,))
    return z, q.log_prob(jax.lax.stop_gradient(z))


def test_a_batch_of_them_is_drawn_as_distrax_draws_it():
    loc = jnp.arange(4.0)[:, None]
    for shape in ((), (1,), (3,)):
        ours, theirs = (
            make(loc, -loc).sample(seed=jax.random.key(0), sample_shape=shape) for make in (DiagonalGaussian, of_scale)
        )
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)
        assert ours.shape == (*shape, 4, 1)
    mixed = DiagonalGaussian(jnp.zeros((3, 2)), jnp.zeros(2)).sample(seed=jax.random.key(0), sample_shape=(5,))
    assert mixed.shape == (5, 3, 2)


def test_draws_scores_and_derivatives_are_those_of_distrax():
    results = [
        (draw_and_score(make, LOC, LOG_SCALE), jax.jacobian(draw_and_score, (1, 2))(make, LOC, LOG_SCALE))
        for make in (DiagonalGaussian, of_scale)
    ]
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6), *results)
