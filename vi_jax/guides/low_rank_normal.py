"""The distribution of `guides.low_rank`."""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.scipy import linalg


class LowRankNormal(distrax.Distribution):
    """N(m, S² + U Uᵀ), S = diag(s) > 0, by Woodbury's identity and the determinant lemma.

        W = S⁻¹ U,  M = I + Wᵀ W,  y = S⁻¹ (z − m),  a = M⁻¹ Wᵀ y
        log q(z) = −½ (|y − W a|² + |a|² + log det M) − Σ_j log s_j − ½ D log 2π

    The quadratic form is the minimum over a of a sum of squares, and is computed as one: yᵀy − yᵀW M⁻¹ Wᵀy, which is
    the same, cancels in float32 where U is large. Distrax's own distribution of that name has U inside a square root of
    the covariance, of which this one is no member.
    """

    def __init__(self, loc: jax.Array, scale: jax.Array, factors: jax.Array):
        """Takes m `[D]`, s `[D]` and U `[D, R]`."""
        super().__init__()
        self._loc, self._scale, self._factors = loc, scale, factors

    @property
    def event_shape(self) -> tuple[int, ...]:
        """`(D,)`."""
        return self._loc.shape

    def forward(self, noise: jax.Array) -> jax.Array:
        """Returns the draw `[..., D]` that this standard normal noise `[..., D + R]` makes."""
        own, common = jnp.split(noise, [self._loc.size], axis=-1)
        return self._loc + self._scale * own + common @ self._factors.T

    def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
        return self.forward(jax.random.normal(key, (n, sum(self._factors.shape)), self._loc.dtype))

    def log_prob(self, value: Any) -> jax.Array:
        """Returns log q(z) `[...]` of z `[..., D]`, in nats."""
        whitened, cholesky = self._whitened_factors()
        y = (value - self._loc) / self._scale
        common = y @ linalg.cho_solve((cholesky, True), whitened.T).T
        squares = jnp.sum((y - common @ whitened.T) ** 2, axis=-1) + jnp.sum(common**2, axis=-1)
        return -(squares + self._log_det(cholesky) + self._loc.size * jnp.log(2 * jnp.pi)) / 2

    def entropy(self) -> jax.Array:
        """Returns ½ log det(2πe Σ), in nats."""
        return (self._log_det(self._whitened_factors()[1]) + self._loc.size * (1 + jnp.log(2 * jnp.pi))) / 2

    def mean(self) -> jax.Array:
        """Returns m."""
        return self._loc

    def covariance(self) -> jax.Array:
        """Returns S² + U Uᵀ, `[D, D]`."""
        return jnp.diag(self._scale**2) + self._factors @ self._factors.T

    def variance(self) -> jax.Array:
        """Returns its diagonal, `[D]`."""
        return self._scale**2 + jnp.sum(self._factors**2, axis=-1)

    def stddev(self) -> jax.Array:
        """Returns the standard deviations, `[D]`."""
        return jnp.sqrt(self.variance())

    def _whitened_factors(self) -> tuple[jax.Array, jax.Array]:
        whitened = self._factors / self._scale[:, None]
        rank = whitened.shape[1]
        return whitened, jnp.linalg.cholesky(jnp.eye(rank, dtype=whitened.dtype) + whitened.T @ whitened)

    def _log_det(self, cholesky: jax.Array) -> jax.Array:
        return 2 * (jnp.sum(jnp.log(jnp.diagonal(cholesky))) + jnp.sum(jnp.log(self._scale)))
