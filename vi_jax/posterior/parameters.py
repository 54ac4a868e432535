"""Names and numbers of a target's parameters: a pytree, one row of P numbers, and a reference in either form."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vi_jax import checks
from vi_jax.models.unconstrained import Target
from vi_jax.types import PyTree


class ReferencePosterior(NamedTuple):
    """What is known of the true posterior.

    Attributes:
      mean: `[P]`, in the order of `Target.names`.
      sd: `[P]`.
      unconstrained: `[R, D]` its draws, None where only moments are known.
    """

    mean: jax.Array
    sd: jax.Array
    unconstrained: jax.Array | None


def flatten(parameters: PyTree) -> jax.Array:
    """Draws of a pytree, leading axis S, to `[S, P]` in the order of `Target.names`."""
    return jax.vmap(lambda one: ravel_pytree(one)[0])(parameters)


def example(target: Target) -> PyTree:
    """Shapes and dtypes of one draw of the parameters."""
    return jax.eval_shape(target.constrain, jnp.zeros(target.dim))


def label(name: str) -> str:
    """The parameter that a number is part of: "theta" for "theta[3]"."""
    return name.partition("[")[0]


def coordinate_names(target: Target, z: jax.Array) -> tuple[str, ...]:
    """Names `[D]` of the unconstrained coordinates: that of the one number each moves at z, or of its parameter.

    One that moves several parameters goes by the number that it alone moves, if there is one: the log of a scale by
    the scale, though all that is scaled moves with it. Asked at the target's start, where it has one: far out a
    positive parameter rounds to 0, and moves no more.
    """
    z = z if target.start is None else jnp.asarray(target.start, z.dtype)
    moved = np.asarray(jax.jacobian(lambda z: ravel_pytree(target.constrain(z))[0])(z) != 0)
    alone = moved & (moved.sum(axis=1, keepdims=True) == 1)
    names = []
    for coordinate in range(target.dim):
        found = [target.names[place] for place in np.flatnonzero(moved[:, coordinate])]
        own = [target.names[place] for place in np.flatnonzero(alone[:, coordinate])]
        found = own if len(set(map(label, found))) > 1 and len(own) == 1 else found
        names.append(found[0] if len(found) == 1 else label(found[0]) if found else f"z[{coordinate}]")
    return tuple(names)


def reference_posterior(target: Target, reference: Any) -> ReferencePosterior:
    """Reads a reference: draws, as a pytree or as `[R, P]`; or moments, (mean, sd), each `[P]`.

    Or what has both, as `data.posteriordb(name).reference`: `mean`, `sd` and, unless None, `draws` `[R, P]`.

    The standard deviation of draws has the divisor R − 1.

    Raises:
      ValueError: it is none of these, has fewer than 2 draws, or NaN.
    """
    size = len(target.names)
    if not _is_draws(target, reference) and hasattr(reference, "mean") and hasattr(reference, "sd"):
        moments = reference_posterior(target, (np.asarray(reference.mean), np.asarray(reference.sd)))
        draws = getattr(reference, "draws", None)
        return moments if draws is None else moments._replace(unconstrained=_from_rows(target, draws).unconstrained)
    checks.check_no_nan("reference", reference)
    if _is_draws(target, reference):
        return _from_draws(target, jax.tree.map(jnp.asarray, reference))
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(reference)]
    if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] == size:
        return _from_rows(target, jax.tree.leaves(reference)[0])
    if shapes == [(size,), (size,)]:
        mean, sd = (jnp.asarray(leaf) for leaf in jax.tree.leaves(reference))
        return ReferencePosterior(mean, sd, None)
    raise ValueError(
        f"reference must be draws, a tree like the parameters with a leading axis or an array [R, {size}], or the pair "
        f"(mean, sd) of arrays [{size}] in the order of target.names; got arrays of shapes {shapes}."
    )


def _from_rows(target: Target, rows: ArrayLike) -> ReferencePosterior:
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), example(target)))
    return _from_draws(target, jax.vmap(unravel)(jnp.asarray(rows, float)))


def _is_draws(target: Target, reference: PyTree) -> bool:
    like = example(target)
    if jax.tree.structure(reference) != jax.tree.structure(like):
        return False
    pairs = zip(jax.tree.leaves(reference), jax.tree.leaves(like), strict=True)
    return all(np.ndim(leaf) and np.shape(leaf)[1:] == one.shape for leaf, one in pairs)


def _from_draws(target: Target, draws: PyTree) -> ReferencePosterior:
    number = checks.check_batch("reference", draws)
    if number < 2:
        raise ValueError("reference has one draw: a standard deviation needs two at least.")
    flat = flatten(draws)
    # From the first, so that a parameter that is constant has an sd of 0 and not of rounding.
    offset = flat - flat[0]
    mean, sd = flat[0] + offset.mean(axis=0), offset.std(axis=0, ddof=1)
    return ReferencePosterior(mean, sd, jax.vmap(target.unconstrain)(draws))
