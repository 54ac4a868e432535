"""Markovian score climbing: the forward divergence by a Markov chain that has the posterior as its stationary law.

Let s be the chain's state, z_1 … z_{K−1} ~ q and z_K = s. With w = p(x, z) / q(z) and w̃ = w / Σ w, the next state is
z_k with probability w̃_k. If s ~ p(z | x), then for every f

    E[Σ_k w̃_k f(z_k)] = E_{q^K}[(w_K / p(x)) Σ_k w̃_k f(z_k)] = E_{q^K}[(1/K) Σ_j w_j / p(x) Σ_k w̃_k f(z_k)]
                      = E_{q^K}[(1/K) Σ_k w_k f(z_k)] / p(x) = E_{p(z | x)}[f]

the middle step because the sum over k is symmetric in the draws. So the posterior is invariant, and the weighted sum is
unbiased at every K ≥ 2, which it is not over K draws of q alone.
"""

import jax
import jax.numpy as jnp

from vi_jax import bounds, checks
from vi_jax.estimators import wake_phi
from vi_jax.legality import refuse_dependent, refuse_scaled
from vi_jax.log_weights import (
    Draws,
    batch_draws,
    check_inputs,
    check_problem,
    guide_log_prob,
    model_log_joint,
    sample_and_score,
)
from vi_jax.objectives.state import PerDatum, StatefulObjective
from vi_jax.streaming import pull_weighted
from vi_jax.types import Guide, Model, Params, PyTree


def score_climbing(model: Model, guide: Guide, *, num_samples: int) -> StatefulObjective:
    """Makes the objective whose φ climbs E_{p(z | x)}[log q_φ(z | x)] along a chain of conditional importance sampling.

        z_1 … z_{K−1} ~ q_φ(z | x),   z_K = the chain's state,   w̃ = softmax(log w)
        φ̄ = Σ_k w̃_k ∂_φ log q_φ(z_k | x),   θ̄ = Σ_k w̃_k ∂_θ log p_θ(x, z_k)
        next state = z_k with probability w̃_k,   values_b = log (1/K) Σ_k w_k

    Once the chain is in its stationary law, the posterior, φ̄ is unbiased for −∂_φ KL(p(z | x) ‖ q), at every K and for
    any guide, and θ̄ for ∂_θ log p_θ(x), by Fisher's identity; `estimators.wake_phi` has the same sums over draws of q
    alone, and a bias of order 1/K. While the parameters move, the posterior and the kernel move with them, and what is
    left of the bias depends on how fast. θ̄ is the gradient of the values with the draws held fixed; the values are no
    lower bound: one of the K draws is the posterior's, and their mean lies above log p(x), by less the larger K is. A
    large K moves the chain more often.

    A state of zero weight (log w = −∞) is left for any draw of positive weight. If all K weights are zero, the value
    is −∞, the datum adds nothing to the gradient and its chain stays where it is; it stays too where a weight is
    infinite or NaN, as it is where the guide has no density at the state, and value and gradient show that.

    Price: one forward pass over K draws for their weights, then one forward and one backward pass, none of it through
    the draws: a third more operations than `estimators.wake_phi`. All K are held at once.

    Naesseth, Lindsten and Blei, "Markovian Score Climbing: Variational Inference with KL(p‖q)" (arXiv:2003.10374).

    Args:
      model: log p_θ(x, z) for one datum and one draw.
      guide: q_φ(z | x) for one datum, continuous or discrete.
      num_samples: K ≥ 2, the chain's state among them.

    Returns:
      (key, params, x, chain) -> (values `[B]` in nats, ascent direction, next chain); the chain is a `PerDatum` of one
      latent per datum, of `start_chain` or from anywhere else. A pure, jitted function. For `fit` the chain goes into
      `init_state(…, extra=chain)`.

    Raises:
      ValueError: K is below 2; when called, the chain does not have one latent of the guide's shape per datum, and as
        `value_and_grad`.
      TypeError: K is not an integer; when called, as `value_and_grad`.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError(
            "num_samples counts the chain's state and must be at least 2, got 1: a chain that meets no draw stays put."
        )
    coefficients = wake_phi(bounds.iwae)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree, chain: PerDatum) -> tuple[jax.Array, Params, PerDatum]:
        check_problem(model, guide, params, x)
        refuse_scaled("score_climbing", model, x)
        refuse_dependent("score_climbing", guide)
        draws = batch_draws(key, x, jnp.arange(num_samples - 1))
        z = _with_state(sample_and_score(guide, params.phi, draws)[0], chain)
        log_w = (model_log_joint(model, params.theta, x, z) - guide_log_prob(guide, params.phi, x, z)).T
        weights = coefficients(log_w).model
        theta = pull_weighted(lambda theta, x, z: model_log_joint(model, theta, x, z), params.theta, x, z, weights)
        phi = pull_weighted(lambda phi, x, z: guide_log_prob(guide, phi, x, z), params.phi, x, z, weights)
        return bounds.iwae(log_w), Params(theta, phi), _next_state(draws, z, log_w)

    def objective(key: jax.Array, params: Params, x: PyTree, chain: PerDatum) -> tuple[jax.Array, Params, PerDatum]:
        check_inputs(key, params, x)
        if not isinstance(chain, PerDatum):
            raise TypeError(f"chain must be a PerDatum, got {type(chain).__name__}: {_START}")
        return compute(key, params, x, chain)

    return objective


def start_chain(key: jax.Array, guide: Guide, params: Params, x: PyTree) -> PerDatum:
    """Returns a chain for every datum, its first state a draw of the guide.

    The chain is in its stationary law after it has forgotten this state: after a few steps where q covers the
    posterior, and after many where it does not.

    Args:
      key: a typed key, consumed.
      guide: q_φ(z | x).
      params: θ and φ.
      x: the data, all N of them where batches are drawn later.

    Returns:
      One latent per datum, leaves `[N, ...]`.
    """
    check_inputs(key, params, x)
    draws = batch_draws(key, x, jnp.arange(1))
    return PerDatum(jax.tree.map(lambda leaf: leaf[:, 0], sample_and_score(guide, params.phi, draws)[0]))


def _with_state(z: PyTree, chain: PerDatum) -> PyTree:
    """Returns the K candidates `[B, K, ...]`: K − 1 draws, and the chain's state as the last."""
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0], *leaf.shape[2:]), leaf.dtype), z)
    described = [jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree) for tree in (chain.rows, expected)]
    if described[0] != described[1]:
        raise ValueError(f"chain has rows {described[0]}, but the guide draws {described[1]} for this batch: {_START}")
    return jax.tree.map(lambda drawn, state: jnp.concatenate([drawn, state[:, None]], axis=1), z, chain.rows)


_START = "make it with objectives.start_chain(key, guide, params, x), on the data that the objective is given."


def _next_state(draws: Draws, z: PyTree, log_w: jax.Array) -> PerDatum:
    """Returns candidate k with probability w̃_k, and the last where there is no such law: it stays."""
    last = log_w.shape[0] - 1
    # Draw number K − 1 is not drawn, so that its key is free.
    keys = jax.vmap(jax.random.fold_in, (0, None))(draws.keys, last)
    chosen = jax.vmap(jax.random.categorical)(keys, log_w.T)
    chosen = jnp.where(jnp.isfinite(bounds.iwae(log_w)), chosen, last)
    return PerDatum(jax.tree.map(lambda leaf: leaf[jnp.arange(chosen.size), chosen], z))
