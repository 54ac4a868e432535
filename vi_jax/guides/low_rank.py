"""Gaussian q(z) with a covariance that is diagonal plus low rank, between `mean_field` and `full_rank`."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.guides.gaussian import check_positive
from vi_jax.shapes import check_noise
from vi_jax.types import Guide, PyTree

if TYPE_CHECKING:
    from vi_jax.guides.low_rank_normal import LowRankNormal

_FACTOR_SHARE = 0.1


class LowRank(NamedTuple):
    """φ of `low_rank`: z = loc + exp(log_scale) ⊙ ε₁ + factors ε₂.

    Attributes:
      loc: `[D]`.
      log_scale: `[D]`, of the diagonal part alone.
      factors: `[D, R]`, unique up to a rotation of its columns.
    """

    loc: jax.Array
    log_scale: jax.Array
    factors: jax.Array


def low_rank(dim: int, rank: int, *, initial_scale: float = 1.0) -> Guide:
    """Makes q(z) = N(loc, diag(exp(log_scale))² + U Uᵀ), U `[D, R]`, the same for every x.

    `LowRankNormal` has its density. `init` draws U from N(0, (0.1 initial_scale)² / R), which is 1 % of a variance: the
    covariance does not change with U at U = 0, so that every gradient is zero there on average, and an optimizer
    without noise would never leave it. Price: D (R + 2) parameters, O(D R) per draw, O(D R²) once per gradient.

    Ong, Nott and Smith, "Gaussian variational approximation with a factor covariance structure" (arXiv:1701.03208).

    Args:
      dim: D ≥ 1.
      rank: R ≥ 1; from D on `full_rank` does the same with fewer parameters.
      initial_scale: standard deviation of the diagonal part that `init` sets; the mean starts at zero.

    Returns:
      The guide; φ is `LowRank`, z is `[D]`, and `from_noise` takes noise `[D + R]`.

    Raises:
      TypeError, ValueError: a size is not a positive integer, or `initial_scale` is not positive and finite.
    """
    dim, rank = checks.check_positive_int("dim", dim), checks.check_positive_int("rank", rank)
    scale = check_positive("initial_scale", initial_scale)

    def init(key: jax.Array) -> LowRank:
        factors = _FACTOR_SHARE * scale / rank**0.5 * jax.random.normal(key, (dim, rank))
        return LowRank(jnp.zeros(dim), jnp.full(dim, jnp.log(scale), float), factors)

    def distribution(phi: LowRank, x: PyTree) -> "LowRankNormal":
        from vi_jax.guides.low_rank_normal import LowRankNormal

        del x
        return LowRankNormal(phi.loc, jnp.exp(phi.log_scale), phi.factors)

    def from_noise(phi: LowRank, x: PyTree, noise: jax.Array) -> jax.Array:
        return distribution(phi, x).forward(check_noise(noise, dim + rank))

    return Guide(init, distribution, from_noise=from_noise)
