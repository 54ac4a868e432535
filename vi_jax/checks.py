"""Questions asked of an argument before any work: each answer is one error that names the value and the remedy."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from vi_jax.types import PyTree


def check_key(key: Any) -> None:
    """Raises unless `key` is one typed PRNG key.

    Args:
      key: the value a caller passed as a key; a tracer will do.

    Raises:
      TypeError: if `key` is not of a key type, as the raw uint32 keys of `jax.random.PRNGKey` are not.
      ValueError: if `key` is an array of keys.
    """
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"key must be a typed key, jax.random.key(seed); got {describe(key)}.")
    if key.shape != ():
        raise ValueError(f"key must be one key; got an array of keys of shape {key.shape}: map over it with jax.vmap.")


def check_positive_int(name: str, value: Any) -> int:
    """Returns `value` as a Python int, at least 1.

    Args:
      name: what the caller calls the value; the error repeats it.
      value: an integer of Python or NumPy.

    Raises:
      TypeError: if `value` is not an integer known before tracing: a bool, a float, a traced value.
      ValueError: if it is below 1.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(
            f"{name} must be a Python integer ≥ 1, got {describe(value)}: it fixes the size of the program, so it"
            " cannot be traced."
        )
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}.")
    return number


def check_no_nan(name: str, tree: PyTree) -> None:
    """Raises if a concrete floating-point leaf holds NaN. Infinities are legal. Costs one pass over the data.

    Args:
      name: what the caller calls the tree; the error repeats it.
      tree: any pytree. Leaves that are tracers have no values yet and are skipped.

    Raises:
      ValueError: naming the leaf, the number of its NaN and the remedy.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, Tracer) or not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            continue
        # The caller may itself be under a trace, where a jnp function of a constant would be traced too.
        with jax.ensure_compile_time_eval():
            count = int(jnp.isnan(leaf).sum())
        if count:
            where = name + jax.tree_util.keystr(path)
            raise ValueError(
                f"{where} holds {count} NaN among its {jnp.size(leaf)} numbers: drop or impute those data first."
            )


def check_batch(name: str, tree: PyTree) -> int:
    """Returns the length of the leading axis that all leaves share.

    Args:
      name: what the caller calls the tree; the errors repeat it.
      tree: a pytree whose leaves all have the batch as their leading axis.

    Raises:
      ValueError: if there is no leaf, a leaf is a scalar, two leaves disagree, or the axis is empty.
    """
    if any(isinstance(leaf, int | float) for leaf in jax.tree.leaves(tree)):
        raise ValueError(
            f"{name} has a Python number for a leaf, without a batch axis; a list is a tree of its items: make it an "
            "array, jnp.asarray."
        )
    shapes = [(name + jax.tree_util.keystr(p), jnp.shape(x)) for p, x in jax.tree_util.tree_leaves_with_path(tree)]
    if not shapes:
        raise ValueError(f"{name} has no leaves: give it one array at least, zeros((1, 1)) for a density without data.")
    for where, shape in shapes:
        if not shape:
            raise ValueError(f"{where} is a scalar, without a batch axis: add one, as in x[None].")
    (first, (size, *_)), *others = shapes
    for where, shape in others:
        if shape[0] != size:
            raise ValueError(
                f"the leaves of {name} disagree on the batch axis: {first} has length {size}, {where} has {shape[0]};"
                " give every leaf the same leading axis."
            )
    if size == 0:
        raise ValueError(f"{first} has an empty batch axis, shape {shapes[0][1]}: give it one datum at least.")
    return size


def check_mean(mean: ArrayLike | None, data_dim: int) -> np.ndarray:
    """Returns the mean, zero for None; raises `ValueError` unless it is `[data_dim]` finite numbers."""
    mean = np.zeros(data_dim) if mean is None else np.asarray(mean, np.float64)
    if mean.shape != (data_dim,) or not np.all(np.isfinite(mean)):
        raise ValueError(
            f"mean must be {data_dim} finite numbers, got shape {mean.shape} with {np.sum(~np.isfinite(mean))} that are"
            " not finite; pass train.mean(axis=0)."
        )
    return mean


def describe(value: Any) -> str:
    """Returns what a value is, in a few words, for an error."""
    if isinstance(value, jax.Array):
        return f"{value.dtype}{list(value.shape)}" + (" (traced)" if isinstance(value, Tracer) else "")
    if isinstance(value, tuple | list | dict):  # parameters, or data: the numbers in it would hide the sentence
        return f"a {type(value).__name__}"
    return f"{value!r} ({type(value).__name__})"
