"""q(z) over finitely many values of z. Draws have no derivative: use score-function or enumerated gradients.

`guides.relaxed` makes draws that have one, for another problem, and `guides.straight_through` for this one with a bias.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.types import Guide, PyTree

MAX_SUPPORT_DIM = 12
"""A Bernoulli guide lists its support up to this many bits: 4096 codes, which a sum over the support holds at once."""


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


def bernoulli(dim: int) -> Guide:
    """Makes q(z) = Π_j Bernoulli(z_j; sigmoid(φ_j)) over z ∈ {0, 1}^dim, the same for every x.

        log q(z) = Σ_j [z_j φ_j − log(1 + e^{φ_j})],   ∂ log q(z) / ∂φ_j = z_j − sigmoid(φ_j)

    Logits of zero are the uniform distribution over all 2^dim codes; the logits of a model's prior are that prior.

    Args:
      dim: d ≥ 1.

    Returns:
      The guide; φ is the vector `[d]` of logits, zero at `init` whatever the key. z is `[d]` of 0 and 1, floating, and
      `reparameterized` is False. Up to 12 bits `support` is all codes, `[2^d, d]`, row i holding the bits of i from the
      lowest; above it is None, since whoever sums over a support holds all of it.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer.
    """
    dim = checks.check_positive_int("dim", dim)

    def init(key: jax.Array) -> jax.Array:
        del key
        return jnp.zeros(dim)

    def distribution(phi: jax.Array, x: PyTree) -> distrax.Independent:
        del x
        return distrax.Independent(distrax.Bernoulli(logits=phi, dtype=phi.dtype), 1)

    return Guide(init, distribution, reparameterized=False, support=code_support(dim))


def code_support(dim: int) -> jax.Array | None:
    """Returns all binary codes, `[2^dim, dim]` of 0. and 1., row i holding the bits of i; None above 12 bits."""
    if dim > MAX_SUPPORT_DIM:
        return None
    return jnp.asarray((np.arange(2**dim)[:, None] >> np.arange(dim)) & 1, float)
