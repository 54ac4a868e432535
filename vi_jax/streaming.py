"""Passes over K that hold a chunk of draws at a time, and what they do with draws of zero weight."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.log_weights import Draws, log_weights_of
from vi_jax.types import Coefficients, Guide, Model, Params, PyTree


def streamed_log_weights(
    model: Model, guide: Guide, params: Params, draws: Draws, num_samples: int, chunk_size: int
) -> jax.Array:
    """Returns log w `[K, B]` of the draws that `log_weights` makes, holding `chunk_size` of them per datum at a time."""

    def chunk(start: jax.Array) -> jax.Array:
        indices = jnp.broadcast_to(start + jnp.arange(chunk_size), (draws.keys.size, chunk_size))
        return log_weights_of(model, guide, params, draws._replace(indices=indices))

    log_w = jax.lax.map(chunk, jnp.arange(0, num_samples, chunk_size))
    return log_w.reshape(-1, log_w.shape[-1])[:num_samples]


def streamed_pullback(linearize, chunk_size: int, params: Params, draws: Draws, log_w: jax.Array, c: Coefficients):
    """Redraws chunk after chunk and adds up its pullback, with the coefficients `[K, B]` of all draws.

    Draws without a coefficient are exchanged first, see `exchange_for`.

    Args:
      linearize: `(params, draws) -> (log_w, pull)`.
      chunk_size: draws per datum held in memory at once.
      params: θ and φ.
      draws: the batch; its `indices` are not used.
      log_w: `[K, B]` log-weights of all draws.
      c: their coefficients.

    Returns:
      The gradient, `Params`.
    """
    exchange = exchange_for(log_w)
    x, keys = jax.tree.map(lambda leaf: leaf[exchange.datum], (draws.x, draws.keys))
    return _summed(linearize, chunk_size, params, x, keys, exchange, c)


def draw_by_draw_pullback(linearize, params: Params, draws: Draws, log_w: jax.Array, c: Coefficients) -> Params:
    """`streamed_pullback` that holds one draw of one datum at a time: slow, and as small as a program can be."""
    exchange = exchange_for(log_w)
    x, keys = jax.tree.map(lambda leaf: leaf[exchange.datum], (draws.x, draws.keys))

    def add_datum(total: Params, datum) -> tuple[Params, None]:
        x, key, exchange, c = jax.tree.map(lambda leaf: leaf[None], datum)
        gradient = _summed(linearize, 1, params, x, key, exchange, jax.tree.map(jnp.transpose, c))
        return jax.tree.map(jnp.add, total, gradient), None

    zero = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add_datum, zero, (x, keys, exchange, jax.tree.map(jnp.transpose, c)))[0]


class Exchange(NamedTuple):
    """For each datum `[B]`, a draw of finite weight to put in the place of one that has no coefficient.

    Attributes:
      datum: the datum to use in its place: itself if it has a draw of finite weight.
      draw: the index of the largest finite weight of that datum.
      found: whether that datum has one. If not, no datum of the batch has.
    """

    datum: jax.Array
    draw: jax.Array
    found: jax.Array


def exchange_for(log_w: jax.Array) -> Exchange:
    """Finds the exchange that keeps draws of zero weight out of a pullback, from log w `[K, B]`.

    A density that is zero may have no derivative there, and 0 · NaN would poison the sum over draws. A datum without
    any finite weight, whose coefficients are all zero, is exchanged for another datum.
    """
    finite = jnp.isfinite(log_w)
    possible = jnp.any(finite, axis=0)
    datum = jnp.where(possible, jnp.arange(possible.size), jnp.argmax(possible))
    return Exchange(datum, jnp.argmax(jnp.where(finite, log_w, -jnp.inf), axis=0)[datum], possible[datum])


def _summed(linearize, chunk_size: int, params: Params, x: PyTree, keys, exchange: Exchange, c: Coefficients) -> Params:
    def add(total: jax.Array, gradient: jax.Array) -> jax.Array:
        # Selected here, where it is part of the addition: on the finished sum it would take a copy of the parameters.
        return jnp.where(jnp.all(exchange.found), total + gradient, total)

    def add_chunk(total: Params, chunk) -> tuple[Params, None]:
        start, c = chunk
        unused = functools.reduce(jnp.logical_and, [leaf == 0 for leaf in jax.tree.leaves((c.model, c.path, c.score))])
        indices = jnp.where(unused.T, exchange.draw[:, None], start + jnp.arange(chunk_size))
        _, pull = linearize(params, Draws(x, keys, indices))
        return jax.tree.map(add, total, pull(c)), None

    starts = jnp.arange(0, c.model.shape[0], chunk_size)
    chunks = jax.tree.map(functools.partial(_in_chunks, chunk_size), c)
    return jax.lax.scan(add_chunk, jax.tree.map(jnp.zeros_like, params), (starts, chunks))[0]


def _in_chunks(chunk_size: int, per_draw: jax.Array) -> jax.Array:
    """`[K, B] -> [ceil(K/C), C, B]`, padded with zeros: a padded draw has no coefficient."""
    padding = -per_draw.shape[0] % chunk_size
    return jnp.pad(per_draw, ((0, padding), (0, 0))).reshape(-1, chunk_size, per_draw.shape[1])
