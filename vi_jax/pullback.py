"""One forward pass over some draws, and its pullback from coefficients to gradients.

    θ̄ = Σ_k model_k ∂_θ log p_θ(x, z_k)
    φ̄ = Σ_k score_k ∂_φ log q_φ(z_k | x) + Σ_k path_k ∂_z log w_k ∂_φ z_k

The pullback has four forms, chosen before any draw from what the estimator says of path / model: no derivative through
the draws; path ≡ model; path = ratio × model, in closed form; and nothing known, which takes a second backward pass
over the model. The ratio is applied to the cotangent of z as it is given: the quotient path / model would be 0/0
wherever a weight underflows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax.log_weights import Draws, guide_log_prob, model_log_joint, sample_and_score
from vi_jax.types import CoefficientFn, Coefficients, Estimator, Guide, Model, Params, PyTree

Pull = Callable[[Coefficients], Params]
Linearization = Callable[[Model, Guide, Params, Draws], tuple[jax.Array, Pull]]


def linearization(guide: Guide, estimator: Estimator, coefficients: CoefficientFn, num_samples: int) -> Linearization:
    """Chooses the form of pullback that an estimator needs.

    Returns:
      `(model, guide, params, draws) -> (log_w [C, B], pull)`, with `pull: Coefficients [C, B] -> Params`.

    Raises:
      ValueError: the estimator is undefined at this K, or differentiates through draws that have no derivative.
    """
    ratio = _known_ratio(coefficients, num_samples)
    name = getattr(estimator, "__name__", str(estimator))
    if type(ratio) is float and ratio not in (0.0, 1.0):
        raise ValueError(f"{name}: a ratio known before any draw is 0.0 or 1.0, got {ratio}. Return an array instead.")
    if ratio == 0.0:
        return fixed_draws
    if not guide.reparameterized:
        raise ValueError(
            f"{name} differentiates through the draws, but the guide {guide.distribution!r} declares "
            "reparameterized=False. Use score_function, leave_one_out, vimco or wake_phi, or a guide whose sampler "
            "carries the derivative."
        )
    if ratio is None:
        return two_pulls
    return path_equals_model if type(ratio) is float else path_scaled


def _known_ratio(coefficients: CoefficientFn, num_samples: int) -> jax.ShapeDtypeStruct | float | None:
    """The estimator's `ratio`, traced without computing: a float, the shape of an array, or None."""
    seen: list[jax.ShapeDtypeStruct | float | None] = []

    def probe(log_w: jax.Array) -> jax.Array:
        c = coefficients(log_w)
        known = c.ratio is None or type(c.ratio) is float
        seen.append(c.ratio if known else jax.ShapeDtypeStruct(jnp.shape(c.ratio), jnp.result_type(c.ratio)))
        return c.model

    jax.eval_shape(probe, jax.ShapeDtypeStruct((num_samples, 1), jnp.result_type(float)))
    return seen[0]


def fixed_draws(model: Model, guide: Guide, params: Params, draws: Draws) -> tuple[jax.Array, Pull]:
    """path ≡ 0: nothing is differentiated through z, which may be discrete."""

    def scored(phi: PyTree) -> tuple[jax.Array, PyTree]:
        z, log_q = sample_and_score(guide, phi, draws)
        return log_q, z

    log_q, pull_score, z = jax.vjp(scored, params.phi, has_aux=True)
    log_p, pull_model = jax.vjp(lambda theta: model_log_joint(model, theta, draws.x, z), params.theta)

    def pull(c: Coefficients) -> Params:
        return Params(*pull_model(c.model.T), *pull_score(c.score.T))

    return (log_p - log_q).T, pull


def path_equals_model(model: Model, guide: Guide, params: Params, draws: Draws) -> tuple[jax.Array, Pull]:
    """path ≡ model: one plain pull."""
    log_w, pull_log_w, pull_draws = _differentiable(model, guide, params, draws)

    def pull(c: Coefficients) -> Params:
        theta_bar, z_bar = pull_log_w(c.model.T)
        return Params(theta_bar, *pull_draws((z_bar, c.score.T)))

    return log_w, pull


def path_scaled(model: Model, guide: Guide, params: Params, draws: Draws) -> tuple[jax.Array, Pull]:
    """path = ratio × model: one pull with cotangent `model`, and the cotangent of z scaled by the ratio."""
    log_w, pull_log_w, pull_draws = _differentiable(model, guide, params, draws)

    def pull(c: Coefficients) -> Params:
        theta_bar, z_bar = pull_log_w(c.model.T)
        z_bar = jax.tree.map(lambda leaf: _over_event(c.ratio, leaf) * leaf, z_bar)
        return Params(theta_bar, *pull_draws((z_bar, c.score.T)))

    return log_w, pull


def two_pulls(model: Model, guide: Guide, params: Params, draws: Draws) -> tuple[jax.Array, Pull]:
    """Nothing is known of path / model: one pull for θ and one for z."""
    log_w, pull_log_w, pull_draws = _differentiable(model, guide, params, draws)

    def pull(c: Coefficients) -> Params:
        theta_bar, _ = pull_log_w(c.model.T)
        _, z_bar = pull_log_w(c.path.T)
        return Params(theta_bar, *pull_draws((z_bar, c.score.T)))

    return log_w, pull


def _differentiable(model: Model, guide: Guide, params: Params, draws: Draws):
    """log w `[C, B]`; its pullback to (θ, z) with φ held fixed; the pullback to φ of (z, log q with z held fixed)."""
    (z, _), pull_draws = jax.vjp(lambda phi: sample_and_score(guide, phi, draws), params.phi)
    # Scored again with φ held fixed, at the draw itself: the compiler merges the two passes through the encoder.
    fixed_phi = jax.lax.stop_gradient(params.phi)

    def log_w_of(theta: PyTree, z: PyTree) -> jax.Array:
        return model_log_joint(model, theta, draws.x, z) - guide_log_prob(guide, fixed_phi, draws.x, z)

    log_w, pull_log_w = jax.vjp(log_w_of, params.theta, z)
    return log_w.T, pull_log_w, pull_draws


def _over_event(per_draw: jax.Array | float | None, leaf: jax.Array) -> jax.Array:
    """`[C, B]` coefficients, shaped to multiply a leaf `[B, C, ...]`."""
    return jnp.asarray(per_draw).T.reshape(leaf.shape[:2] + (1,) * (leaf.ndim - 2)).astype(leaf.dtype)
