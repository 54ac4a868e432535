"""What K-sample bounds are worth exactly, where the law of one weight w is known.

A bound sees nothing of a problem but its log-weights, so two problems with one law of w have the same bounds. A law is
given as atoms: exactly, where the latent is discrete, or as the nodes of a quadrature rule in one dimension.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from vi_jax import checks

# Below e^u = 1e-17 the integrand of E log x is below rounding. Over the 100 nats that a law may need, 2048 points are a
# step of 0.05, thirty times finer than the width π/2 of the strip in which the integrand is analytic.
_SMALLEST = 1e-17
_NUM_POINTS = 2048


class WeightLaw(NamedTuple):
    """The law of one log-weight under the guide.

    Attributes:
      log_w: `[G]` values of log w, nats.
      log_prob: `[G]` logarithms of their probabilities, which sum to one.
    """

    log_w: jax.Array
    log_prob: jax.Array


def lognormal_weights(scale: float) -> WeightLaw:
    """Returns the law log w ~ N(−s²/2, s²), so that E w = 1 and log p(x) = 0, on 1281 nodes.

    Args:
      scale: s > 0, the standard deviation of log w. Moments up to the second are right to 1e-9 for s ≤ 4.

    Raises:
      ValueError: `scale` is not positive and finite.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale!r}.")
    noise = np.linspace(-16, 16, 1281)
    return _law(scale * noise - scale**2 / 2, -(noise**2) / 2)


def linear_gaussian_weights(dim: int, *, variance: float = 2 / 3) -> WeightLaw:
    """Returns the law of log w − log p(x) for the linear-Gaussian toy at its optimum, on 2401 nodes.

        log w − log p(x) = (D/2) log(2s) − (s − ½) |ε|²,   ε ~ N(0, I),   |ε|² ~ χ²_D

    There q = N(m, sI) and p(z | x) = N(m, I/2) have one mean, so that the weight depends on the radius alone.
    Rainforth et al. 2018 (arXiv:1802.04537).

    Args:
      dim: D ≥ 1.
      variance: s, of the guide.

    Raises:
      TypeError, ValueError: `dim` is not a positive integer; `variance` is not finite, or not above ¼, where E w² is
        infinite and no list of nodes would tell.
    """
    dim = checks.check_positive_int("dim", dim)
    if not 0.25 < variance < math.inf:
        raise ValueError(f"variance must be finite and above 1/4, where E w² becomes infinite, got {variance!r}.")
    # In y = log |ε|² the density is proportional to exp(D y/2 − e^y/2): smooth, and dead at both ends.
    # The density times w² falls like exp(−(2s − ½) |ε|²), more slowly than the density itself where s < ½.
    log_square = np.linspace(-90 / dim - 5, math.log((2 * dim + 200) / min(1.0, 4 * variance - 1)), 2401)
    square = np.exp(log_square)
    return _law(dim / 2 * math.log(2 * variance) - (variance - 0.5) * square, dim / 2 * log_square - square / 2)


def expected_renyi(law: WeightLaw, num_samples: ArrayLike, *, alpha: float) -> jax.Array:
    """Returns E[(1/s) log (1/K) Σ_k w_k^s], s = 1 − α: every Rényi bound at every K, without a draw.

        E log (1/K) Σ_k w_k = ∫ [exp(−e^u) − φ(e^u/K)^K] du,   φ(t) = E e^{−t w}

    from log x = ∫ (e^{−t} − e^{−tx}) dt/t with t = e^u. α = 0 is IWAE_K; α = 1 the ELBO; α = −1 the K-sample CUBO₂,
    which is half the IWAE of squared weights. The integrand is analytic in a strip around the real line, so the
    trapezoid rule converges geometrically. Price: 2048 G exponentials per K. Use float64: float32 leaves three digits.

    Args:
      law: of one weight.
      num_samples: K, a number or an array of numbers at least 1.
      alpha: α, a finite Python number.

    Returns:
      Nats, of the shape of `num_samples`. Minus infinity where the weight may be zero: all K of them may.

    Raises:
      ValueError: `alpha` is not finite, or a concrete K is below 1.
    """
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, got {alpha!r}.")
    if not isinstance(num_samples, Tracer) and np.any(np.asarray(num_samples) < 1):
        raise ValueError(f"num_samples must be at least 1, got {num_samples!r}.")
    counts = jnp.asarray(num_samples, law.log_w.dtype)
    exponent = 1.0 - alpha
    if exponent == 0:
        return jnp.full(counts.shape, _expect(law, law.log_w))
    zero = jnp.any(jnp.isneginf(law.log_w) & (law.log_prob > -jnp.inf))
    powers = WeightLaw(exponent * jnp.where(zero, 0, law.log_w), law.log_prob)
    integrate = functools.partial(_expected_log_mean, powers)
    values = jax.lax.map(integrate, counts.ravel()).reshape(counts.shape) / exponent
    # All K weights may be zero, and of a negative power one suffices.
    return jnp.where(zero, -jnp.inf, values)


def log_moment(law: WeightLaw, order: float) -> jax.Array:
    """Returns log E w^n, in nats: log p(x) at n = 1, twice CUBO₂ at n = 2."""
    return jax.nn.logsumexp(order * law.log_w + law.log_prob)


def eubo_of_weights(law: WeightLaw) -> jax.Array:
    """Returns E[w log w] / E[w] = E_{p(z|x)}[log w] = log p(x) + KL(p(z | x) ‖ q), in nats."""
    tilted = law.log_prob + law.log_w
    return _expect(WeightLaw(law.log_w, tilted - jax.nn.logsumexp(tilted)), law.log_w)


def relative_variance(law: WeightLaw) -> jax.Array:
    """Returns Var(w) / (E w)², which is 2K (log p(x) − IWAE_K) for large K where it is small."""
    return jnp.expm1(log_moment(law, 2) - 2 * log_moment(law, 1))


def _expected_log_mean(law: WeightLaw, num_samples: jax.Array) -> jax.Array:
    # In units of E w: then exp(−e^u) and φ^K agree to first order at u → −∞, where each difference is below e^u.
    unit = log_moment(law, 1)
    log_w, eps = law.log_w - unit, jnp.finfo(law.log_w.dtype).eps
    possible = jnp.exp(law.log_prob) > 0
    smallest = jnp.min(jnp.where(possible, log_w, jnp.inf))
    never_zero = jnp.isfinite(smallest)
    low = math.log(_SMALLEST)
    high = jnp.log(num_samples) + 4 - jnp.where(never_zero, jnp.minimum(smallest, 0), 0)
    u = jnp.linspace(low, high, _NUM_POINTS)

    def integrand(u: jax.Array) -> jax.Array:
        t_w = jnp.exp(u - jnp.log(num_samples) + log_w)
        # log φ through expm1: φ is so near 1 for small t that its own logarithm would have no digits left.
        # Where φ has rounded to 0 its logarithm would have no derivative; eps^K there is below rounding.
        log_phi = jnp.log1p(jnp.maximum(jnp.sum(jnp.exp(law.log_prob) * jnp.expm1(-t_w)), eps - 1))
        return jnp.exp(-jnp.exp(u)) - jnp.exp(num_samples * log_phi)

    value = unit + jnp.trapezoid(jax.vmap(integrand)(u), dx=(high - low) / (_NUM_POINTS - 1))
    return jnp.where(never_zero, value, -jnp.inf)


def _expect(law: WeightLaw, values: jax.Array) -> jax.Array:
    probability = jnp.exp(law.log_prob)
    return jnp.sum(jnp.where(probability == 0, 0, probability * jnp.where(probability == 0, 0, values)))


def _law(log_w: np.ndarray, log_density: np.ndarray) -> WeightLaw:
    """Normalises a density on equally spaced nodes: there the trapezoid rule is a sum."""
    largest = log_density.max()
    log_prob = log_density - largest - math.log(np.exp(log_density - largest).sum())
    return WeightLaw(jnp.asarray(log_w, float), jnp.asarray(log_prob, float))
