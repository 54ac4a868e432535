"""The layer next to the data: a network from z to the parameters of the pixels, and their likelihood."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.lazy import distrax
from vi_jax.models.likelihoods import Likelihood
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.shapes import check_shape
from vi_jax.types import Model, PyTree

# (key, shape, dtype) -> array, as of flax.
Initializer = Callable[..., jax.Array]


class Network(Protocol):
    """A linen module: `init(key, z)["params"]` is θ, and `apply({"params": θ}, z [latent_dim])` the outputs by name."""

    def init(self, key: Any, z: jax.Array, /) -> Any:
        """Returns {"params": θ}."""
        ...

    def apply(self, variables: Any, z: jax.Array, /) -> Any:
        """Returns what `Likelihood` calls outputs."""
        ...


class Pixels(NamedTuple):
    """p_θ(x | z) for ONE datum and ONE draw.

    Attributes:
      latent_dim: length of z.
      init: `key -> theta`.
      likelihood: `(theta, z) -> distribution` of x `[data_dim]`.
      log_likelihood: `(theta, x or Partial, z) -> scalar` nats.
    """

    latent_dim: int
    init: Callable[[jax.Array], PyTree]
    likelihood: Callable[[PyTree, jax.Array], Any]
    log_likelihood: Callable[[PyTree, jax.Array | Partial, jax.Array], jax.Array]


def pixels(network: Network, latent_dim: int, data_dim: int, likelihood: Likelihood) -> Pixels:
    """Joins a network and a likelihood; x and z are checked, so that no batch axis broadcasts."""

    def init(key: jax.Array) -> PyTree:
        return network.init(key, jnp.zeros(latent_dim))["params"]

    def outputs(theta: PyTree, z: jax.Array) -> dict[str, jax.Array]:
        z = check_shape("z", z, (latent_dim,)).astype(dtype_of(theta))
        return network.apply({"params": theta}, z)

    def distribution(theta: PyTree, z: jax.Array) -> Any:
        return likelihood.distribution(outputs(theta, z))

    def log_likelihood(theta: PyTree, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        values, visible = split(x, data_dim, dtype_of(theta))
        return sum_visible(likelihood.log_prob(outputs(theta, z), values), visible)

    return Pixels(latent_dim, init, distribution, log_likelihood)


def standard_prior(pixels: Pixels) -> Model:
    """Makes the model z ~ N(0, I), x | z of these pixels."""
    latent_dim = pixels.latent_dim

    def prior(theta: PyTree) -> distrax.MultivariateNormalDiag:
        return standard_normal(latent_dim, theta)

    def sample(key: jax.Array, theta: PyTree) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return pixels.likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: PyTree, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        log_prior = -jnp.sum(z**2) / 2 - latent_dim * math.log(2 * math.pi) / 2
        return log_prior + pixels.log_likelihood(theta, x, z)

    return Model(pixels.init, log_joint, sample, prior, pixels.likelihood)


def standard_normal(dim: int, theta: PyTree) -> "distrax.MultivariateNormalDiag":
    """Returns N(0, I) in the precision of θ."""
    zeros = jnp.zeros(dim, dtype_of(theta))
    return distrax.MultivariateNormalDiag(zeros, jnp.ones_like(zeros))


def dtype_of(theta: PyTree) -> jnp.dtype:
    """Returns the precision of θ."""
    return jax.tree.leaves(theta)[0].dtype


def constant(value: np.ndarray | float) -> Initializer:
    """Returns the initializer of linen that sets this value."""
    return lambda key, shape, dtype: jnp.asarray(value, dtype)
