"""The tail of importance weights: a generalised Pareto law fitted to the largest, its shape k̂, and smoothed weights.

Over a threshold u the weights are taken to be u + GPD(k, σ), whose survival function is (1 + k y/σ)^{−1/k}: moments of
order 1/k and above are infinite. With m of the K weights above u, m = ⌈min(K/5, 3 √K)⌉.

As in ArviZ 0.x. ArviZ 1.x rounds m down, and counts weights that tie with u among those above it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.bounds.power_means import check_log_weights

_LEAST_TAIL = 5


class _Tail(NamedTuple):
    """The m largest of K weights relative to the largest, ascending along axis 0, and the law fitted to them.

    Attributes:
      log_threshold: `[...]` log u.
      used: `[m, ...]` whether a weight lies above the threshold: not those that tie with it.
      pareto_k: `[...]` k̂; NaN where fewer than five weights are used.
      scale: `[...]` σ.
    """

    log_threshold: jax.Array
    used: jax.Array
    pareto_k: jax.Array
    scale: jax.Array


def pareto_k_threshold(num_samples: int) -> float:
    """Returns min(1 − 1/log₁₀ K, 0.7), below which k̂ of K weights is to lie (arXiv:1507.02646).

    Raises:
      TypeError, ValueError: K is not a positive integer.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    return min(1 - 1 / math.log10(num_samples), 0.7) if num_samples > 1 else -math.inf


def pareto_k(log_w: jax.Array) -> jax.Array:
    """Returns k̂, the shape of a generalised Pareto law fitted to the largest weights.

    Below `pareto_k_threshold(K)` an estimate by these weights, and its standard error, may be trusted; from 0.7 on the
    draws have missed what matters. The posterior mean of Zhang and Stephens, drawn towards ½ as by ten more weights.

    Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed Importance Sampling" (arXiv:1507.02646); Zhang and
    Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution" (2009).

    Args:
      log_w: `[K, ...]` log-weights in nats. A constant added to all changes nothing.

    Returns:
      `[...]`. NaN where fewer than five weights lie above the threshold: below 21 draws, or where they are equal.
    """
    check_log_weights(log_w)
    if _tail_size(log_w.shape[0]) < _LEAST_TAIL:
        return jnp.full(log_w.shape[1:], jnp.nan, log_w.dtype)
    return _fit(log_w - _largest(log_w))[0].pareto_k


def smoothed_log_weights(log_w: jax.Array) -> jax.Array:
    """Returns the log-weights with the m largest replaced by the quantiles of the law fitted to them, in their order.

        w_(K−m+i) ← u + F⁻¹((i − ½)/m),   none above the largest weight that was drawn

    Less variance, and a small bias: Pareto-smoothed importance sampling, with which the mean of the weights is an
    estimate of p(x). Where no law could be fitted the weights are returned as they are.

    Vehtari et al. (arXiv:1507.02646).

    Args:
      log_w: `[K, ...]` nats.

    Returns:
      `[K, ...]` nats, in the place and the units of those given.
    """
    check_log_weights(log_w)
    size = log_w.shape[0]
    if _tail_size(size) < _LEAST_TAIL:
        return log_w
    largest = _largest(log_w)
    relative = log_w - largest
    tail, ranked = _fit(relative)
    count = jnp.sum(tail.used, axis=0)
    # The i-th of those used; the first m − count are not.
    order = jnp.cumsum(tail.used, axis=0)
    share = (order - 0.5) / jnp.maximum(count, 1)
    k = jnp.where(tail.pareto_k == 0, 1, tail.pareto_k)
    excess = tail.scale * jnp.where(tail.pareto_k == 0, -jnp.log1p(-share), jnp.expm1(-k * jnp.log1p(-share)) / k)
    smooth = jnp.minimum(jnp.log(jnp.exp(tail.log_threshold) + excess), 0.0)
    smooth = jnp.where(tail.used & jnp.isfinite(tail.pareto_k), smooth, ranked)
    ranks = jnp.argsort(jnp.argsort(relative, axis=0), axis=0) - (size - smooth.shape[0])
    replaced = jnp.take_along_axis(smooth, jnp.maximum(ranks, 0), axis=0)
    return jnp.where(ranks >= 0, replaced, relative) + largest


def _largest(log_w: jax.Array) -> jax.Array:
    largest = jnp.max(log_w, axis=0)
    return jnp.where(jnp.isneginf(largest), 0, largest)


def _tail_size(num_samples: int) -> int:
    return math.ceil(min(num_samples / 5, 3 * math.sqrt(num_samples)))


def _fit(relative: jax.Array) -> tuple[_Tail, jax.Array]:
    """Fits the m largest; `relative` `[K, ...]` has 0 as its largest. Also returns them, `[m, ...]` ascending."""
    size = _tail_size(relative.shape[0])
    top = jnp.moveaxis(jax.lax.top_k(jnp.moveaxis(relative, 0, -1), size + 1)[0], -1, 0)[::-1]
    ranked = top[1:]
    log_threshold = jnp.maximum(top[0], jnp.log(jnp.finfo(relative.dtype).tiny))
    used = ranked > log_threshold
    excess = jnp.where(used, jnp.exp(ranked) - jnp.exp(log_threshold), 0)
    count = jnp.sum(used, axis=0)
    k, scale = _zhang_stephens(excess, count)
    k = jnp.where(count >= _LEAST_TAIL, (count * k + 10 * 0.5) / (count + 10), jnp.nan)
    return _Tail(log_threshold, used, k, scale), ranked


def _zhang_stephens(excess: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fits GPD(k, σ) to the last n of `excess` `[m, ...]`, ascending, by the posterior mean of b = −k/σ.

    b_i = 1/y_(n) + (1 − √(M/(i − ½))) / (3 y_(n/4)),   i = 1..M,   M = 30 + ⌊√n⌋
    k(b) = mean_j log(1 − b y_j),   log profile likelihood n (log(−b/k(b)) − k(b) − 1)
    """
    size = excess.shape[0]
    number = 30 + jnp.floor(jnp.sqrt(count)).astype(int)
    quartile = jnp.maximum(size - count + (count / 4 + 0.5).astype(int) - 1, 0)
    at_quartile = jnp.take_along_axis(excess, jnp.minimum(quartile, size - 1)[None], axis=0)
    places = jnp.arange(1, 31 + math.isqrt(size)).reshape(-1, *(1,) * count.ndim)
    b = 1 / excess[-1:] + (1 - jnp.sqrt(number / (places - 0.5))) / (3 * at_quartile)

    def shape(b: jax.Array) -> jax.Array:
        # What is not used is zero and adds nothing.
        return jnp.sum(jnp.log1p(-b * excess), axis=0) / count

    k = jax.vmap(shape)(b)
    log_likelihood = jnp.where(places <= number, count * (jnp.log(-b / k) - k - 1), -jnp.inf)
    weights = jax.nn.softmax(log_likelihood, axis=0)
    weights = jnp.where(weights >= 10 * jnp.finfo(weights.dtype).eps, weights, 0)
    mean = jnp.sum(weights * jnp.where(weights > 0, b, 0), axis=0) / jnp.sum(weights, axis=0)
    fitted = shape(mean)
    return fitted, -fitted / mean
