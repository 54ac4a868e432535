"""All draws but one: sums and means that do not cancel against the draw they leave out, in time linear in K."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def mean_of_others(log_w: jax.Array) -> jax.Array:
    """Returns (1/(K−1)) Σ_{j≠k} log w_j for every k, `[K, ...]`."""
    return sum_of_others(log_w) / (log_w.shape[0] - 1)


def log_sum_of_others(log_w: jax.Array) -> jax.Array:
    """Returns log Σ_{j≠k} w_j for every k, `[K, ...]` nats."""
    return _exclusive(jax.lax.cumlogsumexp, jnp.logaddexp, -jnp.inf, log_w)


def largest_of_others(log_w: jax.Array) -> jax.Array:
    """Returns max_{j≠k} log w_j for every k, `[K, ...]`; −∞ where there is no other."""
    return _exclusive(jax.lax.cummax, jnp.maximum, -jnp.inf, log_w)


def sum_of_others(values: jax.Array) -> jax.Array:
    """Returns Σ_{j≠k} v_j for every k, `[K, ...]`."""
    return _exclusive(jnp.cumsum, jnp.add, 0.0, values)


def _exclusive(
    cumulate: Callable[..., jax.Array],
    combine: Callable[[jax.Array, jax.Array], jax.Array],
    identity: float,
    values: jax.Array,
) -> jax.Array:
    """Combines all values but the k-th along axis 0, from what comes before k and what comes after."""
    edge = jnp.full_like(values[:1], identity)
    before = cumulate(values, axis=0)[:-1]
    after = cumulate(values[::-1], axis=0)[-2::-1]
    return combine(jnp.concatenate([edge, before]), jnp.concatenate([after, edge]))
