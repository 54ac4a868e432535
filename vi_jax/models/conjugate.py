"""Gaussian models whose evidence, posterior and bounds are closed forms."""

import math

import distrax
import jax
import jax.numpy as jnp

from vi_jax import checks
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

        ELBO = D (½ + ½ log s − s − ½ log 2π) − |m − μ|²/2 − |m − x|²/2,   m = Ax + b

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


def _gaussian(mean: jax.Array, variance: float) -> distrax.MultivariateNormalDiag:
    return distrax.MultivariateNormalDiag(mean, jnp.full_like(mean, math.sqrt(variance)))
