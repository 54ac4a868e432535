"""Mixtures of diagonal Gaussians, with draws whose derivative is whole: that of the weights too.

A draw picks a component at random, and a sampler differentiated as it stands loses how the pick depends on the weights.
Here z is differentiated by what it satisfies: F(z; φ), its conditional distribution functions, is uniform noise that
does not depend on φ, so that

    0 = ∂_φ F + ∂_z F ∂_φ z,   F_d = Σ_m r_md Φ((z_d − μ_md) / σ_md),   r_md ∝ π_m Π_{j<d} N(z_j; μ_mj, σ_mj²)

with ∂_z F lower triangular, and the conditional densities on its diagonal.

Graves, "Stochastic Backpropagation through Mixture Density Distributions" (arXiv:1607.05690); Figurnov, Mohamed and
Mnih, "Implicit Reparameterization Gradients" (arXiv:1805.08498).
"""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.guides.gaussian import check_positive
from vi_jax.types import Guide, PyTree

if TYPE_CHECKING:
    from vi_jax.guides.diagonal_mixture import DiagonalMixture


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

    def distribution(phi: GaussianMixture, x: PyTree) -> "DiagonalMixture":
        from vi_jax.guides.diagonal_mixture import DiagonalMixture

        del x
        return DiagonalMixture(jax.nn.log_softmax(phi.logits), phi.loc, jnp.exp(phi.log_scale))

    return Guide(init, distribution)
