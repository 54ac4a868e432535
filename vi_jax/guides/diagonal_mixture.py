"""The distribution of `guides.gaussian_mixture`."""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.scipy import linalg, special, stats


class DiagonalMixture(distrax.Distribution):
    """Σ_m π_m N(z; μ_m, diag(σ_m)²); a draw carries the implicit derivative in all three parameters."""

    def __init__(self, log_weights: jax.Array, loc: jax.Array, scale: jax.Array):
        """Takes log π `[M]`, normalised, μ `[M, D]` and σ `[M, D]`."""
        super().__init__()
        self.log_weights, self._loc, self._scale = map(jnp.asarray, (log_weights, loc, scale))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """`(D,)`."""
        return self._loc.shape[1:]

    def sample_components(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw of each component, `[M, D]`, reparameterized as Gaussians are."""
        return self._loc + self._scale * jax.random.normal(seed, self._loc.shape, self._loc.dtype)

    def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
        pick_key, noise_key = jax.random.split(key)
        picks = jax.random.categorical(pick_key, self.log_weights, shape=(n,))
        noise = jax.random.normal(noise_key, (n, *self.event_shape), self._loc.dtype)
        z = self._loc[picks] + self._scale[picks] * noise
        return jax.vmap(self._with_implicit_derivative)(jax.lax.stop_gradient(z))

    def log_prob(self, value: Any) -> jax.Array:
        """Returns log q(z) `[...]` of z `[..., D]`, in nats."""
        of_each = stats.norm.logpdf(value[..., None, :], self._loc, self._scale)
        return special.logsumexp(self.log_weights + jnp.sum(of_each, axis=-1), axis=-1)

    def mean(self) -> jax.Array:
        """Returns Σ_m π_m μ_m, `[D]`."""
        return jnp.exp(self.log_weights) @ self._loc

    def covariance(self) -> jax.Array:
        """Returns Σ_m π_m (diag(σ_m)² + μ_m μ_mᵀ) − mean meanᵀ, `[D, D]`."""
        weights, centred = jnp.exp(self.log_weights), self._loc - self.mean()
        return jnp.diag(weights @ self._scale**2) + (weights[:, None] * centred).T @ centred

    def variance(self) -> jax.Array:
        """Returns the diagonal of the covariance, `[D]`."""
        return jnp.exp(self.log_weights) @ (self._scale**2 + (self._loc - self.mean()) ** 2)

    def stddev(self) -> jax.Array:
        """Returns the standard deviations, `[D]`."""
        return jnp.sqrt(self.variance())

    def _with_implicit_derivative(self, z: jax.Array) -> jax.Array:
        """Returns z `[D]`, held fixed so far, with ∂_φ z = −(∂_z F)⁻¹ ∂_φ F."""
        slope = jax.lax.stop_gradient(jax.jacfwd(self._conditional_probabilities)(z))
        level = self._conditional_probabilities(z)
        return z - linalg.solve_triangular(slope, level - jax.lax.stop_gradient(level), lower=True)

    def _conditional_probabilities(self, z: jax.Array) -> jax.Array:
        """Returns P(Z_d ≤ z_d | z_<d) `[D]`, less one above the median: small numbers stay exact in both tails."""
        u = (z - self._loc) / self._scale
        log_density = stats.norm.logpdf(u) - jnp.log(self._scale)
        before = jnp.cumsum(log_density, axis=1) - log_density
        given = jax.nn.softmax(self.log_weights[:, None] + before, axis=0)
        below, above = jnp.sum(given * special.ndtr(u), axis=0), jnp.sum(given * special.ndtr(-u), axis=0)
        return jnp.where(below < above, below, -above)
