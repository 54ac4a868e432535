"""Estimators that need no derivative through the draw: they hold for discrete guides too.

    model = a,  path = 0,  score_k = L − b_k − a_k

with a baseline b_k that does not depend on z_k, which leaves the expectation as it is.
"""

import math

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.estimators.definition import Tolerance, estimator, require_two_samples, with_tolerance
from vi_jax.types import BoundFn, Coefficients


@estimator
def score_function(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """REINFORCE: score_k = L − a_k, without a baseline.

    Unbiased for ∇E[L_K] of any locally Lipschitz bound and any guide. Its variance grows with K, and with any constant
    added to log p. One backward pass, none of it through the draws.

    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning" (1992).
    """
    return _score(bounds.gradient(bound)(log_w), bound(log_w))


@estimator
def leave_one_out(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """Score function with L on the other K−1 draws as each draw's baseline; K ≥ 2.

        score_k = L − L(log w without k) − a_k

    Where a is constant, which is the ELBO, −a_k has mean zero against the score and is dropped: what remains,
    (log w_k − mean_j log w_j)/(K−1), is RLOO, and equals VarGrad. Unbiased for ∇E[L_K], any guide. One backward pass.

    Kool, van Hoof and Welling, "Buy 4 REINFORCE Samples, Get a Baseline for Free!" (2019); Richter et al., "VarGrad"
    (arXiv:2010.10436).
    """
    require_two_samples("leave_one_out", log_w)
    log_w = _centred(bound, log_w)
    a = bounds.gradient(bound)(log_w)
    advantage = bound(log_w) - _finite_baseline(bounds.omit(bound)(log_w))
    if bounds.is_linear(bound, log_w):
        return Coefficients(model=a, path=jnp.zeros_like(a), score=advantage, ratio=0.0)
    return _score(a, advantage)


@estimator
def vimco(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """VIMCO: the baseline is L with log w_k replaced by the mean of the other log-weights; K ≥ 2.

        score_k = L − L(log w with log w_k ← (1/(K−1)) Σ_{j≠k} log w_j) − a_k

    The geometric form of the paper. Unbiased for ∇E[L_K], any guide; unchanged by a constant added to log p. One
    backward pass.

    Mnih and Rezende, "Variational inference for Monte Carlo objectives" (arXiv:1602.06725).
    """
    require_two_samples("vimco", log_w)
    log_w = _centred(bound, log_w)
    return _vimco(bound, log_w, bounds.mean_of_others(log_w))


@estimator
def vimco_arithmetic(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """VIMCO with the arithmetic mean of the other weights in place of the geometric one; K ≥ 2.

        score_k = L − L(log w with log w_k ← log (1/(K−1)) Σ_{j≠k} w_j) − a_k

    For IWAE it equals `leave_one_out`. Unbiased for ∇E[L_K], any guide. One backward pass.

    Mnih and Rezende, "Variational inference for Monte Carlo objectives" (arXiv:1602.06725).
    """
    require_two_samples("vimco_arithmetic", log_w)
    log_w = _centred(bound, log_w)
    return _vimco(bound, log_w, bounds.log_sum_of_others(log_w) - math.log(log_w.shape[0] - 1))


def _vimco(bound: BoundFn, log_w: jax.Array, replacement: jax.Array) -> Coefficients:
    baseline = bounds.substitute(bound)(log_w, replacement)
    return _score(bounds.gradient(bound)(log_w), bound(log_w) - _finite_baseline(baseline))


def _score(a: jax.Array, advantage: jax.Array) -> Coefficients:
    return Coefficients(model=a, path=jnp.zeros_like(a), score=advantage - a, ratio=0.0)


def _centred(bound: BoundFn, log_w: jax.Array) -> jax.Array:
    """Moves the largest log-weight to 0 where that provably leaves every difference L − L₋ₖ as it is.

    L − L₋ₖ is of order 1/K while both terms are of the order of log p(x): in float32 an uncentred difference has lost
    its digits at |log p(x)| ≈ 10⁴ and K ≈ 10³. Power means shift with their argument; a plain function may not.
    """
    if bounds.closed_form(bound) is None:
        return log_w
    largest = jnp.max(log_w, axis=0)
    return log_w - jnp.where(jnp.isfinite(largest), largest, 0)


def _finite_baseline(baseline: jax.Array) -> jax.Array:
    """Replaces −∞, the baseline of a draw whose companions all have zero weight, by 0.

    Any function of the other draws is a legal baseline; this one keeps the score finite.
    """
    return jnp.where(jnp.isneginf(baseline), 0, baseline)


# With the ELBO an advantage is linear in log w_k, and what it is compared with may be any function of the other draws.
for _rule in (score_function, leave_one_out, vimco, vimco_arithmetic):
    with_tolerance(_rule, Tolerance(scaled_likelihood=bounds.is_linear))
