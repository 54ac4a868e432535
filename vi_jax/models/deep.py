"""Latent-variable models with neural networks between the latents and the datum (flax linen)."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.chains import ChainDistribution, ReversedChain
from vi_jax.models.bernoulli import bernoulli_log_prob, mean_logit
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.shapes import check_layers, check_shape
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
    pixels = _pixels(latent_dim, data_dim, hidden, activation, mean)
    latent_dim = pixels.latent_dim

    def prior(theta: PyTree) -> distrax.MultivariateNormalDiag:
        return _standard(latent_dim, theta)

    def sample(key: jax.Array, theta: PyTree) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return pixels.likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: PyTree, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        log_prior = -jnp.sum(z**2) / 2 - latent_dim * math.log(2 * math.pi) / 2
        return log_prior + pixels.log_likelihood(theta, x, z)

    return Model(pixels.init, log_joint, sample, prior, pixels.likelihood)


class _GaussianLayer(nn.Module):
    """`[dim above] -> (loc, log_scale)`, each `[dim]`: two linear heads on one trunk."""

    hidden: Sequence[int]
    dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        dense = functools.partial(
            nn.Dense, kernel_init=nn.initializers.glorot_uniform(), param_dtype=jnp.result_type(float)
        )
        for width in self.hidden:
            z = self.activation(dense(width)(z))
        return dense(self.dim, name="loc")(z), dense(self.dim, name="log_scale")(z)


def hierarchical_decoder(
    latent_dims: Sequence[int],
    data_dim: int,
    *,
    hidden: Sequence[Sequence[int]],
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z_L ~ N(0, I), z_l | z_{l+1} ~ N(loc, diag(exp(log_scale))²), x_i | z_1 ~ Bernoulli(sigmoid(l_i)).

        log p_θ(x, z) = log N(z_L; 0, I) + Σ_l log p_θ(z_l | z_{l+1}) + Σ_i [x_i l_i − log(1 + e^{l_i})]

    with (loc, log_scale) = MLP_θ(z_{l+1}), two linear heads on one trunk, and l = MLP_θ(z_1). Layer 1 is nearest to the
    data, as in `guides.chain`. The two-layer decoder of the importance-weighted autoencoder is

        hierarchical_decoder((100, 50), 784, hidden=((200, 200), (100, 100)))

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519); initialised as
    `bernoulli_decoder`. With one layer it is that model, z a tuple of one.

    Args:
      latent_dims: (D_1, …, D_L), each ≥ 1, from the data upwards.
      data_dim: number of pixels.
      hidden: for each of the L networks the widths of its hidden layers, in the order in which they run; hidden[0] is
        between z_1 and the data.
      activation: elementwise non-linearity.
      mean: `[data_dim]` mean of the training data, in [0, 1]. None means ½ everywhere, a bias of zero.

    Returns:
      The model. θ is a tuple of linen parameter trees, θ[0] of the pixels and θ[l] of z_l given z_{l+1}. x is as of
      `bernoulli_decoder`, z the tuple (z_1, …, z_L) of `[D_l]`. The prior is over the tuple, and has a `bijector`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; there is no latent layer, or not one entry of
        `hidden` for each; `mean` has another shape or leaves [0, 1]. When called: x or a layer of z has another shape.
    """
    latent_dims = tuple(checks.check_positive_int("latent_dims", dim) for dim in latent_dims)
    if not latent_dims or len(hidden) != len(latent_dims):
        raise ValueError(
            f"each layer of latent_dims, at least one, needs its entry of hidden: got {latent_dims} and {hidden}; two "
            "layers are latent_dims=(100, 50), hidden=((200, 200), (100, 100))."
        )
    pixels = _pixels(latent_dims[0], data_dim, hidden[0], activation, mean)
    widths = [tuple(checks.check_positive_int("hidden", width) for width in layer) for layer in hidden[1:]]
    layers = [_GaussianLayer(*shape, activation) for shape in zip(widths, latent_dims[:-1], strict=True)]

    def init(key: jax.Array) -> tuple[PyTree, ...]:
        first, *keys = jax.random.split(key, len(latent_dims))
        above = zip(layers, keys, latent_dims[1:], strict=True)
        return pixels.init(first), *(layer.init(key, jnp.zeros(dim))["params"] for layer, key, dim in above)

    def given_above(layer: _GaussianLayer, theta: PyTree, above: jax.Array) -> distrax.MultivariateNormalDiag:
        loc, log_scale = (jnp.asarray(output) for output in layer.apply({"params": theta}, above))
        return distrax.MultivariateNormalDiag(loc, jnp.exp(log_scale))

    def prior(theta: tuple[PyTree, ...]) -> ReversedChain:
        steps = [functools.partial(given_above, *pair) for pair in zip(layers, theta[1:], strict=True)]
        return ReversedChain(ChainDistribution(_standard(latent_dims[-1], theta[0]), tuple(steps[::-1])))

    def likelihood(theta: tuple[PyTree, ...], z: tuple[jax.Array, ...]) -> distrax.Independent:
        return pixels.likelihood(theta[0], z[0])

    def sample(key: jax.Array, theta: tuple[PyTree, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: tuple[PyTree, ...], x: jax.Array | Partial, z: tuple[jax.Array, ...]) -> jax.Array:
        z = check_layers(z, latent_dims)
        return prior(theta).log_prob(z) + pixels.log_likelihood(theta[0], x, z[0])

    return Model(init, log_joint, sample, prior, likelihood)


class _Pixels(NamedTuple):
    """The lowest layer: θ and `[latent_dim]` -> Bernoulli pixels, `[data_dim]`."""

    latent_dim: int
    init: Callable[[jax.Array], PyTree]
    likelihood: Callable[[PyTree, jax.Array], distrax.Independent]
    log_likelihood: Callable[[PyTree, jax.Array | Partial, jax.Array], jax.Array]


def _pixels(
    latent_dim: int,
    data_dim: int,
    hidden: Sequence[int],
    activation: Callable[[jax.Array], jax.Array],
    mean: ArrayLike | None,
) -> _Pixels:
    """Builds the network of the pixels, after the checks of every decoder."""
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    bias = mean_logit(mean, data_dim)
    decoder = _Decoder(widths, data_dim, activation, lambda key, shape, dtype: jnp.asarray(bias, dtype))

    def init(key: jax.Array) -> PyTree:
        return decoder.init(key, jnp.zeros(latent_dim))["params"]

    def logits(theta: PyTree, z: jax.Array) -> jax.Array:
        return jnp.asarray(decoder.apply({"params": theta}, check_shape("z", z, (latent_dim,))))

    def likelihood(theta: PyTree, z: jax.Array) -> distrax.Independent:
        values = logits(theta, z)
        return distrax.Independent(distrax.Bernoulli(logits=values, dtype=values.dtype), 1)

    def log_likelihood(theta: PyTree, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        of_pixels = logits(theta, z)
        values, visible = split(x, data_dim, of_pixels.dtype)
        return sum_visible(bernoulli_log_prob(of_pixels, values), visible)

    return _Pixels(latent_dim, init, likelihood, log_likelihood)


def _standard(dim: int, theta: PyTree) -> distrax.MultivariateNormalDiag:
    """N(0, I) in the precision of the pixels' θ."""
    zeros = jnp.zeros(dim, theta["logits"]["bias"].dtype)
    return distrax.MultivariateNormalDiag(zeros, jnp.ones_like(zeros))
