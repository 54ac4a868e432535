"""Mixtures of diagonal Gaussians, with draws whose derivative is whole: that of the weights too.

A draw picks a component at random, and a sampler differentiated as it stands loses how the pick depends on the weights.
Here z is differentiated by what it satisfies: F(z; φ), its conditional distribution functions, is uniform noise that
does not depend on φ, so that

    0 = ∂_φ F + ∂_z F ∂_φ z,   F_d = Σ_m r_md Φ((z_d − μ_md) / σ_md),   r_md ∝ π_m Π_{j<d} N(z_j; μ_mj, σ_mj²)

with ∂_z F lower triangular, and the conditional densities on its diagonal.

Graves, "Stochastic Backpropagation through Mixture Density Distributions" (arXiv:1607.05690); Figurnov, Mohamed and
Mnih, "Implicit Reparameterization Gradients" (arXiv:1805.08498).
"""

from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
from jax.scipy import linalg, special, stats

from vi_jax import checks
from vi_jax.guides.gaussian import check_positive
from vi_jax.types import Guide, PyTree


class GaussianMixture(NamedTuple):
    """φ of `gaussian_mixture`.

    Attributes:
      logits: `[M]`; the weights are their softmax.
      loc: `[M, D]`.
      log_scale: `[M, D]`.
    """

    logits: jax.Array
    loc: jax.Array
    log_scale: jax.Array


def gaussian_mixture(
    dim: int, num_components: int, *, initial_spread: float = 1.0, initial_scale: float = 1.0
) -> Guide:
    """Makes q(z) = Σ_m π_m N(z; μ_m, diag(σ_m)²), the same for every x, with implicitly reparameterized draws.

    `init` draws the means from N(0, initial_spread² I): coincident components would have equal gradients for ever.
    Every estimator takes it. Components that stand apart make the derivative of a draw noisy: it moves between them
    through a valley where q is low, at the speed 1/q, so that the variance grows like e^{h²/2} for means 2h standard
    deviations apart. There take
    `objectives.stratified`, which picks no component. At a fixed key a draw jumps from component to component as φ
    moves: optimizers of fixed draws take `objectives.stratified` too. Price: O(M D) per draw and per density, and
    O(M D²) for the derivative of a draw, which the stratified objective does without.

    Args:
      dim: D ≥ 1.
      num_components: M ≥ 1.
      initial_spread: standard deviation of the means that `init` draws; about as wide as the modes are apart.
      initial_scale: standard deviation of every component.

    Returns:
      The guide; φ is `GaussianMixture`, z is `[D]`. There is no `from_noise`.

    Raises:
      TypeError, ValueError: a size is not a positive integer; a spread or scale is not positive and finite.
    """
    shape = (
        checks.check_positive_int("num_components", num_components),
        checks.check_positive_int("dim", dim),
    )
    spread = check_positive("initial_spread", initial_spread)
    scale = check_positive("initial_scale", initial_scale)

    def init(key: jax.Array) -> GaussianMixture:
        loc = spread * jax.random.normal(key, shape)
        return GaussianMixture(jnp.zeros(shape[0]), loc, jnp.full(shape, jnp.log(scale), float))

    def distribution(phi: GaussianMixture, x: PyTree) -> DiagonalMixture:
        del x
        return DiagonalMixture(jax.nn.log_softmax(phi.logits), phi.loc, jnp.exp(phi.log_scale))

    return Guide(init, distribution)


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
