"""Estimators of the forward Kullback-Leibler divergence, KL(p(z | x) ‖ q), from draws of q.

θ follows the bound; φ descends the forward KL, whichever bound is named. The expectation under the posterior is
self-normalised with w̃ = softmax(log w): consistent, biased by O(1/K), and unchanged by a constant added to log p.
"""

import jax
import jax.numpy as jnp

from vi_jax import bounds
from vi_jax.estimators.definition import estimator
from vi_jax.types import BoundFn, Coefficients


@estimator
def wake_phi(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """The wake-phase update of φ in reweighted wake-sleep.

        model = a,  path = 0,  score = w̃

    Ascends −KL(p(z | x) ‖ q), for any guide. The bias is O(1/K); with few draws q under-covers, although the forward KL
    itself over-covers. One backward pass.

    Bornschein and Bengio, "Reweighted Wake-Sleep" (arXiv:1406.2751).
    """
    a = bounds.gradient(bound)(log_w)
    return Coefficients(model=a, path=jnp.zeros_like(a), score=bounds.normalized_weights(log_w), ratio=0.0)


@estimator
def wake_phi_doubly_reparameterized(bound: BoundFn, log_w: jax.Array) -> Coefficients:
    """`wake_phi` with its score term reparameterized: the same expectation, hence the same bias.

        model = a,  path = w̃ − w̃²,  score = 0

    Identically zero in φ at K = 1. For guides that carry the pathwise derivative. One backward pass under IWAE; two
    under any other bound.

    Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives"
    (arXiv:1810.04152), RWS-DReG.
    """
    a, weights = bounds.gradient(bound)(log_w), bounds.normalized_weights(log_w)
    ratio = 1 - weights if bound is bounds.iwae else None
    return Coefficients(model=a, path=weights * (1 - weights), score=jnp.zeros_like(a), ratio=ratio)
