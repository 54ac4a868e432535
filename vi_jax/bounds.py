"""Bounds on log p(x): functions of K log-weights and of nothing else.

    log w_k = log p_θ(x, z_k) − log q_φ(z_k | x),   z_1..z_K ~ q_φ(z | x) independently

Every bound here is a power mean of the weights, taken in log space,

    M_s(log w) = (1/s) log (1/K) Σ_k w_k^s,   s → 0: the arithmetic mean of log w

so their derivatives, and their values with one draw replaced or left out, are written once, in terms of s. A bound of
your own is any function `[K, ...] -> [...]` that treats the trailing axes one by one; automatic differentiation then
takes the place of the closed forms, at the price that each estimator states.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

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

    α = 0 is IWAE; α = 1 is the ELBO, taken as the limit. Direction of E[L_α]: a lower bound of log p(x) at every K for
    α ≥ 0; for α < 0 it lies between the ELBO and an upper bound and is no bound at finite K.

    Li and Turner, "Rényi Divergence Variational Inference" (arXiv:1602.02311).

    Args:
      alpha: a finite Python number.

    Returns:
      A bound, `[K, ...] -> [...]` nats. For α ≥ 1 it is minus infinity where any weight is zero.

    Raises:
      ValueError: `alpha` is not finite.
    """
    return _make(1.0 - _check_order("alpha", alpha))


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
    return _make(float(n))


def power_mean(log_w: jax.Array, exponent: float) -> jax.Array:
    """Returns (1/s) log (1/K) Σ_k w_k^s, `[K, ...] -> [...]` nats, for s = `exponent`; the mean of log w at s = 0."""
    _check_log_weights(log_w)
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


def mean_of_others(log_w: jax.Array) -> jax.Array:
    """Returns (1/(K−1)) Σ_{j≠k} log w_j for every k, `[K, ...]`. Linear in K; no cancellation against draw k."""
    return _exclusive(jnp.cumsum, jnp.add, 0.0, log_w) / (log_w.shape[0] - 1)


def log_sum_of_others(log_w: jax.Array) -> jax.Array:
    """Returns log Σ_{j≠k} w_j for every k, `[K, ...]` nats. Linear in K; no cancellation against draw k."""
    return _exclusive(jax.lax.cumlogsumexp, jnp.logaddexp, -jnp.inf, log_w)


class ClosedForm(NamedTuple):
    """What is known of a bound beyond its value. Write a = ∇L and h = diag ∇²L, both with respect to log w.

    Attributes:
      gradient: `log_w -> a`, `[K, ...]`.
      ratio: `log_w -> 1 − h/a`, `[K, ...]`, bounded and without a quotient; the Python float 1.0 where h ≡ 0.
      substitute: `(log_w, replacement) -> [K, ...]`, L with log w_k replaced by replacement_k, for every k.
      omit: `log_w -> [K, ...]`, L on the K−1 draws other than k, for every k.
    """

    gradient: Callable[[jax.Array], jax.Array]
    ratio: Callable[[jax.Array], jax.Array | float]
    substitute: Callable[[jax.Array, jax.Array], jax.Array]
    omit: Callable[[jax.Array], jax.Array]


def closed_form(bound: BoundFn) -> ClosedForm | None:
    """Returns the closed forms that `bound` carries, or None for a plain function."""
    return getattr(bound, "closed_form", None)


def is_linear(bound: BoundFn, log_w: jax.Array) -> bool:
    """Whether a = ∇L is known not to depend on log w, so that Σ_k a_k ∂_φ log q(z_k) has mean zero."""
    form = closed_form(bound)
    return form is not None and type(form.ratio(log_w)) is float


def gradient(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    """Returns `log_w -> a = ∇L`, `[K, ...]`: in closed form if the bound has one, else by automatic differentiation."""
    form = closed_form(bound)
    return form.gradient if form else jax.grad(lambda log_w: jnp.sum(bound(log_w)))


def substitute(bound: BoundFn) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns `(log_w, replacement) -> L with log w_k replaced`, `[K, ...]`. Without a closed form O(K²) time."""
    form = closed_form(bound)
    return form.substitute if form else _substitute_one_by_one(bound)


def omit(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    """Returns `log_w -> L on the K−1 draws other than k`, `[K, ...]`. Without a closed form O(K²) time."""
    form = closed_form(bound)
    return form.omit if form else _omit_one_by_one(bound)


def _substitute_one_by_one(bound: BoundFn) -> Callable[[jax.Array, jax.Array], jax.Array]:
    def substituted(log_w: jax.Array, replacement: jax.Array) -> jax.Array:
        return jax.lax.map(lambda k: bound(log_w.at[k].set(replacement[k])), jnp.arange(log_w.shape[0]))

    return substituted


def _omit_one_by_one(bound: BoundFn) -> Callable[[jax.Array], jax.Array]:
    def without(log_w: jax.Array) -> jax.Array:
        keep = jnp.arange(log_w.shape[0] - 1)
        return jax.lax.map(lambda k: bound(log_w[jnp.where(keep < k, keep, keep + 1)]), jnp.arange(log_w.shape[0]))

    return without


def _closed_form(exponent: float) -> ClosedForm:
    """The closed forms of M_s: a = softmax(s log w) and h = s (a − a²), so 1 − h/a = 1 − s + s a."""
    if exponent == 0:
        return ClosedForm(
            gradient=lambda log_w: jnp.full_like(log_w, 1 / log_w.shape[0]),
            ratio=lambda log_w: 1.0,
            # Not through L + (b − log w)/K: a draw of zero weight would make that −∞ + ∞.
            substitute=lambda log_w, b: mean_of_others(log_w) * (1 - 1 / log_w.shape[0]) + b / log_w.shape[0],
            omit=mean_of_others,
        )
    s = exponent
    if abs(s) < _SMALL_EXPONENT:
        # A difference of log-sums, divided by s, would lose its digits to rounding: one power mean per draw, O(K²).
        mean = functools.partial(power_mean, exponent=s)
        substituted, omitted = _substitute_one_by_one(mean), _omit_one_by_one(mean)
    else:
        substituted, omitted = _substitute_at_once(s), _omit_at_once(s)
    return ClosedForm(
        gradient=lambda log_w: normalized_weights(s * log_w),
        ratio=lambda log_w: (1 - s) + s * normalized_weights(s * log_w),
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

    vars(bound).update(closed_form=_closed_form(exponent))
    return bound


vars(elbo).update(closed_form=_closed_form(0.0))
vars(iwae).update(closed_form=_closed_form(1.0))


def _exclusive(
    cumulate: Callable[..., jax.Array],
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    identity: float,
    values: jax.Array,
) -> jax.Array:
    """Combines all values but the k-th along axis 0, from what comes before k and what comes after."""
    edge = jnp.full_like(values[:1], identity)
    before = cumulate(values, axis=0)[:-1]
    after = cumulate(values[::-1], axis=0)[-2::-1]
    return combine(jnp.concatenate([edge, before]), jnp.concatenate([after, edge]))


def _check_log_weights(log_w: jax.Array) -> None:
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
