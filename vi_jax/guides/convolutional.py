"""q(z | x) whose parameters a convolutional network computes from 28 × 28 pixels (flax linen)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.guides.encoder import encoder_of, gaussian_of
from vi_jax.types import Guide

SIDE = 28
"""Height and width of the image; x is its SIDE² pixels, row by row."""


class _Downsampling(nn.Module):
    """`[784] -> ({head: [dim]}, trunk)`: 14 × 14, 7 × 7, and two linear heads."""

    channels: Sequence[int]
    hidden: Sequence[int]
    dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        options = {"kernel_init": nn.initializers.glorot_uniform(), "param_dtype": jnp.result_type(float)}
        image = x.reshape(SIDE, SIDE, 1)
        for width in self.channels:
            image = self.activation(nn.Conv(width, (4, 4), strides=(2, 2), **options)(image))
        trunk = image.reshape(-1)
        for width in self.hidden:
            trunk = self.activation(nn.Dense(width, **options)(trunk))
        return {head: nn.Dense(self.dim, name=head, **options)(trunk) for head in ("loc", "log_scale")}, trunk


def convolutional_encoder(
    latent_dim: int,
    *,
    channels: tuple[int, int] = (32, 64),
    hidden: Sequence[int] = (),
    activation: Callable[[jax.Array], jax.Array] = nn.relu,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes q(z | x) = N(loc, diag(exp(log_scale))²) of 28 × 28 pixels, (loc, log_scale) = NET_φ(x).

        x [784] → 28 × 28 → 14 × 14 × channels[0] → 7 × 7 × channels[1] → dense `hidden` → two linear heads [D]

    Kernels are 4 × 4, strides 2 × 2, weights Glorot-uniform, biases zero. The network runs once per datum; it is the
    mirror of `models.convolutional_decoder`.

    Args:
      latent_dim: D ≥ 1.
      channels: of the two convolutions.
      hidden: widths of dense layers between them and the heads.
      activation: elementwise non-linearity.
      mean: `[784]` that is taken from x before the network sees it, as of `gaussian_encoder`.

    Returns:
      The guide; φ is the linen parameter tree. x is `[784]`, row by row, floating, integer or boolean; z is `[D]`.

    Raises:
      TypeError, ValueError: a size is not a positive integer; `channels` are not two; `mean` is not `[784]` finite
        numbers. When called: x is not of shape `[784]`.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    if len(channels) != 2:
        raise ValueError(f"channels must be two, of 14 × 14 and of 7 × 7, got {channels}: (32, 64).")
    network = _Downsampling(_widths("channels", channels), _widths("hidden", hidden), latent_dim, activation)
    return gaussian_of(encoder_of(network, SIDE**2, mean), latent_dim)


def _widths(name: str, values: Sequence[int]) -> tuple[int, ...]:
    return tuple(checks.check_positive_int(name, width) for width in values)
