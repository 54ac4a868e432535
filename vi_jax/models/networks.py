"""The networks of decoders (flax linen), apart from those who use them, so that `import vi_jax` loads no flax."""

from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from vi_jax.models.convolutional import SIDE
from vi_jax.models.pixels import Initializer


class DenseNetwork(nn.Module):
    """`[latent_dim] -> {head: [dim], shared name: scalar}`: linear heads on one trunk.

    Attributes:
      hidden: widths of the trunk.
      dim: length of every head.
      activation: elementwise non-linearity.
      heads: name -> initializer of the head's bias.
      shared: name -> initializer of a scalar that does not depend on the input.
    """

    hidden: Sequence[int]
    dim: int
    activation: Callable[[jax.Array], jax.Array]
    heads: Mapping[str, Initializer]
    shared: Mapping[str, Initializer]

    @nn.compact
    def __call__(self, z: jax.Array) -> dict[str, jax.Array]:
        """Returns every output by name."""
        dtype = jnp.result_type(float)
        weights = nn.initializers.glorot_uniform()
        for width in self.hidden:
            z = self.activation(nn.Dense(width, kernel_init=weights, param_dtype=dtype)(z))
        outputs = {
            name: nn.Dense(self.dim, kernel_init=weights, bias_init=bias, param_dtype=dtype, name=name)(z)
            for name, bias in self.heads.items()
        }
        return outputs | {name: self.param(name, value, (), dtype) for name, value in self.shared.items()}


class Upsampling(nn.Module):
    """`[latent_dim] -> {head: [784], shared name: scalar}`: 7 × 7, 14 × 14, and a convolution to 28 × 28 per head."""

    channels: Sequence[int]
    activation: Callable[[jax.Array], jax.Array]
    heads: Mapping[str, Initializer]
    shared: Mapping[str, Initializer]

    @nn.compact
    def __call__(self, z: jax.Array) -> dict[str, jax.Array]:
        """Returns every output by name."""
        dtype, weights = jnp.result_type(float), nn.initializers.glorot_uniform()
        narrow, wide = self.channels
        quarter = SIDE // 4
        z = self.activation(nn.Dense(quarter**2 * wide, kernel_init=weights, param_dtype=dtype)(z))
        image = z.reshape(quarter, quarter, wide)
        up = {"kernel_size": (4, 4), "strides": (2, 2), "kernel_init": weights, "param_dtype": dtype}
        image = self.activation(nn.ConvTranspose(narrow, **up)(image))
        outputs = {}
        for name, bias in self.heads.items():
            head = nn.ConvTranspose(1, use_bias=False, name=name, **up)(image)
            outputs[name] = head.reshape(-1) + self.param(f"{name}_bias", bias, (SIDE**2,), dtype)
        return outputs | {name: self.param(name, value, (), dtype) for name, value in self.shared.items()}
