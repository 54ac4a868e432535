"""Sums over a support: published numbers, closed forms, and what wake-φ and the ELBO's estimators are unbiased for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax import exact, guides, models, objectives

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
ORACLE, FINITE = models.table(models.THREE_STATES), guides.categorical(3)
LOGITS = (0.1, -0.4, 0.3)


def params() -> vi.Params:
    return vi.Params(ORACLE.model.init(KEY), jnp.array(LOGITS))


def test_the_elbo_of_three_states_and_its_gradient_are_the_published_ones():
    values, gradient = objectives.enumerated(ORACLE.model, FINITE)(KEY, params(), jnp.zeros(2, int))
    np.testing.assert_allclose(values, -1.66574242, atol=1e-8)
    np.testing.assert_allclose(gradient.phi, (0.38750937, 0.04494531, -0.43245469), atol=1e-8)
    np.testing.assert_allclose(gradient.theta[0], jax.nn.softmax(jnp.array(LOGITS)), rtol=1e-12)


def test_forward_kl_of_three_states_is_the_published_one():
    values, gradient = objectives.enumerated_forward_kl(ORACLE.model, FINITE)(KEY, params(), jnp.zeros(2, int))
    np.testing.assert_allclose(gradient.phi, (0.3606706, -0.03590698, -0.32476362), atol=1e-8)
    np.testing.assert_allclose(gradient.theta[0], np.ravel(models.THREE_STATES) / 0.28, rtol=1e-12)
    log_p, log_q = -1.27296568, jax.nn.log_softmax(jnp.array(LOGITS))
    np.testing.assert_allclose(values, log_p + np.ravel(models.THREE_STATES) @ log_q / 0.28, atol=1e-8)


def test_binary_codes_and_a_batch_agree_with_the_exact_elbo():
    net, guide = models.sigmoid_belief_net(3, 4), guides.bernoulli(3)
    point = vi.Params(net.model.init(KEY), jnp.array([0.3, -1.0, 0.7]))
    x = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])
    values, gradient = objectives.enumerated(net.model, guide)(KEY, point, x)

    def mean(point):
        return jnp.mean(jax.vmap(lambda x: exact.elbo(net, guide, point, x))(x))

    expected, slope = jax.value_and_grad(mean)(point)
    np.testing.assert_allclose(values.mean(), expected, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), gradient, slope)


def test_a_value_that_is_never_drawn_leaves_the_gradient_finite():
    point = params()._replace(phi=jnp.array([0.3, -jnp.inf, 0.1]))
    values, gradient = objectives.enumerated(ORACLE.model, FINITE)(KEY, point, jnp.zeros(1, int))
    assert np.isfinite(values).all()
    assert np.isfinite(gradient.theta).all()
    assert np.isfinite(gradient.phi[jnp.array([0, 2])]).all()


def test_a_guide_without_support_is_refused():
    with pytest.raises(ValueError, match=r"no support to sum over.*Guide\(support"):
        objectives.enumerated(ORACLE.model, guides.mean_field(2))
