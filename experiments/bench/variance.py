"""The total variance of a gradient, from the runs that are timed anyway.

Rounds have keys of their own, so that every run of a gradient is one replicate. Half the squared distance between two
of them is an unbiased estimate of the total variance, Σ_i Var(g_i), and the next two give an independent one:

    V̂ = (1/n) Σ_j |g_{2j+1} − g_{2j}|² / 2

Price: nothing is kept but one gradient, and n = R/2 estimates are √2 times as uncertain as all R gradients would be.
"""

import math

import jax
import numpy as np

from vi_jax import Params

NUM_RESAMPLES = 1000


def half_squared_distance(first: Params, second: Params) -> tuple[float, float]:
    """Returns |θ̄₁ − θ̄₂|²/2 and |φ̄₁ − φ̄₂|²/2 of two gradients, added up in float64."""
    return _of_part(first.theta, second.theta), _of_part(first.phi, second.phi)


def _of_part(first, second) -> float:
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return sum(float(np.sum((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)) / 2 for a, b in leaves)


def ratios(
    squares: np.ndarray,
    seconds: np.ndarray,
    reference_squares: np.ndarray,
    reference_seconds: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Returns variance / reference variance and (variance × time) / reference's, of θ̄ and of φ̄, with 95 % intervals.

    The intervals resample pairs of rounds, of the program and of its reference together (percentile bootstrap, Efron
    1979): draws that two programs share cancel in the ratio of their variances, and so does a machine that slows down.
    Of five pairs or fewer they are too narrow.

    Args:
      squares: `[n, 2]` of `half_squared_distance`.
      seconds: `[2n or more]` of the runs, in order.
      reference_squares: of the reference.
      reference_seconds: of the reference.
      rng: of the resampling.
    """
    n = min(len(squares), len(reference_squares))
    names = [f"{what}_{part}" for what in ("variance_ratio", "cost_ratio") for part in ("theta", "phi")]
    if n == 0:
        return {name + end: math.nan for name in names for end in ("", "_low", "_high")}

    def of(pairs: np.ndarray) -> np.ndarray:
        """`[..., n]` indices of pairs -> `[..., 4]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares[pairs].mean(axis=-2) / reference_squares[pairs].mean(axis=-2)
        times = (np.reshape(taken[: 2 * n], (n, 2))[pairs] for taken in (seconds, reference_seconds))
        mine, other = (np.median(taken.reshape(*pairs.shape[:-1], -1), axis=-1) for taken in times)
        return np.concatenate([variance, variance * (mine / other)[..., None]], axis=-1)

    low, high = np.quantile(of(rng.integers(n, size=(NUM_RESAMPLES, n))), (0.025, 0.975), axis=0)
    columns = zip(names, of(np.arange(n)), low, high, strict=True)
    return {name + end: float(x) for name, *xs in columns for end, x in zip(("", "_low", "_high"), xs, strict=True)}
