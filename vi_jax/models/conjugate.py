"""Gaussian models whose evidence, posterior and bounds are closed forms."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.shapes import check_shape
from vi_jax.types import Model


def linear_gaussian(dim: int) -> ExactModel:
    """Makes the linear-Gaussian toy, z ~ N(μ, I), x | z ~ N(z, I), θ = μ.

        log p(x, z) = −D log 2π − |z − μ|²/2 − |x − z|²/2
        p(x) = N(μ, 2I),   p(z | x) = N((μ + x)/2, I/2)

    Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (arXiv:1802.04537). Its guide is
    `vi_jax.guides.affine(D, D, variance=2/3)`, which cannot match the posterior.

    Args:
      dim: D ≥ 1, of the datum and of the latent.

    Returns:
      The exact model. `init` draws μ ~ N(0, I), so that keys make different problems. x and z are `[D]`.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer. When called: x or z is not of shape `[D]`.
    """
    dim = checks.check_positive_int("dim", dim)

    def init(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (dim,))

    def prior(mu: jax.Array) -> distrax.MultivariateNormalDiag:
        return _gaussian(mu, variance=1.0)

    def likelihood(mu: jax.Array, z: jax.Array) -> distrax.MultivariateNormalDiag:
        del mu
        return _gaussian(z, variance=1.0)

    def sample(key: jax.Array, mu: jax.Array) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(mu).sample(seed=z_key)
        return likelihood(mu, z).sample(seed=x_key), z

    def log_joint(mu: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
        x = check_shape("x", x, (dim,)).astype(mu.dtype)
        z = check_shape("z", z, (dim,))
        return -dim * math.log(2 * math.pi) - (jnp.sum((z - mu) ** 2) + jnp.sum((x - z) ** 2)) / 2

    def log_evidence(mu: jax.Array, x: jax.Array) -> jax.Array:
        x = check_shape("x", x, (dim,)).astype(mu.dtype)
        return -dim * math.log(4 * math.pi) / 2 - jnp.sum((x - mu) ** 2) / 4

    def posterior(mu: jax.Array, x: jax.Array) -> distrax.MultivariateNormalDiag:
        return _gaussian((mu + check_shape("x", x, (dim,)).astype(mu.dtype)) / 2, variance=0.5)

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)


def linear_gaussian_elbo(
    mu: jax.Array, A: jax.Array, b: jax.Array, x: jax.Array, *, variance: float = 2 / 3
) -> jax.Array:
    """Returns the exact ELBO of the toy under q(z | x) = N(Ax + b, s I), for one datum. Differentiable.

        ELBO = D (½ + ½ log s − s − ½ log 2π) − |m − μ|²/2 − |m − x|²/2,   m = A x + b

    At s = 2/3 the constant is −(½ log 3π + 1/6) D.

    Args:
      mu: `[D]`.
      A: `[D, D]`.
      b: `[D]`.
      x: `[D]`, one datum.
      variance: s, a variance and no standard deviation.

    Returns:
      Scalar, in nats.

    Raises:
      ValueError: x is not one vector.
    """
    dim = mu.shape[0]
    x = check_shape("x", x, (dim,)).astype(mu.dtype)
    mean = A @ x + b
    constant = (1 + math.log(variance) - 2 * variance - math.log(2 * math.pi)) / 2
    return dim * constant - (jnp.sum((mean - mu) ** 2) + jnp.sum((mean - x) ** 2)) / 2


def linear_gaussian_optimum(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the (μ, A, b) that maximise the ELBO of the toy over a data set, whatever the guide's variance.

        μ = mean(x),   A = I/2,   b = μ/2

    There Ax + b is the posterior mean for every x, and μ maximises the evidence too. Unique where the data span R^D.

    Args:
      x: `[N, D]`.

    Returns:
      `[D]`, `[D, D]`, `[D]`.

    Raises:
      ValueError: x is not a matrix.
    """
    if x.ndim != 2:
        raise ValueError(f"x must be a data set [N, D], got shape {x.shape}; a single datum is x[None].")
    mu = jnp.mean(x, axis=0)
    return mu, jnp.eye(x.shape[1], dtype=mu.dtype) / 2, mu / 2


class GaussianMean(NamedTuple):
    """θ of `gaussian_mean`: three scalars.

    Attributes:
      prior_mean: m.
      log_prior_variance: log v.
      log_variance: log s², of each observation.
    """

    prior_mean: jax.Array
    log_prior_variance: jax.Array
    log_variance: jax.Array


def gaussian_mean(
    num_data: int, *, prior_mean: float = 0.0, prior_variance: float = 1.0, variance: float = 1.0
) -> ExactModel:
    """Makes N observations of one unknown mean, z ~ N(m, v), x_n | z ~ N(z, s²). A data set is ONE datum.

        p(z | x) = N(P (m/v + Σ x_n / s²), P),   1/P = 1/v + N/s²
        log p(x) = log p(x, z*) − log p(z* | x)   at any z*

    Args:
      num_data: N ≥ 1.
      prior_mean: m, to which `init` sets θ.
      prior_variance: v > 0, likewise.
      variance: s² > 0, likewise; a variance and no standard deviation.

    Returns:
      The exact model; θ is `GaussianMean`, the same whatever the key. x is `[N]`; z is `[1]`, as guides make it.

    Raises:
      TypeError, ValueError: N is not a positive integer, or a variance is not positive and finite. When called: x or z
        has another shape.
    """
    num_data = checks.check_positive_int("num_data", num_data)
    for name, value in (("prior_variance", prior_variance), ("variance", variance)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}.")

    def init(key: jax.Array) -> GaussianMean:
        del key
        values = prior_mean, math.log(prior_variance), math.log(variance)
        return GaussianMean(*(jnp.asarray(value, float) for value in values))

    def prior(theta: GaussianMean) -> distrax.MultivariateNormalDiag:
        return distrax.MultivariateNormalDiag(theta.prior_mean[None], jnp.exp(theta.log_prior_variance / 2)[None])

    def likelihood(theta: GaussianMean, z: jax.Array) -> distrax.MultivariateNormalDiag:
        mean = jnp.broadcast_to(check_shape("z", z, (1,)), (num_data,))
        return distrax.MultivariateNormalDiag(mean, jnp.full_like(mean, jnp.exp(theta.log_variance / 2)))

    def sample(key: jax.Array, theta: GaussianMean) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: GaussianMean, x: jax.Array, z: jax.Array) -> jax.Array:
        x = check_shape("x", x, (num_data,)).astype(theta.prior_mean.dtype)
        return jnp.asarray(prior(theta).log_prob(z)) + jnp.asarray(likelihood(theta, z).log_prob(x))

    def posterior(theta: GaussianMean, x: jax.Array) -> distrax.MultivariateNormalDiag:
        x = check_shape("x", x, (num_data,)).astype(theta.prior_mean.dtype)
        of_prior, of_datum = jnp.exp(-theta.log_prior_variance), jnp.exp(-theta.log_variance)
        precision = of_prior + num_data * of_datum
        mean = (theta.prior_mean * of_prior + jnp.sum(x) * of_datum) / precision
        return distrax.MultivariateNormalDiag(mean[None], 1 / jnp.sqrt(precision)[None])

    def log_evidence(theta: GaussianMean, x: jax.Array) -> jax.Array:
        q = posterior(theta, x)
        mean = jnp.asarray(q.mean())
        return log_joint(theta, x, mean) - jnp.asarray(q.log_prob(mean))

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)


def _gaussian(mean: jax.Array, variance: float) -> "distrax.MultivariateNormalDiag":
    return distrax.MultivariateNormalDiag(mean, jnp.full_like(mean, math.sqrt(variance)))
