"""Measures the rows of `certified_rows`: all rows of one K in one program, z-scores against their exact gradients."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.certified_rows import ObjectiveRow, Problem
from vi_jax.measurement import pool, replicate_moments, select, total_variance
from vi_jax.measurement.moments import Moments, variance

AT_ONCE = 1000
"""Replicates evaluated together."""


def measure(
    key: jax.Array, rows: Sequence[ObjectiveRow], num_samples: int, num_replicates: int
) -> list[dict[str, Any]]:
    """Returns one dictionary per row that is defined at this K: z-scores, bias and variance, each with its error.

    Args:
      key: a typed key.
      rows: rows of the certificate.
      num_samples: K.
      num_replicates: R; every row draws on the same keys.
    """
    rows = [row for row in rows if num_samples in row.num_samples]
    problems = [row.build(num_samples) for row in rows]

    @jax.jit
    def moments(key: jax.Array) -> Moments:
        def estimates(key: jax.Array) -> list[jax.Array]:
            return [problem.estimate(key) for problem in problems]

        return replicate_moments(key, estimates, num_replicates=num_replicates, chunk_size=AT_ONCE)

    found = moments(key)
    return [
        _of_row(row, num_samples) | _summary(problem, select(found, lambda draw, i=i: draw[i]))
        for i, (row, problem) in enumerate(zip(rows, problems, strict=True))
    ]


def _summary(problem: Problem, moments: Moments) -> dict[str, Any]:
    whole, spread = pool(moments), total_variance(moments)
    bias = np.asarray(whole.mean) - problem.exact
    error = np.sqrt(np.asarray(variance(whole)) / float(whole.count))
    # A row without variance has none to divide by: what is left is rounding, and is judged as such.
    z = bias / np.maximum(error, 1e-12 * max(1.0, np.abs(problem.exact).max()))
    return {
        "z_phi": z[np.argmax(np.abs(z))],
        "bias_phi": float(np.linalg.norm(bias)),
        "bias_error": float(np.linalg.norm(error)),
        "exact": float(np.linalg.norm(problem.exact)),
        "variance_phi": float(spread.value),
        "variance_error": float(spread.high - spread.low) / 4,
        "num_replicates": int(whole.count),
    }


def _of_row(row: ObjectiveRow, num_samples: int) -> dict[str, Any]:
    return {
        "family": row.family,
        "bound": row.target,
        "estimator": row.estimator,
        "num_samples": num_samples,
        "claim": row.kind,
        "zero_variance": row.zero_variance,
        "claimed_order": np.nan if row.order is None else row.order,
    }


def values_of_k(rows: Sequence[ObjectiveRow]) -> tuple[int, ...]:
    """Returns every K at which a row is measured, in order."""
    return tuple(sorted({k for row in rows for k in row.num_samples}))
