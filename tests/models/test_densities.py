"""The funnel and the banana: bent standard normals, whose best diagonal Gaussians are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from tests.mean_field import fitted
from vi_jax import models

X = np.zeros(1)


def straighten_funnel(z):
    """Standard normals, and the logarithm of the Jacobian that led to them."""
    v = z[:, :1]
    return np.concatenate([v / 3, z[:, 1:] * np.exp(-v / 2)], 1), -np.log(3) - (z.shape[1] - 1) * v[:, 0] / 2


def straighten_banana(z):
    return np.stack([z[:, 0] / 2, z[:, 1] - 0.3 * (z[:, 0] ** 2 - 4)], 1), np.full(len(z), -np.log(2))


BANANA = dict(curvature=0.3, scale=2.0)
CASES = {
    "funnel": (models.funnel(3), straighten_funnel, [9, np.exp(4.5), np.exp(4.5)]),
    "banana": (models.banana(**BANANA), straighten_banana, [4, 1 + 0.09 * (3 - 1) * 16]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_bent_standard_normal_and_is_drawn_as_it_is_scored(name, x64):
    exact, straighten, variance = CASES[name]
    with jax.numpy_dtype_promotion("strict"):
        q = exact.posterior((), X)
        z = jax.vmap(lambda key: q.sample(seed=key))(jax.random.split(jax.random.key(1), 20_000))
        scores = jax.vmap(lambda z: exact.model.log_joint((), X, z))(z)
    noise, log_jacobian = straighten(np.asarray(z))
    np.testing.assert_allclose(scores, norm.logpdf(noise).sum(1) + log_jacobian, rtol=1e-10)
    dim = noise.shape[1]
    assert np.max(np.abs(noise.mean(0))) < 4 / np.sqrt(20_000)
    assert np.max(np.abs(np.cov(noise.T) - np.eye(dim))) < 4 * np.sqrt(2 / 20_000)
    np.testing.assert_allclose(q.mean(), np.zeros(dim))
    np.testing.assert_allclose(q.variance(), variance, rtol=1e-12)


@pytest.mark.parametrize(
    ("exact", "optimum"),
    [
        (models.funnel(2, scale=1.5), lambda: models.funnel_optimum(2, scale=1.5)),
        (models.banana(**BANANA), lambda: models.banana_optimum(**BANANA)),
    ],
)
def test_the_stated_optimum_is_stationary_with_the_stated_elbo(exact, optimum, x64):
    # The ELBO of a diagonal Gaussian in the plane by a product Gauss-Hermite rule.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    noise = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    weights = np.outer(weights, weights).ravel() / (2 * np.pi)

    def elbo(loc, log_scale):
        scores = jax.vmap(lambda z: exact.model.log_joint((), X, z))(loc + jnp.exp(log_scale) * noise)
        return weights @ scores + jnp.sum(log_scale) + 1 + np.log(2 * np.pi)

    loc, scale, best = optimum()
    value, slopes = jax.value_and_grad(elbo, (0, 1))(loc, jnp.log(scale))
    np.testing.assert_allclose(value, best, rtol=1e-9)
    np.testing.assert_allclose(slopes, 0, atol=1e-9)


def test_a_fit_reaches_the_best_mean_field_elbo_of_the_funnel():
    best = models.funnel_optimum(10).elbo
    np.testing.assert_allclose(best, -1.862847, atol=1e-6)
    found = fitted(models.funnel(10).model, 10, X[None])
    assert abs(found.elbo - best) < 0.05


def test_without_curvature_the_banana_is_a_gaussian():
    loc, scale, elbo = models.banana_optimum(curvature=0.0, scale=3.0)
    np.testing.assert_allclose([*loc, *scale, elbo], [0, 0, 3, 1, 0], atol=1e-6)


def test_what_does_not_fit_is_named():
    for make in (models.funnel, models.funnel_optimum):
        with pytest.raises(ValueError, match="dim must be at least 2, got 1"):
            make(1)
        with pytest.raises(ValueError, match="scale must be positive and finite, got 0"):
            make(2, scale=0)
    for make in (models.banana, models.banana_optimum):
        with pytest.raises(ValueError, match="curvature must be finite, got nan"):
            make(curvature=float("nan"))
    with pytest.raises(ValueError, match=r"z must have shape \(3,\)"):
        models.funnel(3).model.log_joint((), X, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"z must have shape \(2,\)"):
        models.banana().model.log_joint((), X, jnp.zeros(3))
