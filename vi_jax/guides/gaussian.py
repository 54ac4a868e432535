"""Gaussian q(z | x): over one global latent, or with a mean that is affine in x.

All are reparameterized, z = m + L ε with ε ~ N(0, I), and say so by `from_noise`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.shapes import check_noise, check_shape
from vi_jax.types import Guide, PyTree


class MeanField(NamedTuple):
    """φ of `mean_field`: `loc` and `log_scale`, each `[D]`."""

    loc: jax.Array
    log_scale: jax.Array


class FullRank(NamedTuple):
    """φ of `full_rank`: z = loc + L ε.

    Attributes:
      loc: `[D]`.
      log_scale: `[D]`, the logarithm of L's diagonal.
      lower: `[D (D − 1) / 2]`, L below the diagonal, row by row. No entry of φ is idle, so none has a zero gradient.
    """

    loc: jax.Array
    log_scale: jax.Array
    lower: jax.Array


class Affine(NamedTuple):
    """φ of `affine`: `A` `[D, data_dim]` and `b` `[D]`."""

    A: jax.Array
    b: jax.Array


def mean_field(dim: int, *, initial_scale: float = 1.0) -> Guide:
    """Makes q(z) = N(loc, diag(exp(log_scale))²), the same for every x.

    Args:
      dim: D ≥ 1.
      initial_scale: standard deviation that `init` sets; the mean starts at zero, whatever the key.

    Returns:
      The guide; φ is `MeanField`, z is `[D]`.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer, or `initial_scale` is not positive and finite.
    """
    dim = checks.check_positive_int("dim", dim)
    log_scale = math.log(check_positive("initial_scale", initial_scale))

    def init(key: jax.Array) -> MeanField:
        del key
        return MeanField(jnp.zeros(dim), jnp.full(dim, log_scale, float))

    def distribution(phi: MeanField, x: PyTree) -> distrax.MultivariateNormalDiag:
        from vi_jax.guides.diagonal import DiagonalGaussian

        del x
        return DiagonalGaussian(phi.loc, phi.log_scale)

    def from_noise(phi: MeanField, x: PyTree, noise: jax.Array) -> jax.Array:
        del x
        return phi.loc + jnp.exp(phi.log_scale) * check_noise(noise, dim)

    return Guide(init, distribution, from_noise=from_noise)


def full_rank(dim: int, *, initial_scale: float = 1.0) -> Guide:
    """Makes q(z) = N(loc, L Lᵀ), the same for every x. L is lower triangular with diagonal exp(log_scale).

    The positive diagonal makes L unique and q(z) never singular. Price: D(D + 3)/2 parameters and O(D²) per draw.

    Args:
      dim: D ≥ 1.
      initial_scale: `init` sets L = initial_scale · I and a mean of zero, whatever the key.

    Returns:
      The guide; φ is `FullRank`, z is `[D]`.

    Raises:
      TypeError, ValueError: as `mean_field`.
    """
    dim = checks.check_positive_int("dim", dim)
    log_scale = math.log(check_positive("initial_scale", initial_scale))

    def init(key: jax.Array) -> FullRank:
        del key
        return FullRank(jnp.zeros(dim), jnp.full(dim, log_scale, float), jnp.zeros(dim * (dim - 1) // 2))

    def distribution(phi: FullRank, x: PyTree) -> distrax.MultivariateNormalTri:
        del x
        return distrax.MultivariateNormalTri(phi.loc, scale_tril(phi))

    def from_noise(phi: FullRank, x: PyTree, noise: jax.Array) -> jax.Array:
        del x
        return phi.loc + scale_tril(phi) @ check_noise(noise, dim)

    return Guide(init, distribution, from_noise=from_noise)


def affine(data_dim: int, latent_dim: int, *, variance: float) -> Guide:
    """Makes q(z | x) = N(Ax + b, variance · I), the guide of the linear-Gaussian toy of arXiv:1802.04537.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: D ≥ 1.
      variance: fixed; a variance and no standard deviation.

    Returns:
      The guide; φ is `Affine`, which `init` sets to zero whatever the key. x is `[data_dim]` in any dtype, z is `[D]`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer, or `variance` is not positive and finite. When
        called: x is not of shape `[data_dim]`.
    """
    data_dim = checks.check_positive_int("data_dim", data_dim)
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    scale = math.sqrt(check_positive("variance", variance))

    def init(key: jax.Array) -> Affine:
        del key
        return Affine(jnp.zeros((latent_dim, data_dim)), jnp.zeros(latent_dim))

    def mean(phi: Affine, x: jax.Array) -> jax.Array:
        return phi.A @ check_shape("x", x, (data_dim,)).astype(phi.A.dtype) + phi.b

    def distribution(phi: Affine, x: jax.Array) -> distrax.MultivariateNormalDiag:
        loc = mean(phi, x)
        return distrax.MultivariateNormalDiag(loc, jnp.full_like(loc, scale))

    def from_noise(phi: Affine, x: jax.Array, noise: jax.Array) -> jax.Array:
        return mean(phi, x) + scale * check_noise(noise, latent_dim)

    return Guide(init, distribution, from_noise=from_noise)


def scale_tril(phi: FullRank) -> jax.Array:
    """Returns L `[D, D]`, lower triangular: the covariance of q is L Lᵀ."""
    dim = phi.loc.shape[0]
    return jnp.diag(jnp.exp(phi.log_scale)).at[jnp.tril_indices(dim, -1)].set(phi.lower)


def check_gaussian(loc: ArrayLike, scale_tril: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Returns the mean `[D]` and the factor L `[D, D]` of a covariance L Lᵀ as arrays of floats.

    Raises:
      ValueError: the shapes are others; or, of concrete values, a number is not finite, or L is not lower triangular
        with a positive diagonal.
    """
    loc, scale_tril = jnp.asarray(loc, float), jnp.asarray(scale_tril, float)
    if loc.ndim != 1 or scale_tril.shape != loc.shape * 2:
        raise ValueError(f"loc must be [D] and scale_tril [D, D], got shapes {loc.shape} and {scale_tril.shape}.")
    if isinstance(loc, Tracer) or isinstance(scale_tril, Tracer):
        return loc, scale_tril
    for name, value in (("loc", np.asarray(loc)), ("scale_tril", np.asarray(scale_tril))):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} holds {np.sum(~np.isfinite(value))} numbers that are not finite.")
    if np.any(np.triu(scale_tril, 1)) or np.any(np.diagonal(scale_tril) <= 0):
        raise ValueError(
            f"scale_tril must be lower triangular with a positive diagonal, got the diagonal {np.diagonal(scale_tril)} "
            f"and {np.count_nonzero(np.triu(scale_tril, 1))} numbers above it: pass jnp.linalg.cholesky(covariance)."
        )
    return loc, scale_tril


def check_positive(name: str, value: float) -> float:
    """Returns `value`; raises `ValueError` unless it is positive and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}.")
    return value
