"""Two time series: an autoregression, which is a regression on its own past, and one whose variance has a memory."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import cauchy, norm

from vi_jax import checks
from vi_jax.models.posteriordb.forms import columns, entry, least_squares, reported
from vi_jax.models.regression import Regression
from vi_jax.models.supports import positive, real, unit_interval
from vi_jax.models.unconstrained import Target, unconstrained, unconstrained_with_data


class Autoregression(NamedTuple):
    """Parameters of `autoregression`: intercept, weights `[K]` of the last K values, sd of the noise."""

    alpha: Any
    beta: Any
    sigma: Any


class Garch(NamedTuple):
    """Parameters of `garch`: mean, and the constant, the weight of the last error and that of the last variance."""

    mu: Any
    alpha0: Any
    alpha1: Any
    beta1: Any


class _Shares(NamedTuple):
    """Those in which the density is stated, for its set is a box then: `share` = β_1 / (1 − α_1)."""

    mu: Any
    alpha0: Any
    alpha1: Any
    share: Any


def autoregression(data: Mapping[str, Any]) -> Target:
    """Makes arK-arK, an autoregression of order K = 5 on T = 200 values.

        y_t ~ N(α + Σ_k β_k y_{t−k}, σ²), t = K + 1..T;   α, β_k ~ N(0, 10²),   σ ~ half-Cauchy(2.5)

    The first K values are conditioned on, so the others are rows of a regression, which may come in minibatches.

    Args:
      data: `y` `[T]`, `K` < T.

    Raises:
      TypeError, ValueError: the data lack a name, or have another shape.
    """
    (y,) = columns("arK", data, "y")
    order = checks.check_positive_int("K", entry("arK", data, "K"))
    if order >= len(y):
        raise ValueError(f"K must be below the {len(y)} values of y, got {order}.")
    past = np.stack([y[order - lag : len(y) - lag] for lag in range(1, order + 1)], axis=1)
    weights, sigma = least_squares(np.insert(past, 0, 1.0, axis=1), y[order:])

    def log_prior(parameters: Autoregression) -> jax.Array:
        of_weights = norm.logpdf(parameters.alpha, scale=10.0) + jnp.sum(norm.logpdf(parameters.beta, scale=10.0))
        return of_weights + math.log(2) + cauchy.logpdf(parameters.sigma, scale=2.5)

    def log_likelihood(row: Regression, parameters: Autoregression) -> jax.Array:
        return norm.logpdf(row.targets, parameters.alpha + row.features @ parameters.beta, parameters.sigma)

    like, supports = Autoregression(weights[0], weights[1:], sigma), Autoregression(real, real, positive)
    rows = Regression(past, y[order:])
    return reported(unconstrained_with_data(log_prior, log_likelihood, rows, like, supports))


def garch(data: Mapping[str, Any]) -> Target:
    """Makes garch-garch11, GARCH(1, 1) on T = 200 values.

        y_t ~ N(μ, s_t²),   s_t² = α_0 + α_1 (y_{t−1} − μ)² + β_1 s_{t−1}²,   s_1 = sigma1

    μ, α_0 > 0 and 0 < α_1, β_1 < 1 with α_1 + β_1 < 1 are flat: improper. The set of β_1 depends on α_1; β_1/(1 − α_1)
    lies in (0, 1), and its Jacobian log(1 − α_1) is in the density of z = (μ, log α_0, logit α_1, logit β_1/(1 − α_1)).

    Bollerslev, "Generalized autoregressive conditional heteroskedasticity" (1986).

    Args:
      data: `y` `[T]`, `sigma1` > 0.

    Raises:
      ValueError: the data lack a name, have another shape, or sigma1 is not positive.
    """
    (y,) = columns("garch", data, "y")
    first = float(entry("garch", data, "sigma1"))
    if not 0 < first < math.inf:
        raise ValueError(f"sigma1 of the data of garch must be positive and finite, got {first}.")

    def log_density(parameters: _Shares) -> jax.Array:
        errors = y - parameters.mu
        variances = _variances(first**2, errors, _report(parameters))
        return jnp.sum(norm.logpdf(errors, scale=jnp.sqrt(variances))) + jnp.log1p(-parameters.alpha1)

    like = _Shares(y.mean(), y.var() / 2, 0.25, 0.5)
    target = unconstrained(log_density, like, _Shares(real, positive, unit_interval, unit_interval))
    return reported(target, _report, lambda p: _Shares(p.mu, p.alpha0, p.alpha1, p.beta1 / (1 - p.alpha1)))


def _variances(first: float, errors: jax.Array, parameters: Garch) -> jax.Array:
    """s_t² for t = 1..T, `[T]`."""

    def step(variance: jax.Array, error: jax.Array) -> tuple[jax.Array, jax.Array]:
        following = parameters.alpha0 + parameters.alpha1 * error**2 + parameters.beta1 * variance
        return following, variance

    return jax.lax.scan(step, jnp.full_like(parameters.alpha0, first), errors)[1]


def _report(parameters: _Shares) -> Garch:
    mu, alpha0, alpha1, share = parameters
    return Garch(mu, alpha0, alpha1, (1 - alpha1) * share)
