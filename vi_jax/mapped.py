"""Questions that all elements of a map answer together, so that a loop or a branch stays one."""

import jax
import jax.numpy as jnp


@jax.custom_batching.custom_vmap
def anywhere(flag: jax.Array) -> jax.Array:
    """Returns the flag; under vmap, whether it is set for any element, the same for all of them.

        cond(flag, work, nothing)              mapped: does the work of both branches, and selects
        cond(anywhere(flag), work, nothing)    mapped: one branch, whose work is done for all or for none

    What is done for all must be harmless for an element whose own flag is not set.
    """
    return flag


@anywhere.def_vmap
def _(axis_size: int, in_batched: list[bool], flag: jax.Array) -> tuple[jax.Array, bool]:
    del axis_size, in_batched  # one argument, so it is the mapped one
    return anywhere(jnp.any(flag, axis=0)), False
