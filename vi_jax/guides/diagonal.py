"""The diagonal Gaussian of the guides, by the logarithm of its scale."""

import math

import distrax
import jax
import jax.numpy as jnp


class DiagonalGaussian(distrax.MultivariateNormalDiag):
    """N(loc, diag(exp(log_scale))²), drawn and scored by the logarithm that the parameters hold.

        z = loc + e^{log_scale} ε
        log q(z) = −½ Σ_d ((z_d − loc_d) e^{−log_scale_d})² − Σ_d log_scale_d − ½ D log 2π

    The distribution it extends takes the logarithm of exp(log_scale) again and divides by the scale. Its draws from a
    key are the same, to rounding.
    """

    def __init__(self, loc: jax.Array, log_scale: jax.Array) -> None:
        """Takes loc and log_scale, each `[D]`, or `[..., D]` for a batch of them."""
        loc, log_scale = jnp.broadcast_arrays(jnp.asarray(loc), jnp.asarray(log_scale))
        super().__init__(loc, jnp.exp(log_scale))
        self._log_scale = log_scale

    def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
        # As one vector: with an axis for one draw in the middle of all arrays the gradient was slower (decision 0009).
        noise = jax.random.normal(key, (n * self._log_scale.size,), self._log_scale.dtype)
        if n == 1 and not self.batch_shape:
            return (jnp.asarray(self.loc) + jnp.exp(self._log_scale) * noise)[None]
        return jnp.asarray(self.loc) + jnp.exp(self._log_scale) * noise.reshape(n, *self._log_scale.shape)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Returns log q(value) in nats, `[...]` for a value `[..., D]`."""
        standard = (value - jnp.asarray(self.loc)) * jnp.exp(-self._log_scale)
        dim = self._log_scale.shape[-1]
        return -jnp.sum(standard**2, axis=-1) / 2 - jnp.sum(self._log_scale, axis=-1) - dim * math.log(2 * math.pi) / 2
