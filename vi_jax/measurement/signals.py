"""What a sweep says of gradients along the direction that each of them should have, as `ranking` wants it."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from vi_jax.measurement.moments import Moments
from vi_jax.measurement.ranking import Signals, signal_to_noise
from vi_jax.measurement.summary import Reference
from vi_jax.measurement.sweep import ReferenceFn, SweepResult
from vi_jax.types import PyTree

Cell = tuple[str, int]
"""(objective, K)."""

# Below this cosine of the measured direction to the true one there is no telling what a gradient's projection means.
_LEAST_COSINE = 0.7
# Estimators of one bound at one K cost the same within a factor of three: one that has less than a tenth of the signal
# of another in φ need not be timed.
_WORTH_TIMING = 0.1
# Two gradients whose bounds and variances agree to so many digits, on the same draws, are one.
_SAME = 1e-4


class Measured(NamedTuple):
    """One block of parameters.

    Attributes:
      cells: those whose direction is known, in the order of `signals`.
      signals: of these.
      unresolved: {cell: why} of the others.
    """

    cells: tuple[Cell, ...]
    signals: Signals
    unresolved: dict[Cell, str]


def measured(result: SweepResult, reference: ReferenceFn, bound_of: Mapping[str, str], block: int) -> Measured:
    """Returns the signals of all cells, each along the measured direction of its own bound's gradient.

    Args:
      result: of a sweep over one batch, with this reference.
      reference: what it was judged by, with errors.
      bound_of: the name of the bound of each objective.
      block: 0 is θ, 1 is φ.
    """
    cells, parts, unresolved = [], [], {}
    for size, grouped in result.grouped.items():
        names = [name for name in result.objectives if (name, size) not in result.undefined]
        along = Moments(grouped.count, grouped.mean.along[:, 0, :, block], grouped.m2.along[:, 0, :, block])
        for name, whole, without in zip(names, *signal_to_noise(along), strict=True):
            cosine, error = direction(reference(name, size), block)
            if cosine < _LEAST_COSINE:
                unresolved[name, size] = f"the direction of its bound's gradient is not resolved: cosine {cosine:.2f}"
            else:
                cells.append((name, size))
                parts.append((whole / cosine, without / cosine, error))
    count = np.asarray(next(iter(result.grouped.values())).count)
    snr, without, errors = zip(*parts, strict=True) if parts else ((), (), ())
    directions = [(bound_of[name], size) for name, size in cells]
    signals = Signals(
        np.asarray(snr, float),
        np.reshape(np.asarray(without, float), (len(cells), len(count))),
        count,
        np.asarray([directions.index(direction) for direction in directions], int),
        np.asarray(errors, float),
    )
    return Measured(tuple(cells), signals, unresolved)


def direction(reference: Reference | None, block: int) -> tuple[float, float]:
    """Returns the cosine of a measured direction to the true one, and the relative error of projections on it.

    ρ² = (‖ĝ‖² − Σ se²) / ‖ĝ‖²,   se(⟨ĝ, û⟩) = √(Σ û² se²)
    """
    if reference is None or reference.gradient_error is None:
        return 0.0, np.inf
    gradient, error = flat(reference.gradient[block]), flat(reference.gradient_error[block])
    square = float(np.sum(gradient**2))
    signal = square - float(np.sum(error**2))
    if not signal > 0:
        return 0.0, np.inf
    return float(np.sqrt(signal / square)), float(np.sqrt(np.sum((gradient * error) ** 2) / square / signal))


def flat(tree: PyTree) -> np.ndarray:
    """Returns all numbers of a tree as one float64 vector."""
    return np.concatenate([np.zeros(0)] + [np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def marks(result: SweepResult) -> dict[Cell, np.ndarray]:
    """Returns what tells gradients apart, `[3]` for each cell: the bound, and the variances of θ̄ and φ̄, on one pool."""
    values, variances = result.quantities.value.value[:, :, 0, None], result.quantities.variance.value[:, :, 0]
    table = np.concatenate([np.asarray(values), np.asarray(variances)], axis=-1)
    return {
        (name, size): table[o, k]
        for o, name in enumerate(result.objectives)
        for k, size in enumerate(result.num_samples)
        if (name, size) not in result.undefined
    }


def hopeless(
    blocks: tuple[Measured, Measured], bound_of: Mapping[str, str], marks: Mapping[Cell, np.ndarray]
) -> dict[Cell, str]:
    """Returns the cells that need not be timed, and why: another has the same gradient, or ten times the SNR².

    By φ, or by θ where φ has no direction: in θ all unbiased estimators of a bound are one.
    """
    theta, phi = blocks
    judge = phi if phi.cells else theta
    ratios = dict(zip(judge.cells, judge.signals.snr, strict=True))
    out: dict[Cell, str] = {}
    for cell, snr in ratios.items():
        here = [other for other in ratios if other[1] == cell[1]]
        earlier = [other for other in here[: here.index(cell)] if other not in out]
        same = [other for other in earlier if _one_gradient(marks[other], marks[cell])]
        most = max(ratios[other] for other in here if bound_of[other[0]] == bound_of[cell[0]])
        if same:
            out[cell] = f"the same gradient as {same[0][0]}"
        elif max(snr, 0.0) ** 2 < _WORTH_TIMING * max(most, 0.0) ** 2:
            out[cell] = "less than a tenth of the SNR² of another estimator of its bound"
    return out


def _one_gradient(first: np.ndarray, second: np.ndarray) -> bool:
    return np.allclose(first, second, rtol=_SAME, atol=0.0, equal_nan=True)
