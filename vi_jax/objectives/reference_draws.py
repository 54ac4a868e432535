"""What objectives with draws of another distribution than the guide share: scoring the draws, and the gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.legality import refuse_scaled
from vi_jax.log_weights import batch_draws, check_problem, checked, guide_log_prob, model_log_joint
from vi_jax.streaming import pull_weighted
from vi_jax.types import Guide, Model, Objective, Params, PyTree

Reference = Callable[[Params, PyTree], Any]
"""(params, x) -> distribution over the guide's z, for ONE datum."""
Propose = Callable[[Params, PyTree, jax.Array], tuple[PyTree, jax.Array]]
"""(params, x, keys `[K]`) -> (z `[K, ...]`, log r `[K]`), for ONE datum."""


class Scored(NamedTuple):
    """K draws of r under model, guide and r itself: logarithms of densities `[K, B]`, nats."""

    log_p: jax.Array
    log_q: jax.Array
    log_r: jax.Array


class Weighed(NamedTuple):
    """Values `[B]`, and the weights `[K, B]` of ∂_θ log p and of ∂_φ log q."""

    values: jax.Array
    model: jax.Array
    score: jax.Array


def objective_of(
    model: Model,
    guide: Guide,
    reference: Reference,
    propose: Propose,
    weigh: Callable[[Scored], Weighed],
    num_samples: int,
) -> Objective:
    """Makes the objective with the gradient Σ_k model_k ∂_θ log p_θ(x, z_k), Σ_k score_k ∂_φ log q_φ(z_k | x).

    Args:
      model: log p_θ(x, z).
      guide: q_φ(z | x).
      reference: whose draws must be shaped like the guide's.
      propose: draws z and scores them under r.
      weigh: what the draws are worth. A datum of value −∞ gets a zero gradient.
      num_samples: K.
    """

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        check_problem(model, guide, params, x)
        refuse_scaled("a weight against another distribution", model, x)
        _check_draws(reference, guide, params, x)
        draws = batch_draws(key, x, jnp.arange(num_samples))
        keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(draws.keys, draws.indices)
        z, log_r = jax.lax.stop_gradient(jax.vmap(propose, (None, 0, 0))(params, x, keys))
        log_p, log_q = model_log_joint(model, params.theta, x, z), guide_log_prob(guide, params.phi, x, z)
        values, *weights = weigh(Scored(log_p.T, log_q.T, log_r.T))
        of_model, of_score = (jnp.where(jnp.isneginf(values), 0, w) for w in weights)
        theta = pull_weighted(lambda theta, x, z: model_log_joint(model, theta, x, z), params.theta, x, z, of_model)
        phi = pull_weighted(lambda phi, x, z: guide_log_prob(guide, phi, x, z), params.phi, x, z, of_score)
        return values, Params(theta, phi)

    return checked(compute)


def _check_draws(reference: Reference, guide: Guide, params: Params, x: PyTree) -> None:
    """Raises `ValueError` where the two distributions are over different z. Traces; computes nothing."""

    def drawn(params: Params, x: PyTree) -> tuple[PyTree, PyTree]:
        ours, theirs = guide.distribution(params.phi, x), reference(params, x)
        return ours.sample(seed=jax.random.key(0)), theirs.sample(seed=jax.random.key(0))

    both = jax.eval_shape(drawn, params, jax.tree.map(lambda leaf: leaf[0], x))
    ours, theirs = (jax.tree.map(lambda leaf: leaf.shape, z) for z in both)
    if ours != theirs:
        raise ValueError(
            f"the draws must be shaped like the guide's, {ours}, and the other distribution's are {theirs}."
        )
