"""Posterior means, standard deviations and quantiles from weighted draws, each with its error and its own k̂."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.bounds.power_means import check_log_weights
from vi_jax.measurement import psis

_LEVELS = (0.05, 0.5, 0.95)


class WeightedMoments(NamedTuple):
    """Moments of P parameters under weighted draws, in the parameters' own units.

    Attributes:
      mean: `[P]`.
      mean_error: `[P]`, the standard error of `mean` (MCSE), by the delta method.
      sd: `[P]`, the standard deviation.
      sd_error: `[P]`, its standard error, by the delta method.
      quantiles: `[number of levels, P]`.
      effective_sample_size: `[P]`, sd² / mean_error²: how many independent draws of the posterior would know the mean
        as well. Infinite for a parameter that is the same number in all draws, as those above the diagonal of a
        Cholesky factor, whose sd and errors are 0.
    """

    mean: jax.Array
    mean_error: jax.Array
    sd: jax.Array
    sd_error: jax.Array
    quantiles: jax.Array
    effective_sample_size: jax.Array


class PosteriorMoments(NamedTuple):
    """What S draws of a guide say about P parameters, before and after importance correction.

    Attributes:
      raw: moments of the guide, all weights equal.
      corrected: moments under the Pareto-smoothed, self-normalised weights.
      mean_pareto_k: `[P]`, the largest k̂ of w, of w (z − m)₊ and of w (z − m)₋: whether `corrected.mean` has a finite
        variance.
      sd_pareto_k: `[P]`, the same with (z − m)², for `corrected.sd`.
      levels: of the quantiles.
    """

    raw: WeightedMoments
    corrected: WeightedMoments
    mean_pareto_k: jax.Array
    sd_pareto_k: jax.Array
    levels: tuple[float, ...]


def weighted_moments(draws: jax.Array, log_w: jax.Array, *, levels: Sequence[float] = _LEVELS) -> WeightedMoments:
    """Returns mean, standard deviation and quantiles of each parameter under self-normalised weights.

        m = Σ_s w̃_s z_s,   v = Σ_s w̃_s (z_s − m)² / (1 − Σ_s w̃_s²),   w̃ = softmax(log w)
        se(m)² = Σ_s w̃_s² (z_s − m)²,   se(√v)² = Σ_s w̃_s² ((z_s − m)² − v)² / (4 v)

    Self-normalised means are biased by O(1/S), which the errors leave out; so do the errors trust the draws that were
    made. A quantile interpolates the draws at half the weight of each, Hazen's rule where all are equal.

    Owen, "Monte Carlo theory, methods and examples" (2013), section 9.2.

    Args:
      draws: `[S, P]`.
      log_w: `[S]` nats, up to a constant; zeros for draws of the posterior itself. NaN makes everything NaN.
      levels: of the quantiles, between 0 and 1.

    Raises:
      TypeError, ValueError: log_w is no vector of floats; draws are not `[S, P]`; a level is not between 0 and 1.
    """
    _check(draws, log_w, levels)
    w = bounds.normalized_weights(log_w)
    # From a draw that counts: the mean of a constant is then that constant, and large numbers keep their digits.
    origin = draws[jnp.argmax(w)]
    mean = origin + jnp.sum(_terms(w, draws - origin), axis=0)
    offset = draws - mean
    variance = jnp.sum(_terms(w, offset**2), axis=0) / (1 - jnp.sum(w**2))
    mean_error = jnp.sqrt(jnp.sum(_terms(w, offset) ** 2, axis=0))
    sd = jnp.sqrt(variance)
    sd_error = jnp.sqrt(jnp.sum(_terms(w, offset**2 - variance) ** 2, axis=0)) / (2 * sd)
    quantiles = jax.vmap(_quantiles, in_axes=(1, None, None), out_axes=1)(draws, w, jnp.asarray(levels, draws.dtype))
    is_constant = jnp.all(draws == draws[0], axis=0) & jnp.isfinite(mean)
    sizes = jnp.where(is_constant, jnp.inf, variance / mean_error**2)
    return WeightedMoments(mean, mean_error, sd, jnp.where(is_constant, 0, sd_error), quantiles, sizes)


def posterior_moments(draws: jax.Array, log_w: jax.Array, *, levels: Sequence[float] = _LEVELS) -> PosteriorMoments:
    """Returns `weighted_moments` of the guide itself and under Pareto-smoothed weights, with k̂ for each parameter.

    A self-normalised mean of h has the influence w (h − m) on one draw, so that its variance is finite where the tails
    of w and of w |h − m| have k < ½, and it may be used below `pareto_k_threshold(S)`. h is z for means and (z − m)²
    for standard deviations, m the corrected mean; the tail is that of the raw weights. Draws below and above m are two
    tails: put together, the end of the one within the other looks like a heavy tail.

    Errors are too small where k̂ is large, those of sds first, which then are low themselves: the draws that would
    widen them are the rarest.

    Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed Importance Sampling" (arXiv:1507.02646), section 3.

    Args:
      draws: `[S, P]` draws of the guide.
      log_w: `[S]` nats, their log-weights as they are, not smoothed.
      levels: of the quantiles.

    Raises:
      TypeError, ValueError: as `weighted_moments`.
    """
    _check(draws, log_w, levels)
    levels = tuple(float(level) for level in levels)
    return _posterior_moments(levels, draws, log_w)._replace(levels=levels)


@functools.partial(jax.jit, static_argnums=0)
def _posterior_moments(levels: tuple[float, ...], draws: jax.Array, log_w: jax.Array) -> PosteriorMoments:
    log_weights = jnp.stack([jnp.zeros_like(log_w), psis.smoothed_log_weights(log_w)])
    both = jax.vmap(lambda log_w: weighted_moments(draws, log_w, levels=levels))(log_weights)
    raw, corrected = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
    overall, of_mean, of_sd = _pareto_ks(draws - corrected.mean, log_w)
    return PosteriorMoments(raw, corrected, jnp.fmax(overall, of_mean), jnp.fmax(overall, of_sd), ())


def _pareto_ks(offset: jax.Array, log_w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """k̂ of w, and `[P]` the larger one of both sides for w |offset| and w offset², `offset` `[S, P]`."""
    sides = jnp.stack([offset, -offset], axis=1)
    log_size = jnp.log(jnp.maximum(sides, 0))
    of_both = log_w[:, None, None, None] + jnp.stack([log_size, 2 * log_size], axis=1)
    # One call for all of them, `[S, 1 + 4 P]`: it is one program.
    k = psis.pareto_k(jnp.concatenate([log_w[:, None], of_both.reshape(len(log_w), -1)], axis=1))
    both = k[1:].reshape(of_both.shape[1:])
    return k[0], *jnp.fmax(both[:, 0], both[:, 1])


def _terms(w: jax.Array, values: jax.Array) -> jax.Array:
    """w_s value_s; a draw without weight adds nothing, whatever it is."""
    return jnp.where(w[:, None] == 0, 0, w[:, None] * values)


def _quantiles(values: jax.Array, w: jax.Array, levels: jax.Array) -> jax.Array:
    order = jnp.argsort(values)
    sorted_w = w[order]
    return jnp.interp(levels, jnp.cumsum(sorted_w) - sorted_w / 2, values[order])


def _check(draws: jax.Array, log_w: jax.Array, levels: Sequence[float]) -> None:
    check_log_weights(log_w)
    if log_w.ndim != 1 or draws.ndim != 2 or draws.shape[0] != log_w.shape[0]:
        raise ValueError(
            f"draws must be [S, P] and log_w [S], got shapes {draws.shape} and {log_w.shape}: flatten the parameters "
            "of each draw, and give one log-weight per draw."
        )
    wrong = [level for level in levels if not 0 < level < 1]
    if wrong:
        raise ValueError(f"levels must lie between 0 and 1, got {wrong}: 0.05 is the 5 % quantile.")
