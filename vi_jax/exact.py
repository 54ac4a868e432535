"""What a bound is worth exactly, where the posterior is known or the latent takes finitely many values.

Monte Carlo is judged against these. Each is a function of ONE datum, differentiable in `Params`; map it over data by
`jax.vmap`. With a guide that has a `support`, every expectation is a sum over it; with another, the divergences are the
closed forms of distrax, between the guide's distribution and the model's posterior.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import checks
from vi_jax.models.exact import ExactModel
from vi_jax.types import BoundFn, Guide, Model, Params, PyTree

_MAX_TUPLES = 2**22


class Support(NamedTuple):
    """All C values of a latent, scored.

    Attributes:
      log_joint: `[C]` log p_θ(x, z), nats.
      log_q: `[C]` log q_φ(z | x), nats.
    """

    log_joint: jax.Array
    log_q: jax.Array


def score_support(model: Model, guide: Guide, params: Params, x: PyTree) -> Support:
    """Scores every value of z that the guide can draw.

    Args:
      model: log p_θ(x, z).
      guide: q_φ(z | x) with a `support`.
      params: θ and φ.
      x: ONE datum.

    Raises:
      ValueError: the guide has no `support`.
    """
    if guide.support is None:
        raise ValueError(
            f"the guide {guide.distribution!r} has no support to sum over: give Guide(support=...) every value of z."
        )
    log_joint = jax.vmap(lambda z: model.log_joint(params.theta, x, z))(guide.support)
    return Support(log_joint, jax.vmap(guide.distribution(params.phi, x).log_prob)(guide.support))


def reverse_kl(exact: ExactModel, guide: Guide, params: Params, x: PyTree) -> jax.Array:
    """Returns KL(q ‖ p(z | x)) = E_q[log q(z | x) − log p(z | x)], in nats, at least 0.

    Args:
      exact: a model whose evidence is known, and its posterior too unless the guide has a `support`.
      guide: q_φ(z | x).
      params: θ and φ.
      x: ONE datum.

    Raises:
      ValueError: the guide has no `support`, and distrax no closed form for this pair of distributions.
    """
    if guide.support is None:
        return _closed_form(guide.distribution(params.phi, x), exact.posterior(params.theta, x))
    log_joint, log_q = score_support(exact.model, guide, params, x)
    return exact.log_evidence(params.theta, x) - _expect(jnp.exp(log_q), log_joint - log_q)


def forward_kl(exact: ExactModel, guide: Guide, params: Params, x: PyTree) -> jax.Array:
    """Returns KL(p(z | x) ‖ q) = E_{p(z | x)}[log p(z | x) − log q(z | x)], in nats, at least 0.

    Args and errors are those of `reverse_kl`. Of a guide with a `support` the model's mass must lie on it.
    """
    if guide.support is None:
        return _closed_form(exact.posterior(params.theta, x), guide.distribution(params.phi, x))
    log_joint, log_q = score_support(exact.model, guide, params, x)
    log_posterior = log_joint - exact.log_evidence(params.theta, x)
    return _expect(jnp.exp(log_posterior), log_posterior - log_q)


def elbo(exact: ExactModel, guide: Guide, params: Params, x: PyTree) -> jax.Array:
    """Returns log p(x) − KL(q ‖ p(z | x)) = E_q[log w], in nats. Args and errors are those of `reverse_kl`."""
    return exact.log_evidence(params.theta, x) - reverse_kl(exact, guide, params, x)


def eubo(exact: ExactModel, guide: Guide, params: Params, x: PyTree) -> jax.Array:
    """Returns log p(x) + KL(p(z | x) ‖ q) = E_{p(z | x)}[log w] ≥ log p(x), in nats.

    The evidence upper bound: as far above log p(x) as the forward KL is large. Args and errors are those of
    `forward_kl`.
    """
    return exact.log_evidence(params.theta, x) + forward_kl(exact, guide, params, x)


def expected_bound(
    bound: BoundFn, model: Model, guide: Guide, params: Params, x: PyTree, *, num_samples: int
) -> jax.Array:
    """Returns E[L(log w_1, …, log w_K)] over all C^K tuples of draws, in nats.

        Σ_{z_1..z_K} Π_k q(z_k | x) L(log w_1, …, log w_K)

    Its gradient is what an unbiased estimator must have on average. Price: C^K evaluations of the bound, memory K C^K.

    Args:
      bound: `[K, ...] -> [...]`.
      model: log p_θ(x, z).
      guide: q_φ(z | x) with a `support` of C values, none of probability zero.
      params: θ and φ.
      x: ONE datum.
      num_samples: K ≥ 1.

    Raises:
      ValueError: the guide has no `support`; there are more than 2²² tuples.
      TypeError: K is not an integer.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)
    log_joint, log_q = score_support(model, guide, params, x)
    size = log_q.shape[0]
    if size**num_samples > _MAX_TUPLES:
        raise ValueError(
            f"{size} values of z and K = {num_samples} make {size}^{num_samples} tuples, more than {_MAX_TUPLES}: "
            "take a smaller K or a smaller support."
        )
    tuples = np.indices((size,) * num_samples).reshape(num_samples, -1)
    return _expect(jnp.exp(jnp.sum(log_q[tuples], axis=0)), bound((log_joint - log_q)[tuples]))


def _expect(probabilities: jax.Array, values: jax.Array) -> jax.Array:
    """Σ p f with 0 · ∞ = 0: what has no probability is not in the mean."""
    return jnp.sum(jnp.where(probabilities == 0, 0, probabilities * jnp.where(probabilities == 0, 0, values)))


def _closed_form(first, second) -> jax.Array:
    try:
        # Distributions of our own, as of a posterior over codes, need not have it at all.
        return getattr(first, "kl_divergence", _not_implemented)(second)
    except NotImplementedError as error:
        raise ValueError(
            f"distrax has no closed form of KL({type(first).__name__} ‖ {type(second).__name__}): give the guide a "
            "support to sum over, or estimate the divergence from draws."
        ) from error


def _not_implemented(other) -> jax.Array:
    raise NotImplementedError(f"KL to {type(other).__name__}")
