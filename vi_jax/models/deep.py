"""Latent-variable models with a neural network between latent and datum (flax linen)."""

import math
from collections.abc import Callable, Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.models.bernoulli import bernoulli_log_prob, mean_logit
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree


class _Decoder(nn.Module):
    hidden: Sequence[int]
    data_dim: int
    activation: Callable[[jax.Array], jax.Array]
    bias_init: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        dtype = jnp.result_type(float)
        weights = nn.initializers.glorot_uniform()
        for width in self.hidden:
            z = self.activation(nn.Dense(width, kernel_init=weights, param_dtype=dtype)(z))
        output = nn.Dense(
            self.data_dim, kernel_init=weights, bias_init=self.bias_init, param_dtype=dtype, name="logits"
        )
        return output(z)


def bernoulli_decoder(
    latent_dim: int,
    data_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z ~ N(0, I), x_i | z ~ Bernoulli(sigmoid(l_i)), l = MLP_θ(z): the decoder of a variational autoencoder.

        log p_θ(x, z) = −|z|²/2 − (D/2) log 2π + Σ_i [x_i l_i − log(1 + e^{l_i})]

    Kingma and Welling (arXiv:1312.6114); the architecture and initialisation of Burda et al. (arXiv:1509.00519):
    Glorot-uniform weights, zero biases, and an output bias of logit(mean), clipped to [0.001, 0.999].

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
      TypeError, ValueError: a dimension is not a positive integer; `mean` has another shape or leaves [0, 1]. When
        called: x or z has another shape.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    bias = mean_logit(mean, data_dim)
    decoder = _Decoder(widths, data_dim, activation, lambda key, shape, dtype: jnp.asarray(bias, dtype))

    def init(key: jax.Array) -> PyTree:
        return decoder.init(key, jnp.zeros(latent_dim))["params"]

    def logits(theta: PyTree, z: jax.Array) -> jax.Array:
        return jnp.asarray(decoder.apply({"params": theta}, check_shape("z", z, (latent_dim,))))

    def prior(theta: PyTree) -> distrax.MultivariateNormalDiag:
        zeros = jnp.zeros(latent_dim, theta["logits"]["bias"].dtype)
        return distrax.MultivariateNormalDiag(zeros, jnp.ones_like(zeros))

    def likelihood(theta: PyTree, z: jax.Array) -> distrax.Independent:
        values = logits(theta, z)
        return distrax.Independent(distrax.Bernoulli(logits=values, dtype=values.dtype), 1)

    def sample(key: jax.Array, theta: PyTree) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: PyTree, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        of_pixels = logits(theta, z)
        values, visible = split(x, data_dim, of_pixels.dtype)
        log_prior = -jnp.sum(z**2) / 2 - latent_dim * math.log(2 * math.pi) / 2
        return log_prior + sum_visible(bernoulli_log_prob(of_pixels, values), visible)

    return Model(init, log_joint, sample, prior, likelihood)
