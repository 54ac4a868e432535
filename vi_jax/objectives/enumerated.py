"""Objectives without a draw: every value of a latent that takes finitely many, with its probability."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax.exact import Support, score_support
from vi_jax.legality import refuse_scaled
from vi_jax.log_weights import check_problem, checked
from vi_jax.types import Guide, Model, Objective, Params, PyTree


def enumerated(model: Model, guide: Guide) -> Objective:
    """Makes the exact ELBO and its exact gradient, by a sum over the guide's support.

        values_b = Σ_z q_φ(z | x_b) [log p_θ(x_b, z) − log q_φ(z | x_b)]

    The gradient has no variance: what every score-function estimator is unbiased for. Price: C evaluations of model and
    guide per datum, forward and backward.

    Args:
      model: log p_θ(x, z); finite wherever the guide puts probability.
      guide: q_φ(z | x) with a `support` of C values.

    Returns:
      (key, params, x) -> (values `[B]` in nats, ascent direction). The key is not used.

    Raises:
      ValueError: the guide has no `support`. When called, as `value_and_grad` for key, parameters and data.
    """

    def elbo(support: Support) -> jax.Array:
        log_joint, log_q = support
        possible = log_q > -jnp.inf
        log_w = jnp.where(possible, log_joint, 0) - jnp.where(possible, log_q, 0)
        return jnp.sum(jnp.where(possible, jnp.exp(log_q) * log_w, 0))

    return _objective(model, guide, elbo, lambda x: None)


def enumerated_forward_kl(model: Model, guide: Guide) -> Objective:
    """Makes the objective whose φ descends KL(p(z | x) ‖ q) and whose θ ascends log p(x), both exactly.

        values_b = log Σ_z p_θ(x_b, z) + Σ_z p(z | x_b) log q_φ(z | x_b), the posterior held fixed in the second sum
        θ̄ = ∂_θ log p_θ(x_b),   φ̄ = Σ_z p_θ(z | x_b) ∂_φ log q_φ(z | x_b)

    What `estimators.wake_phi` is consistent for under `bounds.iwae`, without its bias. The model's mass must lie on the
    support; where log p = −∞ has a derivative that is NaN, so is θ̄. Price: C evaluations of model and guide per datum,
    forward and backward.

    Args, returns and errors are those of `enumerated`.
    """

    def value(support: Support) -> jax.Array:
        log_joint, log_q = support
        posterior = jax.lax.stop_gradient(jax.nn.softmax(log_joint))
        cross_entropy = jnp.sum(jnp.where(posterior > 0, posterior * jnp.where(posterior > 0, log_q, 0), 0))
        return jax.nn.logsumexp(log_joint) + cross_entropy

    return _objective(model, guide, value, functools.partial(refuse_scaled, "enumerated_forward_kl", model))


def _objective(
    model: Model, guide: Guide, value: Callable[[Support], jax.Array], check: Callable[[PyTree], None]
) -> Objective:
    if guide.support is None:
        raise ValueError(
            f"the guide {guide.distribution!r} has no support to sum over: give Guide(support=...) every z, or "
            "estimate with score_function, leave_one_out or vimco."
        )

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        del key
        check_problem(model, guide, params, x)
        check(x)

        def mean(params: Params) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(lambda x: value(score_support(model, guide, params, x)))(x)
            return jnp.mean(values), values

        gradient, values = jax.grad(mean, has_aux=True)(params)
        return values, gradient

    return checked(compute)
