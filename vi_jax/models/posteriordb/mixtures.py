"""A mixture of two normal distributions on the line, its labels summed out and its means in order."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import beta, norm

from vi_jax.models.posteriordb.forms import columns, reported
from vi_jax.models.supports import ordered, positive, unit_interval
from vi_jax.models.unconstrained import Target, unconstrained_with_data


class TwoNormals(NamedTuple):
    """Parameters: means `[2]` in order, standard deviations `[2]`, the weight of the first."""

    mu: Any
    sigma: Any
    theta: Any


def low_dim_gauss_mix(data: Mapping[str, Any]) -> Target:
    """Makes low_dim_gauss_mix, N = 1000 values of two overlapping normal distributions.

        y ~ θ N(μ_1, σ_1²) + (1 − θ) N(μ_2, σ_2²),   θ ~ Beta(5, 5),   σ_m ~ half-N(0, 2²)
        p(μ) = 2 N(μ_1; 0, 2²) N(μ_2; 0, 2²) on μ_1 < μ_2

    The 2 normalises the ordered pair; Stan's program leaves it out. It starts from the quartiles, and takes
    minibatches. Betancourt, "Identifying Bayesian mixture models" (2017).

    Args:
      data: `y` `[N]`, of two values or more.

    Raises:
      ValueError: the data lack it, or it is no such vector.
    """
    (y,) = columns("low_dim_gauss_mix", data, "y")

    def log_prior(parameters: TwoNormals) -> jax.Array:
        of_means = math.log(2) + jnp.sum(norm.logpdf(parameters.mu, scale=2.0))
        of_scales = jnp.sum(math.log(2) + norm.logpdf(parameters.sigma, scale=2.0))
        return of_means + of_scales + beta.logpdf(parameters.theta, 5.0, 5.0)

    def log_likelihood(datum: jax.Array, parameters: TwoNormals) -> jax.Array:
        log_weights = jnp.log(jnp.stack([parameters.theta, 1 - parameters.theta]))
        return jax.nn.logsumexp(log_weights + norm.logpdf(datum, parameters.mu, parameters.sigma))

    like = TwoNormals(np.quantile(y, [0.25, 0.75]), np.full(2, y.std() / 2), 0.5)
    supports = TwoNormals(ordered, positive, unit_interval)
    return reported(unconstrained_with_data(log_prior, log_likelihood, y, like, supports))
