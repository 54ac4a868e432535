"""The networks of encoders: heads on a trunk, of x less a mean (flax linen), and the Gaussian that two heads make."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.shapes import check_noise, check_shape
from vi_jax.types import Guide, PyTree

if TYPE_CHECKING:
    from vi_jax.guides.diagonal import DiagonalGaussian


class Encoded(NamedTuple):
    """What an encoder makes of one datum.

    Attributes:
      heads: by name, each `[dim]`.
      trunk: `[hidden[-1]]`, what the heads are linear in; the datum itself without hidden layers.
    """

    heads: dict[str, jax.Array]
    trunk: jax.Array


class Encoder(NamedTuple):
    """A network of x.

    Attributes:
      init: `key -> phi`.
      encode: `(phi, x [data_dim]) -> Encoded`.
    """

    init: Callable[[jax.Array], PyTree]
    encode: Callable[[PyTree, jax.Array], Encoded]


def gaussian_of(network: Encoder, latent_dim: int) -> Guide:
    """Makes q(z | x) = N(loc, diag(exp(log_scale))²) of a network with the heads `loc` and `log_scale`."""
    init, encode = network

    def distribution(phi: PyTree, x: jax.Array) -> "DiagonalGaussian":
        from vi_jax.guides.diagonal import DiagonalGaussian

        heads = encode(phi, x).heads
        return DiagonalGaussian(heads["loc"], heads["log_scale"])

    def from_noise(phi: PyTree, x: jax.Array, noise: jax.Array) -> jax.Array:
        heads = encode(phi, x).heads
        return heads["loc"] + jnp.exp(heads["log_scale"]) * check_noise(noise, latent_dim)

    return Guide(init, distribution, from_noise=from_noise)


def encoder(
    data_dim: int,
    dim: int,
    heads: Sequence[str],
    *,
    hidden: Sequence[int],
    activation: Callable[[jax.Array], jax.Array],
    mean: ArrayLike | None,
) -> Encoder:
    """Makes linear heads `[dim]` on an MLP of x − mean, after the checks of every encoder."""
    from vi_jax.guides.networks import Heads

    data_dim = checks.check_positive_int("data_dim", data_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    return encoder_of(Heads(widths, tuple(heads), dim, activation), data_dim, mean)


def encoder_of(network: Any, data_dim: int, mean: ArrayLike | None) -> Encoder:
    """Makes an encoder of a linen module `x − mean -> (heads, trunk)`."""
    centre = checks.check_mean(mean, data_dim)

    def init(key: jax.Array) -> PyTree:
        return network.init(key, jnp.zeros(data_dim))["params"]

    def encode(phi: PyTree, x: jax.Array) -> Encoded:
        dtype = jax.tree.leaves(phi)[0].dtype
        x = check_shape("x", x, (data_dim,)).astype(dtype) - jnp.asarray(centre, dtype)
        outputs: Any = network.apply({"params": phi}, x)
        return Encoded(*outputs)

    return Encoder(init, encode)
