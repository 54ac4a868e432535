"""Latent-variable models with a neural network between latent and datum (flax linen)."""

import math
from collections.abc import Callable, Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree

MEAN_CLIP = 1e-3
"""The train mean is clipped to [MEAN_CLIP, 1 − MEAN_CLIP] before its logit: a pixel that is always off has logit −∞."""


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
      strictly between 0 and 1 gives the expected log-probability of a binarized pixel, not a density.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; `mean` has another shape or leaves [0, 1]. When
        called: x or z has another shape.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    decoder = _Decoder(widths, data_dim, activation, _bias_init(mean, data_dim))

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

    def log_joint(theta: PyTree, x: jax.Array, z: jax.Array) -> jax.Array:
        values = logits(theta, z)
        x = check_shape("x", x, (data_dim,)).astype(values.dtype)
        log_prior = -jnp.sum(z**2) / 2 - latent_dim * math.log(2 * math.pi) / 2
        return log_prior + jnp.sum(bernoulli_log_prob(values, x))

    return Model(init, log_joint, sample, prior, likelihood)


@jax.custom_jvp
def bernoulli_log_prob(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Returns x l − log(1 + e^l), elementwise: log Bernoulli(x; sigmoid(l)) in nats.

    log(1 + e^l) = max(l, 0) + log(1 + e^{−|l|}): pulling the larger of e^0 and e^l out of the sum leaves an exponent
    that is never positive, so nothing overflows and both tails are exact. It costs fewer operations than `softplus`,
    which also looks for NaN.

    The derivative is given, x − sigmoid(l), because automatic differentiation of max and |·| keeps several arrays of
    the size of all pixels of all draws where the logits suffice: for the gradient of a 50-200-784 decoder, 20 data and
    50 draws on two CPU cores, half the memory and 1.4 times the speed. It is smooth, so at l = 0 it is x − ½ with no
    convention about kinks, and derivatives of every order and in both modes exist.

    Args:
      logits: l, any shape.
      x: the same shape, floating.

    Returns:
      The same shape.
    """
    return x * logits - jnp.maximum(logits, 0) - jnp.log1p(jnp.exp(-jnp.abs(logits)))


@bernoulli_log_prob.defjvp
def _bernoulli_log_prob_jvp(primals, tangents):
    logits, x = primals
    logits_dot, x_dot = tangents
    return bernoulli_log_prob(logits, x), (x - jax.nn.sigmoid(logits)) * logits_dot + logits * x_dot


def _bias_init(mean: ArrayLike | None, data_dim: int) -> Callable[..., jax.Array]:
    """Returns the initializer of the output bias, logit(mean), zero without a mean."""
    if mean is None:
        return nn.initializers.zeros_init()
    mean = np.asarray(mean, np.float64)
    if mean.shape != (data_dim,):
        raise ValueError(f"mean must have shape ({data_dim},), got {mean.shape}; pass train.mean(axis=0).")
    if not np.all((mean >= 0) & (mean <= 1)):
        raise ValueError(
            f"mean must lie in [0, 1], got values from {mean.min()} to {mean.max()}; scale the data to [0, 1] first."
        )
    clipped = np.clip(mean, MEAN_CLIP, 1 - MEAN_CLIP)
    logit = np.log(clipped) - np.log1p(-clipped)
    return lambda key, shape, dtype: jnp.asarray(logit, dtype)
