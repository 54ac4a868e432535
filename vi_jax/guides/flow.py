"""q(z | x) beyond Gaussians: affine coupling layers on standard normal noise (flax linen, distrax).

    z = loc + exp(log_scale) ⊙ f_1(f_2(… f_L(ε))),   ε ~ N(0, I)
    f(u) = (u_a, u_b ⊙ exp(s) + t),   (s, t) = NET(u_a, context)   the halves a and b change places from layer to layer
    log q(z) = log N(ε; 0, I) − Σ_j log_scale_j − Σ_l Σ s_l

A coupling is inverted in one pass, so that the density of ANY z is exact, which sticking the landing and the doubly
reparameterized gradient need: they differentiate log q(z) in z.

Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (arXiv:1605.08803); Rezende and Mohamed,
"Variational Inference with Normalizing Flows" (arXiv:1505.05770).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax.guides.couplings import couplings
from vi_jax.guides.encoder import encoder
from vi_jax.guides.gaussian import MeanField
from vi_jax.shapes import check_noise
from vi_jax.types import Guide, PyTree


class FlowParams(NamedTuple):
    """φ of `flow` and `flow_encoder`.

    Attributes:
      base: what loc and log_scale are made of: `MeanField`, or the linen parameter tree of the encoder.
      couplings: linen parameter trees, in the order in which noise passes through them.
    """

    base: PyTree
    couplings: tuple[PyTree, ...]


def flow(
    latent_dim: int,
    *,
    num_layers: int = 4,
    coupling_hidden: Sequence[int] = (32, 32),
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
) -> Guide:
    """Makes the law of z = loc + exp(log_scale) ⊙ f_1(… f_L(ε)), affine couplings on ε ~ N(0, I), the same for every x.

    It starts as N(0, I). Two layers move every coordinate. Price: L networks per draw, and L more per density.

    Args:
      latent_dim: D ≥ 2; a coupling needs one coordinate to keep and one to move.
      num_layers: L ≥ 1.
      coupling_hidden: widths of the hidden layers of each coupling's network, at least one.
      activation: elementwise non-linearity; a smooth one, since gradients of log q are differentiated again.

    Returns:
      The guide; φ is `FlowParams` with a `MeanField` base. z is `[D]`, and `from_noise` takes noise `[D]`. Its
      distribution has neither mean nor entropy in closed form.

    Raises:
      TypeError, ValueError: a size is not a positive integer; D is 1; `coupling_hidden` is empty.
    """
    stack = couplings(latent_dim, 0, num_layers, coupling_hidden, activation)

    def init(key: jax.Array) -> FlowParams:
        return FlowParams(MeanField(jnp.zeros(latent_dim), jnp.zeros(latent_dim)), stack.init(key))

    def distribution(phi: FlowParams, x: PyTree) -> distrax.Transformed:
        del x
        none = jnp.zeros(0, phi.base.loc.dtype)
        return stack.distribution(phi.couplings, phi.base.loc, phi.base.log_scale, none)

    return _guide(latent_dim, init, distribution)


def flow_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    num_layers: int = 4,
    coupling_hidden: Sequence[int] = (32, 32),
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
    mean: ArrayLike | None = None,
) -> Guide:
    """Makes `flow` with (loc, log_scale, context) = MLP_φ(x), the context seen by every coupling.

    The context is the last hidden layer of the encoder, x itself if there is none. It starts as the `gaussian_encoder`
    of the same sizes, parameter for parameter. Price: the encoder once per datum, L small networks per draw and L more
    per density.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: D ≥ 2.
      hidden: widths of the encoder's hidden layers.
      num_layers: as of `flow`.
      coupling_hidden: as of `flow`.
      activation: as of `flow`; the encoder's too.
      mean: as of `gaussian_encoder`.

    Returns:
      The guide; φ is `FlowParams` with the encoder's linen parameter tree as base. x is `[data_dim]`, floating, integer
      or boolean; z is `[D]`, and `from_noise` takes noise `[D]`.

    Raises:
      TypeError, ValueError: as `flow` and `gaussian_encoder`.
    """
    hidden = tuple(hidden)
    network = encoder(data_dim, latent_dim, ("loc", "log_scale"), hidden=hidden, activation=activation, mean=mean)
    context_dim = hidden[-1] if hidden else data_dim
    stack = couplings(latent_dim, context_dim, num_layers, coupling_hidden, activation)

    def init(key: jax.Array) -> FlowParams:
        # The encoder takes the key itself, so that it starts as a `gaussian_encoder` would.
        return FlowParams(network.init(key), stack.init(jax.random.fold_in(key, 1)))

    def distribution(phi: FlowParams, x: jax.Array) -> distrax.Transformed:
        heads, trunk = network.encode(phi.base, x)
        return stack.distribution(phi.couplings, heads["loc"], heads["log_scale"], trunk)

    return _guide(latent_dim, init, distribution)


def _guide(
    dim: int, init: Callable[[jax.Array], FlowParams], distribution: Callable[..., distrax.Transformed]
) -> Guide:
    def from_noise(phi: FlowParams, x: PyTree, noise: jax.Array) -> jax.Array:
        bijector: Any = distribution(phi, x).bijector
        return bijector.forward(check_noise(noise, dim))

    return Guide(init, distribution, from_noise=from_noise)
