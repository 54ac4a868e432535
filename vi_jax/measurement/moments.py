"""Means and variances of many draws, streamed: memory does not grow with their number."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.checks import check_key, check_positive_int
from vi_jax.types import PyTree


class Moments(NamedTuple):
    """What a set of draws leaves behind. Grouped moments have a leading axis G on every leaf.

    Attributes:
      count: n, the number of draws. A float: exact up to 2^24 draws in float32.
      mean: pytree of means over the draws, in the default float type (float32, or float64 under `jax_enable_x64`).
      m2: pytree of Σ_r (g_r − mean)², coordinate by coordinate.
    """

    count: jax.Array
    mean: PyTree
    m2: PyTree


def init(draw: PyTree) -> Moments:
    """Returns the moments of no draws at all, shaped for draws like this one (arrays or their shapes)."""
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), draw)
    return Moments(jnp.zeros(()), zeros, zeros)


def update(moments: Moments, draws: PyTree, weights: jax.Array | None = None) -> Moments:
    """Returns the moments with a batch of draws added.

    The batch's own moments come from two passes over it, each with its rounding error measured and taken out (Chan,
    Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983), and are then merged: in float32 the
    variance is right even where the mean is 10^4 standard deviations from zero. Every update rounds the mean once, so
    few large batches beat many small ones, and `replicate_moments` takes an origin off first.

    Args:
      moments: of the draws so far.
      draws: leaves `[R, ...]`. A draw that is not finite makes its coordinates' moments NaN, which is the truth.
      weights: `[R]`, how often each draw counts; None for once. A draw of weight 0 is padding: it may hold anything,
        NaN included.
    """
    weights = jnp.ones(jax.tree.leaves(draws)[0].shape[:1]) if weights is None else weights.astype(float)
    means = jax.tree.map(functools.partial(_mean, weights), draws)
    m2 = jax.tree.map(functools.partial(_squares, weights), draws, means)
    return merge(moments, Moments(weights.sum(), means, m2))


def merge(first: Moments, second: Moments) -> Moments:
    """Returns the moments of two disjoint sets of draws together.

        n = n₁ + n₂,  δ = mean₂ − mean₁,  mean = mean₁ + δ n₂/n,  m2 = m2₁ + m2₂ + δ² n₁ n₂/n

    Chan, Golub and LeVeque 1983, as above.
    """
    count = first.count + second.count
    share = second.count / _at_least_one(count)
    delta = jax.tree.map(jnp.subtract, second.mean, first.mean)
    mean = jax.tree.map(lambda m, d: m + d * share, first.mean, delta)
    m2 = jax.tree.map(lambda a, b, d: a + b + d**2 * (first.count * share), first.m2, second.m2, delta)
    return Moments(count, mean, m2)


def pool(grouped: Moments) -> Moments:
    """Returns the moments of all groups together: leaves `[G, ...]` become `[...]`."""
    first = jax.tree.map(lambda leaf: leaf[0], grouped.mean)
    between = update(init(first), grouped.mean, grouped.count)
    return between._replace(m2=jax.tree.map(lambda b, within: b + within.sum(axis=0), between.m2, grouped.m2))


def select(moments: Moments, part: Callable[[PyTree], PyTree]) -> Moments:
    """Returns the moments of a part of each draw, as in `select(moments, lambda draw: draw.theta)`."""
    return Moments(moments.count, part(moments.mean), part(moments.m2))


def variance(moments: Moments) -> PyTree:
    """Returns the unbiased variance m2/(n − 1) of every coordinate; NaN below two draws."""
    return jax.tree.map(lambda m2: m2 / _along(moments.count - 1.0, m2), moments.m2)


def replicate_moments(
    key: jax.Array,
    f: Callable[[jax.Array], PyTree],
    *,
    num_replicates: int,
    chunk_size: int | None = None,
    num_groups: int = 20,
) -> Moments:
    """Returns the moments of R independent replicates of `f(key)`, group by group: leaves `[G, ...]`.

    Replicate r draws from `fold_in(key, r)` and belongs to group r mod G, whatever the chunking, so the result depends
    on `chunk_size` through the order of summation only. Groups that differ by one replicate at most are all that a
    delete-a-group jackknife needs: any statistic gets an interval and no replicate is stored. `pool` forgets groups.

    Pure and traceable: put it in one `jax.jit` together with what it measures. Memory is that of the moments, 2 G
    copies of what `f` returns, and of one chunk; it does not grow with R. Replicates are run in whole rounds of G and
    equal chunks of rounds, so fewer than max(`chunk_size`, G) evaluations are made in vain.

    Args:
      key: typed key, consumed.
      f: `key -> pytree of arrays`, one replicate: a gradient, a bound, or both.
      num_replicates: R.
      chunk_size: replicates evaluated at once. None takes G, for which the memory is there already; larger chunks keep
        a larger machine busy.
      num_groups: G ≤ R.

    Raises:
      TypeError: for a raw uint32 key or a count that is not an integer.
      ValueError: for a count below 1, or more groups than replicates.
    """
    check_key(key)
    num_replicates = check_positive_int("num_replicates", num_replicates)
    num_groups = check_positive_int("num_groups", num_groups)
    chunk_size = num_groups if chunk_size is None else check_positive_int("chunk_size", chunk_size)
    if num_groups > num_replicates:
        raise ValueError(f"num_groups={num_groups} exceeds num_replicates={num_replicates}: lower it, or draw more.")
    rounds, num_chunks = _plan(-(-num_replicates // num_groups), max(1, chunk_size // num_groups))
    ids = jnp.arange(rounds * num_groups)

    def add_chunk(running: Running, chunk: jax.Array) -> tuple[Running, None]:
        replicate = chunk * ids.size + ids
        draws = _evaluate(lambda r: f(jax.random.fold_in(key, r)), replicate, chunk_size)
        by_group, counted = jax.tree.map(
            lambda leaf: leaf.reshape(rounds, num_groups, *leaf.shape[1:]), (draws, replicate < num_replicates)
        )
        return add(running, by_group, counted), None

    return finish(jax.lax.scan(add_chunk, begin(jax.eval_shape(f, key), num_groups), jnp.arange(num_chunks))[0])


class Running(NamedTuple):
    """Grouped moments that are still growing.

    Attributes:
      origin: the first draw of all. Measured from it the mean is near zero, and thousands of small updates do not round
        it away.
      moments: grouped, of the draws less the origin.
    """

    origin: PyTree
    moments: Moments


def begin(draw: PyTree, num_groups: int) -> Running:
    """Returns the running moments of nothing yet, for draws like this one (arrays or their shapes)."""
    nothing = init(draw)
    return Running(nothing.mean, jax.tree.map(lambda leaf: jnp.zeros((num_groups, *leaf.shape)), nothing))


def add(running: Running, draws: PyTree, counted: jax.Array) -> Running:
    """Returns the running moments with rounds of draws added, leaves `[rounds, G, ...]`; `counted` `[rounds, G]`."""
    empty = jnp.all(running.moments.count == 0)
    origin = jax.tree.map(lambda o, d: jnp.where(empty, _finite(d[0, 0]), o), running.origin, draws)
    from_origin = jax.tree.map(lambda d, o: d.astype(o.dtype) - o, draws, origin)
    return Running(origin, jax.vmap(update, in_axes=(0, 1, 1))(running.moments, from_origin, counted))


def finish(running: Running) -> Moments:
    """Returns the grouped moments of the draws themselves."""
    return running.moments._replace(mean=jax.tree.map(jnp.add, running.origin, running.moments.mean))


def _plan(num_rounds: int, rounds_at_once: int) -> tuple[int, int]:
    """Rounds per chunk and number of chunks, as even as they come, to throw away the fewest evaluations."""
    num_chunks = -(-num_rounds // rounds_at_once)
    return -(-num_rounds // num_chunks), num_chunks


def _evaluate(f: Callable[[jax.Array], PyTree], ids: jax.Array, chunk_size: int) -> PyTree:
    if chunk_size >= ids.size:
        return jax.vmap(f)(ids)
    return jax.lax.map(f, ids, batch_size=chunk_size)


def _finite(draw: jax.Array) -> jax.Array:
    draw = draw.astype(float)
    return jnp.where(jnp.isfinite(draw), draw, 0.0)


def _mean(weights: jax.Array, draws: jax.Array) -> jax.Array:
    weights, draws = _masked(weights, draws)
    total = _at_least_one(weights.sum(axis=0))
    first = (weights * draws).sum(axis=0) / total
    return first + (weights * (draws - first)).sum(axis=0) / total


def _squares(weights: jax.Array, draws: jax.Array, mean: jax.Array) -> jax.Array:
    weights, draws = _masked(weights, draws)
    residual = draws - mean
    rounding = (weights * residual).sum(axis=0) ** 2 / _at_least_one(weights.sum(axis=0))
    return (weights * residual**2).sum(axis=0) - rounding


def _masked(weights: jax.Array, draws: jax.Array) -> tuple[jax.Array, jax.Array]:
    weights = _along(weights, draws)
    return weights, jnp.where(weights > 0, draws.astype(weights.dtype), 0.0)


def _along(count: jax.Array, leaf: jax.Array) -> jax.Array:
    return count.reshape(count.shape + (1,) * (leaf.ndim - count.ndim))


def _at_least_one(count: jax.Array) -> jax.Array:
    return jnp.where(count > 0, count, 1.0)
