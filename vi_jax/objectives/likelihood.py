"""Maximum likelihood by the exact evidence: what learning through a bound is compared with."""

import jax
import jax.numpy as jnp

from vi_jax.log_weights import checked
from vi_jax.models.exact import ExactModel
from vi_jax.types import Objective, Params, PyTree


def maximum_likelihood(exact: ExactModel) -> Objective:
    """Makes (key, params, x) -> (log p_θ(x_b) per datum, gradient of their mean): no guide, no draws, no bias.

        gradient = ((1/B) Σ_b ∂_θ log p_θ(x_b), 0)

    φ is left where it is, so that `fit` takes this objective in place of any other. Price: that of the exact evidence,
    forward and backward; 2^d terms per datum where it is a sum over d bits.

    Args:
      exact: a model whose evidence is known.

    Returns:
      A pure, jitted function to values `[B]` in nats and an ascent direction. The key is not used.

    Raises:
      TypeError, ValueError: when called, as `value_and_grad`, for the key, the parameters and the data.
    """

    @jax.jit
    def compute(key: jax.Array, params: Params, x: PyTree) -> tuple[jax.Array, Params]:
        del key

        def mean(theta: PyTree) -> tuple[jax.Array, jax.Array]:
            values = jax.vmap(exact.log_evidence, in_axes=(None, 0))(theta, x)
            return jnp.mean(values), values

        gradient, values = jax.grad(mean, has_aux=True)(params.theta)
        return values, Params(gradient, jax.tree.map(jnp.zeros_like, params.phi))

    return checked(compute)
