"""Which cells (objective, K) a sweep has, and their coefficients on one pool of log-weights."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.estimators.definition import zero_where_impossible
from vi_jax.legality import check_pair
from vi_jax.pullback import fixed_draws
from vi_jax.types import BoundFn, CoefficientFn, Estimator, Guide

Objectives = Mapping[str, tuple[BoundFn, Estimator]]


class Row(NamedTuple):
    """All objectives that are defined at one K; O of them.

    Attributes:
      num_samples: K.
      names: of the objectives.
      bounds: their bounds.
      coefficients: log-weights `[K, B]` -> `Coefficients`, zero for an impossible datum.
      through_draws: which of them differentiate through the draws.
    """

    num_samples: int
    names: tuple[str, ...]
    bounds: tuple[BoundFn, ...]
    coefficients: tuple[CoefficientFn, ...]
    through_draws: tuple[bool, ...]


class Stacked(NamedTuple):
    """Coefficients of all objectives of a row: `model`, `path` and `score`, each `[O, K, B]`; of the sum over B."""

    model: jax.Array
    path: jax.Array
    score: jax.Array


def lay_out(
    guide: Guide, objectives: Objectives, num_samples: Sequence[int]
) -> tuple[tuple[Row, ...], dict[tuple[str, int], str]]:
    """Returns a row per K, and why each of the cells is undefined that are left out of them.

    Raises:
      ValueError: no objective, no K, K that do not increase, or no cell that is defined.
      TypeError: K is not an integer, or an objective is no pair of functions.
    """
    sizes = _check_num_samples(num_samples)
    _check_objectives(objectives)
    undefined: dict[tuple[str, int], str] = {}
    rows = []
    for size in sizes:
        cells = {}
        for name, (bound, estimator) in objectives.items():
            cell = _cell(guide._replace(support=None), bound, estimator, size, jnp.result_type(float))
            if isinstance(cell, str):
                undefined[name, size] = cell
            else:
                cells[name] = cell
        names = tuple(cells)
        bounds = tuple(objectives[name][0] for name in names)
        coefficients, through = (tuple(part) for part in zip(*cells.values(), strict=True)) if cells else ((), ())
        rows.append(Row(size, names, bounds, coefficients, through))
    if not any(row.names for row in rows):
        raise ValueError(f"no objective is defined at any K of {sizes}: {next(iter(undefined.values()))}")
    return tuple(rows), undefined


def stacked(row: Row, log_w: jax.Array) -> Stacked:
    """Returns the coefficients of a row on log-weights `[K, B]`.

    Many pools at once are a trailing axis, not a leading one: then reductions over K run along whole vectors.
    """

    @jax.custom_batching.custom_vmap
    def of(log_w: jax.Array) -> Stacked:
        parts = [coefficients(log_w)[:3] for coefficients in row.coefficients]
        return Stacked(*(jnp.stack(vectors) for vectors in zip(*parts, strict=True)))

    @of.def_vmap
    def _(axis_size: int, in_batched: list[bool], log_w: jax.Array) -> tuple[Stacked, Stacked]:
        del axis_size, in_batched
        c = of(jnp.moveaxis(log_w, 0, -1))
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), c), jax.tree.map(lambda _: True, c)

    return of(log_w)


# Three traces of the estimator a cell, which a sweep would repeat at every call and in each of its programs.
@functools.lru_cache(maxsize=4096)
def _cell(
    guide: Guide, bound: BoundFn, estimator: Estimator, size: int, dtype: Any
) -> tuple[CoefficientFn, bool] | str:
    """Returns the coefficients of a cell and whether they go through the draws, or why it is undefined."""
    try:
        shape = getattr(jax.eval_shape(bound, jax.ShapeDtypeStruct((size, 2), dtype)), "shape", None)
        if shape != (2,):
            raise TypeError(
                f"bound must map log-weights [K, B] to values [B], got shape {shape}: reduce over axis 0 alone."
            )
        coefficients = zero_where_impossible(bound, estimator(bound))
        return coefficients, check_pair(guide, bound, estimator, size, coefficients) is not fixed_draws
    except ValueError as error:
        return str(error)


def _check_num_samples(num_samples: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(checks.check_positive_int("num_samples", size) for size in num_samples)
    if not sizes or any(low >= high for low, high in itertools.pairwise(sizes)):
        raise ValueError(f"num_samples must be increasing values of K, such as (1, 4, 16), got {sizes}.")
    return sizes


def _check_objectives(objectives: Objectives) -> None:
    if not objectives:
        raise ValueError("objectives is empty: give a (bound, estimator) by name, {'iwae': (iwae, pathwise)}.")
    for name, pair in objectives.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(callable(part) for part in pair)):
            raise TypeError(f"objectives[{name!r}] must be a pair (bound, estimator) of functions, got {pair!r}.")
