"""Several stochastic layers, each given the one above it, and pixels given the lowest."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.chains import ChainDistribution, ReversedChain
from vi_jax.lazy import distrax
from vi_jax.models import likelihoods
from vi_jax.models.deep import dense_pixels
from vi_jax.models.likelihoods import Likelihood
from vi_jax.models.partial import Partial
from vi_jax.models.pixels import Network, Pixels, constant, standard_normal
from vi_jax.shapes import check_layers
from vi_jax.types import Model, PyTree

Init = Callable[[jax.Array], PyTree]
Given = Callable[[PyTree, jax.Array], Any]


def hierarchical_decoder(
    latent_dims: Sequence[int],
    data_dim: int,
    *,
    hidden: Sequence[Sequence[int]],
    likelihood: Likelihood | None = None,
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> Model:
    """Makes z_L ~ N(0, I), z_l | z_{l+1} ~ N(loc, diag(exp(log_scale))²), x | z_1 ~ likelihood(MLP_θ(z_1)).

        log p_θ(x, z) = log N(z_L; 0, I) + Σ_l log p_θ(z_l | z_{l+1}) + Σ_i log p_θ(x_i | z_1)

    with (loc, log_scale) = MLP_θ(z_{l+1}), two linear heads on one trunk. Layer 1 is nearest to the data, as in
    `guides.chain`. The two-layer decoder of the importance-weighted autoencoder is

        hierarchical_decoder((100, 50), 784, hidden=((200, 200), (100, 100)))

    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (arXiv:1509.00519); initialised as `decoder`.
    With one layer it is that model, z a tuple of one.

    Args:
      latent_dims: (D_1, …, D_L), each ≥ 1, from the data upwards.
      data_dim: number of pixels.
      hidden: for each of the L networks the widths of its hidden layers, in the order in which they run; hidden[0] is
        between z_1 and the data.
      likelihood: of `models.likelihoods`; None means `likelihoods.bernoulli()`, x of 0 and 1.
      activation: elementwise non-linearity.
      mean: `[data_dim]` mean of the training data, in the units of x. None means the likelihood's own middle.

    Returns:
      The model. θ is a tuple of linen parameter trees, θ[0] of the pixels and θ[l] of z_l given z_{l+1}. x is as of
      `decoder`, z the tuple (z_1, …, z_L) of `[D_l]`. The prior is over the tuple, and has a `bijector`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer; there is no latent layer, or not one entry of
        `hidden` for each; `mean` has another shape or range. When called: x or a layer of z has another shape.
    """
    latent_dims = check_networks(latent_dims, hidden)
    pixels = dense_pixels(latent_dims[0], data_dim, likelihood or likelihoods.bernoulli(), hidden[0], activation, mean)
    zero = {name: constant(0.0) for name in ("loc", "log_scale")}
    networks = [dense_layer(*shape, activation, zero) for shape in zip(hidden[1:], latent_dims[:-1], strict=True)]
    inits = (pixels.init, *(init_of(*pair) for pair in zip(networks, latent_dims[1:], strict=True)))
    steps = [functools.partial(_gaussian_given, network) for network in networks]
    return layered(latent_dims, pixels, inits, steps, lambda theta: standard_normal(latent_dims[-1], theta[0]))


def layered(
    latent_dims: tuple[int, ...],
    pixels: Pixels,
    inits: Sequence[Init],
    steps: Sequence[Given],
    top: Callable[[tuple[PyTree, ...]], Any],
) -> Model:
    """Makes the model p(z_L) Π_l p(z_l | z_{l+1}) p(x | z_1), z = (z_1, …, z_L).

    Args:
      latent_dims: (D_1, …, D_L).
      pixels: p(x | z_1), of θ[0].
      inits: one for each entry of θ.
      steps: `(θ[l], z_{l+1}) -> distribution of z_l`, for l = 1, …, L − 1.
      top: `θ -> distribution of z_L`.
    """

    def init(key: jax.Array) -> tuple[PyTree, ...]:
        return tuple(part(key) for part, key in zip(inits, jax.random.split(key, len(inits)), strict=True))

    def prior(theta: tuple[PyTree, ...]) -> ReversedChain:
        given = [functools.partial(step, theta[layer]) for layer, step in enumerate(steps, start=1)]
        return ReversedChain(ChainDistribution(top(theta), tuple(given[::-1])))

    def likelihood(theta: tuple[PyTree, ...], z: tuple[jax.Array, ...]) -> Any:
        return pixels.likelihood(theta[0], z[0])

    def sample(key: jax.Array, theta: tuple[PyTree, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: tuple[PyTree, ...], x: jax.Array | Partial, z: tuple[jax.Array, ...]) -> jax.Array:
        z = check_layers(z, latent_dims)
        return prior(theta).log_prob(z) + pixels.log_likelihood(theta[0], x, z[0])

    return Model(init, log_joint, sample, prior, likelihood)


def check_networks(latent_dims: Sequence[int], hidden: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Returns the dimensions as a tuple; raises unless there is one at least, and one entry of `hidden` for each."""
    dims = tuple(checks.check_positive_int("latent_dims", dim) for dim in latent_dims)
    if not dims or len(hidden) != len(dims) or any(np.ndim(widths) != 1 for widths in hidden):
        raise ValueError(
            f"each layer of latent_dims, at least one, needs its entry of hidden: got {dims} and {hidden}; two "
            "layers are latent_dims=(100, 50), hidden=((200, 200), (100, 100))."
        )
    return dims


def dense_layer(
    hidden: Sequence[int],
    dim: int,
    activation: Callable[[jax.Array], jax.Array],
    heads: dict[str, Callable[..., jax.Array]],
) -> Network:
    """Returns the network of one layer of latents given the one above, its widths checked."""
    from vi_jax.models.networks import DenseNetwork

    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    return DenseNetwork(widths, dim, activation, heads, {})


def init_of(network: Network, dim_above: int) -> Init:
    """Returns `key -> theta` of a network whose input has this length."""
    return lambda key: network.init(key, jnp.zeros(dim_above))["params"]


def _gaussian_given(network: Network, theta: PyTree, above: jax.Array) -> "distrax.MultivariateNormalDiag":
    outputs: Any = network.apply({"params": theta}, above)
    return distrax.MultivariateNormalDiag(outputs["loc"], jnp.exp(outputs["log_scale"]))
