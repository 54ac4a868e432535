"""A Gaussian from the curvature at one point, and what is done where that is no Gaussian."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.training.ascent import LogDensity


class Gaussian(NamedTuple):
    """N(loc, L Lᵀ).

    Attributes:
      loc: `[..., D]`.
      scale_tril: L, `[..., D, D]`, lower triangular with a positive diagonal.
    """

    loc: jax.Array
    scale_tril: jax.Array


class Laplace(NamedTuple):
    """The Gaussian of the curvature at a point.

    Attributes:
      gaussian: N(z*, L Lᵀ).
      num_repaired: how many of the D curvatures were not positive, and were replaced: 0 at a proper mode.
    """

    gaussian: Gaussian
    num_repaired: jax.Array


def laplace(log_density: LogDensity, mode: jax.Array) -> Laplace:
    """Returns N(z*, (−∇²log p(z*))⁻¹), repaired where the curvature is not positive definite.

        −∇²log p(z*) = V diag(λ) Vᵀ,   L Lᵀ = V diag(1/λ̃) Vᵀ,   λ̃ = max(|λ|, D ε max |λ|)

    ε is the rounding of the float type: a smaller eigenvalue is noise. Each λ below that limit, the negative ones
    among them, counts as repaired: z* is then no isolated maximum, and the Gaussian a place to start from but no
    approximation. A Hessian that is not finite gives NaN. Price: D gradients and O(D³).

    Tierney and Kadane, "Accurate approximations for posterior moments and marginal densities" (1986).

    Args:
      log_density: z `[D]` -> scalar nats.
      mode: z*, `[D]`.

    Raises:
      ValueError: `mode` is not one vector.
    """
    mode = jnp.asarray(mode, float)
    if mode.ndim != 1:
        raise ValueError(f"mode must be one point [D], got shape {mode.shape}: map over several with jax.vmap.")
    curvature, axes = jnp.linalg.eigh(-jax.hessian(log_density)(mode))
    size = jnp.abs(curvature)
    least = mode.size * jnp.finfo(mode.dtype).eps * jnp.max(size)
    root = axes / jnp.sqrt(jnp.maximum(size, least))
    return Laplace(Gaussian(mode, lower_factor(root)), jnp.sum(curvature < least, dtype=jnp.int32))


def lower_factor(root: jax.Array) -> jax.Array:
    """Returns the lower triangular L with positive diagonal and L Lᵀ = A Aᵀ, by QR: no square is ever formed."""
    upper = jnp.linalg.qr(root.T, mode="r")
    return (upper * jnp.sign(jnp.diagonal(upper))[:, None]).T
