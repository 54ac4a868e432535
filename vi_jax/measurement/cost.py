"""What a gradient costs: operations of its compiled program, and seconds on this device."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from vi_jax.gradient import value_and_grad
from vi_jax.measurement import cells
from vi_jax.types import BoundFn, Estimator, Guide, Model, Params, PyTree


class Costs(NamedTuple):
    """Costs of one gradient, each `[O, number of K]`; NaN for an undefined cell.

    Attributes:
      flops: operations of the compiled, unchunked program of `value_and_grad`, as the compiler counts them.
      seconds: median of finished gradients on this device.
      interpolated: whether the seconds were not measured at this K, but lie on straight lines, seconds against K,
        between the values of K that were.
    """

    flops: np.ndarray
    seconds: np.ndarray
    interpolated: np.ndarray


def cell_costs(
    key: jax.Array,
    model: Model,
    guide: Guide,
    params: Params,
    x: PyTree,
    *,
    objectives: Mapping[str, tuple[BoundFn, Estimator]],
    num_samples: Sequence[int],
    num_timings: int = 15,
    progress: Callable[[int, int], None] | None = None,
) -> Costs:
    """Compiles every cell alone, counts its operations, and times it at the smallest, a middle and the largest K.

    The objectives take turns, so that a machine that slows down slows all of them. Compiling takes far longer than a
    sweep: a second per cell or more.

    Args:
      key: a typed key, consumed.
      model: as of `sweep`.
      guide: as of `sweep`.
      params: as of `sweep`.
      x: as of `sweep`.
      objectives: (bound, estimator) by name.
      num_samples: values of K, increasing.
      num_timings: gradients timed per cell.
      progress: `(done, total)` programs compiled.

    Raises:
      TypeError, ValueError: as `sweep`.
    """
    rows, undefined = cells.lay_out(guide, objectives, num_samples)
    ks, names = [row.num_samples for row in rows], list(objectives)
    flops = np.full((len(names), len(ks)), np.nan)
    seconds = np.full_like(flops, np.nan)
    total, done = flops.size - len(undefined), 0
    for j, row in enumerate(rows):
        programs = {}
        for name in row.names:
            objective = jax.jit(value_and_grad(model, guide, *objectives[name], num_samples=row.num_samples))
            programs[name] = objective.lower(key, params, x).compile()
            flops[names.index(name), j] = _operations(programs[name].cost_analysis())
            done += 1
            if progress is not None:
                progress(done, total)
        if j in {0, len(ks) // 2, len(ks) - 1}:
            for name, median in _medians(programs, (key, params, x), num_timings).items():
                seconds[names.index(name), j] = median
    measured = ~np.isnan(seconds)
    return Costs(
        flops, np.stack([_between(ks, *row) for row in zip(seconds, flops, strict=True)]), ~measured & ~np.isnan(flops)
    )


def _operations(analysis) -> float:
    return float(analysis["flops"])


def _medians(programs: Mapping[str, Callable], arguments: tuple, num_timings: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(num_timings + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times[name].append(time.perf_counter() - start)
    # The first of each warms up.
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def _between(ks: Sequence[int], seconds: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """Straight lines between what was measured, and beyond it the nearest."""
    known = ~np.isnan(seconds)
    if not known.any():
        return seconds
    return np.where(np.isnan(flops), np.nan, np.interp(ks, np.asarray(ks)[known], seconds[known]))
