"""q(z | x) whose parameters a convolutional network computes from 28 × 28 pixels (flax linen)."""

from collections.abc import Callable, Sequence

import jax
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.guides.encoder import encoder_of, gaussian_of
from vi_jax.types import Guide

SIDE = 28
"""Height and width of the image; x is its SIDE² pixels, row by row."""


def convolutional_encoder(
    latent_dim: int,
    *,
    channels: tuple[int, int] = (32, 64),
    hidden: Sequence[int] = (),
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
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
    from vi_jax.guides.networks import Downsampling

    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    if len(channels) != 2:
        raise ValueError(f"channels must be two, of 14 × 14 and of 7 × 7, got {channels}: (32, 64).")
    network = Downsampling(_widths("channels", channels), _widths("hidden", hidden), latent_dim, activation)
    return gaussian_of(encoder_of(network, SIDE**2, mean), latent_dim)


def _widths(name: str, values: Sequence[int]) -> tuple[int, ...]:
    return tuple(checks.check_positive_int(name, width) for width in values)
