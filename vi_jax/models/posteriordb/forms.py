"""What the nine share: how data are read, how parameters are named, and where a regression starts."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.unconstrained import Target
from vi_jax.types import PyTree


def columns(model: str, data: Mapping[str, Any], *names: str) -> list[np.ndarray]:
    """Returns vectors of the data, of one length N ≥ 1, in float64.

    Raises:
      ValueError: the data lack a name, or it is no vector `[N]` of finite numbers.
    """
    vectors = [np.asarray(entry(model, data, name), float) for name in names]
    for name, vector in zip(names, vectors, strict=True):
        if vector.ndim != 1 or not vector.size or len(vector) != len(vectors[0]) or not np.all(np.isfinite(vector)):
            raise ValueError(
                f"{name} of the data of {model} must be a vector of {len(np.ravel(vectors[0]))} finite numbers, got"
                f" shape {vector.shape} with {np.sum(~np.isfinite(vector))} that are not finite."
            )
    return vectors


def entry(model: str, data: Mapping[str, Any], name: str) -> Any:
    """Returns one entry of the data; raises `ValueError` if there is none of this name."""
    if name not in data:
        raise ValueError(f"the data of {model} lack {name!r} and have {', '.join(data)}: see data.posteriordb.")
    return data[name]


def reported(
    target: Target, derive: Callable[[PyTree], PyTree] = lambda p: p, recover: Callable[[PyTree], PyTree] = lambda p: p
) -> Target:
    """Returns the target with functions of its parameters in place of them, named as Stan names them, from one.

    The density of z is untouched: only `constrain`, `unconstrain` and `names` change.

    Args:
      target: over parameters in which the density is stated.
      derive: `parameters -> parameters of the report`, one to one.
      recover: its inverse.
    """

    def constrain(z: jax.Array) -> PyTree:
        return derive(target.constrain(z))

    def unconstrain(parameters: PyTree) -> jax.Array:
        return target.unconstrain(recover(parameters))

    return target._replace(constrain=constrain, unconstrain=unconstrain, names=_names(constrain, target.dim))


def _names(constrain: Callable[[jax.Array], PyTree], dim: int) -> tuple[str, ...]:
    shapes = jax.eval_shape(lambda: constrain(jnp.zeros(dim)))
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        label = jax.tree_util.keystr(path, simple=True, separator=".")
        indices = (",".join(str(axis + 1) for axis in index) for index in np.ndindex(leaf.shape))
        found += [f"{label}[{index}]" if index else label for index in indices]
    return tuple(found)


def least_squares(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights `[D]` of the smallest squared error and the root of its mean: where a regression starts."""
    weights = np.linalg.lstsq(features, targets, rcond=None)[0]
    return weights, np.sqrt(np.mean((targets - features @ weights) ** 2))
