"""Estimators that need no derivative through the draw: they hold for discrete guides too.

    model = a,  path = 0,  score_k = L − b_k − a_k

with a baseline b_k that does not depend on z_k, which leaves the expectation as it is.
"""

import functools
import math

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.bounds.derivatives import centred
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
    log_w = centred(bound, log_w)
    a = bounds.gradient(bound)(log_w)
    advantage = bound(log_w) - _finite_baseline(bounds.omit(bound)(log_w))
    if bounds.is_linear(bound):
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
    log_w = centred(bound, log_w)
    return _vimco(bound, log_w, bounds.mean_of_others(log_w))


@estimator
def vimco_arithmetic(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """VIMCO with the arithmetic mean of the other weights in place of the geometric one; K ≥ 2.

        score_k = L − L(log w with log w_k ← log (1/(K−1)) Σ_{j≠k} w_j) − a_k

    For IWAE it equals `leave_one_out`. Unbiased for ∇E[L_K], any guide. One backward pass.

    Mnih and Rezende, "Variational inference for Monte Carlo objectives" (arXiv:1602.06725).
    """
    require_two_samples("vimco_arithmetic", log_w)
    log_w = centred(bound, log_w)
    return _vimco(bound, log_w, bounds.log_sum_of_others(log_w) - math.log(log_w.shape[0] - 1))


@estimator
def ovis(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """The score function of IWAE that keeps of log Ẑ = log mean w only what the draw itself adds to it; K ≥ 2.

        score_k = log Ẑ − b_k − w̃_k,   b_k = log (1/K) Σ_{j≠k} w_j
                = −log(1 − w̃_k) − w̃_k = ½ w̃² + ⅓ w̃³ + …

    b_k knows nothing of z_k: unbiased for ∇E[L_K], any guide. It differs from `leave_one_out` by the constant
    log(1 − 1/K) alone, which leaves a score of second order in the weight: the signal-to-noise ratio in φ rises like
    √K without a derivative of the draws. One backward pass.

    The asymptotic form, at γ = 0 of the paper's Eq. 17 as its authors' code has it. γ > 0 subtracts γ w̃_k from the
    baseline, which depends on z_k: at γ = 1 it is biased by the gradient of `wake_phi`, and is not offered.

    Liévin, Dittadi, Christensen and Winther, "Optimal Variance Control of the Score Function Gradient Estimator for
    Importance Weighted Bounds" (arXiv:2008.01998).

    Raises:
      ValueError: the bound is not `bounds.iwae`, or K = 1.
    """
    if bound is not bounds.iwae:
        raise ValueError(
            f"ovis is a baseline for iwae alone, not for {bounds.name_of(bound)}: use leave_one_out or vimco."
        )
    require_two_samples("ovis", log_w)
    log_w, weights = centred(bound, log_w), bounds.normalized_weights(log_w)
    log_rest = bounds.log_sum_of_others(log_w)
    score = _effect_on_log_mean(weights, jax.nn.logsumexp(log_w, axis=0) - log_rest)
    # Where the others have no weight their baseline is −∞, and is taken as 0.
    score = jnp.where(jnp.isneginf(log_rest), bound(log_w) - weights, score)
    return Coefficients(model=weights, path=jnp.zeros_like(weights), score=score, ratio=0.0)


def _effect_on_log_mean(weights: jax.Array, gap: jax.Array) -> jax.Array:
    """Returns −log(1 − w̃) − w̃ = w̃²/2 + w̃³/3 + …, given w̃ and gap = −log(1 − w̃).

    For small w̃ by −log(1 − w̃) = 2 artanh s, s = w̃/(2 − w̃), of which 2s − w̃ = w̃ s is known exactly; below w̃ = ¼ is
    s < 1/7, and ten more terms are all the digits there are.
    """
    s = weights / (2 - weights)
    tail = functools.reduce(lambda total, n: total * s**2 + 1 / n, range(21, 1, -2), jnp.zeros_like(s))
    return jnp.where(weights < 0.25, weights * s + 2 * s**3 * tail, gap - weights)


def _vimco(bound: BoundFn, log_w: jax.Array, replacement: jax.Array) -> Coefficients:
    baseline = bounds.substitute(bound)(log_w, replacement)
    return _score(bounds.gradient(bound)(log_w), bound(log_w) - _finite_baseline(baseline))


def _score(a: jax.Array, advantage: jax.Array) -> Coefficients:
    return Coefficients(model=a, path=jnp.zeros_like(a), score=advantage - a, ratio=0.0)


def _finite_baseline(baseline: jax.Array) -> jax.Array:
    """Replaces an infinite baseline, as of a draw whose companions all have zero weight, by 0.

    Any function of the other draws is a legal baseline; this one keeps the score finite.
    """
    return jnp.where(jnp.isinf(baseline), 0, baseline)


# With the ELBO an advantage is linear in log w_k, and what it is compared with may be any function of the other draws.
for _rule in (score_function, leave_one_out, vimco, vimco_arithmetic):
    with_tolerance(_rule, Tolerance(scaled_likelihood=bounds.is_linear))
