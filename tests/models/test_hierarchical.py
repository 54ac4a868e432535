"""Eight schools: both parametrizations are one model, with the evidence of a quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import vi_jax as vi
from tests.mean_field import fitted
from vi_jax import models

Y, SIGMA = models.EIGHT_SCHOOLS
LOG_EVIDENCE = -31.31134735


def test_the_log_joint_is_the_stated_density_whatever_the_coordinates(x64):
    effects, mu, tau = np.linspace(-3.0, 12.0, 8), 2.5, 0.7
    terms = [
        stats.norm.logpdf(mu, 0, 5),
        stats.halfcauchy.logpdf(tau, scale=5) + np.log(tau),
        stats.norm.logpdf(effects, mu, tau).sum(),
        stats.norm.logpdf(Y, effects, SIGMA).sum(),
    ]
    centred = np.array([*effects, mu, np.log(tau)])
    non_centred = np.array([*(effects - mu) / tau, mu, np.log(tau)])
    score = {p: models.eight_schools(p).log_joint for p in (models.CENTRED, models.NON_CENTRED)}
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_allclose(score[models.CENTRED]((), jnp.asarray(Y), jnp.asarray(centred)), sum(terms))
        # θ = μ + τ e has the Jacobian τ⁸.
        expected = sum(terms) + 8 * np.log(tau)
        np.testing.assert_allclose(score[models.NON_CENTRED]((), jnp.asarray(Y), jnp.asarray(non_centred)), expected)


def test_the_evidence_is_an_integral_over_the_scale_alone():
    # Given τ, y is Gaussian: a mean of variance 25 shared by all, and τ² + σ². The trapezoid rule in log τ.
    log_tau = np.linspace(-25, 25, 1001)
    covariances = 25 + np.exp(2 * log_tau)[:, None, None] * np.eye(8) + np.diag(SIGMA**2)
    given = np.array([stats.multivariate_normal(cov=covariance).logpdf(Y) for covariance in covariances])
    density = stats.halfcauchy.logpdf(np.exp(log_tau), scale=5) + log_tau
    np.testing.assert_allclose(logsumexp(given + density) + np.log(0.05), LOG_EVIDENCE, atol=1e-8)


def test_mean_field_reaches_its_elbo_centred():
    assert abs(fitted(models.eight_schools(models.CENTRED), 10, Y[None], num_steps=2000).elbo + 33.403) < 0.05


def test_mean_field_reaches_its_elbo_non_centred_and_weighs_its_draws_to_the_evidence():
    model, x = models.eight_schools(models.NON_CENTRED), Y[None]
    found = fitted(model, 10, x, num_steps=2000)
    assert abs(found.elbo + 31.597) < 0.05
    # The fit is too narrow in log τ (k̂ = 0.6: no variance, so no interval); twice as wide it covers the posterior.
    log_scale = found.params.phi.log_scale.at[-1].add(np.log(2))
    wide = found.params._replace(phi=found.params.phi._replace(log_scale=log_scale))
    estimate = vi.log_evidence(jax.random.key(3), model, found.guide, wide, x, num_samples=50_000)
    assert estimate.standard_error[0] < 0.02
    assert abs(estimate.log_evidence[0] - LOG_EVIDENCE) < 4 * estimate.standard_error[0]


@pytest.mark.parametrize("parametrization", [models.NON_CENTRED, models.CENTRED])
def test_draws_have_the_stated_laws(parametrization):
    model = models.eight_schools(parametrization)
    keys = jax.random.split(jax.random.key(4), 4000)
    y, z = map(np.asarray, jax.jit(jax.vmap(lambda key: model.sample(key, ())))(keys))
    mu, tau = z[:, -2], np.exp(z[:, -1])
    loc, scale = (mu, tau) if parametrization is models.CENTRED else (0, 1)
    effects = parametrization.effect(mu[:, None], tau[:, None], z[:, :8])
    for standard in (mu / 5, (z[:, 0] - loc) / scale, (y[:, 3] - effects[:, 3]) / SIGMA[3]):
        assert stats.kstest(standard, "norm").pvalue > 1e-3
    assert stats.kstest(tau, stats.halfcauchy(scale=5).cdf).pvalue > 1e-3


def test_what_does_not_fit_is_named():
    for errors in ([1.0, -1.0], [[1.0]], [np.nan], []):
        with pytest.raises(ValueError, match=r"errors must be \[J\], positive and finite"):
            models.eight_schools(models.CENTRED, errors=errors)
    model = models.eight_schools(models.CENTRED, errors=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"x must have shape \(2,\)"):
        model.log_joint((), jnp.zeros(3), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"z must have shape \(4,\)"):
        model.log_joint((), jnp.zeros(2), jnp.zeros(3))
