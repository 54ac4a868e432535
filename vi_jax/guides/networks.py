"""The networks of encoders and flows (flax linen), apart from those who use them, as in `models.networks`."""

import functools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from vi_jax.guides.convolutional import SIDE


class Heads(nn.Module):
    """Linear heads on one trunk: `x [data_dim] -> ({head: [dim]}, trunk)`."""

    hidden: Sequence[int]
    heads: Sequence[str]
    dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        """Returns the heads by name, and the trunk."""
        dtype = jnp.result_type(float)
        weights = nn.initializers.glorot_uniform()
        for width in self.hidden:
            x = self.activation(nn.Dense(width, kernel_init=weights, param_dtype=dtype)(x))
        heads = {head: nn.Dense(self.dim, kernel_init=weights, param_dtype=dtype, name=head)(x) for head in self.heads}
        return heads, x


class Downsampling(nn.Module):
    """`[784] -> ({head: [dim]}, trunk)`: 14 × 14, 7 × 7, and two linear heads."""

    channels: Sequence[int]
    hidden: Sequence[int]
    dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        """Returns the heads by name, and the trunk."""
        options = {"kernel_init": nn.initializers.glorot_uniform(), "param_dtype": jnp.result_type(float)}
        image = x.reshape(SIDE, SIDE, 1)
        for width in self.channels:
            image = self.activation(nn.Conv(width, (4, 4), strides=(2, 2), **options)(image))
        trunk = image.reshape(-1)
        for width in self.hidden:
            trunk = self.activation(nn.Dense(width, **options)(trunk))
        return {head: nn.Dense(self.dim, name=head, **options)(trunk) for head in ("loc", "log_scale")}, trunk


class Conditioner(nn.Module):
    """`([kept], [context]) -> [P, moved]`; zero at `init`, so that a layer starts as identity.

    The context has a matrix of its own: mapped over draws, its product is computed once per datum.
    """

    hidden: Sequence[int]
    shape: tuple[int, int]
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, kept: jax.Array, context: jax.Array) -> jax.Array:
        """Returns the raw parameters of the coordinates that are moved."""
        dtype = jnp.result_type(float)
        dense = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform(), param_dtype=dtype)
        first, *others = self.hidden
        h = dense(first, name="kept")(kept)
        if context.size:
            h = h + dense(first, name="context", use_bias=False)(context)
        for width in others:
            h = dense(width)(self.activation(h))
        size = math.prod(self.shape)
        output = nn.Dense(size, kernel_init=nn.initializers.zeros, param_dtype=dtype, name="output")
        return output(self.activation(h)).reshape(self.shape)
