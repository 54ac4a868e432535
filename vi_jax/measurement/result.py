"""What a sweep returns: arrays on the grid of objectives and K, and the tidy table of them."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.measurement import snr, summary
from vi_jax.measurement.cells import Row
from vi_jax.measurement.jackknife import Estimate
from vi_jax.measurement.moments import Moments, pool, variance
from vi_jax.measurement.summary import Measured, Quantities, Reference
from vi_jax.types import Params


class SweepResult(NamedTuple):
    """The cells of a sweep, on a grid of O objectives and the values of K, for U units: one batch, or B data.

    Attributes:
      objectives: names, in the order of axis 0.
      num_samples: K, in the order of axis 1.
      blocks: names, in the order of the last axis of a block's quantities.
      quantities: `Quantities` of `Estimate`, each array `[O, number of K, U]` or `[O, number of K, U, blocks]`.
      mean: the mean gradient, leaves `[O, number of K, U, ...]`.
      variance: the variance of every coordinate, likewise.
      undefined: {(objective, K): why}. Such a cell is NaN in every array.
      num_replicates: `[number of K]`, replicates behind the cells of each K.
      formed: how sums over draws were formed in θ and φ. Where it says `projected`, gradients are their projections on
        a few fixed random directions, and so is everything said of them.
      grouped: {K: moments of `Measured` by groups of replicates}, leaves `[G, U, O, ...]`, for the objectives defined.
      costs: operations and seconds of each cell, where they were measured: `result._replace(costs=cell_costs(...))`.
    """

    objectives: tuple[str, ...]
    num_samples: tuple[int, ...]
    blocks: tuple[str, ...]
    quantities: Quantities
    mean: Params
    variance: Params
    undefined: Mapping[tuple[str, int], str]
    num_replicates: tuple[int, ...]
    formed: Params
    grouped: Mapping[int, Moments]
    costs: Any = None

    def to_pandas(self):
        """Returns the tidy table: a row per objective, K, unit and block, and columns `quantity`, `_low`, `_high`.

        Quantities of the whole cell are repeated in the rows of its blocks. `coordinate_snr_floor` is what
        `coordinate_snr` reads without any signal: it is no signal. An undefined cell has rows of NaN, and says why in
        the column `undefined`, which is empty elsewhere.
        """
        import pandas as pd

        return pd.DataFrame(_rows(self))


def assemble(plan, rows: tuple[Row, ...], undefined, grouped: dict[int, Moments], truth, params, num_replicates: int, units: int) -> SweepResult:
    """Puts the grouped moments of all rows on the grid and summarizes each cell."""
    names = tuple(name for name, _ in plan.objectives)
    like = next(iter(grouped.values()))
    unknown = _unknown(like, units) if truth is None else None
    on_grid, truths, counts = [], [], []
    for row in rows:
        here = grouped.get(row.num_samples)
        places = np.array([row.names.index(name) if name in row.names else -1 for name in names])
        place = functools.partial(_place, places)
        source = like if here is None else here
        on_grid.append(Moments(source.count, *(jax.tree.map(functools.partial(place, axis=2), part) for part in source[1:])))
        reference = unknown if truth is None else truth.get(row.num_samples, next(iter(truth.values())))
        truths.append(jax.tree.map(functools.partial(place, axis=1), reference))
        counts.append(0 if here is None else int(np.sum(here.count)))
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    cells, reference = jax.tree.map(stack, *on_grid), jax.tree.map(stack, *truths)
    quantities, mean, spread = _summaries(plan.blocks, cells, reference)
    by_objective = lambda leaf: np.moveaxis(np.asarray(leaf), 2, 0)  # noqa: E731
    blocks = tuple(plan.blocks(jax.tree.map(lambda leaf: leaf, reference.gradient)))
    return SweepResult(
        names,
        plan.num_samples,
        blocks,
        *jax.tree.map(by_objective, (quantities, mean, spread)),
        undefined,
        tuple(counts),
        Params(plan.theta.name, plan.phi.name),
        grouped,
    )


def _place(places: np.ndarray, leaf: jax.Array, *, axis: int) -> jax.Array:
    """Objectives where the grid has them along an axis, NaN where a cell is undefined."""
    taken = jnp.take(leaf, jnp.maximum(places, 0), axis=axis)
    return jnp.where((places >= 0).reshape(-1, *(1,) * (leaf.ndim - axis - 1)), taken, jnp.nan)


def _unknown(moments: Moments, units: int) -> Reference:
    """No reference, shaped like the means of one K."""
    nothing = lambda leaf: jnp.full(leaf.shape[1:], jnp.nan)  # noqa: E731
    gradient = jax.tree.map(nothing, moments.mean.gradient)
    value = nothing(moments.mean.value)
    return Reference(value, gradient, value, gradient)


@functools.partial(jax.jit, static_argnums=0)
def _summaries(blocks, cells: Moments, reference: Reference):
    """`[number of K, G, U, O, ...]` -> quantities, means and variances `[number of K, U, O, ...]`."""

    def one(moments: Moments, truth: Reference):
        whole = pool(moments)
        parts = summary.summarize(moments, truth, blocks), whole.mean.gradient, variance(whole).gradient
        return parts

    def one_size(args):
        moments, truth = args
        axes = Moments(None, 1, 1)  # type: ignore[arg-type]
        return jax.vmap(jax.vmap(one, in_axes=(axes, 0)), in_axes=(axes, 0))(moments, truth)

    return jax.lax.map(one_size, (cells, reference))


def paired_variance_ratio(result: SweepResult, baseline: str) -> Estimate:
    """Returns tr Cov of every objective over that of a baseline at the same K, `[O, number of K, U, blocks]`.

    Both were measured on the same draws, and the interval is that of the ratio: it is far shorter than what two
    intervals of their own allow.

    Raises:
      ValueError: no objective has that name.
    """
    ...


def _rows(result: SweepResult):
    yield from ()
