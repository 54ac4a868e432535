"""Sums over all 2^d binary codes z ∈ {0, 1}^d, and the distribution over them that such a sum normalises."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.shapes import check_shape

# 4096 codes of a 64-pixel model are two megabytes: they fit a cache, and fill the matrix products of a CPU core.
_CHUNK_SIZE = 4096
_MAX_TABLE_DIM = 20


def codes(dim: int) -> jax.Array:
    """Returns all binary codes, `[2^dim, dim]` of 0 and 1 in the default float type; row i holds the bits of i.

    Args:
      dim: d, from 1 to 20. Bit j of i is column j: the lowest comes first.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer, or is above 20 and would not fit into memory.
    """
    dim = checks.check_positive_int("dim", dim)
    if dim > _MAX_TABLE_DIM:
        raise ValueError(
            f"dim={dim} means a table of 2^{dim} codes, and at most {_MAX_TABLE_DIM} bits are tabulated: sum over them"
            " with log_sum_over_codes, in memory that does not grow."
        )
    return _codes(dim)


def log_sum_over_codes(
    log_f: Callable[[jax.Array], jax.Array], dim: int, *, chunk_size: int = _CHUNK_SIZE
) -> jax.Array:
    """Returns log Σ_z exp log_f(z) over all z ∈ {0, 1}^dim: exact, in memory that does not grow with 2^dim.

        log Σ_{z ∈ {0,1}^d} f(z) = log Σ_{h ∈ {0,1}^m} [ Σ_{l ∈ {0,1}^{d−m}} f(l, h) ]

    The low bits of a chunk are evaluated together. The high ones are looped over, in nested loops where they are
    many, so that no level holds more than `chunk_size` partial sums and no counter leaves int32. Each level adds
    positive numbers no larger than one, C of them: the relative error of the sum stays below 2 C · d/log₂ C roundings,
    and near √C: in nats 10⁻¹⁴ in float64 and 10⁻⁵ in float32, beside the rounding of log_f itself.

    Reverse-mode differentiation evaluates a chunk again rather than remember it: its memory is flat too, for the price
    of one more pass per level of loops. The gradient is Σ_z f(z) ∂ log f(z) / Σ_z f(z), a posterior expectation.

    Args:
      log_f: `z [dim] -> scalar`, for ONE code, in nats; z is in the default float type. Minus infinity is legal; a sum
        of nothing but zeros is −∞ with a gradient of zero. NaN anywhere makes the sum NaN.
      dim: d ≥ 1. Price: 2^d evaluations, twice as many with each bit.
      chunk_size: codes evaluated together, at least 2, rounded down to a power of two. Memory is that of as many
        evaluations.

    Returns:
      Scalar, in nats. Under `vmap` over data whatever depends on z alone is computed once for all of them.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer, or `chunk_size` is not an integer above 1.
    """
    dim = checks.check_positive_int("dim", dim)
    if checks.check_positive_int("chunk_size", chunk_size) < 2:
        raise ValueError(f"chunk_size must be at least 2, one bit, got {chunk_size}.")
    chunk_bits = chunk_size.bit_length() - 1

    def total(high: jax.Array) -> jax.Array:
        low_bits = dim - high.size
        if low_bits <= chunk_bits:
            return log_sum(jax.vmap(lambda low: log_f(jnp.concatenate([low, high])))(_codes(low_bits)))
        # The innermost chunk is always a full one: small chunks would spend their time on the loop.
        loop_codes = _codes(min(chunk_bits, low_bits - chunk_bits))
        of_code = jax.checkpoint(lambda low: total(jnp.concatenate([low, high])), prevent_cse=False)
        return log_sum(jax.lax.map(of_code, loop_codes))

    return total(jnp.zeros(0))


def log_sum(log_f: jax.Array) -> jax.Array:
    """Returns log Σ exp over the leading axis; where every term is zero, −∞ with a gradient of zero."""
    empty = jnp.all(jnp.isneginf(log_f), axis=0)
    # d log(0) is ∞ · 0 = NaN even behind the outer `where`, which multiplies it by zero: the inner one prevents it.
    return jnp.where(empty, -jnp.inf, jax.nn.logsumexp(jnp.where(empty, 0.0, log_f), axis=0))


class CodeDistribution(NamedTuple):
    """A distribution over all 2^d binary codes, one probability each. z is `[d]` of 0 and 1, floating.

    Attributes:
      logits: `[2^d]`, in the order of `codes`, not necessarily normalised. Minus infinity is legal.
    """

    logits: jax.Array

    @property
    def dim(self) -> int:
        """The number of bits, d."""
        return self.logits.shape[-1].bit_length() - 1

    def probabilities(self) -> jax.Array:
        """Returns the probability of each code, `[2^d]`."""
        return jax.nn.softmax(self.logits)

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns the log-probability of one code `[d]`, in nats; −∞ for a vector that is no code."""
        z = check_shape("z", z, (self.dim,))
        index = jnp.sum(z.astype(jnp.int32) << jnp.arange(self.dim, dtype=jnp.int32))
        inside = jnp.all((z == 0) | (z == 1))
        return jnp.where(inside, self.logits[index] - log_sum(self.logits), -jnp.inf)

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw `[d]`."""
        index = jax.random.categorical(seed, self.logits)
        bits = (index >> jnp.arange(self.dim, dtype=index.dtype)) & 1
        return bits.astype(self.logits.dtype)

    def mean(self) -> jax.Array:
        """Returns P(z_j = 1) for every bit, `[d]`."""
        return self.probabilities() @ _codes(self.dim).astype(self.logits.dtype)

    def entropy(self) -> jax.Array:
        """Returns −Σ_z p(z) log p(z) in nats; a code of probability zero adds nothing."""
        p = self.probabilities()
        log_p = self.logits - log_sum(self.logits)
        return -jnp.sum(p * jnp.where(p > 0, log_p, 0.0))


def _codes(dim: int) -> jax.Array:
    bits = (jnp.arange(2**dim, dtype=jnp.int32)[:, None] >> jnp.arange(dim, dtype=jnp.int32)) & 1
    return bits.astype(float)
