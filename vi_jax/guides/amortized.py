"""q(z | x) whose parameters a network computes from x (flax linen)."""

from collections.abc import Callable, Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.guides.discrete import code_support
from vi_jax.shapes import check_noise, check_shape
from vi_jax.types import Guide, PyTree


class _Encoder(nn.Module):
    """Linear heads on one trunk: `x [data_dim] -> [latent_dim]` per head."""

    hidden: Sequence[int]
    heads: Sequence[str]
    latent_dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        dtype = jnp.result_type(float)
        weights = nn.initializers.glorot_uniform()
        for width in self.hidden:
            x = self.activation(nn.Dense(width, kernel_init=weights, param_dtype=dtype)(x))
        return [nn.Dense(self.latent_dim, kernel_init=weights, param_dtype=dtype, name=head)(x) for head in self.heads]


def gaussian_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
) -> Guide:
    """Makes q(z | x) = N(loc, diag(exp(log_scale))²) with (loc, log_scale) = MLP_φ(x), two linear heads on one trunk.

    Kingma and Welling (arXiv:1312.6114); Glorot-uniform weights and zero biases, as Burda et al. (arXiv:1509.00519).
    The network runs once per datum however many draws are taken. x enters as it is, not centred.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: D ≥ 1.
      hidden: widths of the hidden layers, from the data to the latent; empty for a linear encoder.
      activation: elementwise non-linearity.

    Returns:
      The guide; φ is the linen parameter tree. x is `[data_dim]`, floating, integer or boolean; z is `[D]`.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer. When called: x is not of shape `[data_dim]`.
    """
    init, encode = _encoder(data_dim, latent_dim, hidden, ("loc", "log_scale"), activation)

    def distribution(phi: PyTree, x: jax.Array) -> distrax.MultivariateNormalDiag:
        loc, log_scale = encode(phi, x)
        return distrax.MultivariateNormalDiag(loc, jnp.exp(log_scale))

    def from_noise(phi: PyTree, x: jax.Array, noise: jax.Array) -> jax.Array:
        loc, log_scale = encode(phi, x)
        return loc + jnp.exp(log_scale) * check_noise(noise, latent_dim)

    return Guide(init, distribution, from_noise=from_noise)


def bernoulli_encoder(
    data_dim: int,
    latent_dim: int,
    *,
    hidden: Sequence[int] = (100, 100),
    activation: Callable[[jax.Array], jax.Array] = nn.tanh,
) -> Guide:
    """Makes q(z | x) = Π_j Bernoulli(z_j; sigmoid(l_j)) with l = MLP_φ(x), for binary latents.

        log q(z | x) = Σ_j [z_j l_j − log(1 + e^{l_j})]

    Mnih and Gregor, "Neural Variational Inference and Learning in Belief Networks" (arXiv:1402.0030); initialised as
    `gaussian_encoder`. The bits are independent given x, so a posterior in which they explain each other away is out of
    reach. Draws have no derivative: use score-function or wake-φ gradients, or `guides.relaxed`.

    Args:
      data_dim: length of x, ≥ 1.
      latent_dim: d ≥ 1.
      hidden: widths of the hidden layers, from the data to the latent; empty for a logistic-linear encoder.
      activation: elementwise non-linearity.

    Returns:
      The guide; φ is the linen parameter tree. x is `[data_dim]`, floating, integer or boolean; z is `[d]` of 0 and 1,
      floating, `support` is that of `bernoulli`, and `reparameterized` is False.

    Raises:
      TypeError, ValueError: as `gaussian_encoder`.
    """
    init, encode = _encoder(data_dim, latent_dim, hidden, ("logits",), activation)

    def distribution(phi: PyTree, x: jax.Array) -> distrax.Independent:
        (logits,) = encode(phi, x)
        return distrax.Independent(distrax.Bernoulli(logits=logits, dtype=logits.dtype), 1)

    return Guide(init, distribution, reparameterized=False, support=code_support(latent_dim))


def _encoder(
    data_dim: int,
    latent_dim: int,
    hidden: Sequence[int],
    heads: Sequence[str],
    activation: Callable[[jax.Array], jax.Array],
) -> tuple[Callable[[jax.Array], PyTree], Callable[[PyTree, jax.Array], list[jax.Array]]]:
    """Returns `init: key -> phi` and `encode: (phi, x) -> [latent_dim] per head`, after the checks of every encoder."""
    data_dim = checks.check_positive_int("data_dim", data_dim)
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    encoder = _Encoder(widths, tuple(heads), latent_dim, activation)

    def init(key: jax.Array) -> PyTree:
        return encoder.init(key, jnp.zeros(data_dim))["params"]

    def encode(phi: PyTree, x: jax.Array) -> list[jax.Array]:
        x = check_shape("x", x, (data_dim,)).astype(phi[heads[0]]["bias"].dtype)
        return [jnp.asarray(output) for output in encoder.apply({"params": phi}, x)]

    return init, encode
