"""A convolutional decoder of 28 × 28 pixels (flax linen)."""

from collections.abc import Callable

import jax
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.models.likelihoods import Likelihood
from vi_jax.models.pixels import constant, pixels, standard_prior
from vi_jax.types import Model

SIDE = 28
"""Height and width of the image; x is its SIDE² pixels, row by row."""


def convolutional_decoder(
    latent_dim: int,
    *,
    likelihood: Likelihood,
    channels: tuple[int, int] = (32, 64),
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z ~ N(0, I), x | z ~ likelihood(NET_θ(z)) of 28 × 28 pixels, NET two transposed convolutions.

        z [D] → dense 7 · 7 · channels[1] → 14 × 14 × channels[0] → 28 × 28 per head of the likelihood

    Kernels are 4 × 4, strides 2 × 2, weights Glorot-uniform. The bias of the last layer is one number per PIXEL, and so
    the network starts at the mean of the data. With h heads there are 49 (D + 1) channels[1]
    parameters in the dense layer, 16 (channels[1] + h) channels[0] in the kernels, and channels[0] + 784 h biases.

    Args:
      latent_dim: D ≥ 1.
      likelihood: of `models.likelihoods`.
      channels: as of `guides.convolutional_encoder`, from the data to the latent; the decoder runs them backwards.
      activation: elementwise non-linearity.
      mean: `[784]` mean of the training data, in the units of x. None means the likelihood's own middle.

    Returns:
      The model, as `decoder` returns; x is `[784]` in any dtype or a `Partial`, row by row, and z is `[D]`.

    Raises:
      TypeError, ValueError: as `decoder`; `channels` are not two.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    widths = tuple(checks.check_positive_int("channels", width) for width in channels)
    if len(widths) != 2:
        raise ValueError(f"channels must be two, of 14 × 14 and of 7 × 7, got {channels}: (32, 64).")
    from vi_jax.models.networks import Upsampling

    heads = {name: constant(bias) for name, bias in likelihood.bias(mean, SIDE**2).items()}
    shared = {name: constant(value) for name, value in likelihood.shared.items()}
    network = Upsampling(widths, activation, heads, shared)
    return standard_prior(pixels(network, latent_dim, SIDE**2, likelihood))
