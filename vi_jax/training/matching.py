"""Batch and match: a full-rank Gaussian by the scores of its own draws, in closed form and without a rate."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.training.ascent import LogDensity
from vi_jax.training.laplace import Gaussian, lower_factor
from vi_jax.training.mode import as_partial


class Matched(NamedTuple):
    """Where T updates ended.

    Attributes:
      gaussian: after the last update.
      elbo: `[T]` nats, of the Gaussian before each update, on the B draws that it was updated by; noisy.
      num_skipped: int32, updates left out because no draw, or one only, had a finite log density and score.
    """

    gaussian: Gaussian
    elbo: jax.Array
    num_skipped: jax.Array


def batch_and_match(
    key: jax.Array, log_density: LogDensity, start: Gaussian, *, num_steps: int = 200, num_draws: int | None = None
) -> Matched:
    """Fits N(μ, Σ) by T proximal steps, each the closed-form match of B draws and their scores g = ∇log p(z).

        minimise over (μ, Σ):  mean_b |∇log q(z_b) − g_b|²_Σ + (2/λ) KL(q_t ‖ q),   λ = B D / (t + 1)
        U = λ Ĉov(g) + λ/(1+λ) ḡ ḡᵀ,   V = Σ_t + λ Ĉov(z) + λ/(1+λ) (μ_t − z̄)(μ_t − z̄)ᵀ
        Σ U Σ + Σ = V,   μ = μ_t/(1+λ) + λ/(1+λ) (Σ ḡ + z̄)

    The scores of a Gaussian are affine in z, so that B > D draws of any Gaussian tell a Gaussian target exactly, in
    whatever units, and 200 updates are plenty. Elsewhere the noise is averaged away only once t is above B D. What it
    comes to is the match of scores, an affine-invariant Fisher divergence, and not the best ELBO: where the posterior
    is no Gaussian it ends below it (docs/decisions/0007). Use it to start from, and for the coordinates of another fit.

    The equation for Σ is solved by V = L Lᵀ and the eigenvalues u of Lᵀ U L: Σ = L Q diag(2/(1 + √(1 + 4u))) Qᵀ Lᵀ,
    positive definite whatever the rounding.

    Draws without a finite log density and score are left out of their batch.

    Price: B gradients and O(D³ + B D²) a step. For B < D it still works, and slower.

    Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei and Saul, "Batch and match: black-box variational inference with
    a score-based divergence" (arXiv:2402.14758).

    Args:
      key: typed key, consumed.
      log_density: z `[D]` -> scalar nats.
      start: `Gaussian` of `[D]` and `[D, D]`.
      num_steps: T ≥ 1.
      num_draws: B ≥ 2; None for 2 D, and 10 at least.

    Raises:
      TypeError, ValueError: a count is no integer or too small, or `start` is not `[D]` and `[D, D]`.
    """
    checks.check_key(key)
    num_steps = checks.check_positive_int("num_steps", num_steps)
    start = Gaussian(*(jnp.asarray(leaf, float) for leaf in start))
    dim = start.loc.size
    if start.loc.shape != (dim,) or start.scale_tril.shape != (dim, dim):
        raise ValueError(f"start must be [D] and [D, D], got {start.loc.shape} and {start.scale_tril.shape}.")
    num_draws = max(2 * dim, 10) if num_draws is None else checks.check_positive_int("num_draws", num_draws)
    if num_draws < 2:
        raise ValueError("num_draws must be at least 2, got 1: one draw has no covariance.")
    return _match(key, as_partial(log_density), start, num_steps, num_draws)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _match(key: jax.Array, log_density: Partial, start: Gaussian, num_steps: int, num_draws: int) -> Matched:
    dim = start.loc.size

    def step(q: Gaussian, t: jax.Array) -> tuple[Gaussian, tuple[jax.Array, jax.Array]]:
        noise = jax.random.normal(jax.random.fold_in(key, t), (num_draws, dim), start.loc.dtype)
        z = q.loc + noise @ q.scale_tril.T
        log_p, scores = jax.vmap(jax.value_and_grad(log_density))(z)
        log_scale = jnp.sum(jnp.log(jnp.diagonal(q.scale_tril)))
        elbo = jnp.mean(log_p + jnp.sum(noise**2 + jnp.log(2 * jnp.pi), axis=1) / 2) + log_scale
        is_finite = jnp.isfinite(log_p) & jnp.all(jnp.isfinite(scores), axis=1)
        strength = num_draws * dim / (t + 1)
        updated = _update(q, z, jnp.where(is_finite[:, None], scores, 0), is_finite, strength)
        is_good = (jnp.sum(is_finite) > 1) & jnp.all(jnp.isfinite(updated.scale_tril))
        q = jax.tree.map(lambda new, old: jnp.where(is_good, new, old), updated, q)
        return q, (elbo, ~is_good)

    gaussian, (elbo, skipped) = jax.lax.scan(step, start, jnp.arange(num_steps))
    return Matched(gaussian, elbo, jnp.sum(skipped, dtype=jnp.int32))


def _update(q: Gaussian, z: jax.Array, scores: jax.Array, kept: jax.Array, strength: jax.Array) -> Gaussian:
    z_mean, z_root = _moments(z, kept)
    score_mean, score_root = _moments(scores, kept)
    pull = strength / (1 + strength)
    # V = A Aᵀ and U = G Gᵀ are kept as their roots: squares of scores would cost half of the digits.
    prior = [q.scale_tril, (strength**0.5 * z_root).T, (pull**0.5 * (q.loc - z_mean))[:, None]]
    lower = lower_factor(jnp.concatenate(prior, axis=1))
    data = jnp.concatenate([strength**0.5 * score_root, pull**0.5 * score_mean[None]])
    _, singular, axes = jnp.linalg.svd(data @ lower, full_matrices=True)
    size = jnp.zeros(lower.shape[0], lower.dtype).at[: singular.size].set(singular**2)
    root = lower @ axes.T * jnp.sqrt(2 / (1 + jnp.sqrt(1 + 4 * size)))
    loc = q.loc / (1 + strength) + pull * (root @ (root.T @ score_mean) + z_mean)
    return Gaussian(loc, lower_factor(root))


def _moments(values: jax.Array, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean `[D]` over the rows that are kept, and R `[B, D]` with Rᵀ R their covariance."""
    weights = kept / jnp.sum(kept)
    mean = weights @ values
    return mean, jnp.sqrt(weights)[:, None] * (values - mean)
