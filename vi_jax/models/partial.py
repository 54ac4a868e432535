"""A datum of which only some coordinates are observed.

Where a likelihood factorises over coordinates given z, an unobserved one drops out of log p(x | z), and with it out of
the evidence and the posterior: nothing is imputed.

    p(x_visible, z) = p(z) Π_{i visible} p(x_i | z)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from vi_jax.shapes import check_shape


class Partial(NamedTuple):
    """A datum, some of it hidden; `observe` makes one. A batch has leading axes on both.

    Attributes:
      values: `[D]`, finite everywhere. What stands at a hidden coordinate is never used.
      visible: `[D]` bool.
    """

    values: jax.Array
    visible: jax.Array


def observe(x: ArrayLike, visible: ArrayLike) -> Partial:
    """Hides what is not visible, one pattern for all data or one for each.

    Args:
      x: `[..., D]`. Hidden entries may hold anything, NaN included: they become 0.
      visible: `[D]` or `[..., D]` bool, True where x is observed.

    Returns:
      `Partial` with leaves `[..., D]`, to be passed wherever a model takes x.

    Raises:
      TypeError: `visible` is not boolean: a list of indices would be read as a mask.
      ValueError: `visible` does not fit x.
    """
    x, visible = jnp.asarray(x), jnp.asarray(visible)
    if visible.dtype != bool:
        raise TypeError(f"visible must be boolean, True where x is observed, got dtype {visible.dtype}.")
    if visible.shape not in (x.shape, x.shape[-1:]):
        raise ValueError(f"visible must have shape {x.shape[-1:]} or {x.shape}, as x has, got {visible.shape}.")
    visible = jnp.broadcast_to(visible, x.shape)
    return Partial(jnp.where(visible, x, jnp.zeros_like(x)), visible)


def split(x: jax.Array | Partial, dim: int, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array | None]:
    """Returns the values `[dim]` in `dtype`, and which are visible, or None where all are.

    Raises:
      ValueError: x is not one datum of length `dim`.
    """
    if not isinstance(x, Partial):
        return check_shape("x", x, (dim,)).astype(dtype), None
    visible = check_shape("x.visible", x.visible, (dim,))
    return check_shape("x.values", x.values, (dim,)).astype(dtype), visible


def sum_visible(terms: jax.Array, visible: jax.Array | None) -> jax.Array:
    """Returns the sum of one term per coordinate over those that are visible."""
    return jnp.sum(terms if visible is None else jnp.where(visible, terms, 0))
