"""Slopes on logarithmic axes, from the grouped moments of a sweep: weighted fits with paired intervals.

All cells of a sweep share their draws and their groups of replicates. Leaving out one group at a time from every point
of a curve gives the slope an interval that knows how the points depend on each other.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.measurement import Estimate, jackknife, snr
from vi_jax.measurement.moments import select


class Points(NamedTuple):
    """A positive quantity of one objective at several K.

    Attributes:
      num_samples: `[P]` K.
      log_value: `[P]`, NaN where it has none: it is not resolved from zero.
      log_without: `[P, G]`, with each group of replicates left out.
    """

    num_samples: np.ndarray
    log_value: np.ndarray
    log_without: np.ndarray

    def where(self, kept: np.ndarray) -> "Points":
        """Returns some of the points."""
        return Points(*(np.asarray(leaf)[np.asarray(kept)] for leaf in self))


def blocks_of(result: vi.SweepResult, name: str, block: str) -> tuple[list[int], list[snr.Block]]:
    """Returns the K where an objective is defined, and what its block's statistics need at each."""
    sizes = [size for size in result.num_samples if (name, size) not in result.undefined]
    found = []
    for size in sizes:
        names = [other for other in result.objectives if (other, size) not in result.undefined]
        found.append(_block(result.block_function, block, names.index(name), result.grouped[size]))
    return sizes, found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _block(blocks, block: str, place: jax.Array, grouped) -> snr.Block:
    gradient = select(grouped, lambda measured: blocks(measured.gradient)[block])
    return snr.summarize_block(
        gradient._replace(
            mean=jax.tree.map(lambda leaf: leaf[:, 0, place], gradient.mean),
            m2=jax.tree.map(lambda leaf: leaf[:, 0, place], gradient.m2),
        )
    )


def exact_signal(result: vi.SweepResult, name: str, block: str, norms: dict[int, float]) -> Points:
    """Returns ‖∇E L‖ / √tr Cov g, the signal known exactly and the noise measured; infinite without noise."""
    sizes, found = blocks_of(result, name, block)
    signal = np.log([norms[size] for size in sizes])
    with np.errstate(divide="ignore"):
        noise, without = (np.log([getattr(b, of) for b in found]) / 2 for of in ("variance", "variance_without"))
    return Points(np.array(sizes), signal - noise, signal[:, None] - without)


def measured_signal(result: vi.SweepResult, name: str, block: str) -> Points:
    """Returns √(‖ḡ‖² − tr Cov g / n) / √tr Cov g, both measured; NaN where the sweep does not resolve it from zero."""
    sizes, found = blocks_of(result, name, block)
    o, b = result.objectives.index(name), result.blocks.index(block)
    resolved = [result.quantities.snr.low[o, result.num_samples.index(size), 0, b] > 0 for size in sizes]

    def log_snr(square, variance, count):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(np.maximum(square / variance - 1 / count, 0)) / 2

    whole, without = [], []
    for at in found:
        n = float(at.count.sum())
        whole.append(log_snr(at.square_norm, at.variance, n))
        # ‖ḡ + d‖² to first order in d, the shift of the mean where a group is left out.
        square = 2 * np.asarray(at.along_without) - float(at.square_norm)
        without.append(log_snr(square, np.asarray(at.variance_without), n))
    return Points(np.array(sizes), np.where(resolved, whole, np.nan), np.array(without))


Weights = Callable[[np.ndarray], np.ndarray]
"""Standard errors of the logarithms `[P]` -> weights of the points."""


def by_error(error: np.ndarray) -> np.ndarray:
    """Weighs by the inverse square of the error: for points that noise moves from their line."""
    return 1 / np.maximum(error, 1e-3 * error.max()) ** 2


def equally(error: np.ndarray) -> np.ndarray:
    """Weighs all points alike: for points so exact that what moves them from a line is that there is none."""
    return np.ones_like(error)


def slope(points: Points, count: np.ndarray, weights: Weights = by_error, corrections: int = 0) -> Estimate:
    """Returns s of log value = a + s log K + b/K + c/K² + … by least squares; NaN from fewer points than terms.

    Args:
      points: those without a value are left out.
      count: `[G]`, replicates in each group.
      weights: of the points, made of their own jackknife errors.
      corrections: how many powers of 1/K are fitted beside the line, for what a power law of large K lacks at small K.
    """
    kept = points.where(np.isfinite(points.log_value) & np.isfinite(points.log_without).all(axis=1))
    if len(kept.num_samples) < 2 + corrections:
        return Estimate(*(jnp.full((), jnp.nan),) * 3)
    factor = count.sum() / count - 1.0
    error = np.sqrt(np.mean(factor * (kept.log_without - kept.log_value[:, None]) ** 2, axis=1))
    c = contrast(kept.num_samples, weights(error), corrections)
    whole, without = c @ kept.log_value, c @ kept.log_without
    reach = jackknife.quantile(jnp.asarray(count)) * float(np.sqrt(np.mean(factor * (without - whole) ** 2)))
    return Estimate(jnp.asarray(whole), jnp.asarray(whole - reach), jnp.asarray(whole + reach))


def contrast(num_samples: np.ndarray, weight: np.ndarray, corrections: int = 0) -> np.ndarray:
    """Returns c: Σ c y is the coefficient of log K in the weighted fit of y by 1, log K, 1/K, 1/K² and so on."""
    k = num_samples.astype(float)
    terms = np.stack([np.ones_like(k), np.log(k), *(k**-power for power in range(1, corrections + 1))], axis=1)
    root = np.sqrt(weight)
    return np.linalg.pinv(root[:, None] * terms)[1] * root
