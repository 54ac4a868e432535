"""All draws but one: sums and means that do not cancel against the draw they leave out, in time linear in K."""

import jax
import jax.numpy as jnp


def mean_of_others(log_w: jax.Array) -> jax.Array:
    """Returns (1/(K−1)) Σ_{j≠k} log w_j for every k, `[K, ...]`."""
    return sum_of_others(log_w) / (log_w.shape[0] - 1)


def log_sum_of_others(log_w: jax.Array) -> jax.Array:
    """Returns log Σ_{j≠k} w_j for every k, `[K, ...]` nats; −∞ where there is no other."""
    largest = jnp.max(log_w, axis=0)
    unit = jnp.where(jnp.isneginf(largest), 0, largest)
    w = jnp.exp(log_w - unit)
    top = _first_largest(log_w)
    # A difference, but of what is at least twice as much: the others of any draw but the largest include the largest.
    others = jnp.where(top, 1, jnp.sum(w, axis=0) - w)
    nothing = others <= 0
    logs = jnp.where(nothing, -jnp.inf, jnp.log(jnp.where(nothing, 1, others))) + unit
    return jnp.where(top, jax.nn.logsumexp(jnp.where(top, -jnp.inf, log_w), axis=0), logs)


def largest_of_others(log_w: jax.Array) -> jax.Array:
    """Returns max_{j≠k} log w_j for every k, `[K, ...]`; −∞ where there is no other."""
    top = _first_largest(log_w)
    return jnp.where(top, jnp.max(jnp.where(top, -jnp.inf, log_w), axis=0), jnp.max(log_w, axis=0))


def sum_of_others(values: jax.Array) -> jax.Array:
    """Returns Σ_{j≠k} v_j for every k, `[K, ...]`."""
    top = _first_largest(jnp.abs(values))
    rest = jnp.where(top, 0, values)
    peak = jnp.sum(jnp.where(top, values, 0), axis=0)
    # An infinity is the largest, and is never taken off again; of two, every draw has one among its others.
    finite = jnp.where(jnp.isinf(rest), 0, rest)
    return jnp.where(top, jnp.sum(rest, axis=0), peak + (jnp.sum(rest, axis=0) - finite))


def _first_largest(values: jax.Array) -> jax.Array:
    """Marks the first of the largest along axis 0."""
    place = jnp.arange(values.shape[0]).reshape(-1, *(1,) * (values.ndim - 1))
    return place == jnp.argmax(values, axis=0)
