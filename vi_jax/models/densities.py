"""Two targets that no Gaussian fits, with the best diagonal Gaussian of each in closed form.

Both are normalised densities over z alone, made by `target`: θ = (), x is ignored, log p(x) = 0, and a guide's ELBO is
−KL(q ‖ p). The best ELBO is therefore an exact answer for any optimizer and any gradient of it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.models.exact import ExactModel
from vi_jax.models.mixture import Density, target
from vi_jax.shapes import check_shape


class DiagonalOptimum(NamedTuple):
    """The diagonal Gaussian of the largest ELBO, that is of the smallest KL(q ‖ p).

    Attributes:
      loc: `[D]`, mean.
      scale: `[D]`, standard deviations.
      elbo: scalar, in nats.
    """

    loc: jax.Array
    scale: jax.Array
    elbo: jax.Array


def funnel(dim: int, *, scale: float = 3.0) -> ExactModel:
    """Makes Neal's funnel, z = (v, x_1, …, x_{D−1}): v ~ N(0, s²), x_i | v ~ N(0, e^v).

        log p(z) = log N(v; 0, s²) + Σ_i log N(x_i; 0, e^v)
        E z = 0,   Var v = s²,   Var x_i = e^{s²/2}

    Neal, "Slice sampling" (arXiv:physics/0009028), with D = 10 and s = 3. In float32 it overflows below v = −88.

    Args:
      dim: D ≥ 2.
      scale: s > 0, a standard deviation; a Python number.

    Returns:
      The exact model; z is `[D]`.

    Raises:
      TypeError, ValueError: D is not an integer ≥ 2, or s is not positive and finite. When called: z is not `[D]`.
    """
    dim, scale = _check_funnel(dim, scale)

    def log_prob(z: jax.Array) -> jax.Array:
        z = check_shape("z", z, (dim,))
        return _log_normal(z[0], 2 * math.log(scale)) + jnp.sum(_log_normal(z[1:], z[0]))

    def sample(*, seed: jax.Array) -> jax.Array:
        noise = jax.random.normal(seed, (dim,))
        v = scale * noise[0]
        return jnp.append(v, jnp.exp(v / 2) * noise[1:])

    def variance() -> jax.Array:
        return jnp.full(dim, math.exp(scale**2 / 2)).at[0].set(scale**2)

    density = Density(sample, log_prob, lambda: jnp.zeros(dim), variance)
    return target(lambda: density, (dim,))


def funnel_optimum(dim: int, *, scale: float = 3.0) -> DiagonalOptimum:
    """Returns the best diagonal Gaussian for the funnel, q = N(0, r²) Π_i N(0, t²).

        1/r² = 1/s² + (D − 1)/2,   t² = e^{−r²/2},   ELBO = −½ log(1 + s² (D − 1)/2)

    Given r, E_q[e^{−v}] = e^{r²/2} makes t² = e^{−r²/2} the best of its factors, and leaves
    ELBO(r) = ½ log(r²/s²) + ½ − r²/(2s²) − (D − 1) r²/4. For D = 10 and s = 3 the optimum is −1.862847.

    Args:
      dim: D ≥ 2.
      scale: s > 0.

    Raises:
      TypeError, ValueError: as `funnel`.
    """
    dim, scale = _check_funnel(dim, scale)
    excess = scale**2 * (dim - 1) / 2
    variance = scale**2 / (1 + excess)
    scales = jnp.full(dim, math.exp(-variance / 4)).at[0].set(math.sqrt(variance))
    return DiagonalOptimum(jnp.zeros(dim), scales, jnp.asarray(-math.log1p(excess) / 2, scales.dtype))


def banana(*, curvature: float = 0.1, scale: float = 10.0) -> ExactModel:
    """Makes the banana in the plane: z_1 ~ N(0, s²), z_2 | z_1 ~ N(b (z_1² − s²), 1).

        log p(z) = log N(z_1; 0, s²) + log N(z_2 − b (z_1² − s²); 0, 1)
        E z = 0,   Var z = (s², 1 + 2 b² s⁴)

    A Gaussian bent along a parabola, by a map of Jacobian 1. Haario, Saksman and Tamminen, "Adaptive proposal
    distribution for random walk Metropolis algorithm" (1999), with s² = 100 and b = −0.03 or, strongly bent, −0.1. The
    sign of b mirrors z_2. The coordinates are uncorrelated: the Gaussian of the same moments does not show the bend.

    Args:
      curvature: b, any finite Python number.
      scale: s > 0, a standard deviation; a Python number.

    Returns:
      The exact model; z is `[2]`.

    Raises:
      ValueError: b is not finite, or s is not positive and finite. When called: z is not `[2]`.
    """
    curvature, scale = _check_banana(curvature, scale)

    def ridge(z1: jax.Array) -> jax.Array:
        return curvature * (z1**2 - scale**2)

    def log_prob(z: jax.Array) -> jax.Array:
        z1, z2 = check_shape("z", z, (2,))
        return _log_normal(z1, 2 * math.log(scale)) + _log_normal(z2 - ridge(z1), 0.0)

    def sample(*, seed: jax.Array) -> jax.Array:
        noise = jax.random.normal(seed, (2,))
        z1 = scale * noise[0]
        return jnp.stack([z1, noise[1] + ridge(z1)])

    def variance() -> jax.Array:
        return jnp.array([scale**2, 1 + 2 * curvature**2 * scale**4])

    density = Density(sample, log_prob, lambda: jnp.zeros(2), variance)
    return target(lambda: density, (2,))


def banana_optimum(*, curvature: float = 0.1, scale: float = 10.0) -> DiagonalOptimum:
    """Returns the best diagonal Gaussian for the banana, q = N(0, r²) N(b (r² − s²), 1).

        ELBO(r) = ½ log(r²/s²) + ½ − r²/(2s²) − b² r⁴,   r² = 2 / (1/s² + √(1/s⁴ + 16 b²))

    from Var_q(b z_1²) = 2 b² r⁴, and the root of 4b² r⁴ + r²/s² = 1. b = 0 is the Gaussian itself, at ELBO = 0.

    Args:
      curvature: b.
      scale: s > 0.

    Raises:
      ValueError: as `banana`.
    """
    curvature, scale = _check_banana(curvature, scale)
    precision = scale**-2
    variance = 2 / (precision + math.hypot(precision, 4 * curvature))
    ratio = variance * precision
    elbo = (math.log(ratio) + 1 - ratio) / 2 - (curvature * variance) ** 2
    loc, scales = jnp.array([0.0, curvature * (variance - scale**2)]), jnp.array([math.sqrt(variance), 1.0])
    return DiagonalOptimum(loc, scales, jnp.asarray(elbo, scales.dtype))


def _log_normal(x: jax.Array, log_variance: jax.Array | float) -> jax.Array:
    return -(math.log(2 * math.pi) + log_variance + x**2 * jnp.exp(-log_variance)) / 2


def _check_funnel(dim: int, scale: float) -> tuple[int, float]:
    dim = checks.check_positive_int("dim", dim)
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}: a funnel has a neck and one coordinate or more.")
    return dim, _check_scale(scale)


def _check_banana(curvature: float, scale: float) -> tuple[float, float]:
    if not math.isfinite(curvature):
        raise ValueError(f"curvature must be finite, got {curvature}.")
    return curvature, _check_scale(scale)


def _check_scale(scale: float) -> float:
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}.")
    return scale
