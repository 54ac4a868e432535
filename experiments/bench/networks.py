"""The autoencoder 784-200-200-50 and its random binary images, with networks that compute in a given type."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.guides.encoder import encoder_of, gaussian_of
from vi_jax.models import likelihoods
from vi_jax.models.networks import DenseNetwork
from vi_jax.models.pixels import constant, pixels, standard_prior

LATENT_DIM, HIDDEN, DATA_DIM = 50, (200, 200), 784
MODEL = "autoencoder 784-200-200-50"


def networks(dtype: str) -> tuple[vi.Model, vi.Guide]:
    """Returns the decoder and the encoder: the library's own, or the same in `dtype` where that is not JAX's own."""
    if dtype == jnp.result_type(float).name:
        model = vi.models.bernoulli_decoder(LATENT_DIM, DATA_DIM, hidden=HIDDEN)
        return model, vi.guides.gaussian_encoder(DATA_DIM, LATENT_DIM, hidden=HIDDEN)
    decoder = Rounded(dense(DATA_DIM, "logits"), dtype)
    encoder = Encoder(Rounded(dense(LATENT_DIM, "loc", "log_scale"), dtype))
    model = standard_prior(pixels(decoder, LATENT_DIM, DATA_DIM, likelihoods.bernoulli()))
    return model, gaussian_of(encoder_of(encoder, DATA_DIM, None), LATENT_DIM)


def dense(dim: int, *heads: str) -> DenseNetwork:
    """Makes the library's network with heads of this length, all biases zero."""
    return DenseNetwork(HIDDEN, dim, jnp.tanh, {head: constant(np.zeros(dim)) for head in heads}, {})


class Rounded(NamedTuple):
    """A network whose weights and activations are of type `dtype`, between parameters and outputs that are not.

    Log-weights are sums of hundreds of terms: in bfloat16 they would be right to 2 nats. So outputs are cast back.
    """

    network: nn.Module
    dtype: str

    def init(self, key: Any, x: jax.Array, /) -> Any:
        """Returns the parameters, in the type that they are kept in."""
        return self.network.init(key, x)

    def apply(self, variables: Any, x: jax.Array, /) -> Any:
        """Returns the outputs in the type of the parameters."""
        rounded, x = jax.tree.map(lambda leaf: leaf.astype(self.dtype), (variables, x))
        return jax.tree.map(lambda leaf: leaf.astype(float), self.network.apply(rounded, x))


class Encoder(NamedTuple):
    """A network in the form that the library's encoders have: outputs by name, and a trunk, which no one reads here."""

    network: Rounded

    def init(self, key: Any, x: jax.Array, /) -> Any:
        """Returns the parameters."""
        return self.network.init(key, x)

    def apply(self, variables: Any, x: jax.Array, /) -> Any:
        """Returns (outputs by name, x)."""
        return self.network.apply(variables, x), x


def arguments(seed: int, model: vi.Model, guide: vi.Guide, batch_size: int) -> tuple[vi.Params, jax.Array]:
    """Returns initial parameters and random binary images `[B, 784]`."""
    _, theta_key, phi_key, x_key = jax.random.split(jax.random.key(seed), 4)
    x = jax.random.bernoulli(x_key, 0.5, (batch_size, DATA_DIM)).astype(float)
    return vi.Params(model.init(theta_key), guide.init(phi_key)), x
