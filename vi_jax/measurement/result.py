"""What a sweep returns: arrays on the grid of objectives and K, and the tidy table of them."""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.measurement import snr, summary
from vi_jax.measurement.cells import Row
from vi_jax.measurement.cost import Costs
from vi_jax.measurement.jackknife import Estimate
from vi_jax.measurement.moments import Moments, pool, select, variance
from vi_jax.measurement.summary import Blocks, Quantities, Reference
from vi_jax.types import Params

if TYPE_CHECKING:
    import pandas as pd

    from vi_jax.measurement.stream import Plan


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
      block_function: what named the blocks.
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
    block_function: Blocks
    costs: Costs | None = None

    def to_pandas(self) -> "pd.DataFrame":
        """Returns the tidy table: a row per objective, K, unit and block, and columns `quantity`, `_low`, `_high`.

        Quantities of the whole cell are repeated in the rows of its blocks. `coordinate_snr_floor` is what
        `coordinate_snr` reads without any signal: it is no signal. An undefined cell has rows of NaN, and says why in
        the column `undefined`, which is empty elsewhere.
        """
        import pandas as pd

        return pd.DataFrame(list(_rows(self)))


def assemble(
    plan: "Plan",
    rows: tuple[Row, ...],
    undefined: Mapping[tuple[str, int], str],
    grouped: dict[int, Moments],
    truth: Any,
    tails: dict[int, Estimate],
) -> SweepResult:
    """Puts the grouped moments of all rows on the grid and summarizes each cell."""
    names = tuple(name for name, _ in plan.objectives)
    like = next(iter(grouped.values()))
    unknown = _unknown(like) if truth is None else None
    on_grid, truths, counts = [], [], []
    for row in rows:
        here = grouped.get(row.num_samples)
        places = np.array([row.names.index(name) if name in row.names else -1 for name in names])
        place = functools.partial(_place, places)
        source = like if here is None else here
        on_grid.append(
            Moments(source.count, *(jax.tree.map(functools.partial(place, axis=2), part) for part in source[1:]))
        )
        reference = unknown if truth is None else truth.get(row.num_samples, next(iter(truth.values())))
        truths.append(jax.tree.map(functools.partial(place, axis=1), reference))
        counts.append(0 if here is None else int(np.sum(here.count)))
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    cells, reference = jax.tree.map(stack, *on_grid), jax.tree.map(stack, *truths)
    quantities, mean, spread = _summaries(plan.blocks, cells, reference)
    by_objective = lambda leaf: np.moveaxis(np.asarray(leaf), 2, 0)  # noqa: E731
    quantities, mean, spread = jax.tree.map(by_objective, (quantities, mean, spread))
    return SweepResult(
        objectives=names,
        num_samples=plan.num_samples,
        blocks=tuple(plan.blocks(reference.gradient)),
        quantities=quantities._replace(pareto_k=_everywhere(tails, quantities.value.value)),
        mean=mean,
        variance=spread,
        undefined=undefined,
        num_replicates=tuple(counts),
        formed=Params(plan.sums.theta.name, plan.sums.phi.name),
        grouped=grouped,
        block_function=plan.blocks,
    )


def _everywhere(tails: dict[int, Estimate], like: np.ndarray) -> Estimate:
    """k̂ by K and unit, for every objective; NaN where a cell is undefined."""
    by_size = jax.tree.map(lambda *leaves: np.stack(leaves), *tails.values())
    return jax.tree.map(lambda leaf: np.where(np.isnan(like), np.nan, leaf[None]), by_size)


def _place(places: np.ndarray, leaf: jax.Array, *, axis: int) -> jax.Array:
    """Objectives where the grid has them along an axis, NaN where a cell is undefined."""
    if np.array_equal(places, np.arange(leaf.shape[axis])):
        return leaf
    taken = jnp.take(leaf, jnp.maximum(places, 0), axis=axis)
    return jnp.where((places >= 0).reshape(-1, *(1,) * (leaf.ndim - axis - 1)), taken, jnp.nan)


def _unknown(moments: Moments) -> Reference:
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
    if baseline not in result.objectives:
        raise ValueError(f"no objective is named {baseline!r}: choose the baseline from {result.objectives}.")
    ratios = []
    for size in result.num_samples:
        names = tuple(name for name in result.objectives if (name, size) not in result.undefined)
        shape = np.shape(result.quantities.variance.value)
        grid = [np.full((shape[0], *shape[2:]), np.nan) for _ in Estimate._fields]
        if baseline in names:
            here = jax.tree.map(np.asarray, _ratios(result.block_function, names.index(baseline), result.grouped[size]))
            places = [result.objectives.index(name) for name in names]
            for whole, part in zip(grid, here, strict=True):
                whole[places] = np.moveaxis(part, 1, 0)
        ratios.append(Estimate(*map(jnp.asarray, grid)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *ratios)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _ratios(blocks: Blocks, base: int, grouped: Moments) -> Estimate:
    """`[G, U, O, ...]` -> `[U, O, blocks]`."""
    gradient = select(grouped, lambda measured: measured.gradient)
    baseline = jax.tree.map(lambda leaf: leaf[:, :, base], gradient._replace(count=()))

    def one(moments: Moments, base: Moments) -> Estimate:
        base = base._replace(count=moments.count)
        names = blocks(moments.mean)
        parts = [
            summary.variance_ratio(*(select(m, lambda g, name=name: blocks(g)[name]) for m in (moments, base)))
            for name in names
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)

    axes, base_axes = Moments(None, 1, 1), Moments(None, None, None)  # type: ignore[arg-type]
    over_objectives = jax.vmap(one, in_axes=(axes, base_axes))
    return jax.vmap(over_objectives, in_axes=(axes, axes))(gradient, baseline)


def _rows(result: SweepResult) -> Iterator[dict[str, Any]]:
    shape = result.quantities.variance.value.shape
    for o, k, u, b in np.ndindex(*shape):
        name, size = result.objectives[o], result.num_samples[k]
        row = {"objective": name, "num_samples": size, "unit": u, "block": result.blocks[b]}
        for quantity, estimate in zip(result.quantities._fields, result.quantities, strict=True):
            ends = (leaf[o, k, u, b] if leaf.ndim == 4 else leaf[o, k, u] for leaf in estimate)
            row |= dict(zip((quantity, f"{quantity}_low", f"{quantity}_high"), map(float, ends), strict=True))
        count = result.num_replicates[k]
        row["coordinate_snr_floor"] = snr.coordinate_snr_floor(count) if count else math.nan
        row["num_replicates"] = count
        row["formed"] = result.formed.theta if result.blocks[b].startswith("theta") else result.formed.phi
        if result.costs is not None:
            costs = result.costs
            row |= {
                "flops": float(costs.flops[o, k]),
                "seconds": float(costs.seconds[o, k]),
                "seconds_interpolated": bool(costs.interpolated[o, k]),
            }
        yield row | {"undefined": result.undefined.get((name, size), "")}
