"""The delete-a-group jackknife with Student's t: an interval for any statistic of grouped moments."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Estimate(NamedTuple):
    """A number with its resolution: `low` and `high` are the ends of a 95 % interval."""

    value: jax.Array
    low: jax.Array
    high: jax.Array


def standard_error(whole: jax.Array, without: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the standard error of a statistic s that is known with each group of draws left out.

        √( (1/G) Σ_g (n/n_g − 1) (s_(g) − s)² )

    For a mean, s_(g) − s has variance σ² n_g / (n (n − n_g)), so each term alone is right on average, whatever the
    sizes of the groups. For groups of equal size this is the textbook √((G − 1)/G Σ_g (s_(g) − s)²).

    Args:
      whole: s of all draws, a scalar.
      without: `[G]`, s with each group left out.
      count: `[G]`, n_g, all positive.

    Returns:
      A scalar; infinite where some s_(g) is not finite, so that the draws do not say how far s could move.

    Raises:
      ValueError: for fewer than two groups.
    """
    _degrees(without)
    squared = jnp.mean((count.sum() / count - 1.0) * (without - whole) ** 2)
    return jnp.where(jnp.isfinite(without).all(), jnp.sqrt(squared), jnp.inf)


def quantile(count: jax.Array) -> float:
    """Returns t, the number of standard errors on either side of a 95 % interval from G groups, for counts `[G]`."""
    return student_t_quantile(0.975, _degrees(count))


def _degrees(groups: jax.Array) -> int:
    if groups.shape[0] < 2:
        raise ValueError(f"an interval needs two groups of replicates, got {groups.shape[0]}: take num_groups=20.")
    return groups.shape[0] - 1


@functools.cache
def student_t_quantile(probability: float, degrees: int) -> float:
    """Returns the quantile of Student's t law, for ½ ≤ probability < 1 and a whole number of degrees of freedom.

    By bisection of the distribution function, a finite sum where the degrees are whole: with tan ϑ = t/√ν,

        P(|T| ≤ t) = sin ϑ (1 + ½ cos²ϑ + (1·3)/(2·4) cos⁴ϑ + … up to cos^{ν−2})                 ν even
        P(|T| ≤ t) = (2/π) (ϑ + sin ϑ (cos ϑ + ⅔ cos³ϑ + (2·4)/(3·5) cos⁵ϑ + … up to cos^{ν−2}))   ν odd

    Abramowitz and Stegun, "Handbook of Mathematical Functions", section 26.7. Costs O(ν) per bisection, once.
    """
    target = 2.0 * probability - 1.0
    low, high = 0.0, math.pi / 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _central_probability(middle, degrees) < target else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(angle: float, degrees: int) -> float:
    odd = degrees % 2
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total
