"""ARM and DisARM: antithetic pairs of binary draws, for guides whose bits are independent.

    z_j = 1[u_j < sigmoid(l_j)],   z̃_j = 1[1 − u_j < sigmoid(l_j)],   u uniform

A pair takes the place of a draw: of K pairs, (z_1, …, z_K) and (z̃_1, …, z̃_K) are K independent draws each. Write
s_k = L − a_k for what the score of z_k is multiplied by in REINFORCE, a = ∇L; then

    ∂E[L_K]/∂l_j = E Σ_k (s_k − s_k[z_k ← z̃_k]) factor_j(u_k, z_k, z̃_k)

which compares a draw with its mirror image while all others stand still. For the ELBO it is (log w_k − log w̃_k)/K.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vi_jax import bounds, checks
from vi_jax.bounds.derivatives import centred
from vi_jax.guides.concrete import BinaryConcrete
from vi_jax.guides.relaxed import relaxation
from vi_jax.legality import refuse_scaled
from vi_jax.log_weights import batch_draws, check_problem, checked, model_log_joint
from vi_jax.types import BoundFn, Guide, Model, Objective, Params, PyTree

# (u, z, z̃, logits) -> how the difference within a pair moves each logit.
Factor = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def disarm(model: Model, guide: Guide, bound: BoundFn = bounds.elbo, *, num_pairs: int) -> Objective:
    """Makes a bound of K draws with the DisARM gradient of φ, from K antithetic pairs.

        factor_j = ½ (−1)^{z̃_j} 1[z_j ≠ z̃_j] sigmoid(|l_j|)

    Unbiased for ∇E[L_K], K = `num_pairs`. For a bound of several draws it is local, as the paper's for IWAE: one draw
    at a time against its mirror image, here with z and z̃ in turn as the draws that stand still. Where a bit is nearly
    sure its two draws agree and add no noise. A value is the mean of L over the draws and over their mirror images.
    Price: two evaluations of the model per pair, one backward pass through θ, and one through the encoder; O(K²) for a
    bound without closed forms. Where an L is infinite, what it would multiply is zero; θ̄ is NaN where
    log p = −∞ has a derivative that is.

    Dong, Mnih and Tucker, "DisARM: An Antithetic Gradient Estimator for Binary Latent Variables" (arXiv:2006.10680).

    Args:
      model: log p_θ(x, z) for z `[d]` of 0 and 1, floating.
      guide: its distribution is a distrax `Independent` of `Bernoulli`, as of `guides.bernoulli` and
        `guides.bernoulli_encoder`.
      bound: any whose gradient exists: the −a_k in s_k is kept, which matters for all but the ELBO.
      num_pairs: K ≥ 1 pairs per datum.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction).

    Raises:
      TypeError, ValueError: `num_pairs` is not a positive integer. When called: the distribution is of another kind;
        the model scales the likelihood of a minibatch, under another bound than the ELBO; and as `value_and_grad` for
        key, parameters and data.
    """

    def factor(u: jax.Array, z: jax.Array, mirrored: jax.Array, logits: jax.Array) -> jax.Array:
        del u
        return jnp.where(z == mirrored, 0, 0.5 - mirrored) * jax.nn.sigmoid(jnp.abs(logits))

    return _antithetic("disarm", model, guide, bound, num_pairs, factor)


def arm(model: Model, guide: Guide, bound: BoundFn = bounds.elbo, *, num_pairs: int) -> Objective:
    """Makes a bound of K draws with the ARM gradient of φ, from K antithetic pairs.

        factor_j = ½ − u_j

    Unbiased as `disarm`, which is its expectation given the pair (z, z̃), at the same price and with less variance in
    every case: ARM is here to be compared with.

    Yin and Zhou, "ARM: Augment-REINFORCE-Merge Gradient for Stochastic Binary Networks" (arXiv:1807.11143).

    Args, returns and errors are those of `disarm`.
    """

    def factor(u: jax.Array, z: jax.Array, mirrored: jax.Array, logits: jax.Array) -> jax.Array:
        del z, mirrored, logits
        return 0.5 - u

    return _antithetic("arm", model, guide, bound, num_pairs, factor)


def _antithetic(name: str, model: Model, guide: Guide, bound: BoundFn, num_pairs: int, factor: Factor) -> Objective:
    num_pairs = checks.check_positive_int("num_pairs", num_pairs)

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        if not bounds.is_linear(bound):
            refuse_scaled(f"{name} of {bounds.name_of(bound)}", model, x)
        draws = batch_draws(key, x, jnp.arange(num_pairs))

        def encode(phi: PyTree) -> jax.Array:
            return jax.vmap(lambda x: _logits(name, guide.distribution(phi, x)))(x)

        logits, pull_logits = jax.vjp(encode, params.phi)  # [B, d]
        u = _uniform(draws.keys, draws.indices, logits)  # [B, K, d]
        of_draw = logits[:, None]
        pair = [(v < jax.nn.sigmoid(of_draw)).astype(logits.dtype) for v in (u, 1 - u)]

        def joint(theta: PyTree) -> jax.Array:
            return jnp.stack([model_log_joint(model, theta, x, z).T for z in pair])

        log_p, pull_theta = jax.vjp(joint, params.theta)  # [2, K, B]
        log_w = log_p - jnp.stack([_log_q(logits, z) for z in pair])
        values = jnp.stack([bound(w) for w in log_w])
        size = 2 * values.shape[1]
        first, second = centred(bound, log_w, axis=(0, 1))
        credit = _difference(bound, first, second) - _difference(bound, second, first)  # [K, B]
        slope = jnp.einsum("kb,bk...->b...", credit, factor(u, pair[0], pair[1], of_draw)) / size
        (theta_bar,) = pull_theta(jnp.stack([_model_weights(bound, w) for w in log_w]) / size)
        return jnp.mean(values, axis=0), Params(theta_bar, pull_logits(slope)[0])

    return checked(compute)


def _difference(bound: BoundFn, log_w: jax.Array, others: jax.Array) -> jax.Array:
    """Returns s_k(log w) − s_k(log w with log w_k ← others_k), `[K, B]`, s_k = L − a_k; zero where an L is infinite."""

    def substituted(others: jax.Array) -> jax.Array:
        return bounds.substitute(bound)(log_w, others)

    # Value k depends on replacement k alone: one derivative in all directions at once holds every a_k.
    moved, a_moved = jax.jvp(substituted, (others,), (jnp.ones_like(others),))
    here, a_here = bound(log_w), bounds.gradient(bound)(log_w)
    return jnp.where(jnp.isinf(moved) | jnp.isinf(here), 0, (here - a_here) - (moved - a_moved))


def _model_weights(bound: BoundFn, log_w: jax.Array) -> jax.Array:
    return jnp.where(jnp.isinf(bound(log_w)), 0, bounds.gradient(bound)(log_w))


def _uniform(keys: jax.Array, indices: jax.Array, logits: jax.Array) -> jax.Array:
    def one(key: jax.Array, index: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, index), logits.shape[1:], logits.dtype)

    return jax.vmap(jax.vmap(one, (None, 0)))(keys, indices)


def _log_q(logits: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log q(z) `[K, B]` for z `[B, K, ...]`."""
    return jax.vmap(lambda logits, z: jax.vmap(BinaryConcrete(logits, 1.0).discrete_log_prob)(z))(logits, z).T


def _logits(name: str, distribution: Any) -> jax.Array:
    try:
        bits = relaxation(distribution, 1.0)
    except ValueError:
        bits = None
    if type(bits) is not BinaryConcrete:
        raise ValueError(
            f"{name} needs independent Bernoulli bits, guides.bernoulli or bernoulli_encoder, and the guide's "
            f"distribution is {type(distribution).__name__}: use leave_one_out or vimco."
        )
    return bits.logits
