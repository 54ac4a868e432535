"""Any guide over [D] in other coordinates: shifted and scaled by what is already known of the posterior."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy import linalg
from jax.typing import ArrayLike

from vi_jax.guides.gaussian import check_gaussian
from vi_jax.shapes import check_shape
from vi_jax.types import Guide, PyTree


def preconditioned(guide: Guide, loc: ArrayLike, scale_tril: ArrayLike) -> Guide:
    """Makes the law of z = loc + L u, u ~ `guide`: a fixed affine change of coordinates around what is learnt.

        log q(z) = log q_u(L⁻¹ (z − loc)) − Σ_j log L_jj

    With (loc, L) of a Laplace or Pathfinder approximation, u is near N(0, I) whatever the scales and correlations of
    the posterior: a guide that starts there starts near the answer, and one step size suits all its coordinates.
    Price: O(D²) per draw and per density; no parameter.

    Args:
      guide: over z `[D]`.
      loc: `[D]`, a constant of the compiled program.
      scale_tril: L `[D, D]`, lower triangular with a positive diagonal, as `jnp.linalg.cholesky` returns.

    Returns:
      The guide; φ, noise and whether draws have a derivative are those of `guide`.

    Raises:
      ValueError: a shape is wrong, a number is not finite, L is not lower triangular with a positive diagonal, or the
        guide has a finite `support`. When called: z is not `[D]`.
    """
    check_gaussian(loc, scale_tril)
    if guide.support is not None:
        raise ValueError(
            f"preconditioned moves draws in [D], and {guide.distribution!r} draws from a finite support: take a guide "
            "over the reals, as guides.mean_field."
        )

    def distribution(phi: PyTree, x: PyTree) -> Moved:
        # Made where they are used, so that they follow the precision of the caller.
        return Moved(guide.distribution(phi, x), jnp.asarray(loc, float), jnp.asarray(scale_tril, float))

    def from_noise(phi: PyTree, x: PyTree, noise: PyTree) -> jax.Array:
        assert guide.from_noise is not None
        return distribution(phi, x).forward(guide.from_noise(phi, x, noise))

    return guide._replace(distribution=distribution, from_noise=guide.from_noise and from_noise)


class Moved(NamedTuple):
    """The law of z = loc + L u.

    Attributes:
      inner: distribution of u, with `sample` and `log_prob`.
      loc: `[D]`.
      scale_tril: L `[D, D]`.
    """

    inner: Any
    loc: jax.Array
    scale_tril: jax.Array

    def sample(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw, with the derivative that u has."""
        return self.forward(self.inner.sample(seed=seed))

    def forward(self, u: jax.Array) -> jax.Array:
        """Returns loc + L u, of u `[..., D]`."""
        return self.loc + u @ self.scale_tril.T

    @property
    def log_weights(self) -> jax.Array:
        """Those of u, `[M]`, where it is a mixture."""
        return self.inner.log_weights

    def sample_components(self, *, seed: jax.Array) -> jax.Array:
        """Returns one draw of each component, `[M, D]`, where u is a mixture."""
        return self.forward(self.inner.sample_components(seed=seed))

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Returns log q(z), scalar, in nats."""
        u = linalg.solve_triangular(self.scale_tril, check_shape("z", z, self.loc.shape) - self.loc, lower=True)
        return self.inner.log_prob(u) - jnp.sum(jnp.log(jnp.diagonal(self.scale_tril)))
