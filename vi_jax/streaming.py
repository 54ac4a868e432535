"""Passes over K that hold a chunk of draws at a time, and what they do with draws of zero weight."""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.log_weights import Draws, Exchanged, log_weights_of
from vi_jax.pullback import Form, Forward
from vi_jax.types import Coefficients, Guide, Model, Params, PyTree


def streamed_log_weights(
    model: Model,
    guide: Guide,
    params: Params,
    draws: Draws,
    num_samples: int,
    chunk_size: int,
    first: jax.Array | int = 0,
) -> jax.Array:
    """Returns the log w `[K, B]` that `log_weights` makes, holding `chunk_size` draws per datum at a time.

    With `first`, those of the K draws that begin there.
    """

    def chunk(start: jax.Array) -> jax.Array:
        indices = jnp.broadcast_to(start + jnp.arange(chunk_size), (draws.keys.size, chunk_size))
        return log_weights_of(model, guide, params, draws._replace(indices=indices))

    log_w = jax.lax.map(chunk, first + jnp.arange(0, num_samples, chunk_size))
    return log_w.reshape(-1, log_w.shape[-1])[:num_samples]


def streamed_pullback(
    forward: Callable[[Params, Draws], Forward],
    form: Form,
    chunk_size: int,
    params: Params,
    draws: Draws,
    log_w: jax.Array,
    c: Coefficients,
    first: jax.Array | int = 0,
) -> Params:
    """Redraws chunk after chunk and adds up its pullback, with the coefficients of all draws.

    Args:
      forward: `(params, draws) -> Forward`.
      form: the form of pullback.
      chunk_size: C, draws per datum held in memory at once.
      params: θ and φ.
      draws: the batch; its `indices` are not used.
      log_w: `[K, B]` log-weights of all draws.
      c: coefficients of the draws to redraw, each `[K, B]`, or fewer than K where these are a part.
      first: global index of the first of them.

    Returns:
      The gradient.
    """
    exchange = exchange_for(log_w)
    x, keys = exchange.data(draws)

    def add(total: jax.Array, gradient: jax.Array) -> jax.Array:
        # Selected here, where it is part of the addition: on the finished sum it would take a copy of the parameters.
        return jnp.where(exchange.found, total + gradient, total)

    def add_chunk(total: Params, chunk: tuple[jax.Array, Coefficients]) -> tuple[Params, None]:
        start, c = chunk
        indices = jnp.broadcast_to(start + jnp.arange(chunk_size), (keys.size, chunk_size))
        # The spare draw rides along as the last of the chunk: drawn, but not passed to the model.
        indices = jnp.concatenate([indices, exchange.draw[:, None]], axis=1)
        exchanged = Exchanged(unseen([c]), jnp.full(keys.shape, chunk_size))
        gradient = form(forward(params, Draws(x, keys, indices, exchanged)), c)
        return jax.tree.map(add, total, gradient), None

    starts = first + jnp.arange(0, c.model.shape[0], chunk_size)
    chunks = jax.tree.map(functools.partial(_in_chunks, chunk_size), c)
    return jax.lax.scan(add_chunk, jax.tree.map(jnp.zeros_like, params), (starts, chunks))[0]


class Exchange(NamedTuple):
    """For each datum `[B]`, a draw of finite weight to show the model in the place of one whose gradient has no weight.

    A density that is zero may have no derivative there, and 0 · NaN would poison the sum over draws. A datum without
    any finite weight, whose coefficients are all zero, is exchanged for another datum.

    Attributes:
      datum: `[B]` the datum to use in its place: itself if it has a draw of finite weight.
      draw: `[B]` the index of the largest finite weight of that datum.
      found: whether the batch has any draw of finite weight; without one, the gradient is zero.
    """

    datum: jax.Array
    draw: jax.Array
    found: jax.Array

    def data(self, draws: Draws) -> tuple[PyTree, jax.Array]:
        """Returns x and keys after the exchange of data: the same for a batch of one."""
        if self.datum.size == 1:
            return draws.x, draws.keys
        return jax.tree.map(lambda leaf: leaf[self.datum], (draws.x, draws.keys))


def unseen(coefficients: Iterable[Coefficients]) -> jax.Array:
    """Returns `[B, C]`: the draws to which no estimator gives a weight `[C, B]` in the model's gradient or the path."""
    vectors = jax.tree.leaves([(c.model, c.path) for c in coefficients])
    return functools.reduce(jnp.logical_and, [vector == 0 for vector in vectors]).T


def exchange_for(log_w: jax.Array) -> Exchange:
    """Finds the exchange that keeps draws of zero weight out of a pullback, from log w `[K, B]`."""
    finite = jnp.isfinite(log_w)
    # NaN counts: it is no zero weight, and is to show in the gradient.
    possible = jnp.any(~jnp.isneginf(log_w), axis=0)
    datum = jnp.where(possible, jnp.arange(possible.size), jnp.argmax(possible))
    draw = jnp.argmax(jnp.where(finite, log_w, -jnp.inf), axis=0)[datum]
    return Exchange(datum, draw, jnp.any(possible))


def without_unseen(exchange: Exchange, x: PyTree, z: PyTree, unseen: jax.Array) -> tuple[PyTree, PyTree]:
    """Returns data and draws `[B, K, ...]` after the exchange.

    In the place of a draw that is `unseen` `[B, K]` stands the spare one of its datum, and in that of a datum without
    any, another datum.
    """
    x = jax.tree.map(lambda leaf: leaf[exchange.datum], x)

    def exchanged(leaf: jax.Array) -> jax.Array:
        spare = leaf[exchange.datum, exchange.draw][:, None]
        return jnp.where(unseen.reshape(*unseen.shape, *[1] * (leaf.ndim - 2)), spare, leaf)

    return x, jax.tree.map(exchanged, z)


def pull_weighted(
    log_density: Callable[[PyTree, PyTree, PyTree], jax.Array], params: PyTree, x: PyTree, z: PyTree, weights: jax.Array
) -> PyTree:
    """Returns the mean over the batch of Σ_k weight_k ∂ log density(x, z_k), for z `[B, K, ...]` and weights `[K, B]`.

    A density that is zero need not have a derivative, and 0 · NaN is NaN: in the place of a draw without weight stands
    one that has some, of the same datum or, where that has none, of another.
    """
    unused = weights == 0
    exchange = exchange_for(jnp.where(unused, -jnp.inf, 0.0))
    x, z = without_unseen(exchange, x, z, unused.T)
    gradient = jax.grad(lambda params: jnp.sum(weights.T * log_density(params, x, z)) / weights.shape[1])(params)
    return jax.tree.map(lambda leaf: jnp.where(exchange.found, leaf, 0), gradient)


def _in_chunks(chunk_size: int, per_draw: jax.Array) -> jax.Array:
    """`[K, B] -> [ceil(K/C), C, B]`, padded with zeros: a padded draw has no coefficient."""
    padding = -per_draw.shape[0] % chunk_size
    return jnp.pad(per_draw, ((0, padding), (0, 0))).reshape(-1, chunk_size, per_draw.shape[1])
