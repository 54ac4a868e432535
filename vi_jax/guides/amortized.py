"""q(z | x) whose parameters a network computes from x (flax linen)."""

from collections.abc import Callable, Sequence

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.shapes import check_shape
from vi_jax.types import Guide, PyTree


class _Encoder(nn.Module):
    hidden: Sequence[int]
    latent_dim: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        dtype = jnp.result_type(float)
        weights = nn.initializers.glorot_uniform()
        for width in self.hidden:
            x = self.activation(nn.Dense(width, kernel_init=weights, param_dtype=dtype)(x))
        loc = nn.Dense(self.latent_dim, kernel_init=weights, param_dtype=dtype, name="loc")(x)
        log_scale = nn.Dense(self.latent_dim, kernel_init=weights, param_dtype=dtype, name="log_scale")(x)
        return loc, log_scale


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
    data_dim = checks.check_positive_int("data_dim", data_dim)
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    widths = tuple(checks.check_positive_int("hidden", width) for width in hidden)
    encoder = _Encoder(widths, latent_dim, activation)

    def init(key: jax.Array) -> PyTree:
        return encoder.init(key, jnp.zeros(data_dim))["params"]

    def distribution(phi: PyTree, x: jax.Array) -> distrax.MultivariateNormalDiag:
        x = check_shape("x", x, (data_dim,)).astype(phi["loc"]["bias"].dtype)
        loc, log_scale = encoder.apply({"params": phi}, x)
        return distrax.MultivariateNormalDiag(loc, jnp.exp(jnp.asarray(log_scale)))

    return Guide(init, distribution)
