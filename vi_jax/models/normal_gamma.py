"""A Gaussian with unknown mean and precision under its conjugate prior: the logarithm of the joint couples nicely.

    τ ~ Gamma(a, b),   μ | τ ~ N(m, 1/(k τ)),   x_n | μ, τ ~ N(μ, 1/τ),   n = 1..N

A data set is ONE datum, x `[N]`; the latent is z = (μ, log τ), `[2]`, unconstrained, so that every Gaussian guide fits.
Prior and posterior are the same type, `NormalGamma`, because log p(x, μ, τ) is linear in (log τ, τ, τ μ, τ μ²), and

    Σ_n (x_n − μ)² + k (μ − m)² = k' (μ − m')² + 2 (b' − b)
    k' = k + N,   m' = (k m + Σ x_n) / k',   a' = a + N/2,   b' = b + ½ Σ (x_n − x̄)² + k N (x̄ − m)² / (2 k')

Coordinate ascent. With q(μ, τ) = q(μ) q(τ), the best factor given the other is log q(μ) = E_q(τ) log p(x, μ, τ) + c,
and likewise for τ. Completing the square as above,

    log q(μ) = −½ E[τ] k' (μ − m')² + c                              so q(μ) = N(m', 1/λ),   λ = k' E[τ]
    log q(τ) = (a' + ½ − 1) log τ − τ (b' + ½ k' E[(μ − m')²]) + c   so q(τ) = Gamma(a' + ½, b' + ½ k' E[(μ − m')²])

The two are N and Gamma because the logarithm turned the product into a sum of simple terms. At the fixed point
E[τ] = a'/b', the exact posterior mean, and λ = k' a'/b'; each sweep shrinks the error of b by the factor 1/(2a' + 1).

Murphy, "Conjugate Bayesian analysis of the Gaussian distribution" (2007); Bishop, PRML, section 10.1.3 (2006).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln

from vi_jax import checks
from vi_jax.models.exact import ExactModel
from vi_jax.shapes import check_shape
from vi_jax.types import Model

_LOG_2PI = math.log(2 * math.pi)


class NormalGamma(NamedTuple):
    """τ ~ Gamma(shape, rate), μ | τ ~ N(loc, 1/(counts τ)), as a density of z = (μ, log τ). θ of `normal_gamma` too.

    Attributes:
      loc: m.
      counts: k > 0, how many observations the prior mean is worth.
      shape: a > 0.
      rate: b > 0.
    """

    loc: jax.Array
    counts: jax.Array
    shape: jax.Array
    rate: jax.Array

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns log p(μ, log τ) in nats, the Jacobian of the logarithm included."""
        mu, log_tau = check_shape("z", z, (2,))
        return _log_normal(mu, self.loc, jnp.log(self.counts) + log_tau) + _log_gamma(log_tau, self.shape, self.rate)

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw (μ, log τ), `[2]`."""
        tau_key, mu_key = jax.random.split(seed)
        log_tau = jax.random.loggamma(tau_key, self.shape) - jnp.log(self.rate)
        scale = jnp.exp(-log_tau / 2) / jnp.sqrt(self.counts)
        return jnp.stack([self.loc + scale * jax.random.normal(mu_key, (), log_tau.dtype), log_tau])


class NormalTimesGamma(NamedTuple):
    """q(μ) q(τ) = N(loc, 1/precision) Gamma(shape, rate), as a density of z = (μ, log τ).

    Attributes:
      loc: mean of μ.
      precision: λ > 0, of μ.
      shape: a > 0.
      rate: b > 0.
    """

    loc: jax.Array
    precision: jax.Array
    shape: jax.Array
    rate: jax.Array

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns log q(μ, log τ) in nats, the Jacobian of the logarithm included."""
        mu, log_tau = check_shape("z", z, (2,))
        return _log_normal(mu, self.loc, jnp.log(self.precision)) + _log_gamma(log_tau, self.shape, self.rate)

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw (μ, log τ), `[2]`; differentiable in every parameter."""
        tau_key, mu_key = jax.random.split(seed)
        log_tau = jax.random.loggamma(tau_key, self.shape) - jnp.log(self.rate)
        mu = self.loc + jax.random.normal(mu_key, (), log_tau.dtype) / jnp.sqrt(self.precision)
        return jnp.stack([mu, log_tau])


def normal_gamma(num_data: int) -> ExactModel:
    """Makes the model of N draws from a Gaussian whose mean and precision are the latent z = (μ, log τ).

        log p(x) = log Γ(a') − log Γ(a) + a log b − a' log b' + ½ log(k/k') − (N/2) log 2π

    Args:
      num_data: N ≥ 1.

    Returns:
      The exact model; θ is the prior, a `NormalGamma`, whose k, a and b must stay positive. `init` draws m ~ N(0, 1),
      so that keys make different problems, and sets k = a = b = 1. x is `[N]`, z is `[2]`.

    Raises:
      TypeError, ValueError: N is not a positive integer. When called: x or z has another shape.
    """
    num_data = checks.check_positive_int("num_data", num_data)

    def init(key: jax.Array) -> NormalGamma:
        one = jnp.ones(())
        return NormalGamma(jax.random.normal(key), one, one, one)

    def log_joint(theta: NormalGamma, x: jax.Array, z: jax.Array) -> jax.Array:
        x = check_shape("x", x, (num_data,)).astype(theta.loc.dtype)
        return theta.log_prob(z) + jnp.sum(_log_normal(x, z[0], z[1]))

    def sample(key: jax.Array, theta: NormalGamma) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = theta.sample(seed=z_key)
        return z[0] + jnp.exp(-z[1] / 2) * jax.random.normal(x_key, (num_data,), z.dtype), z

    def log_evidence(theta: NormalGamma, x: jax.Array) -> jax.Array:
        after = _update(theta, check_shape("x", x, (num_data,)))
        of_tau = _log_normalizer(theta.shape, theta.rate) - _log_normalizer(after.shape, after.rate)
        return of_tau + (jnp.log(theta.counts) - jnp.log(after.counts) - num_data * _LOG_2PI) / 2

    def posterior(theta: NormalGamma, x: jax.Array) -> NormalGamma:
        return _update(theta, check_shape("x", x, (num_data,)))

    return ExactModel(Model(init, log_joint, sample, prior=lambda theta: theta), log_evidence, posterior)


def normal_gamma_elbo(theta: NormalGamma, q: NormalTimesGamma, x: jax.Array) -> jax.Array:
    """Returns the exact ELBO of q(μ) q(τ), for one data set. Differentiable in θ and q.

        ELBO = E_q[log p(x, μ, τ)] + H(q(μ)) + H(q(τ))
        E[τ] = a/b,   E[log τ] = ψ(a) − log b,   E[(μ − m')²] = (loc − m')² + 1/λ

    Args:
      theta: the prior.
      q: the factors; λ, a and b positive.
      x: `[N]`.

    Returns:
      Scalar, in nats.
    """
    after = _update(theta, x)
    mean_tau, mean_log_tau = q.shape / q.rate, digamma(q.shape) - jnp.log(q.rate)
    square = (q.loc - after.loc) ** 2 + 1 / q.precision
    log_joint = (
        _log_normalizer(theta.shape, theta.rate)
        + (jnp.log(theta.counts) - (x.shape[0] + 1) * _LOG_2PI) / 2
        + (after.shape - 0.5) * mean_log_tau
        - mean_tau * (after.rate + after.counts * square / 2)
    )
    entropy_mu = (1 + _LOG_2PI - jnp.log(q.precision)) / 2
    entropy_tau = q.shape - jnp.log(q.rate) + gammaln(q.shape) + (1 - q.shape) * digamma(q.shape)
    return log_joint + entropy_mu + entropy_tau


def normal_gamma_coordinate_ascent(
    theta: NormalGamma, q: NormalTimesGamma, x: jax.Array, *, num_steps: int
) -> tuple[NormalTimesGamma, jax.Array]:
    """Maximises the ELBO over q(μ), then over q(τ), each exactly, `num_steps` times. No step lowers it.

        λ ← k' a/b,  loc ← m';   a ← a' + ½,  b ← b' + ½ k' ((loc − m')² + 1/λ)

    Args:
      theta: the prior.
      q: where to start; only its a/b is used.
      x: `[N]`, one data set.
      num_steps: T ≥ 1 sweeps.

    Returns:
      q after the last sweep, and the ELBO after each, `[T]` nats.

    Raises:
      TypeError, ValueError: T is not a positive integer.
    """
    num_steps = checks.check_positive_int("num_steps", num_steps)
    after = _update(theta, x)

    def sweep(q: NormalTimesGamma, _: None) -> tuple[NormalTimesGamma, jax.Array]:
        precision = after.counts * q.shape / q.rate
        q = NormalTimesGamma(after.loc, precision, after.shape + 0.5, after.rate + after.counts / (2 * precision))
        return q, normal_gamma_elbo(theta, q, x)

    return jax.lax.scan(sweep, q, length=num_steps)


def _update(theta: NormalGamma, x: jax.Array) -> NormalGamma:
    """Returns the posterior of the data set `[N]`: (m', k', a', b')."""
    num_data, x = x.shape[0], x.astype(theta.loc.dtype)
    mean = jnp.mean(x)
    counts = theta.counts + num_data
    loc = (theta.counts * theta.loc + num_data * mean) / counts
    between = theta.counts * num_data * (mean - theta.loc) ** 2 / counts
    return NormalGamma(loc, counts, theta.shape + num_data / 2, theta.rate + (jnp.sum((x - mean) ** 2) + between) / 2)


def _log_normalizer(shape: jax.Array, rate: jax.Array) -> jax.Array:
    return shape * jnp.log(rate) - gammaln(shape)


def _log_gamma(log_tau: jax.Array, shape: jax.Array, rate: jax.Array) -> jax.Array:
    """log Gamma(τ; shape, rate) + log τ: the density of log τ."""
    return _log_normalizer(shape, rate) + shape * log_tau - rate * jnp.exp(log_tau)


def _log_normal(x: jax.Array, loc: jax.Array, log_precision: jax.Array) -> jax.Array:
    return (log_precision - _LOG_2PI - jnp.exp(log_precision) * (x - loc) ** 2) / 2
