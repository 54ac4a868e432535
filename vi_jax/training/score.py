"""What a fit is judged by: numbers per draw, so that two fits can be compared on the same draws."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.log_weights import batch_draws, model_log_joint, sample_and_score
from vi_jax.types import Guide, Model, Params, PyTree

Score = Callable[[jax.Array, Params, PyTree], jax.Array]
"""(key, params, x) -> `[S]` nats, one number per draw, that of the same key from the same noise."""


def log_weight_score(model: Model, guide: Guide, *, num_samples: int = 1000) -> Score:
    """Makes the score of `fit_until_settled` whose mean is the ELBO: S log-weights per datum, averaged over the batch.

    A draw whose square overflows has the score NaN: there log q itself is rounding, and a guide that got there
    follows an improper density.

    Raises:
      TypeError, ValueError: `num_samples` is not a positive integer.
    """
    num_samples = checks.check_positive_int("num_samples", num_samples)

    def score(key: jax.Array, params: Params, x: PyTree) -> jax.Array:
        z, log_q = sample_and_score(guide, params.phi, batch_draws(key, x, jnp.arange(num_samples)))
        log_w = model_log_joint(model, params.theta, x, z) - log_q
        squares = [jnp.sum(jnp.square(leaf), axis=tuple(range(2, leaf.ndim))) for leaf in jax.tree.leaves(z)]
        return jnp.mean(jnp.where(jnp.isfinite(sum(squares)), log_w, jnp.nan), axis=0)

    return score
