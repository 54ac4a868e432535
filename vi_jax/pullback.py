"""One forward pass over some draws, and its pullback from coefficients to gradients.

    θ̄ = Σ_k model_k ∂_θ log p_θ(x, z_k)
    φ̄ = Σ_k score_k ∂_φ log q_φ(z_k | x) + Σ_k path_k ∂_z log w_k ∂_φ z_k

The pullback has four forms, chosen before any draw from what the estimator says of path / model: no derivative through
the draws; path ≡ model; path = ratio × model, in closed form; and nothing known, which takes a second backward pass
over the model. The ratio is applied to the cotangent of z as it is given: the quotient path / model would be 0/0
wherever a weight underflows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.log_weights import Draws, guide_log_prob, model_log_joint, sample_and_score
from vi_jax.types import CoefficientFn, Coefficients, Guide, Model, Params, PyTree


class Forward(NamedTuple):
    """A forward pass over draws `[B, C]`, and its two pullbacks.

    Attributes:
      log_w: `[C, B]`.
      to_model: cotangent of log w `[B, C]` -> (θ̄, z̄), with φ held fixed; z̄ is None if draws are held fixed.
      to_guide: (z̄ or None, cotangent of log q `[B, C]`) -> φ̄, with z held fixed inside log q.
    """

    log_w: jax.Array
    to_model: Callable[[jax.Array], tuple[PyTree, PyTree]]
    to_guide: Callable[[PyTree, jax.Array], PyTree]


ForwardPass = Callable[[Model, Guide, Params, Draws], Forward]
Form = Callable[[Forward, Coefficients], Params]


def choose_form(guide: Guide, bound: str, estimator: str, coefficients: CoefficientFn, num_samples: int) -> Form:
    """Chooses the form of pullback that an estimator needs.

    Args:
      guide: the guide.
      bound: what errors call the bound.
      estimator: what they call the estimator.
      coefficients: what the estimator makes of the bound.
      num_samples: K.

    Raises:
      ValueError: the estimator is undefined at this K, or differentiates through draws that have no derivative.
    """
    ratio = _known_ratio(estimator, coefficients, num_samples)
    if ratio == 0:
        return fixed_draws
    if not guide.reparameterized:
        raise ValueError(
            f"{bound} with {estimator} differentiates through the draws, but the guide {guide.distribution!r} declares "
            "reparameterized=False: its sampler does not carry the derivative. For discrete draws guides.relaxed makes "
            "a guide that has one, and objectives.enumerated needs none."
        )
    if ratio is None:
        return two_pulls
    if ratio is _ARRAY:
        return path_scaled
    if ratio != 1:
        raise ValueError(
            f"{estimator}: a ratio known before any draw is 0.0 or 1.0, got {ratio}. Return an array like model "
            f"instead, jnp.full_like(model, {ratio})."
        )
    return path_equals_model


_ARRAY = object()


def _known_ratio(name: str, coefficients: CoefficientFn, num_samples: int) -> Any:
    """The estimator's `ratio`, traced without computing; `_ARRAY` if it is one, and so not known before drawing."""
    seen: list[Any] = []

    def probe(log_w: jax.Array) -> jax.Array:
        c = coefficients(log_w)
        ratio: Any = c.ratio
        known = ratio is None or type(ratio) is float
        for field, value in zip(c._fields, c[:3] if known else c, strict=False):
            if getattr(value, "shape", None) != log_w.shape:
                raise ValueError(
                    f"{name}: {field} must be an array [K, ...] like log_w, got shape {getattr(value, 'shape', value)} "
                    f"for log_w of shape {log_w.shape}. A ratio may also be None, or the Python float 0.0 or 1.0."
                )
        seen.append(ratio if known else _ARRAY)
        return c.model

    jax.eval_shape(probe, jax.ShapeDtypeStruct((num_samples, 2), jnp.result_type(float)))
    return seen[0]


def fixed_draws(forward: Forward, c: Coefficients) -> Params:
    """path ≡ 0: nothing is differentiated through z, which may be discrete."""
    theta_bar, _ = forward.to_model(c.model.T)
    return Params(theta_bar, forward.to_guide(None, c.score.T))


def path_equals_model(forward: Forward, c: Coefficients) -> Params:
    """path ≡ model: one plain pull."""
    theta_bar, z_bar = forward.to_model(c.model.T)
    return Params(theta_bar, forward.to_guide(z_bar, c.score.T))


def path_scaled(forward: Forward, c: Coefficients) -> Params:
    """path = ratio × model: one pull with cotangent `model`, and the cotangent of z scaled by the ratio."""
    theta_bar, z_bar = forward.to_model(c.model.T)
    z_bar = scaled(jnp.asarray(c.ratio), z_bar)
    return Params(theta_bar, forward.to_guide(z_bar, c.score.T))


def two_pulls(forward: Forward, c: Coefficients) -> Params:
    """Nothing is known of path / model: one pull for θ and one for z."""
    theta_bar, _ = forward.to_model(c.model.T)
    _, z_bar = forward.to_model(jnp.asarray(c.path).T)
    return Params(theta_bar, forward.to_guide(z_bar, c.score.T))


def scaled(per_draw: jax.Array, tree: PyTree) -> PyTree:
    """Returns leaves `[B, C, ...]`, each draw's times its number in `[C, B]`."""

    def one(leaf: jax.Array) -> jax.Array:
        return per_draw.T.reshape(leaf.shape[:2] + (1,) * (leaf.ndim - 2)).astype(leaf.dtype) * leaf

    return jax.tree.map(one, tree)


def forward_pass(forms: list[Form]) -> ForwardPass:
    """Returns the forward pass that the given forms can share."""
    return forward_fixed_draws if all(form is fixed_draws for form in forms) else forward_through_draws


def forward_fixed_draws(model: Model, guide: Guide, params: Params, draws: Draws) -> Forward:
    """The forward pass that holds every draw fixed."""
    joint, log_q = joint_fixed_draws(model, guide, params, draws)
    return joint._replace(log_w=joint.log_w - log_q.T)


def forward_through_draws(model: Model, guide: Guide, params: Params, draws: Draws) -> Forward:
    """The forward pass that can be differentiated through z = z(φ, ε)."""
    # Scored again with φ held fixed, at the draw itself: the compiler merges the two passes through the encoder.
    fixed_phi = jax.lax.stop_gradient(params.phi)

    def log_w_of(theta: PyTree, z: PyTree) -> jax.Array:
        return model_log_joint(model, theta, draws.x, z) - guide_log_prob(guide, fixed_phi, draws.x, z)

    return through_draws(log_w_of, guide, params, draws)


def joint_fixed_draws(model: Model, guide: Guide, params: Params, draws: Draws) -> tuple[Forward, jax.Array]:
    """The forward pass with log p in place of log w, every draw held fixed; and log q `[B, C]`."""

    def scored(phi: PyTree) -> tuple[jax.Array, PyTree]:
        z, log_q = sample_and_score(guide, phi, draws)
        return log_q, z

    log_q, pull_score, z = jax.vjp(scored, params.phi, has_aux=True)
    log_p, pull_model = jax.vjp(lambda theta: model_log_joint(model, theta, draws.x, z), params.theta)
    forward = Forward(
        log_w=log_p.T,
        to_model=lambda ct: (*pull_model(ct.astype(log_p.dtype)), None),
        to_guide=lambda _, ct: pull_score(ct.astype(log_q.dtype))[0],
    )
    return forward, log_q


def through_draws(f: Callable[[PyTree, PyTree], jax.Array], guide: Guide, params: Params, draws: Draws) -> Forward:
    """The forward pass of f(θ, z) `[B, C]` in place of log w, to be differentiated through z = z(φ, ε)."""
    (z, log_q), pull_draws = jax.vjp(lambda phi: sample_and_score(guide, phi, draws), params.phi)
    _check_derivative(guide, z)
    values, pull_values = jax.vjp(f, params.theta, z)

    def to_guide(z_bar: PyTree, score: jax.Array) -> PyTree:
        z_bar = jax.tree.map(jnp.zeros_like, z) if z_bar is None else z_bar
        return pull_draws((z_bar, score.astype(log_q.dtype)))[0]

    return Forward(values.T, pull_values, to_guide)


def _check_derivative(guide: Guide, z: PyTree) -> None:
    """Raises `ValueError` for integers among the draws: their derivative would be left out without a word."""
    for leaf in jax.tree.leaves(z):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise ValueError(
                f"the guide {guide.distribution!r} draws {leaf.dtype}, which has no derivative, and declares that its "
                "draws have one: give Guide(reparameterized=False), and take score_function, leave_one_out or vimco."
            )
