"""Sleep: unbiased for the forward KL over the model's own data; joining takes each half from its objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, exact, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
TABLE, FINITE = models.normalized_table(models.EYE_COLOURS.cells), guides.categorical(8)


def test_gradient_is_that_of_the_forward_kl_over_the_models_data():
    point = vi.Params(TABLE.model.init(KEY), jnp.linspace(-1, 1, 8))
    objective = objectives.sleep(TABLE.model, FINITE, num_samples=5)
    keys = jax.random.split(KEY, 3000)
    values, gradients = jax.jit(jax.vmap(lambda key: objective(key, point, jnp.zeros(3, int))))(keys)
    assert values.shape == (3000, 3)

    def minus_divergence(phi):
        each = jax.vmap(lambda x: exact.forward_kl(TABLE, FINITE, vi.Params(point.theta, phi), x))(jnp.arange(3))
        probability = jnp.exp(jax.vmap(TABLE.log_evidence, (None, 0))(point.theta, jnp.arange(3)))
        return -probability @ each

    assert z_scores(np.asarray(gradients.phi), np.asarray(jax.grad(minus_divergence)(point.phi))).max() < 4
    assert not np.asarray(gradients.theta).any()


def test_joined_takes_each_half_from_its_own():
    toy, guide = models.linear_gaussian(2), guides.affine(2, 2, variance=2 / 3)
    point, x = vi.Params(jnp.ones(2), guide.init(KEY)), jnp.ones((3, 2))
    wake = vi.value_and_grad(toy.model, guide, bounds.elbo, estimators.pathwise, num_samples=2)
    dream = objectives.sleep(toy.model, guide, num_samples=2)
    values, gradient = objectives.joined(theta=wake, phi=dream)(KEY, point, x)
    first, second = jax.random.split(KEY)
    np.testing.assert_array_equal(values, wake(first, point, x)[0])
    np.testing.assert_array_equal(gradient.theta, wake(first, point, x)[1].theta)
    np.testing.assert_array_equal(gradient.phi.b, dream(second, point, x)[1].phi.b)


def test_a_model_without_a_sampler_is_refused():
    with pytest.raises(ValueError, match=r"Model\(sample=\.\.\.\)"):
        objectives.sleep(models.table(models.THREE_STATES).model, FINITE, num_samples=1)
