"""Counts along a line with a Gaussian process for their log-rates: a small posterior that float32 cannot hold."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.stats import gamma, norm, poisson

from vi_jax.models.posteriordb.forms import columns, reported
from vi_jax.models.supports import positive, real
from vi_jax.models.unconstrained import Target, unconstrained

_JITTER = 1e-10


class PoissonProcess(NamedTuple):
    """Parameters: length scale, amplitude, and the log-rates `[N]`."""

    rho: Any
    alpha: Any
    f: Any


class _White(NamedTuple):
    """Those in which the density is stated: f = L(ρ, α) f_tilde."""

    rho: Any
    alpha: Any
    f_tilde: Any


def gp_pois_regr(data: Mapping[str, Any]) -> Target:
    """Makes gp_pois_regr, counts at N = 11 places. It needs float64: the smallest eigenvalue of C is 1e-10.

        k_i ~ Poisson(e^{f_i}),   f ~ N(0, C),   C_ij = α² exp(−(x_i − x_j)² / (2ρ²)) + 10⁻¹⁰ [i = j]
        ρ ~ Gamma(25, rate 4),   α ~ half-N(0, 2²),   f = L f_tilde,   L Lᵀ = C,   z = (log ρ, log α, f_tilde)

    It starts from the prior mean of ρ. Stan Development Team, "User's Guide", Gaussian processes.

    Args:
      data: `x` and counts `k`, each `[N]`.

    Raises:
      ValueError: the data lack a name, or have another shape; or, when built or evaluated, the precision is float32.
    """
    x, counts = columns("gp_pois_regr", data, "x", "k")

    def factor(rho: jax.Array, alpha: jax.Array) -> jax.Array:
        _check_precision(rho)
        distances = (x[:, None] - x) / rho
        return jnp.linalg.cholesky(alpha**2 * jnp.exp(-(distances**2) / 2) + _JITTER * np.eye(len(x)))

    def report(parameters: _White) -> PoissonProcess:
        rho, alpha, f_tilde = parameters
        return PoissonProcess(rho, alpha, factor(rho, alpha) @ f_tilde)

    def recover(parameters: PoissonProcess) -> _White:
        rho, alpha, f = parameters
        return _White(rho, alpha, solve_triangular(factor(rho, alpha), f, lower=True))

    def log_density(parameters: _White) -> jax.Array:
        of_scales = (
            gamma.logpdf(parameters.rho, 25.0, scale=1 / 4) + math.log(2) + norm.logpdf(parameters.alpha, scale=2)
        )
        of_noise = jnp.sum(norm.logpdf(parameters.f_tilde))
        return of_scales + of_noise + jnp.sum(poisson.logpmf(counts, jnp.exp(report(parameters).f)))

    like = _White(25 / 4, 1.0, np.zeros(len(x)))
    return reported(unconstrained(log_density, like, _White(positive, positive, real)), report, recover)


def _check_precision(value: Any) -> None:
    dtype = jnp.asarray(value).dtype
    if dtype != jnp.float64:
        raise ValueError(
            f"gp_pois_regr needs float64, got {dtype}, in which its covariance is singular: call"
            " jax.config.update('jax_enable_x64', True) before anything else."
        )
