"""Gaussian q(z | x): over one global latent, or with a mean that is affine in x.

All are reparameterized, z = m + L ε with ε ~ N(0, I), and say so by `from_noise`.
"""

import math
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp

from vi_jax import checks
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
    log_scale = math.log(_positive("initial_scale", initial_scale))

    def init(key: jax.Array) -> MeanField:
        del key
        return MeanField(jnp.zeros(dim), jnp.full(dim, log_scale, float))

    def distribution(phi: MeanField, x: PyTree) -> distrax.MultivariateNormalDiag:
        del x
        return distrax.MultivariateNormalDiag(phi.loc, jnp.exp(phi.log_scale))

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
    log_scale = math.log(_positive("initial_scale", initial_scale))

    def init(key: jax.Array) -> FullRank:
        del key
        return FullRank(jnp.zeros(dim), jnp.full(dim, log_scale, float), jnp.zeros(dim * (dim - 1) // 2))

    def distribution(phi: FullRank, x: PyTree) -> distrax.MultivariateNormalTri:
        del x
        return distrax.MultivariateNormalTri(phi.loc, _scale_tril(phi))

    def from_noise(phi: FullRank, x: PyTree, noise: jax.Array) -> jax.Array:
        del x
        return phi.loc + _scale_tril(phi) @ check_noise(noise, dim)

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
    scale = math.sqrt(_positive("variance", variance))

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


def _scale_tril(phi: FullRank) -> jax.Array:
    dim = phi.loc.shape[0]
    return jnp.diag(jnp.exp(phi.log_scale)).at[jnp.tril_indices(dim, -1)].set(phi.lower)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}.")
    return value
