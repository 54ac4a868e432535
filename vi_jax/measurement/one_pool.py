"""One replicate of a sweep: K_max draws per datum, and every cell (objective, K) read off them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.log_weights import batch_draws, log_weights_of
from vi_jax.measurement import cells, psis, weights
from vi_jax.measurement.cut import cut
from vi_jax.measurement.sums import Drawn, Problem, Sum, Sums
from vi_jax.types import Guide, Model, Params, PyTree


class Cells(NamedTuple):
    """What one pool says of all objectives O at one K; J groups of K draws, and U units: one batch, or B data.

    Attributes:
      gradient: leaves `[J, U, O, ...]`.
      value: `[J, U, O]` nats.
      impossible: `[J, U, O]` share of data whose bound is −∞.
      effective_sample_size: `[J, U, O]`, of the weights, the same for all objectives.
    """

    gradient: Params
    value: jax.Array
    impossible: jax.Array
    effective_sample_size: jax.Array


Average = Callable[[Callable[[PyTree, jax.Array], PyTree]], Callable[[PyTree, jax.Array], PyTree]]
"""(x, keys `[B]`) -> leaves `[J, ...]` of a batch mean  ->  the same with an axis U of units, leaves `[J, U, ...]`."""


def over_batch(measure: Callable[[PyTree, jax.Array], PyTree]) -> Callable[[PyTree, jax.Array], PyTree]:
    """Measures the mean over the batch, one unit: its noise is Monte Carlo noise at these data."""
    return lambda x, keys: jax.tree.map(lambda leaf: leaf[:, None], measure(x, keys))


def per_datum(measure: Callable[[PyTree, jax.Array], PyTree]) -> Callable[[PyTree, jax.Array], PyTree]:
    """Measures each datum by itself, B units: Monte Carlo noise within a datum, and the spread from datum to datum."""

    def each(x: PyTree, keys: jax.Array) -> PyTree:
        alone = jax.tree.map(lambda leaf: leaf[:, None], (x, keys))
        return jax.vmap(measure, out_axes=1)(*alone)

    return each


class _Pool(NamedTuple):
    """All draws, leaves `[B, K, ...]`."""

    drawn: Drawn
    log_w: jax.Array
    theta: PyTree
    phi: PyTree


def replicate(
    model: Model,
    guide: Guide,
    rows: tuple[cells.Row, ...],
    theta: Sums,
    phi: Sums,
    average: Average,
    max_groups: int,
) -> Callable[[jax.Array, Params, PyTree], dict[int, Cells]]:
    """Makes (key, params, x) -> {K: Cells}, of the draws that `value_and_grad` makes from this key."""
    through = any(any(row.through_draws) for row in rows)
    of_theta, of_phi = theta.theta, phi.phi if through else phi.score
    size = max(row.num_samples for row in rows)

    def measure(params: Params, parts, x: PyTree, keys: jax.Array) -> dict[int, Cells]:
        problem = Problem(model, parts, params, x, jax.vmap(parts.encode, in_axes=(None, 0))(params.phi, x))
        pool = _draw(problem, keys, size, of_theta, of_phi)
        return {row.num_samples: _read(problem, row, pool, of_theta, of_phi, max_groups) for row in rows if row.names}

    def one(key: jax.Array, params: Params, x: PyTree) -> dict[int, Cells]:
        parts = cut(guide, params.phi, jax.tree.map(lambda leaf: leaf[0], x), key)
        return average(lambda x, keys: measure(params, parts, x, keys))(x, batch_draws(key, x, jnp.arange(1)).keys)

    return one


def _draw(problem: Problem, keys: jax.Array, size: int, of_theta: Sum, of_phi: Sum) -> _Pool:
    def one_datum(x: PyTree, arrays: PyTree, key: jax.Array) -> _Pool:
        here = problem._replace(x=x, arrays=arrays)

        def one_draw(k: jax.Array) -> _Pool:
            seed = jax.random.fold_in(key, k)
            draw = Drawn(seed, problem.cut.sample(arrays, seed))
            log_p = problem.model.log_joint(problem.params.theta, x, draw.z)
            log_w = log_p - problem.cut.log_prob(arrays, draw.z)
            return _Pool(draw, log_w, of_theta.features(here, draw), of_phi.features(here, draw))

        return jax.vmap(one_draw)(jnp.arange(size))

    return jax.vmap(one_datum)(problem.x, problem.arrays, keys)


def _read(problem: Problem, row: cells.Row, pool: _Pool, of_theta: Sum, of_phi: Sum, max_groups: int) -> Cells:
    """Reads the cells of one K off the first K draws of a pool, or off its first few disjoint groups of K."""
    size, batch_size = row.num_samples, pool.log_w.shape[0]
    num_groups = min(max_groups, pool.log_w.shape[1] // size)

    def grouped(leaf: jax.Array) -> jax.Array:
        groups = leaf[:, : num_groups * size].reshape(batch_size, num_groups, size, *leaf.shape[2:])
        return jnp.moveaxis(groups, 1, 0)

    def one_group(part: _Pool) -> Cells:
        log_w = part.log_w.T
        values = jnp.stack([bound(log_w) for bound in row.bounds])
        c = cells.Stacked(*(leaf / batch_size for leaf in cells.stacked(row, log_w)))
        gradient = Params(
            of_theta.total(problem, part.drawn, part.theta, log_w, c.model),
            of_phi.total(problem, part.drawn, part.phi, log_w, c.path, c.score),
        )
        return Cells(
            gradient=gradient,
            value=values.mean(axis=1),
            impossible=jnp.isneginf(values).mean(axis=1, dtype=values.dtype),
            effective_sample_size=jnp.full_like(values[:, 0], weights.effective_sample_size(log_w).mean()),
        )

    return jax.vmap(one_group)(jax.tree.map(grouped, pool))


def tails(
    model: Model, guide: Guide, num_samples: tuple[int, ...], average: Average
) -> Callable[[jax.Array, Params, PyTree], dict[int, jax.Array]]:
    """Makes (key, params, x) -> {K: mean k̂ of the first K weights of a pool}, each `[1, U]`."""

    def one(key: jax.Array, params: Params, x: PyTree) -> dict[int, jax.Array]:
        def measure(x: PyTree, keys: jax.Array) -> dict[int, jax.Array]:
            draws = batch_draws(key, x, jnp.arange(num_samples[-1]))._replace(keys=keys)
            log_w = log_weights_of(model, guide, params, draws)
            return {size: psis.pareto_k(log_w[:size]).mean(keepdims=True) for size in num_samples}

        return average(measure)(x, batch_draws(key, x, jnp.arange(1)).keys)

    return one
