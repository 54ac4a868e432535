"""Minibatches of a data set that is one datum, for a latent that all data share."""

import jax

from vi_jax import checks
from vi_jax.training.step import Prepare
from vi_jax.types import PyTree


def subsample(size: int) -> Prepare:
    """Makes the `prepare` of `fit` that draws n of the N data of each datum, uniformly and without replacement.

        (key, x with leaves [B, N, ...]) -> leaves [B, n, ...]

    For `models.global_latent`, where B = 1: the log joint of the minibatch is unbiased for that of all N. Make it once
    and pass the same object again: `fit` caches its program on it. Price: a permutation of N numbers a step.

    Args:
      size: n ≥ 1, at most N.

    Raises:
      TypeError, ValueError: `size` is not a positive integer; when called, it exceeds N.
    """
    size = checks.check_positive_int("size", size)

    def prepare(key: jax.Array, x: PyTree) -> PyTree:
        rows = checks.check_batch("a datum of x", jax.tree.map(lambda leaf: leaf[0], x))
        if size > rows:
            raise ValueError(f"size must be at most the number of data, {rows}, got {size}.")
        chosen = jax.random.choice(key, rows, (size,), replace=False)
        return jax.tree.map(lambda leaf: leaf[:, chosen], x)

    return prepare
