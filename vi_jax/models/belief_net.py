"""Sigmoid belief nets of several layers, linear or with hidden layers between the stochastic ones (flax linen)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax.lazy import distrax
from vi_jax.models import likelihoods
from vi_jax.models.deep import dense_pixels
from vi_jax.models.enumeration import CodeDistribution, codes, log_sum_over_codes
from vi_jax.models.exact import ExactModel
from vi_jax.models.layered import check_networks, dense_layer, init_of, layered
from vi_jax.models.likelihoods import Likelihood
from vi_jax.models.partial import Partial
from vi_jax.models.pixels import Network, constant, dtype_of
from vi_jax.types import PyTree


class LayeredCodes(NamedTuple):
    """A distribution over all codes of several layers. z is the tuple of layers, each of 0 and 1, floating.

    Attributes:
      codes: over the bits of all layers in a row, from the data upwards.
      dims: (d_1, …, d_L).
    """

    codes: CodeDistribution
    dims: tuple[int, ...]

    def log_prob(self, z: tuple[jax.Array, ...]) -> jax.Array:
        """Returns the log-probability of one code, in nats."""
        return self.codes.log_prob(jnp.concatenate(z))

    def sample(self, *, seed: jax.Array) -> tuple[jax.Array, ...]:
        """Returns one draw, layer by layer."""
        return _split(self.codes.sample(seed=seed), self.dims)

    def mean(self) -> tuple[jax.Array, ...]:
        """Returns P(z_j = 1) for every bit, layer by layer."""
        return _split(self.codes.mean(), self.dims)


def deep_belief_net(
    latent_dims: Sequence[int],
    data_dim: int,
    *,
    hidden: Sequence[Sequence[int]],
    likelihood: Likelihood | None = None,
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
    mean: ArrayLike | None = None,
) -> ExactModel:
    """Makes z_L ~ Bernoulli(σ(b)), z_l | z_{l+1} ~ Bernoulli(σ(NET_θ(z_{l+1}))), x | z_1 ~ likelihood(NET_θ(z_1)).

        log p_θ(x, z) = log p(z_L) + Σ_l log p(z_l | z_{l+1}) + Σ_i log p(x_i | z_1),   z_l ∈ {0, 1}^{d_l}
        log p_θ(x) = log Σ_z p_θ(x, z)

    Neal, "Connectionist learning of belief networks" (1992). Layer 1 is nearest to the data, as in `guides.chain`, and
    its guide is a chain of Bernoulli encoders. Three linear layers, and one layer with two hidden layers of tanh
    between it and the data, as Mnih and Gregor (arXiv:1402.0030) and Mnih and Rezende (arXiv:1602.06725) have them:

        deep_belief_net((200, 200, 200), 784, hidden=((), (), ()))
        deep_belief_net((200,), 784, hidden=((200, 200),))

    Price of evidence and posterior: 2^(d_1 + … + d_L) evaluations of the log-joint, the evidence in memory that does
    not grow. Beyond some 20 bits in all estimate it, as `log_evidence` does.

    Args:
      latent_dims: (d_1, …, d_L), each ≥ 1, from the data upwards.
      data_dim: number of pixels.
      hidden: for each of the L networks the widths of its hidden layers, in the order in which they run; hidden[0] is
        between z_1 and the data, and () is a linear one.
      likelihood: of `models.likelihoods`; None means `likelihoods.bernoulli()`, x of 0 and 1.
      activation: elementwise non-linearity.
      mean: `[data_dim]` mean of the training data, in the units of x. None means the likelihood's own middle.

    Returns:
      The exact model; θ is a tuple, θ[0] the linen parameter tree of the pixels, θ[l] that of z_l given z_{l+1}, and
      θ[L] the logits b `[d_L]`, zero at `init`. x is as of `decoder`, z the tuple of `[d_l]` of 0 and 1, floating. With
      one linear layer it is `sigmoid_belief_net`, z a tuple of one. The posterior has `sample`, `log_prob`, `mean`.

    Raises:
      TypeError, ValueError: as `hierarchical_decoder`. When called: x or a layer of z has another shape, or a posterior
        is asked for with more than 20 bits.
    """
    latent_dims = check_networks(latent_dims, hidden)
    pixels = dense_pixels(latent_dims[0], data_dim, likelihood or likelihoods.bernoulli(), hidden[0], activation, mean)
    zero = {"logits": constant(0.0)}
    networks = [dense_layer(*shape, activation, zero) for shape in zip(hidden[1:], latent_dims[:-1], strict=True)]
    inits = (
        pixels.init,
        *(init_of(*pair) for pair in zip(networks, latent_dims[1:], strict=True)),
        lambda key: jnp.zeros(latent_dims[-1], jnp.result_type(float)),
    )
    steps = [functools.partial(_bits_given, network) for network in networks]
    model = layered(latent_dims, pixels, inits, steps, lambda theta: _bits(theta[-1]))

    def log_joint_of_code(theta: tuple[PyTree, ...], x: jax.Array | Partial, code: jax.Array) -> jax.Array:
        return model.log_joint(theta, x, _split(code.astype(dtype_of(theta)), latent_dims))

    def log_evidence(theta: tuple[PyTree, ...], x: jax.Array | Partial) -> jax.Array:
        return log_sum_over_codes(functools.partial(log_joint_of_code, theta, x), sum(latent_dims))

    def posterior(theta: tuple[PyTree, ...], x: jax.Array | Partial) -> LayeredCodes:
        of_code = jax.vmap(functools.partial(log_joint_of_code, theta, x))
        return LayeredCodes(CodeDistribution(of_code(codes(sum(latent_dims)))), latent_dims)

    return ExactModel(model, log_evidence, posterior)


def _bits(logits: jax.Array) -> "distrax.Independent":
    return distrax.Independent(distrax.Bernoulli(logits=logits, dtype=logits.dtype), 1)


def _bits_given(network: Network, theta: PyTree, above: jax.Array) -> "distrax.Independent":
    outputs: Any = network.apply({"params": theta}, above)
    return _bits(outputs["logits"])


def _split(code: jax.Array, dims: tuple[int, ...]) -> tuple[jax.Array, ...]:
    return tuple(jnp.split(code, np.cumsum(dims)[:-1]))
