"""Samplers whose draws of one datum depend on each other, each alone distributed as q: antithetic pairs, Sobol points.

    z_k = T(φ, x, ε_k),   ε_k ~ N(0, I) for each k, but not independently

The bound is still a function of φ at fixed noise, so its total derivative, `estimators.pathwise`, is unbiased for the
gradient of the expectation that these draws have. For the ELBO that is the same expectation as with independent draws,
usually with less noise, and `sticking_the_landing` keeps it too. Nothing else does: a score, a baseline or a second
reparameterization of draw k takes the others as given. Such pairs are refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from vi_jax import checks
from vi_jax.types import Guide

_BITS = 30
_LOG_DRAWS = 20
_MAX_DIM = 21_201


def antithetic(guide: Guide, dim: int) -> Guide:
    """Makes the guide draw in pairs that mirror each other: ε, −ε.

    Draws 2j and 2j + 1 are a pair; at odd K the last has no partner. What is odd in ε cancels from a mean over a pair:
    the ELBO's gradient in a mean of q has no variance left where log w is quadratic. Price: none.

    Kingma and Welling and many others use it in passing; Buchholz, Wenzel and Mandt, "Quasi-Monte Carlo Variational
    Inference" (arXiv:1807.01604), compare.

    Args:
      guide: with `from_noise` of standard normal noise, as the Gaussian ones and `gaussian_encoder`.
      dim: length D of its noise.

    Returns:
      The guide, for `pathwise` with any bound, and for `sticking_the_landing` with the ELBO.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer; the guide has no `from_noise`.
    """
    dim = checks.check_positive_int("dim", dim)

    def noise(key: jax.Array, indices: jax.Array) -> jax.Array:
        def one(k: jax.Array) -> jax.Array:
            sign = jnp.where(k % 2 == 0, 1.0, -1.0)
            return sign * jax.random.normal(jax.random.fold_in(key, k // 2), (dim,))

        return jax.vmap(one)(indices)

    return _with_noise("antithetic", guide, noise)


def quasi_monte_carlo(guide: Guide, dim: int, *, seed: int = 0) -> Guide:
    """Makes the guide draw the points of a scrambled Sobol sequence, shifted at random anew for every datum and key.

        ε_k = Φ⁻¹(u_k),   u_k = (sobol_k ⊕ shift) / 2³⁰,   shift uniform over all 30-bit integers in each coordinate

    Each u_k alone is uniform, so that means are unbiased; together they fill the cube evenly. For smooth integrands the
    variance of a mean over K = 2^m draws falls faster than 1/K, up to K⁻³. It pays at powers of two, and in few
    dimensions. The sequence is scrambled once, by SciPy and `seed` (a matrix for each coordinate); the digital shift,
    which makes it unbiased, is drawn from the datum's key. Price: 20 integer operations per coordinate and draw, fewer
    than the random bits that they replace.

    Owen, "Scrambled Net Variance for Integrals of Smooth Functions" (1997); Buchholz, Wenzel and Mandt, "Quasi-Monte
    Carlo Variational Inference" (arXiv:1807.01604).

    Args:
      guide: as for `antithetic`.
      dim: length D of its noise, at most 21,201.
      seed: of the scrambling, a Python integer.

    Returns:
      The guide, as `antithetic` makes it; up to 2²⁰ draws per datum, from which on they repeat.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer, or too large; the guide has no `from_noise`.
    """
    dim = checks.check_positive_int("dim", dim)
    if dim > _MAX_DIM:
        raise ValueError(f"dim must be at most {_MAX_DIM}, for which Sobol sequences are tabulated, got {dim}.")
    directions = _directions(dim, seed)

    def noise(key: jax.Array, indices: jax.Array) -> jax.Array:
        shift = jax.random.bits(key, (dim,), jnp.uint32) >> (32 - _BITS)
        return special.ndtri(_uniform(_sobol(directions, indices) ^ shift))

    return _with_noise("quasi_monte_carlo", guide, noise)


def _with_noise(name: str, guide: Guide, noise) -> Guide:
    if guide.from_noise is None:
        raise ValueError(
            f"{name} needs a guide whose draw is a known function of standard normal noise, and {guide.distribution!r} "
            "has none: give Guide(from_noise=...), (phi, x, noise) -> z."
        )
    return guide._replace(noise=noise)


def _directions(dim: int, seed: int) -> np.ndarray:
    """Returns the direction numbers of a scrambled sequence, `[20, D]`: point k is an XOR over the bits of Gray(k).

    Successive points differ by one direction number, the j-th where k has j trailing ones; so they are read off 20
    pairs of neighbours, with the scrambling's own shift cancelled.
    """
    from scipy.stats import qmc

    engine = qmc.Sobol(dim, scramble=True, bits=_BITS, rng=np.random.default_rng(seed))
    found, place = [], 0
    for j in range(_LOG_DRAWS):
        first = 2**j - 1
        if first < place:
            engine, place = engine.reset(), 0
        if first > place:
            engine.fast_forward(first - place)
        pair = np.rint(engine.random(2) * 2.0**_BITS).astype(np.uint32)
        found.append(pair[0] ^ pair[1])
        place = first + 2
    return np.stack(found)


def _sobol(directions: np.ndarray, indices: jax.Array) -> jax.Array:
    """Returns the points with these indices as 30-bit integers, `[C, D]`."""
    gray = indices.astype(jnp.uint32) ^ (indices.astype(jnp.uint32) >> 1)
    points = jnp.zeros((indices.size, directions.shape[1]), jnp.uint32)
    for j, direction in enumerate(directions):
        on = (gray >> j) & 1
        points = points ^ (on[:, None] * jnp.asarray(direction)[None])
    return points


def _uniform(points: jax.Array) -> jax.Array:
    """Returns the middle of each point's cell, strictly between 0 and 1 in the default float type."""
    digits = min(_BITS, jnp.finfo(jnp.result_type(float)).nmant)
    return ((points >> (_BITS - digits)).astype(float) + 0.5) / 2.0**digits
