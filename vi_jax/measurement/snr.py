"""How noisy a gradient is: total variance and signal-to-noise of any block of parameters, each with its interval.

Every function takes grouped moments, as `replicate_moments` returns them. The intervals are 95 % intervals by the
delete-a-group jackknife; docs/decisions/0002-intervals.md says why, and how often they cover.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.measurement import jackknife
from vi_jax.measurement.jackknife import Estimate
from vi_jax.measurement.moments import Moments, pool, select, variance
from vi_jax.types import Params, PyTree


def mean_value(moments: Moments) -> Estimate:
    """Returns the mean of a scalar draw, E g, with the interval mean ± t sd/√n; t has the degrees of G groups.

    Args:
      moments: grouped, of one scalar.
    """
    whole = pool(moments)
    value = jnp.asarray(whole.mean)
    reach = jackknife.quantile(moments.count) * jnp.sqrt(jnp.asarray(variance(whole)) / whole.count)
    return Estimate(value, value - reach, value + reach)


def total_variance(moments: Moments) -> Estimate:
    """Returns tr Cov g, the variance of one draw summed over the coordinates of the block.

        value = Σ_p m2_p / (n − 1), unbiased;   interval: log value ± t × its jackknife standard error

    The logarithm makes the error's size independent of the value and keeps the interval positive. Heavy tails lower
    the coverage, as for any interval from the same draws: a variance not yet seen cannot be estimated.

    Args:
      moments: grouped, any pytree as the block. Zero variance has the interval [0, 0]; a block of no coordinates too.

    Raises:
      ValueError: for fewer than two groups.
    """
    block = summarize_block(moments)
    error = jackknife.standard_error(jnp.log(block.variance), jnp.log(block.variance_without), block.count)
    factor = jnp.exp(jackknife.quantile(block.count) * error)
    low, high = (jnp.where(block.variance == 0, 0.0, end) for end in (block.variance / factor, block.variance * factor))
    return Estimate(block.variance, low, high)


def signal_to_noise(moments: Moments) -> Estimate:
    """Returns SNR = ‖E g‖ / √tr Cov g, of one draw, for the block as a whole.

        value = √( max(0, ‖ḡ‖² − tr Cov / n) / tr Cov ),   E ‖ḡ‖² = ‖E g‖² + tr Cov / n

    The interval is built for y = √n ‖ḡ‖ / √tr Cov, whose error has nearly the same size at every SNR, zero included.
    Let û = ḡ/‖ḡ‖ and s the jackknife standard error of √n ⟨ḡ, û⟩ / √tr Cov with û held fixed. The part of s² that is
    due to ḡ is κ = ûᵀ Cov û / tr Cov ≤ 1. Where y is near 1, û is itself noise, and the noise along its own direction
    has on average the share τ = tr Cov² / (tr Cov)² of all variance; so κ' = max(κ, τ / max(1, y²)) replaces κ, in s²
    too. Then E y² = 1 + n SNR² and Var y ≈ κ' give E y ≈ √(n SNR² + 1 − κ'), and

        n SNR² lies between (y − t s)₊² − 1 + κ'  and  (y + t s)² − 1 + κ',   each at least 0.

    With one Gaussian coordinate √n SNR lies between |z| − t s and |z| + t s. An SNR that the draws do not resolve has
    `low` = 0 exactly, and `high` then says how large it could be.

    Args:
      moments: grouped, any pytree as the block. Zero variance: infinite, or NaN if the mean is zero too (0/0).

    Raises:
      ValueError: for fewer than two groups.
    """
    block = summarize_block(moments)
    n, norm = block.count.sum(), jnp.sqrt(block.square_norm)
    along = jnp.where(norm > 0, block.along_without / norm, 0.0)
    y, y_without = (jnp.sqrt(n / v) * a for v, a in ((block.variance, norm), (block.variance_without, along)))
    noise_along = n * jackknife.standard_error(norm, along, block.count) ** 2 / block.variance
    share = jnp.minimum(1.0, jnp.maximum(noise_along, block.concentration / jnp.maximum(1.0, y**2)))
    squared_error = jackknife.standard_error(y, y_without, block.count) ** 2 + jnp.maximum(0.0, share - noise_along)
    reach = jackknife.quantile(block.count) * jnp.sqrt(squared_error)
    low = jnp.maximum(y - reach, 0.0) ** 2 - 1.0 + share
    # y below its mean at SNR 0 is chance: it does not make the upper end stricter.
    high = (jnp.maximum(y, jnp.sqrt(1.0 - share)) + reach) ** 2 - 1.0 + share
    ends = (jnp.sqrt(jnp.maximum(square, 0.0) / n) for square in (y**2 - 1.0, low, high))
    return Estimate(*(jnp.where(block.variance == 0, norm / block.variance, end) for end in ends))


def coordinate_snr(moments: Moments) -> PyTree:
    """Returns |mean|/sd of every coordinate, leaves `[...]`, as in Rainforth et al. 2018 (arXiv:1802.04537).

    Not debiased: a coordinate without signal reads `coordinate_snr_floor(n)` on average.
    """
    whole = pool(moments)
    return jax.tree.map(lambda mean, square: jnp.abs(mean) / jnp.sqrt(square), whole.mean, variance(whole))


def coordinate_snr_floor(num_replicates: int) -> float:
    """Returns √(2/(π n)), the mean of |mean|/sd over n replicates of a Gaussian coordinate with E g = 0."""
    return math.sqrt(2.0 / (math.pi * num_replicates))


def gradient_variance(moments: Moments) -> Params:
    """Returns `Params` of `total_variance` estimates, θ̄ and φ̄ apart, for moments of `Params`."""
    return _apart(total_variance, moments)


def gradient_snr(moments: Moments) -> Params:
    """Returns `Params` of `signal_to_noise` estimates, θ̄ and φ̄ apart, for moments of `Params`."""
    return _apart(signal_to_noise, moments)


def _apart(statistic: Callable[[Moments], Estimate], moments: Moments) -> Params:
    return Params(
        theta=statistic(select(moments, lambda draw: draw.theta)),
        phi=statistic(select(moments, lambda draw: draw.phi)),
    )


class Block(NamedTuple):
    """What a block's statistics need, of all n draws and with each group left out.

    Attributes:
      count: `[G]`, n_g.
      square_norm: ‖ḡ‖².
      along_without: `[G]`, ⟨ḡ, mean without g⟩.
      variance: tr Cov.
      variance_without: `[G]`.
      concentration: tr Cov² / (tr Cov)², 1 if all noise is in one direction and 1/P if it is in all alike.
    """

    count: jax.Array
    square_norm: jax.Array
    along_without: jax.Array
    variance: jax.Array
    variance_without: jax.Array
    concentration: jax.Array


def summarize_block(moments: Moments) -> Block:
    """Returns what the statistics of a block need, from grouped moments."""
    # A group is taken out by summing over the others, so nothing large cancels; what is subtracted is the small shift
    # of the mean, mean_(g) − mean = −n_g/(n − n_g) (mean_g − mean).
    whole, count = pool(moments), moments.count
    rest = count.sum() - count
    deviation = jax.tree.map(jnp.subtract, moments.mean, whole.mean)
    along = _sum(jax.tree.map(lambda mean, d: mean * d, whole.mean, deviation), count)
    between = count * _sum(jax.tree.map(jnp.square, deviation), count)
    scatter = _sum(moments.m2, count) + between
    scatter_without = jnp.where(jnp.eye(count.size, dtype=bool), 0.0, scatter).sum(axis=1) - between * count / rest
    square_norm = sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(whole.mean)), start=jnp.zeros(()))
    along_without = square_norm - along * count / rest
    total, without = scatter.sum() / (count.sum() - 1.0), scatter_without / (rest - 1.0)
    return Block(count, square_norm, along_without, total, without, _concentration(deviation, count, total))


def _concentration(deviation: PyTree, count: jax.Array, total: jax.Array) -> jax.Array:
    """Estimates tr Cov² / (tr Cov)² by the inner products of the groups' means d_g with each other.

        E n_g n_h ⟨d_g, d_h⟩² = tr Cov²,   g ≠ h

    Deviations from the common mean are not independent: for G equal groups √(n_g n_h) ⟨d_g, d_h⟩ has mean −tr Cov / G
    and variance ((1 − 1/G)² + 1/G²) tr Cov², which is corrected for.
    """
    none = jnp.zeros((count.size, count.size))
    flat = [leaf.reshape(count.size, -1) * jnp.sqrt(count)[:, None] for leaf in jax.tree.leaves(deviation)]
    gram = sum((jnp.matmul(leaf, leaf.T, precision="highest") for leaf in flat), start=none)
    share = 1.0 / count.size
    squares = jnp.where(jnp.eye(count.size, dtype=bool), 0.0, (gram / total + share) ** 2)
    return squares.sum() / (count.size * (count.size - 1)) / ((1.0 - share) ** 2 + share**2)


def _sum(grouped: PyTree, count: jax.Array) -> jax.Array:
    """Sums over all coordinates of all leaves: leaves `[G, ...]` become `[G]`."""
    sums = (leaf.reshape(count.size, -1).sum(axis=1) for leaf in jax.tree.leaves(grouped))
    return sum(sums, start=jnp.zeros(count.shape))
