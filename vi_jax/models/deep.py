"""Decoders: one layer of latents, and dense networks between it and the datum (flax linen)."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.models import likelihoods
from vi_jax.models.likelihoods import Likelihood
from vi_jax.models.pixels import Pixels, constant, pixels, standard_prior
from vi_jax.types import Model


def decoder(
    latent_dim: int,
    data_dim: int,
    *,
    likelihood: Likelihood,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z ~ N(0, I), x | z ~ likelihood(MLP_θ(z)): the decoder of a variational autoencoder.

        log p_θ(x, z) = −|z|²/2 − (D/2) log 2π + Σ_i log p(x_i | outputs_i),   outputs = MLP_θ(z)

    Kingma and Welling (arXiv:1312.6114); the architecture and initialisation of Burda et al. (arXiv:1509.00519):
    Glorot-uniform weights, zero biases, and an output bias that gives the pixels the mean of the data.

    Args:
      latent_dim: D ≥ 1.
      data_dim: number of pixels.
      likelihood: of `models.likelihoods`, as `likelihoods.gaussian()` or `likelihoods.binomial(16)`; it states what x
        may be, and in what units.
      hidden: widths of the hidden layers, from the latent to the data; empty for a linear decoder.
      activation: elementwise non-linearity.
      mean: `[data_dim]` mean of the training data, in the units of x. None means the likelihood's own middle.

    Returns:
      The model. θ is the linen parameter tree, with a linear layer for each head of the likelihood, and what it shares
      among pixels, by name. x is `[data_dim]` in any dtype and z is `[D]`. A `Partial` x is scored on its visible
      pixels.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; `mean` has another shape or leaves the range of x.
        When called: x or z has another shape.
    """
    return standard_prior(dense_pixels(latent_dim, data_dim, likelihood, hidden, activation, mean))


def bernoulli_decoder(
    latent_dim: int,
    data_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z ~ N(0, I), x_i | z ~ Bernoulli(sigmoid(l_i)), l = MLP_θ(z): `decoder` of binary pixels.

        log p_θ(x, z) = −|z|²/2 − (D/2) log 2π + Σ_i [x_i l_i − log(1 + e^{l_i})]

    The output bias is logit(mean), clipped to [0.001, 0.999].

    Args:
      latent_dim: D ≥ 1.
      data_dim: number of pixels.
      hidden: widths of the hidden layers, from the latent to the data; empty for a logistic-linear decoder.
      activation: elementwise non-linearity.
      mean: `[data_dim]` mean of the training data, in [0, 1]. None means ½ everywhere, a bias of zero.

    Returns:
      The model. θ is the linen parameter tree. x is `[data_dim]`, of 0 and 1 in any dtype, and z is `[D]`. A value of x
      strictly between 0 and 1 gives the expected log-probability of a binarized pixel, not a density. A `Partial` x is
      scored on its visible pixels.

    Raises:
      TypeError, ValueError: as `decoder`.
    """
    return decoder(
        latent_dim,
        data_dim,
        likelihood=likelihoods.bernoulli(),
        hidden=hidden,
        activation=activation,
        mean=mean,
    )


def dense_pixels(
    latent_dim: int,
    data_dim: int,
    likelihood: Likelihood,
    hidden: Sequence[int],
    activation: Callable[[jax.Array], jax.Array],
    mean: ArrayLike | None,
) -> Pixels:
    """Builds the dense network of the pixels, after the checks of every decoder."""
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    from vi_jax.models.networks import DenseNetwork

    heads = {name: constant(bias) for name, bias in likelihood.bias(mean, data_dim).items()}
    shared = {name: constant(value) for name, value in likelihood.shared.items()}
    network = DenseNetwork(widths, data_dim, activation, heads, shared)
    return pixels(network, latent_dim, data_dim, likelihood)
