"""Eight schools, in two parametrizations: the smallest posterior whose geometry decides whether a Gaussian fits.

    μ ~ N(0, 5²),   τ ~ half-Cauchy(5),   θ_j ~ N(μ, τ²),   y_j ~ N(θ_j, σ_j²),   j = 1..J

The latent is z = (e_1, …, e_J, μ, log τ), `[J + 2]`, unconstrained, with the Jacobian of the
logarithm in log p. The coordinates e_j are the effects θ_j themselves, or (θ_j − μ)/τ. Both have the same evidence:
the Jacobian of the one in the other is in the prior of e.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vi_jax.lazy import distrax
from vi_jax.shapes import check_shape
from vi_jax.types import Model

_PRIOR_SCALE = 5.0


class Schools(NamedTuple):
    """Estimated effects of J groups and their standard errors.

    Attributes:
      effects: y, `[J]`: one datum, so the data are `effects[None]`.
      errors: σ, `[J]`, known.
    """

    effects: np.ndarray
    errors: np.ndarray


EIGHT_SCHOOLS = Schools(
    np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
)
"""Coaching for a test in eight schools: Rubin, "Estimation in parallel randomized experiments" (1981)."""


class Parametrization(NamedTuple):
    """What the coordinate e_j of one group stands for.

    Attributes:
      law: `(μ, τ) -> (mean, standard deviation)` of the normal prior of e_j.
      effect: `(μ, τ, e_j) -> θ_j`.
    """

    law: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    effect: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


CENTRED = Parametrization(law=lambda mu, tau: (mu, tau), effect=lambda mu, tau, e: e)
"""e = θ, and e | μ, τ ~ N(μ, τ²): a funnel in log τ. Good where data say much of each group."""

NON_CENTRED = Parametrization(
    law=lambda mu, tau: (jnp.zeros_like(mu), jnp.ones_like(tau)), effect=lambda mu, tau, e: mu + tau * e
)
"""e = (θ − μ)/τ ~ N(0, 1), independent of μ and τ. Good where data say little of each group, as for the schools."""


def eight_schools(parametrization: Parametrization, *, errors: ArrayLike = EIGHT_SCHOOLS.errors) -> Model:
    """Makes the hierarchical normal model of J groups with known errors.

        log p(y, z) = Σ_j [log N(e_j; law(μ, τ)) + log N(y_j; θ_j, σ_j²)] + log N(μ; 0, 5²) + log p(log τ)
        p(log τ) = 2τ / (5π (1 + τ²/25)),   θ_j = effect(μ, τ, e_j)

    The half-Cauchy is normalised: a program without its factor 2 reports an evidence log 2 lower. For the eight
    schools log p(y) = −31.31134735; the best mean-field Gaussian reaches −31.597 non-centred and −33.403 centred.

    Rubin (1981); Gelman et al., "Bayesian Data Analysis", section 5.5; the priors are those of posteriordb. Betancourt
    and Girolami, "Hamiltonian Monte Carlo for Hierarchical Models" (arXiv:1312.0906), on the two parametrizations.

    Args:
      parametrization: `CENTRED`, `NON_CENTRED` or one's own.
      errors: σ, `[J]`, positive and finite.

    Returns:
      The model, θ = (). x is y, `[J]`, as `EIGHT_SCHOOLS.effects`; z is `[J + 2]`, (e, μ, log τ).

    Raises:
      ValueError: `errors` is no vector of positive finite numbers. When called: x or z has another shape.
    """
    errors = _check_errors(errors)
    num_groups = len(errors)

    def init(key: jax.Array) -> tuple[()]:
        del key
        return ()

    def likelihood(theta: tuple[()], z: jax.Array) -> distrax.MultivariateNormalDiag:
        del theta
        z = check_shape("z", z, (num_groups + 2,))
        mean = parametrization.effect(z[-2], jnp.exp(z[-1]), z[:-2])
        return distrax.MultivariateNormalDiag(mean, jnp.asarray(errors, mean.dtype))

    def log_prior(z: jax.Array) -> jax.Array:
        e, mu, log_tau = z[:-2], z[-2], z[-1]
        each = jnp.sum(_log_normal(e, *parametrization.law(mu, jnp.exp(log_tau))))
        return each + _log_normal(mu, 0.0, _PRIOR_SCALE) + _log_half_cauchy(log_tau)

    def log_joint(theta: tuple[()], x: jax.Array, z: jax.Array) -> jax.Array:
        given_z = likelihood(theta, z)
        return log_prior(z) + jnp.asarray(given_z.log_prob(check_shape("x", x, (num_groups,)).astype(z.dtype)))

    def sample(key: jax.Array, theta: tuple[()]) -> tuple[jax.Array, jax.Array]:
        tau_key, noise_key, x_key = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, (num_groups + 1,))
        tau = _PRIOR_SCALE * jnp.abs(jax.random.cauchy(tau_key))
        mu = _PRIOR_SCALE * noise[-1]
        loc, scale = parametrization.law(mu, tau)
        z = jnp.concatenate([loc + scale * noise[:-1], jnp.stack([mu, jnp.log(tau)])])
        return likelihood(theta, z).sample(seed=x_key), z

    return Model(init, log_joint, sample, likelihood=likelihood)


def _log_normal(x: jax.Array, mean: ArrayLike, scale: ArrayLike) -> jax.Array:
    return -(((x - mean) / scale) ** 2 + math.log(2 * math.pi)) / 2 - jnp.log(scale)


def _log_half_cauchy(log_tau: jax.Array) -> jax.Array:
    """log p(log τ), the Jacobian included. log(1 + (τ/s)²) is softplus(2 log(τ/s)), which does not overflow."""
    u = log_tau - math.log(_PRIOR_SCALE)
    return math.log(2 / math.pi) + u - jax.nn.softplus(2 * u)


def _check_errors(errors: ArrayLike) -> np.ndarray:
    errors = np.asarray(errors, float)
    if errors.ndim != 1 or not errors.size or not np.all((errors > 0) & np.isfinite(errors)):
        raise ValueError(f"errors must be [J], positive and finite standard deviations, got {errors}.")
    return errors
