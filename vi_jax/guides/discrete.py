"""q(z) over finitely many values of z. Draws have no derivative: use score-function or enumerated gradients."""

import distrax
import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.types import Guide, PyTree


def categorical(num_categories: int) -> Guide:
    """Makes q(z = c) = softmax(φ)_c, the same for every x. ∂ log q(z) / ∂φ = 1[c = z] − q(c).

    A logit of −∞ is legal: that value is never drawn and its log-probability is −∞.

    Args:
      num_categories: C ≥ 1.

    Returns:
      The guide; φ is the vector `[C]` of logits, zero at `init` whatever the key. z is an integer scalar, `support` is
      0, …, C − 1, and `reparameterized` is False.

    Raises:
      TypeError, ValueError: `num_categories` is not a positive integer.
    """
    num_categories = checks.check_positive_int("num_categories", num_categories)

    def init(key: jax.Array) -> jax.Array:
        del key
        return jnp.zeros(num_categories)

    def distribution(phi: jax.Array, x: PyTree) -> distrax.Categorical:
        del x
        return distrax.Categorical(logits=phi)

    return Guide(init, distribution, reparameterized=False, support=jnp.arange(num_categories))
