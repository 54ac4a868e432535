"""The check that models and guides make of ONE datum and ONE draw, before broadcasting hides a missing batch axis."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def check_shape(name: str, value: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Returns `value` as an array; raises `ValueError` unless it has exactly this shape.

    Models and guides are written without batch axes. Given a whole batch, or one element of a datum whose batch axis
    was left out, arithmetic would broadcast and return a plausible number.
    """
    if hasattr(value, "visible"):
        raise ValueError(f"{name} must be an array of shape {shape}: this model or guide takes whole data, no Partial.")
    if jnp.shape(value) != shape:
        raise ValueError(
            f"{name} must have shape {shape}, one datum or one draw, got {jnp.shape(value)}. The library adds the "
            "batch axes: pass it data with one leading axis B, a single datum as x[None]."
        )
    return jnp.asarray(value)
