"""Laws of grey levels 0 … n: a binomial count, and a logistic intensity cut into cells."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy import special

from vi_jax.models.bernoulli import bernoulli_log_prob

# Below it log(1 − e^{−w}) = log w − w/2 + w²/24 to 10⁻¹⁶, and the quotient by which it is found otherwise loses digits.
_SMALL_WIDTH = 1e-3


class Binomial(NamedTuple):
    """x_i ~ Binomial(total, sigmoid(logits_i)), independent. The `distribution` of `binomial`.

    Attributes:
      logits: `[D]`.
      total: n, a Python integer.
    """

    logits: jax.Array
    total: int

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw `[D]`, floating, the sum of n coins per pixel."""
        coins = jax.random.bernoulli(seed, jax.nn.sigmoid(self.logits), (self.total, *self.logits.shape))
        return jnp.sum(coins, axis=0).astype(self.logits.dtype)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """Returns log p(x), scalar, in nats."""
        return jnp.sum(binomial_log_prob(self.logits, x, self.total))

    def mean(self) -> jax.Array:
        """Returns E[x], `[D]`."""
        return self.total * jax.nn.sigmoid(self.logits)


class DiscretizedLogistic(NamedTuple):
    """Independent pixels on the levels 0 … L − 1, as `likelihoods.discretized_logistic` states.

    Attributes:
      loc: `[D]`, in units of the range L − 1.
      log_scale: `[D]`, of the logistic's scale in the same units.
      num_levels: L, a Python integer.
    """

    loc: jax.Array
    log_scale: jax.Array
    num_levels: int

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw `[D]` of levels, floating: a logistic draw, rounded and clipped."""
        noise = jax.random.logistic(seed, self.loc.shape, self.loc.dtype)
        top = self.num_levels - 1
        return jnp.clip(jnp.round(top * (self.loc + jnp.exp(self.log_scale) * noise)), 0, top)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """Returns log p(x), scalar, in nats."""
        return jnp.sum(discretized_logistic_log_prob(self.loc, self.log_scale, x, self.num_levels))

    def mean(self) -> jax.Array:
        """Returns E[x] = Σ_{k=1}^{L−1} P(x ≥ k), `[D]`. Price: L numbers per pixel at once."""
        top = self.num_levels - 1
        edges = (jnp.arange(top, dtype=self.loc.dtype)[:, None] + 0.5) / top
        return jnp.sum(jax.nn.sigmoid((self.loc - edges) * jnp.exp(-self.log_scale)), axis=0)


def binomial_log_prob(logits: jax.Array, x: jax.Array, total: int) -> jax.Array:
    """Returns log Binomial(x; total, sigmoid(logits)) in nats, elementwise; −∞ where x is no count up to `total`."""
    counts = (x >= 0) & (x <= total) & (x == jnp.round(x))
    x = jnp.where(counts, x, 0)
    log_ways = math.lgamma(total + 1) - special.gammaln(x + 1) - special.gammaln(total - x + 1)
    return jnp.where(counts, log_ways + total * bernoulli_log_prob(logits, x / total), -jnp.inf)


def discretized_logistic_log_prob(loc: jax.Array, log_scale: jax.Array, x: jax.Array, num_levels: int) -> jax.Array:
    """Returns log P(x) in nats, elementwise: the mass of the logistic on the cell of level x.

        log [σ(b) − σ(a)] = log σ(b) + log σ(−a) + log(1 − e^{−(b − a)}),   a, b the edges of the cell over the scale

    A sum of logarithms and no difference of numbers near 0 or 1, so that both tails are exact. Of the lowest level a is
    −∞ and of the highest b is +∞. A value that is no level has −∞.

    Args:
      loc: any shape, in units of the range L − 1.
      log_scale: as `loc`.
      x: as `loc`, floating.
      num_levels: L ≥ 2.

    Returns:
      As `loc`.
    """
    top = num_levels - 1
    levels = (x >= 0) & (x <= top) & (x == jnp.round(x))
    rate = jnp.exp(-log_scale)
    below = jax.nn.log_sigmoid(((x + 0.5) / top - loc) * rate)
    above = jax.nn.log_sigmoid((loc - (x - 0.5) / top) * rate)
    inside = below + above + _log_one_minus_exp(-log_scale - jnp.log(jnp.asarray(top, x.dtype)))
    log_prob = jnp.where(x == 0, below, jnp.where(x == top, above, inside))
    return jnp.where(levels, log_prob, -jnp.inf)


def _log_one_minus_exp(log_width: jax.Array) -> jax.Array:
    """Returns log(1 − e^{−w}) of log w; finite, with a finite derivative, for every w that exp can represent."""
    width = jnp.exp(log_width)
    small = width < _SMALL_WIDTH
    large = jnp.log1p(-jnp.exp(-jnp.where(small, 1.0, width)))
    return jnp.where(small, log_width - width / 2 + width**2 / 24, large)
