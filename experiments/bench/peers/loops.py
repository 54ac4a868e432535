"""The variance of gradients: the library's programs over replicates and over a whole grid, beside Python loops."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import vi_jax as vi
from experiments.bench.peers import work
from experiments.bench.peers.contest import ARITHMETIC, DISPATCH, Contest, Entry, Value, value_of_draws
from experiments.bench.peers.gaussian import gradient, toy
from experiments.bench.programs import called
from experiments.bench.sweeps import OBJECTIVES, REFERENCE_NAME, UNDEFINED
from vi_jax.measurement.moments import pool, replicate_moments, variance

ONE_PAIR = "one pair, largest K"


def variances(config: work.Config, num_samples: int) -> Contest:
    """W4: the variance of one gradient over replicates, in one program and in a loop of jitted gradients.

    Replicate r draws from `fold_in(key, r)` in both, so that both have the same draws and the same total variance.
    """
    key, num_replicates = jax.random.key(config.seed), config.num_replicates
    one = gradient(toy(), REFERENCE_NAME, num_samples)

    def streamed(key: jax.Array) -> Any:
        at_once = chunk(num_samples, num_replicates)
        return variance(pool(replicate_moments(key, one, num_replicates=num_replicates, chunk_size=at_once)))

    loop = functools.partial(looped, [jax.jit(one)], num_replicates)
    entries = (
        Entry(
            "replicate_moments", streamed, (key,), ARITHMETIC, lambda: total(jax.jit(streamed)(key)), counted=math.nan
        ),
        Entry("loop of jitted gradients", loop, (key,), DISPATCH, lambda: total(loop(key)[0]), called),
    )
    return Contest("W4 variance", num_samples, 1, num_replicates, entries)


def chunk(num_samples: int, num_replicates: int) -> int:
    """Returns how many replicates to evaluate at once: such that they make about 10,000 draws."""
    return max(20, min(num_replicates, 10_000 // num_samples))


def total(variances: Any) -> Value:
    """Returns the total variance of value and gradient, known to a thousandth of itself in float32."""
    value = float(sum(np.sum(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(variances)))
    return Value(value, 5e-4 * value)


def looped(cells: list[Callable[..., Any]], num_replicates: int, key: jax.Array) -> list[np.ndarray]:
    """Returns the variances `[1 + P]` of each cell, fetched draw by draw and accumulated in NumPy as Welford does."""
    variances = []
    for cell in cells:
        mean, m2 = np.zeros(()), np.zeros(())
        for r in range(num_replicates):
            fetched = jax.device_get(cell(jax.random.fold_in(key, r)))
            draw = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(fetched)]).astype(np.float64)
            delta = draw - mean
            mean = mean + delta / (r + 1)
            m2 = m2 + delta * (draw - mean)
        variances.append(m2 / (num_replicates - 1))
    return variances


def grid(config: work.Config) -> Contest:
    """W4: `vi.sweep` of eight pairs at every K beside one pair at the largest, and beside a loop over the same.

    They agree on the bound of that one pair; that all cells of a sweep agree with single gradients, its tests say.
    """
    problem, key = toy(), jax.random.key(config.seed)
    num_replicates, largest = config.num_replicates, config.grid_samples[-1]
    one = gradient(problem, REFERENCE_NAME, largest)

    def swept(key: jax.Array) -> Any:
        samples = config.grid_samples
        return vi.sweep(
            key, *problem, objectives=OBJECTIVES, num_samples=samples, num_replicates=num_replicates
        ).quantities

    def one_pair(key: jax.Array) -> Any:
        return replicate_moments(key, one, num_replicates=num_replicates, chunk_size=chunk(largest, num_replicates))

    pairs = [pair for pair in itertools.product(OBJECTIVES, config.grid_samples) if pair != UNDEFINED]
    cells = [jax.jit(gradient(problem, *pair)) for pair in pairs]
    loop = functools.partial(looped, cells, config.num_looped)
    share = config.num_looped / num_replicates
    judge = functools.partial(looped_bound, jax.jit(one), key, config.num_values)
    entries = (
        Entry("vi.sweep", swept, (key,), ARITHMETIC, lambda: swept_bound(swept(key)), called),
        Entry(ONE_PAIR, one_pair, (key,), ARITHMETIC, lambda: mean_bound(one_pair(key))),
        Entry("loop of jitted gradients", loop, (key,), DISPATCH, judge, called, share),
    )
    return Contest("W4 grid", largest, 1, num_replicates, entries, max(2, config.num_runs // 2))


def swept_bound(quantities: Any) -> Value:
    """Returns the bound of one cell of a sweep, with five of its standard errors."""
    found = (float(leaf[list(OBJECTIVES).index(REFERENCE_NAME), -1, 0]) for leaf in quantities.value)
    value, low, high = found
    return Value(value, 5 * (high - low) / (2 * 1.96))


def mean_bound(moments: Any) -> Value:
    """Returns the bound that replicates have on average, likewise."""
    pooled = pool(moments)
    value, spread = float(pooled.mean[0][0]), float(variance(pooled)[0][0])
    return Value(value, 5 * math.sqrt(spread / float(pooled.count)))


def looped_bound(one: Callable[[jax.Array], Any], key: jax.Array, num_values: int) -> Value:
    """Returns the bound that single calls have on average, likewise."""
    return value_of_draws([float(one(jax.random.fold_in(key, r))[0][0]) for r in range(num_values)])
