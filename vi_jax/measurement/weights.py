"""One batch of log-weights, every answer: bounds, evidence, sample size and tail, with standard errors."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.bounds.power_means import check_log_weights
from vi_jax.measurement import psis

_ALPHAS = (-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0)
_BETAS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


class WithError(NamedTuple):
    """A number and its standard error, from one draw to the next of the whole batch of weights."""

    value: jax.Array
    standard_error: jax.Array


class WeightSummary(NamedTuple):
    """What K log-weights say, for each of the trailing axes `[...]`. Nats, unless said otherwise.

    Attributes:
      elbo: mean log w.
      iwae: `[number of k, ...]` mean of log (1/k) Σ w over disjoint groups of k, for k in `num_samples`.
      jackknife: log p(x) by the jackknife of first order from all K; NaN at K = 1.
      renyi: `[number of alphas, ...]` L_α from all K.
      thermodynamic: the left sum over `betas`, below log p(x) in expectation.
      thermodynamic_upper: the right sum.
      log_evidence: log (1/K) Σ w.
      smoothed_log_evidence: the same of Pareto-smoothed weights.
      effective_sample_size: (Σ w)² / Σ w², a count; it has no error of its own.
      pareto_k: k̂; NaN below 21 draws. Where it exceeds min(1 − 1/log₁₀ K, 0.7), no standard error here is to be
        trusted: the weights have a tail that these draws have not met.
      num_samples: k = 1, 2, 4, … ≤ K.
      alphas: orders of `renyi`.
      betas: nodes of the thermodynamic sums.
    """

    elbo: WithError
    iwae: WithError
    jackknife: WithError
    renyi: WithError
    thermodynamic: WithError
    thermodynamic_upper: WithError
    log_evidence: WithError
    smoothed_log_evidence: WithError
    effective_sample_size: jax.Array
    pareto_k: jax.Array
    num_samples: tuple[int, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]


def summarize_weights(
    log_w: jax.Array, *, alphas: Sequence[float] = _ALPHAS, betas: Sequence[float] = _BETAS
) -> WeightSummary:
    """Reads every bound, the evidence and the diagnostics off one batch of log-weights.

        IWAE_k:   mean and sd/√(K/k) over K/k groups
        L(all K): standard error √(Σ_k U_k² / (K (K − 1))), U_k the influence of draw k

        U = (w_k^s / mean w^s − 1) / s              for (1/s) log mean w^s; log w_k − mean log w at s = 0
        U = Σ_i Δβ_i K w̃(β_i)_k (log w_k − E_{β_i})   for thermodynamic sums

    The jackknife has the influence of IWAE_K, to first order in 1/K. One jitted call, time and memory linear in K.

    Burda, Grosse and Salakhutdinov (arXiv:1509.00519); Li and Turner (arXiv:1602.02311); Masrani, Le and Wood
    (arXiv:1907.00031); Nowozin (ICLR 2018); Vehtari et al. (arXiv:1507.02646).

    Args:
      log_w: `[K, ...]` log-weights in nats, from `vi_jax.log_weights` or anywhere else. Minus infinity is legal.
      alphas: orders of the Rényi bounds.
      betas: nodes of the thermodynamic sums, from 0 to 1.

    Returns:
      `WeightSummary`. A standard error is NaN where there is a single draw, or a value of −∞; that of IWAE_k with one
      group is that of `log_evidence`.

    Raises:
      TypeError, ValueError: log_w is no array of floats with an axis of draws, or as `bounds.renyi`, `thermodynamic`.
    """
    check_log_weights(log_w)
    alphas, betas = tuple(float(a) for a in alphas), tuple(float(b) for b in betas)
    sizes = tuple(2**i for i in range(log_w.shape[0].bit_length()))
    summary = _summarize(sizes, alphas, betas, log_w)
    return summary._replace(num_samples=sizes, alphas=alphas, betas=betas)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _summarize(
    sizes: tuple[int, ...], alphas: tuple[float, ...], betas: tuple[float, ...], log_w: jax.Array
) -> WeightSummary:
    power = functools.partial(_power_mean, log_w)
    evidence, iwae = power(1.0), [_groups(log_w, size) for size in sizes]
    # One group has no spread: its error is that of the mean of all weights.
    iwae = [
        e._replace(standard_error=evidence.standard_error) if log_w.shape[0] // k == 1 else e
        for e, k in zip(iwae, sizes, strict=True)
    ]
    smoothed = psis.smoothed_log_weights(log_w)
    several = log_w.shape[0] > 1
    jackknife = bounds.jackknife(1)(log_w) if several else jnp.full_like(evidence.value, jnp.nan)
    widths = jnp.diff(jnp.asarray(betas))
    lower, upper = bounds.thermodynamic(betas)(log_w), bounds.thermodynamic_upper(betas)(log_w)
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    renyi = (power(1.0 - alpha)._replace(value=bounds.renyi(alpha)(log_w)) for alpha in alphas)
    return WeightSummary(
        elbo=power(0.0),
        iwae=jax.tree.map(stack, *iwae),
        jackknife=WithError(jackknife, evidence.standard_error),
        renyi=jax.tree.map(stack, *renyi),
        thermodynamic=WithError(lower, _thermodynamic_error(log_w, betas[:-1], widths)),
        thermodynamic_upper=WithError(upper, _thermodynamic_error(log_w, betas[1:], widths)),
        log_evidence=evidence,
        smoothed_log_evidence=_power_mean(smoothed, 1.0),
        effective_sample_size=effective_sample_size(log_w),
        pareto_k=psis.pareto_k(log_w),
        num_samples=(),
        alphas=(),
        betas=(),
    )


def _groups(log_w: jax.Array, size: int) -> WithError:
    number = log_w.shape[0] // size
    grouped = jnp.swapaxes(log_w[: number * size].reshape(number, size, *log_w.shape[1:]), 0, 1)
    values = bounds.iwae(grouped)
    return WithError(
        values.mean(axis=0), values.std(axis=0) / math.sqrt(number - 1) if number > 1 else values[0] * jnp.nan
    )


def _power_mean(log_w: jax.Array, s: float) -> WithError:
    value = bounds.power_mean(log_w, s)
    if s == 0:
        return WithError(value, _error(log_w - value))
    return WithError(value, _error((bounds.normalized_weights(s * log_w) * log_w.shape[0] - 1) / s))


def _thermodynamic_error(log_w: jax.Array, nodes: Sequence[float], widths: jax.Array) -> jax.Array:
    influence = jnp.zeros_like(log_w)
    for beta, width in zip(nodes, widths, strict=True):
        # At β = 0 a weight of zero counts like any other: its logarithm is −∞, and so is the bound.
        weights = bounds.normalized_weights(beta * log_w) if beta else jnp.full_like(log_w, 1 / log_w.shape[0])
        mean = jnp.sum(jnp.where(weights > 0, weights * log_w, 0), axis=0)
        influence += width * log_w.shape[0] * jnp.where(weights > 0, weights * (log_w - mean), 0)
    return _error(influence)


def _error(influence: jax.Array) -> jax.Array:
    size = influence.shape[0]
    if size == 1:
        return jnp.full(influence.shape[1:], jnp.nan)
    return jnp.sqrt(jnp.sum(influence**2, axis=0) / (size * (size - 1)))


def effective_sample_size(log_w: jax.Array) -> jax.Array:
    """Returns (Σ_k w_k)² / Σ_k w_k², `[K, ...] -> [...]`; 0 where every weight is zero."""
    largest = jnp.max(log_w, axis=0)
    w = jnp.exp(log_w - jnp.where(jnp.isneginf(largest), 0, largest))
    square = jnp.sum(w**2, axis=0)
    return jnp.sum(w, axis=0) ** 2 / jnp.where(square == 0, 1, square)
