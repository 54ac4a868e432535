"""Power means of the weights, taken in log space: the ELBO, IWAE, Rényi and χ bounds.

    M_s(log w) = (1/s) log (1/K) Σ_k w_k^s,   s → 0: the arithmetic mean of log w

Their derivatives, and their values with one draw replaced or left out, are written once, in terms of s.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax.bounds.derivatives import ClosedForm, omit_one_by_one, substitute_one_by_one, with_closed_form, with_shift
from vi_jax.bounds.others import largest_of_others, log_sum_of_others, mean_of_others, sum_of_others
from vi_jax.names import named
from vi_jax.types import BoundFn

# Below this |s| the power mean is the mean plus a small correction, which log(mean(exp)) / s would lose to rounding.
_SMALL_EXPONENT = 0.05


def elbo(log_w: jax.Array) -> jax.Array:
    """Returns the K-draw estimate of the evidence lower bound.

        L = (1/K) Σ_k log w_k,   E[L] = E_q[log p(x, z) − log q(z | x)] = log p(x) − KL(q ‖ p(z | x)) ≤ log p(x)

    Jordan, Ghahramani, Jaakkola and Saul, "An Introduction to Variational Methods for Graphical Models" (1999).

    Args:
      log_w: `[K, ...]` log-weights in nats.

    Returns:
      `[...]` nats. Unbiased for the ELBO at every K. Minus infinity where any weight is zero.

    Raises:
      TypeError: `log_w` is not floating point.
      ValueError: `log_w` has no axis of draws, or no draw.
    """
    return power_mean(log_w, 0.0)


def iwae(log_w: jax.Array) -> jax.Array:
    """Returns the one-group estimate of the importance-weighted bound.

        L_K = E_{z_1..z_K ~ q} [log (1/K) Σ_k w_k],   ELBO = L_1 ≤ L_K ≤ L_{K+1} ≤ log p(x)

    log p(x) − L_K ≈ Var(w) / (2 K p(x)²) where the weights have a small variance.

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519).

    Args:
      log_w: `[K, ...]` log-weights in nats.

    Returns:
      `[...]` nats. Minus infinity where every weight is zero.

    Raises:
      TypeError: `log_w` is not floating point.
      ValueError: `log_w` has no axis of draws, or no draw.
    """
    return power_mean(log_w, 1.0)


def renyi(alpha: float) -> BoundFn:
    """Makes the variational Rényi bound of order α.

        L_α = (1/(1−α)) log (1/K) Σ_k w_k^{1−α}

    α = 0 is IWAE; α = 1 is the ELBO, and α = −∞ the largest log-weight (VR-max), both taken as limits. Direction of
    E[L_α]: a lower bound of log p(x) at every K for α ≥ 0; for α < 0 it lies between the ELBO and an upper bound and is
    no bound at finite K. The derivative of the largest jumps from draw to draw, so that at α = −∞
    `doubly_reparameterized` does not hold, and refuses.

    Li and Turner, "Rényi Divergence Variational Inference" (arXiv:1602.02311).

    Args:
      alpha: a Python number, finite or −∞.

    Returns:
      A bound, `[K, ...] -> [...]` nats. For α ≥ 1 it is minus infinity where any weight is zero.

    Raises:
      ValueError: `alpha` is neither finite nor −∞.
    """
    if alpha == -math.inf:
        return _largest
    return named(_make(1.0 - _check_order("alpha", alpha)), f"renyi({alpha:g})")


def cubo(n: float) -> BoundFn:
    """Makes the K-draw estimate of the χ upper bound, the Rényi bound of order α = 1 − n.

        L = (1/n) log (1/K) Σ_k w_k^n,   (1/n) log E_q[w^n] ≥ log p(x) for n ≥ 1

    Only the exact moment is an upper bound: the expected K-draw value rises to it from the ELBO, as K grows, and is
    neither an upper nor a lower bound of log p(x).

    Dieng, Tran, Ranganath, Paisley and Blei, "Variational Inference via χ Upper Bound Minimization"
    (arXiv:1611.00328).

    Args:
      n: a finite Python number, at least 1.

    Returns:
      A bound, `[K, ...] -> [...]` nats, in the natural sign. Minus infinity where every weight is zero.

    Raises:
      ValueError: `n` is not finite or is below 1.
    """
    if _check_order("n", n) < 1:
        raise ValueError(f"n must be at least 1 for a χ upper bound, got {n!r}. For other orders use renyi(1 - n).")
    return named(_make(float(n)), f"cubo({n:g})")


def power_mean(log_w: jax.Array, exponent: float) -> jax.Array:
    """Returns (1/s) log (1/K) Σ_k w_k^s, `[K, ...] -> [...]` nats, for s = `exponent`; the mean of log w at s = 0."""
    check_log_weights(log_w)
    if exponent == 0:
        return jnp.mean(log_w, axis=0)
    if abs(exponent) < _SMALL_EXPONENT:
        # With m an extreme log-weight, s (log w − m) ≤ 0 and M_s = m + log1p(mean expm1(s (log w − m))) / s exactly.
        extreme = jnp.max(log_w, axis=0) if exponent > 0 else jnp.min(log_w, axis=0)
        extreme = jax.lax.stop_gradient(jnp.where(jnp.isfinite(extreme), extreme, 0))
        return extreme + jnp.log1p(jnp.mean(jnp.expm1(exponent * (log_w - extreme)), axis=0)) / exponent
    return (jax.nn.logsumexp(exponent * log_w, axis=0) - math.log(log_w.shape[0])) / exponent


def normalized_weights(log_w: jax.Array) -> jax.Array:
    """Returns w̃ = w_k / Σ_j w_j, `[K, ...]`: zero, not NaN, where every weight is zero."""
    largest = jnp.max(log_w, axis=0)
    weights = jnp.exp(log_w - jnp.where(jnp.isneginf(largest), 0, largest))
    total = jnp.sum(weights, axis=0)
    return weights / jnp.where(total == 0, 1, total)


def uniform_weights(log_w: jax.Array) -> jax.Array:
    """Returns 1/K for every draw, `[K, ...]`."""
    return jnp.full_like(log_w, 1 / log_w.shape[0])


def _closed_form(exponent: float) -> ClosedForm:
    """The closed forms of M_s: a = softmax(s log w) and h = s (a − a²), so 1 − h/a = 1 − s + s a."""
    if exponent == 0:
        return ClosedForm(
            gradient=uniform_weights,
            path=uniform_weights,
            ratio=1.0,
            # Not through L + (b − log w)/K: a draw of zero weight would make that −∞ + ∞.
            substitute=lambda log_w, b: (sum_of_others(log_w) + b) / log_w.shape[0],
            omit=mean_of_others,
        )
    s = exponent
    if abs(s) < _SMALL_EXPONENT:
        # A difference of log-sums, divided by s, would lose its digits to rounding: one power mean per draw, O(K²).
        mean = functools.partial(power_mean, exponent=s)
        substituted, omitted = substitute_one_by_one(mean), omit_one_by_one(mean)
    else:
        substituted, omitted = _substitute_at_once(s), _omit_at_once(s)

    def gradient(log_w: jax.Array) -> jax.Array:
        return normalized_weights(s * log_w)

    def ratio(log_w: jax.Array) -> jax.Array:
        return (1 - s) + s * gradient(log_w)

    return ClosedForm(
        gradient=gradient,
        path=lambda log_w: ratio(log_w) * gradient(log_w),
        ratio=ratio,
        substitute=substituted,
        omit=omitted,
    )


def _substitute_at_once(s: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    def substituted(log_w: jax.Array, replacement: jax.Array) -> jax.Array:
        return (jnp.logaddexp(log_sum_of_others(s * log_w), s * replacement) - math.log(log_w.shape[0])) / s

    return substituted


def _omit_at_once(s: float) -> Callable[[jax.Array], jax.Array]:
    return lambda log_w: (log_sum_of_others(s * log_w) - math.log(log_w.shape[0] - 1)) / s


def _make(exponent: float) -> BoundFn:
    def bound(log_w: jax.Array) -> jax.Array:
        return power_mean(log_w, exponent)

    return with_shift(with_closed_form(bound, _closed_form(exponent)))


def _largest(log_w: jax.Array) -> jax.Array:
    check_log_weights(log_w)
    return jnp.max(log_w, axis=0)


def _indicator_of_largest(log_w: jax.Array) -> jax.Array:
    """1 for the largest, the first of equals, and 0 for the others."""
    return jnp.moveaxis(jax.nn.one_hot(jnp.argmax(log_w, axis=0), log_w.shape[0], dtype=log_w.dtype), -1, 0)


with_shift(named(_largest, "renyi(-inf)"))
with_closed_form(
    _largest,
    ClosedForm(
        gradient=_indicator_of_largest,
        path=None,
        ratio=None,
        substitute=lambda log_w, b: jnp.maximum(largest_of_others(log_w), b),
        omit=largest_of_others,
    ),
)
with_shift(with_closed_form(elbo, _closed_form(0.0)))
with_shift(with_closed_form(iwae, _closed_form(1.0)))


def check_log_weights(log_w: jax.Array) -> None:
    """Raises unless `log_w` is a floating-point array with an axis of at least one draw."""
    dtype = getattr(log_w, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        got = f"dtype {dtype}" if dtype is not None else f"{log_w!r}"
        raise TypeError(f"log_w must be an array of floating-point log-weights in nats, got {got}.")
    if log_w.ndim < 1 or log_w.shape[0] < 1:
        raise ValueError(f"log_w needs a leading axis of K ≥ 1 draws, got shape {log_w.shape}.")


def _check_order(name: str, order: float) -> float:
    if not math.isfinite(order):
        raise ValueError(f"{name} must be a finite number, got {order!r}.")
    return float(order)
