"""Objectives of φ whose draws come from another distribution than the guide, which is held fixed and only scored.

    z_1..z_K ~ r(z | x),   weights p_θ(x, z_k)/r(z_k | x)

A reference or defense is `(params, x) -> distribution` for ONE datum, with `sample(seed=key)` and `log_prob(z)`, over
the guide's z. Nothing is differentiated through it.
"""

import math

import jax
import jax.numpy as jnp

from vi_jax import bounds, checks
from vi_jax.objectives.reference_draws import Reference, Scored, Weighed, objective_of
from vi_jax.types import Guide, Model, Objective, Params, PyTree


def log_variance(model: Model, guide: Guide, reference: Reference, *, num_samples: int) -> Objective:
    """Makes the log-variance objective under a free reference distribution.

        values_b = −½ Var_k(log w_kb),   log w_k = log p_θ(x, z_k) − log q_φ(z_k | x),   z_k ~ r(z | x)
        φ̄ = Σ_k (log w_k − mean log w)/(K−1) ∂_φ log q_φ(z_k | x)
        θ̄ = Σ_k softmax(log p − log r)_k ∂_θ log p_θ(x, z_k)

    The variance is normalised by K − 1, and φ̄ is unbiased for −∂_φ ½ Var_r(log w) whatever r is; where q is the
    posterior it has no variance, being 0 for every draw. With r = q it is RLOO's gradient of the ELBO; with a wider r
    it also sees what q does not draw. θ̄ ascends log (1/K) Σ_k p_θ(x, z_k)/r(z_k | x), the importance-weighted bound
    with r as the proposal and held fixed, unbiased. Price: one forward pass for the weights, one forward and backward
    pass for the gradient.

    Richter, Boustati, Nüsken, Ruiz and Akyildiz, "VarGrad: A Low-Variance Gradient Estimator for Variational Inference"
    (arXiv:2010.10436).

    Args:
      model: log p_θ(x, z).
      guide: q_φ(z | x), any.
      reference: `(params, x) -> r(z | x)` of one datum: the guide's own distribution, a wider one, the prior.
      num_samples: K ≥ 2 draws of r per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats squared, ascent direction). Where any draw has p or q of zero the value
      is −∞, and the gradient of that datum 0.

    Raises:
      TypeError, ValueError: K is not an integer, or below 2. When called: the reference's draws are not shaped like the
        guide's; and as `value_and_grad` for key, parameters and data.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError(f"log_variance is a variance over draws and needs num_samples ≥ 2, got {num_samples}.")

    def propose(params: Params, x: PyTree, keys: jax.Array) -> tuple[PyTree, jax.Array]:
        r = reference(params, x)
        z = jax.vmap(lambda key: r.sample(seed=key))(keys)
        return z, jax.vmap(r.log_prob)(z)

    def weigh(scored: Scored) -> Weighed:
        # What neither p nor q can make is as impossible as what p alone cannot: not −∞ + ∞.
        log_w = jnp.where(jnp.isneginf(scored.log_p), -jnp.inf, scored.log_p - scored.log_q)
        values, score = -bounds.log_variance(log_w), bounds.gradient(bounds.log_variance)(log_w)
        return Weighed(values, bounds.normalized_weights(scored.log_p - scored.log_r), score)

    return objective_of(model, guide, reference, propose, weigh, num_samples)


def defensive_wake_phi(model: Model, guide: Guide, defense: Reference, *, share: float, num_samples: int) -> Objective:
    """Makes the wake-phase objective with draws of a mixture of the guide and a heavier distribution.

        r = (1 − share) q_φ(z | x) + share · defense(z | x),   w_k = p_θ(x, z_k)/r(z_k | x),   w̃ = softmax(log w)
        values_b = log (1/K) Σ_k w_kb,   θ̄ = Σ_k w̃_k ∂_θ log p_θ(x, z_k),   φ̄ = Σ_k w̃_k ∂_φ log q_φ(z_k | x)

    w is at most p/(share · defense), however narrow the guide: with the prior as defense, at most the likelihood over
    the share. φ̄ ascends −KL(p(z | x) ‖ q) with the self-normalisation bias of `estimators.wake_phi`, O(1/K), but with
    a constant that does not run away where q misses part of the posterior. θ̄ is unbiased for the gradient of the
    importance-weighted bound with r as the proposal and held fixed. Price: two draws for each that is used; one forward
    pass for the weights, one forward and backward pass for the gradient.

    Le, Kosiorek, Siddharth, Teh and Wood, "Revisiting Reweighted Wake-Sleep" (arXiv:1805.10469).

    Args:
      model: log p_θ(x, z).
      guide: q_φ(z | x), any.
      defense: `(params, x) -> distribution` of one datum over the guide's z: the prior, or one with heavy tails.
      share: of the draws that come from the defense, between 0 and 1.
      num_samples: K ≥ 1 draws of the mixture per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction). Where every weight is zero the value is −∞, and the
      gradient of that datum 0.

    Raises:
      TypeError, ValueError: K is not a positive integer; `share` is not between 0 and 1. When called: the defense's
        draws are not shaped like the guide's; and as `value_and_grad` for key, parameters and data.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share!r}. Without a defense use estimators.wake_phi.")

    def propose(params: Params, x: PyTree, keys: jax.Array) -> tuple[PyTree, jax.Array]:
        q, d = guide.distribution(params.phi, x), defense(params, x)

        def draw(key: jax.Array) -> PyTree:
            coin, ours, theirs = jax.random.split(key, 3)
            defend = jax.random.bernoulli(coin, share)
            return jax.tree.map(lambda a, b: jnp.where(defend, b, a), q.sample(seed=ours), d.sample(seed=theirs))

        def log_prob(z: PyTree) -> jax.Array:
            return jnp.logaddexp(math.log1p(-share) + q.log_prob(z), math.log(share) + d.log_prob(z))

        z = jax.vmap(draw)(keys)
        return z, jax.vmap(log_prob)(z)

    def weigh(scored: Scored) -> Weighed:
        log_w = scored.log_p - scored.log_r
        weights = bounds.normalized_weights(log_w)
        return Weighed(bounds.iwae(log_w), weights, weights)

    return objective_of(model, guide, defense, propose, weigh, num_samples)
