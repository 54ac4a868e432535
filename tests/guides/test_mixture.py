"""Mixtures: a density, its moments, and draws whose derivative knows of the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vi_jax as vi
from tests.populations import z_scores
from vi_jax import bounds, estimators, guides, models

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
GUIDE = guides.gaussian_mixture(2, 3)
AXIS = np.linspace(-9, 9, 181)


def parameters():
    return guides.GaussianMixture(
        logits=jnp.array([0.3, -0.5, 0.1]),
        loc=jnp.array([[-1.0, 0.5], [0.8, -1.2], [0.3, 1.0]]),
        log_scale=jnp.array([[0.1, -0.4], [-0.3, 0.2], [0.0, -0.2]]),
    )


def integral(f):
    """∫ f over the plane; the trapezoidal rule is exact to rounding for what decays like this."""
    points = jnp.stack(jnp.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)
    return jnp.sum(jax.vmap(f)(points), axis=0) * (AXIS[1] - AXIS[0]) ** 2


def test_the_density_integrates_to_one_and_has_the_stated_moments():
    @jax.jit
    def found(phi):
        q = GUIDE.distribution(phi, ())
        moments = integral(
            lambda z: jnp.exp(q.log_prob(z)) * jnp.concatenate([jnp.ones(1), z, jnp.outer(z, z).ravel()])
        )
        return moments, q.mean(), q.covariance(), q.variance()

    moments, mean, covariance, variance = map(np.asarray, found(parameters()))
    np.testing.assert_allclose(moments[0], 1, rtol=1e-10)
    np.testing.assert_allclose(mean, moments[1:3], rtol=1e-9)
    np.testing.assert_allclose(covariance, moments[3:].reshape(2, 2) - np.outer(mean, mean), rtol=1e-9)
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-12)


def test_the_pathwise_gradient_of_an_expectation_is_exact_in_the_weights_too():
    """∂_φ E_q[f] by quadrature, against the mean of ∂_z f ∂_φ z over 20,000 draws; of the weights it is not small."""

    def f(z):
        return jnp.sin(z[0]) + z[0] * z[1] ** 2 / 2

    def of_draw(phi, key):
        return f(GUIDE.distribution(phi, ()).sample(seed=key))

    @jax.jit
    def both(phi, keys):
        exact = jax.grad(lambda phi: integral(lambda z: jnp.exp(GUIDE.distribution(phi, ()).log_prob(z)) * f(z)))(phi)
        return exact, jax.vmap(lambda key: jax.grad(of_draw)(phi, key))(keys)

    exact, drawn = both(parameters(), jax.random.split(KEY, 20_000))
    for name in guides.GaussianMixture._fields:
        expected, found = (np.asarray(getattr(tree, name)) for tree in (exact, drawn))
        assert z_scores(found, expected).max() < 4
        assert z_scores(found, 0).max() > 10


def test_draws_follow_the_mixture():
    q = GUIDE.distribution(parameters(), ())
    z = np.asarray(jax.jit(jax.vmap(lambda key: q.sample(seed=key)))(jax.random.split(KEY, 20_000)))
    products = (z - q.mean())[:, :, None] * (z - q.mean())[:, None]
    assert z_scores(z, np.asarray(q.mean())).max() < 4
    assert z_scores(products, np.asarray(q.covariance())).max() < 4


def test_the_derivative_of_a_draw_is_exact_far_in_both_tails_in_single_precision():
    log_weights, loc, scale = np.log([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([[1.0], [1.5]])

    @jax.jit
    def slopes(log_weights, loc, scale, z):
        def moved(logit, z):
            q = guides.DiagonalMixture(jax.nn.log_softmax(log_weights.at[0].add(logit)), loc, scale)
            return q._with_implicit_derivative(z[None])[0]

        return jax.vmap(jax.grad(moved), (None, 0))(jnp.zeros_like(z[0]), z)

    single, double = (
        slopes(*(jnp.asarray(a, dtype) for a in (log_weights, loc, scale, np.array([-7.0, 0.2, 9.0]))))
        for dtype in (jnp.float32, jnp.float64)
    )
    # ∂_logit z = π_1 π_2 (Φ_2 − Φ_1) / q, here at 0.2.
    probability, density = (
        stats.norm.cdf([1.2, -0.8 / 1.5]),
        0.3 * stats.norm.pdf(1.2) + 0.7 * stats.norm.pdf(-0.8 / 1.5) / 1.5,
    )
    np.testing.assert_allclose(double[1], 0.21 * (probability[1] - probability[0]) / density, rtol=1e-10)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_every_estimator_takes_it_and_at_the_target_path_rules_have_no_noise():
    exact = models.gaussian_mixture([0.3, 0.7], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    guide = guides.gaussian_mixture(1, 2)
    phi = guides.GaussianMixture(jnp.log(jnp.array([0.3, 0.7])), jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)))
    pairs = {
        "stl": (bounds.elbo, estimators.sticking_the_landing),
        "dreg": (bounds.iwae, estimators.doubly_reparameterized),
    }
    together = vi.shared_gradients(exact.model, guide, pairs, num_samples=4)
    log_w, gradients = together(KEY, vi.Params((), phi), jnp.zeros((1, 1)))
    for leaf in (log_w, *jax.tree.leaves(gradients)):
        np.testing.assert_allclose(leaf, 0, atol=1e-12)
