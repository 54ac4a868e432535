"""The linear-Gaussian chain: one layer is factor analysis, two layers agree with the joint Gaussian and with a sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vi_jax import models
from vi_jax.models import LinearLayer

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def test_one_layer_is_factor_analysis():
    chain, factors = models.linear_gaussian_chain((2,), 3), models.factor_analysis(2, 3)
    (layer,) = chain.model.init(KEY)
    layer = layer._replace(log_scale=jnp.array([0.1, -0.3, 0.2]))
    x, z = jnp.array([0.4, -1.0, 2.0]), jnp.array([0.3, -0.2])
    theta = models.FactorAnalysis(mean=layer.b, loadings=layer.W, log_noise=2 * layer.log_scale)
    np.testing.assert_allclose(chain.log_evidence((layer,), x), factors.log_evidence(theta, x), rtol=1e-12)
    found, expected = chain.posterior((layer,), x).log_prob((z,)), factors.posterior(theta, x).log_prob(z)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_draws_of_two_layers_have_the_moments_of_the_joint_gaussian():
    model = models.linear_gaussian_chain((1, 1), 1).model
    w0, b0, s0, w1, b1, s1 = 1.5, 0.3, 0.8, -0.7, 0.2, 1.2
    theta = tuple(
        LinearLayer(jnp.full((1, 1), w), jnp.full(1, b), jnp.full(1, np.log(s)))
        for w, b, s in ((w0, b0, s0), (w1, b1, s1))
    )
    v1 = w1**2 + s1**2
    mean = np.array([w0 * b1 + b0, b1, 0])
    covariance = np.array([[w0**2 * v1 + s0**2, w0 * v1, w0 * w1], [w0 * v1, v1, w1], [w0 * w1, w1, 1]])
    x, z = jax.jit(jax.vmap(model.sample, (0, None)))(jax.random.split(KEY, 20_000), theta)
    draws = np.concatenate([x, *z], axis=1)
    products = (draws - mean)[:, :, None] * (draws - mean)[:, None]
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * draws.std(0) / np.sqrt(20_000))
    assert np.all(np.abs(products.mean(0) - covariance) < 4 * products.std(0) / np.sqrt(20_000))
    point = np.array([0.4, -0.6, 1.1])
    value = model.log_joint(theta, jnp.asarray(point[:1]), (jnp.asarray(point[1:2]), jnp.asarray(point[2:])))
    np.testing.assert_allclose(value, stats.multivariate_normal(mean, covariance).logpdf(point), rtol=1e-12)


def test_noise_makes_the_draws_of_the_prior_and_is_found_again():
    """z = T(ε; θ) with ε ~ N(0, I): the density is that of ε divided by the Jacobian's determinant."""
    prior = models.linear_gaussian_chain((2, 1), 3).model.prior(models.linear_gaussian_chain((2, 1), 3).model.init(KEY))
    noise = (jnp.array([0.3, -1.0]), jnp.array([0.7]))
    z = prior.bijector.forward(noise)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), prior.bijector.inverse(z), noise)
    blocks = jax.jacobian(prior.bijector.forward)(noise)
    jacobian = np.block([[np.asarray(block) for block in row] for row in blocks])
    log_noise = sum(stats.norm.logpdf(part).sum() for part in noise)
    np.testing.assert_allclose(prior.log_prob(z), log_noise - np.linalg.slogdet(jacobian)[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("dims", "data_dim", "error", "message"),
    [
        ((), 2, ValueError, r"at least one layer of latents, got \(\)"),
        ((2, 0), 2, ValueError, "latent_dims must be .*got 0"),
        ((2,), 1.5, TypeError, "data_dim must be .*got 1.5"),
    ],
)
def test_bad_arguments_are_named(dims, data_dim, error, message):
    with pytest.raises(error, match=message):
        models.linear_gaussian_chain(dims, data_dim)


def test_a_layer_of_another_shape_never_broadcasts():
    model = models.linear_gaussian_chain((2, 1), 3).model
    theta = jax.eval_shape(model.init, KEY)
    for x, z in (
        (jnp.zeros(1), (jnp.zeros(2), jnp.zeros(1))),
        (jnp.zeros(3), (jnp.zeros(1), jnp.zeros(1))),
        (jnp.zeros(3), (jnp.zeros(2), jnp.zeros((5, 1)))),
    ):
        with pytest.raises(ValueError, match=r"must have shape .*batch axes"):
            jax.eval_shape(model.log_joint, theta, x, z)
    with pytest.raises(ValueError, match="tuple of 2 layers, from the data upwards, got 1"):
        jax.eval_shape(model.log_joint, theta, jnp.zeros(3), (jnp.zeros(2),))
