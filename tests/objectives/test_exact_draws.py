"""Forward KL by draws of the posterior: exact value and gradient on average, for Gaussian and for finite guides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import exact, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
TOY, AFFINE = models.linear_gaussian(2), guides.affine(2, 2, variance=2 / 3)
TABLE, FINITE = models.table(models.THREE_STATES), guides.categorical(3)
CASES = {
    "toy": (TOY, AFFINE, vi.Params(jnp.array([0.3, -0.2]), guides.Affine(jnp.eye(2) / 3, jnp.ones(2))), np.eye(2) * 2),
    "table": (TABLE, FINITE, vi.Params(jnp.log(jnp.array(models.THREE_STATES)), jnp.array([0.1, -0.4, 0.3])), [0, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_have_the_exact_mean(name):
    model, guide, params, x = CASES[name]
    x = jnp.asarray(x)
    objective = objectives.exact_draws(model, guide, num_samples=3)
    keys = jax.random.split(jax.random.key(0), 4000)
    values, gradient = jax.jit(jax.vmap(objective, (0, None, None)))(keys, params, x)

    def minus_divergence(phi):
        return -jnp.mean(jax.vmap(lambda x: exact.forward_kl(model, guide, vi.Params(params.theta, phi), x))(x))

    expected, slope = jax.value_and_grad(minus_divergence)(params.phi)
    assert z_scores(np.asarray(values).mean(axis=1), expected) < 4
    for found, wanted in zip(jax.tree.leaves(gradient.phi), jax.tree.leaves(slope), strict=True):
        assert z_scores(np.asarray(found), np.asarray(wanted)).max() < 4
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient.theta))


def test_at_the_posterior_the_value_is_zero_draw_by_draw():
    guide = guides.affine(2, 2, variance=0.5)
    params = vi.Params(jnp.zeros(2), guides.Affine(jnp.eye(2) / 2, jnp.zeros(2)))
    values, _ = objectives.exact_draws(TOY, guide, num_samples=5)(jax.random.key(0), params, jnp.ones((3, 2)))
    np.testing.assert_allclose(values, 0, atol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        objectives.exact_draws(TOY, AFFINE, num_samples=0)
