"""The stratified ELBO: its gradient is exact on average, the weights' too, and it keeps two modes that stand apart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy import stats

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NO_DATA = jnp.zeros((1, 1))
TWO_MODES = models.gaussian_mixture([0.5, 0.5], [[-4.0], [4.0]], [[[1.0]], [[1.0]]])


def log_joint(theta, x, z):
    return stats.norm.logpdf(z[0], theta, 1.5) + stats.norm.logpdf(x[0], z[0] + jnp.sin(2 * z[0]), 1.0)


MODEL = vi.Model(lambda key: jnp.zeros(()), log_joint)


@pytest.mark.parametrize("moved", ["as it is", "preconditioned"])
def test_values_and_gradients_have_the_exact_means(moved):
    """Against quadrature over z, for θ, weights, means and scales; two draws per component."""
    guide = guides.gaussian_mixture(1, 2)
    if moved == "preconditioned":
        guide = guides.preconditioned(guide, [0.4], [[0.7]])
    phi = guides.GaussianMixture(jnp.array([0.4, -0.2]), jnp.array([[-1.0], [1.4]]), jnp.array([[0.2], [-0.5]]))
    params, x = vi.Params(jnp.array(0.3), phi), jnp.array([[0.8], [-1.0]])
    z = jnp.linspace(-12, 12, 2001)[:, None]

    def exact(params):
        def of_datum(x):
            log_q = jax.vmap(guide.distribution(params.phi, x).log_prob)(z)
            log_p = jax.vmap(lambda z: log_joint(params.theta, x, z))(z)
            return jnp.sum(jnp.exp(log_q) * (log_p - log_q)) * (z[1, 0] - z[0, 0])

        return jnp.mean(jax.vmap(of_datum)(x))

    objective = objectives.stratified(MODEL, guide, num_samples=2)

    @jax.jit
    def both(params, keys):
        return jax.value_and_grad(exact)(params), jax.vmap(lambda key: objective(key, params, x))(keys)

    (value, gradient), (values, gradients) = both(params, jax.random.split(KEY, 5000))
    assert values.shape == (5000, 2)
    assert z_scores(np.asarray(values.mean(axis=1)), np.asarray(value)) < 4
    for found, expected in zip(jax.tree.leaves(gradients), jax.tree.leaves(gradient), strict=True):
        assert z_scores(np.asarray(found), np.asarray(expected)).max() < 4


def test_both_modes_of_two_that_stand_apart_are_found():
    """ELBO within .01 of log Z = 0, from an even start; a single Gaussian loses log 2."""
    guide = guides.gaussian_mixture(1, 2, initial_spread=3.0)
    objective = objectives.stratified(TWO_MODES.model, guide, num_samples=4)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 800))
    params = vi.Params((), guide.init(KEY))
    state, history = vi.fit(KEY, objective, optimizer, params, NO_DATA, num_steps=800)
    elbo = np.asarray(history.value[-200:])
    assert history.value[0] < -0.2
    assert abs(elbo.mean()) + 4 * elbo.std() / 200**0.5 < 0.01
    np.testing.assert_allclose(jax.nn.softmax(state.params.phi.logits), 0.5, atol=0.01)


def test_a_zero_density_is_minus_infinity_and_moves_nothing():
    guide = guides.gaussian_mixture(1, 2)
    nowhere = MODEL._replace(log_joint=lambda theta, x, z: jnp.where(x[0] > 0, log_joint(theta, x, z), -jnp.inf))
    objective, params = objectives.stratified(nowhere, guide, num_samples=2), vi.Params(jnp.zeros(()), guide.init(KEY))
    (values, gradient), (_, other) = (objective(KEY, params, jnp.array([[1.0], [edge]])) for edge in (-1.0, -2.0))
    assert np.isfinite(values[0])
    assert values[1] == -jnp.inf
    for here, there in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(here, there)
        assert np.all(np.isfinite(here) & (here != 0))


def test_what_is_no_mixture_is_refused():
    with pytest.raises(ValueError, match=r"needs a mixture.*DiagonalGaussian: take guides.gaussian_mixture"):
        objectives.stratified(TWO_MODES.model, guides.mean_field(1), num_samples=1)(
            KEY, vi.Params((), guides.mean_field(1).init(KEY)), NO_DATA
        )
    with pytest.raises(ValueError, match="num_samples must be"):
        objectives.stratified(TWO_MODES.model, guides.gaussian_mixture(1, 2), num_samples=0)
