"""Measures the rows of `certified_rows`: all rows of one K in one program, z-scores against their exact gradients."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.certified_rows import ObjectiveRow, Problem

PER_CHUNK = 1000
NUM_GROUPS = 20


def measure(
    key: jax.Array, rows: Sequence[ObjectiveRow], num_samples: int, num_replicates: int
) -> list[dict[str, Any]]:
    """Returns one dictionary per row that is defined at this K: z-scores, bias and variance, each with its error.

    Args:
      key: a typed key.
      rows: rows of the certificate.
      num_samples: K.
      num_replicates: R, rounded up to whole groups of chunks; every row draws on the same keys.
    """
    rows = [row for row in rows if num_samples in row.num_samples]
    problems = [row.build(num_samples) for row in rows]
    chunks = -(-num_replicates // (PER_CHUNK * NUM_GROUPS))
    first, second = _sums(key, problems, chunks)
    found = []
    for row, problem, g, squares in zip(rows, problems, first, second, strict=True):
        per_group = chunks * PER_CHUNK
        found.append(_of_row(row, num_samples) | _summary(problem, g, squares, per_group))
    return found


def _sums(key: jax.Array, problems: Sequence[Problem], chunks: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns Σ (g − exact) and Σ (g − exact)² of each group, `[G, P]` a row."""

    @jax.jit
    def sums(key: jax.Array):
        def deviations(key: jax.Array) -> list[jax.Array]:
            return [problem.estimate(key) - jnp.asarray(problem.exact) for problem in problems]

        def add(total, key: jax.Array):
            found = jax.vmap(deviations)(jax.random.split(key, PER_CHUNK))
            moments = [jnp.sum(d, axis=0) for d in found], [jnp.sum(d**2, axis=0) for d in found]
            return jax.tree.map(jnp.add, total, moments), None

        def group(key: jax.Array):
            zeros = [jnp.zeros(np.shape(problem.exact)) for problem in problems]
            return jax.lax.scan(add, (zeros, zeros), jax.random.split(key, chunks))[0]

        return jax.lax.map(group, jax.random.split(key, NUM_GROUPS))

    return jax.device_get(sums(key))


def _summary(problem: Problem, first: np.ndarray, second: np.ndarray, per_group: int) -> dict[str, Any]:
    count = per_group * len(first)
    bias = first.sum(axis=0) / count
    variance = second.sum(axis=0) / count - bias**2
    # A row without variance has none to divide by: what is left is rounding, and is judged as such.
    error = np.sqrt(np.maximum(variance, 0) / count)
    z = bias / np.maximum(error, 1e-12 * max(1.0, np.abs(problem.exact).max()))
    means = first / per_group
    by_group = (second / per_group - means**2).sum(axis=1)
    return {
        "z_phi": z[np.argmax(np.abs(z))],
        "bias_phi": float(np.linalg.norm(bias)),
        "bias_error": float(np.sqrt(np.maximum(variance, 0).sum() / count)),
        "exact": float(np.linalg.norm(problem.exact)),
        "variance_phi": float(np.maximum(variance, 0).sum()),
        "variance_error": float(by_group.std(ddof=1) / np.sqrt(len(first))),
        "num_replicates": count,
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


@functools.cache
def values_of_k(rows: tuple[ObjectiveRow, ...]) -> tuple[int, ...]:
    """Returns every K at which a row is measured, in order."""
    return tuple(sorted({k for row in rows for k in row.num_samples}))
