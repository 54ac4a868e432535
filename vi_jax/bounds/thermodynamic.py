"""Riemann sums of the thermodynamic integral, and the evidence upper bound at its end.

Along the path q^{1−β} p^β from the guide to the model, log p(x) = ∫₀¹ E_{π_β}[log w] dβ, and the integrand rises with
β: the left sum lies below and the right sum above. K draws give each expectation by self-normalised weights

    w̃(β) = softmax(β log w),   E_β = Σ_k w̃(β)_k log w_k
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vi_jax.bounds.derivatives import (
    ClosedForm,
    centred,
    omit_one_by_one,
    substitute_one_by_one,
    with_closed_form,
    with_shift,
)
from vi_jax.bounds.power_means import check_log_weights, normalized_weights
from vi_jax.names import named
from vi_jax.types import BoundFn


def thermodynamic(betas: Sequence[float]) -> BoundFn:
    """Makes the left Riemann sum, a lower bound.

        L = Σ_i (β_{i+1} − β_i) Σ_k w̃(β_i)_k log w_k,   0 = β_0 < … < β_P = 1

    Betas (0, 1) are the ELBO. Every draw has L ≤ IWAE_K, so E[L] ≤ log p(x) at every K.

    Masrani, Le and Wood, "The Thermodynamic Variational Objective" (arXiv:1907.00031).

    Args:
      betas: from 0 to 1, increasing.

    Returns:
      A bound, `[K, ...] -> [...]` nats. Minus infinity where any weight is zero, as the ELBO it begins with.

    Raises:
      ValueError: the betas do not increase from 0 to 1.
    """
    nodes, widths = _partition(betas)
    return named(_riemann_sum(nodes[:-1], widths), f"thermodynamic({tuple(nodes)})")


def thermodynamic_upper(betas: Sequence[float]) -> BoundFn:
    """Makes the right Riemann sum, an upper bound with exact expectations.

        L = Σ_i (β_{i+1} − β_i) Σ_k w̃(β_{i+1})_k log w_k

    Every draw has L ≥ IWAE_K; but for K draws E[L] may lie on either side of log p(x), since each expectation is
    self-normalised. Minimise it over φ: `estimators.minimized`.

    Args, returns and errors are those of `thermodynamic`; minus infinity only where every weight is zero.
    """
    nodes, widths = _partition(betas)
    return named(_riemann_sum(nodes[1:], widths), f"thermodynamic_upper({tuple(nodes)})")


def _partition(betas: Sequence[float]) -> tuple[list[float], list[float]]:
    nodes = [float(beta) for beta in betas]
    widths = [high - low for low, high in itertools.pairwise(nodes)]
    if len(nodes) < 2 or nodes[0] != 0 or nodes[-1] != 1 or not all(width > 0 for width in widths):
        raise ValueError(f"betas must increase from 0 to 1, as (0, 0.1, 1) does, got {tuple(nodes)}.")
    return nodes, widths


def _riemann_sum(nodes: Sequence[float], widths: Sequence[float]) -> BoundFn:
    terms = list(zip(nodes, widths, strict=True))

    def bound(log_w: jax.Array) -> jax.Array:
        check_log_weights(log_w)
        return functools.reduce(jnp.add, (width * _expectation(beta, log_w)[1] for beta, width in terms))

    def gradient(log_w: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, (width * _slope(beta, centred(bound, log_w)) for beta, width in terms))

    def path(log_w: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, (width * _path(beta, centred(bound, log_w)) for beta, width in terms))

    form = ClosedForm(gradient, path, None, substitute_one_by_one(bound), omit_one_by_one(bound))
    return with_shift(with_closed_form(bound, form))


def _expectation(beta: float, log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns w̃(β) `[K, ...]` and E_β `[...]`."""
    if beta == 0:
        return jnp.full_like(log_w, 1 / log_w.shape[0]), jnp.mean(log_w, axis=0)
    weights = normalized_weights(beta * log_w)
    # What has no weight adds nothing, though its logarithm be −∞; where nothing has any, the sum is −∞.
    terms = jnp.sum(jnp.where(weights == 0, 0, weights * jnp.where(weights == 0, 0, log_w)), axis=0)
    return weights, jnp.where(jnp.all(jnp.isneginf(log_w), axis=0), -jnp.inf, terms)


def _deviation(beta: float, log_w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns w̃(β) and c = 1 + β (log w − E_β), 0 where w̃ is."""
    weights, mean = _expectation(beta, log_w)
    if beta == 0:
        return weights, jnp.ones_like(weights)
    used = weights > 0
    return weights, jnp.where(used, 1 + beta * (jnp.where(used, log_w, 0) - jnp.where(jnp.isneginf(mean), 0, mean)), 0)


def _slope(beta: float, log_w: jax.Array) -> jax.Array:
    """∂E_β = w̃ c."""
    weights, c = _deviation(beta, log_w)
    return weights * c


def _path(beta: float, log_w: jax.Array) -> jax.Array:
    """∂E_β less its diagonal second derivative β w̃ [(1 − w̃) c + 1 − w̃ c]."""
    weights, c = _deviation(beta, log_w)
    return weights * (c - beta * ((1 - weights) * c + 1 - weights * c))
