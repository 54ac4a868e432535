"""The check that models and guides make of ONE datum and ONE draw, before broadcasting hides a missing batch axis."""

from collections.abc import Sequence

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


def check_noise(noise: jax.Array, dim: int) -> jax.Array:
    """Returns `noise`; raises `ValueError` unless it is one number per coordinate, which broadcasting would hide."""
    if jnp.shape(noise) != (dim,):
        raise ValueError(f"noise must have shape ({dim},), one draw, got {jnp.shape(noise)}: make it with dim={dim}.")
    return noise


def check_layers(z: Sequence[ArrayLike], dims: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Returns the layers of a latent as arrays; raises `ValueError` unless layer l is one vector `[dims[l]]`."""
    if len(z) != len(dims):
        raise ValueError(f"z must be a tuple of {len(dims)} layers, from the data upwards, got {len(z)}.")
    return tuple(
        check_shape(f"z[{layer}]", part, (dim,)) for layer, (part, dim) in enumerate(zip(z, dims, strict=True))
    )
