"""The exact law of an importance-sampling estimate over finitely many z: what Monte Carlo is compared with.

With v = w/p(x) and S = (1/K) Σ_k v_k = p̂/p(x), E v = E S = 1. An atom of the law of v is given by its logarithm and
the logarithm of its probability under the proposal, `log_v` and `log_q`, each `[C]`.

Mean and variance of log S follow from the Laplace transform of v. For a standard exponential E₁, independent of S,

    P(log E₁ − log S > u) = P(E₁ > e^u S) = E exp(−e^u S) = φ(e^u/K)^K =: G(u),   φ(t) = E e^{−tv}

so that the mean and the variance of log E₁ − log S are integrals of G, and those of log E₁, −γ and π²/6, are known.
"""

import math

import numpy as np

CARRIED = 0.99
GRID_STEP = 0.05
"""Of u in the integrals: their integrands are analytic in a strip, and the trapezoid rule is exact to rounding here."""


def ratio_moments(log_v: np.ndarray, log_q: np.ndarray, num_samples: int) -> tuple[float, float]:
    """Returns the second and the fourth central moment of S.

        E (S − 1)² = μ₂/K,   E (S − 1)⁴ = (μ₄ − 3 μ₂²)/K³ + 3 μ₂²/K²,   μ_n = E (v − 1)^n

    Of what is not Gaussian in a mean only the fourth cumulant is left, and falls like K⁻³.

    Args:
      log_v: `[C]` values of log v.
      log_q: `[C]` their log-probabilities.
      num_samples: K.
    """
    second, fourth = (float(np.sum(np.exp(log_q) * np.expm1(log_v) ** n)) for n in (2, 4))
    return second / num_samples, (fourth - 3 * second**2) / num_samples**3 + 3 * second**2 / num_samples**2


def log_moments(log_v: np.ndarray, log_q: np.ndarray, num_samples: int) -> tuple[float, float]:
    """Returns the mean, in nats, and the variance of log S.

        E log S = ∫ (R − G) du,   E (log E₁ − log S)² = γ² + π²/6 + ∫ 2u (G − R) du

    with R(u) = P(log E₁ > u) = exp(−e^u), which takes the place of the step that the two survival functions share.

    Args:
      log_v: `[C]` values of log v.
      log_q: `[C]` their log-probabilities.
      num_samples: K.
    """
    u = np.arange(-25, math.log(num_samples) + 4 - min(log_v.min(), 0), GRID_STEP)
    with np.errstate(divide="ignore", over="ignore"):
        # log φ through expm1: φ is so near 1 for small t that its own logarithm would have no digits left.
        shortfall = [np.sum(np.exp(log_q) * np.expm1(-np.exp(t + log_v))) for t in u - math.log(num_samples)]
        log_phi = np.log1p(np.maximum(shortfall, -1))
    difference = np.exp(num_samples * log_phi) - np.exp(-np.exp(np.minimum(u, 700)))
    mean = -GRID_STEP * np.sum(difference)
    square = np.euler_gamma**2 + math.pi**2 / 6 + GRID_STEP * np.sum(2 * u * difference)
    return mean, square - (np.euler_gamma + mean) ** 2 - math.pi**2 / 6


def share_of_draws(log_w: np.ndarray) -> np.ndarray:
    """Returns the smallest share of K draws `[..., K]` that carries 99 % of their sum, the last one counted in part."""
    weights = -np.sort(-normalized(log_w), axis=-1)
    before = np.cumsum(weights, axis=-1) - weights
    with np.errstate(divide="ignore", invalid="ignore"):
        taken = np.clip((CARRIED - before) / weights, 0, 1)
    return np.mean(np.where(before < CARRIED, taken, 0), axis=-1)


def normalized(log_w: np.ndarray) -> np.ndarray:
    """Returns the weights, divided by their sum over the last axis."""
    weights = np.exp(log_w - np.max(log_w, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True)


def share_in_the_limit(log_v: np.ndarray, log_q: np.ndarray) -> float:
    """Returns what `share_of_draws` tends to for K → ∞: the least q-mass of values that carries 99 % of p(x)."""
    order = np.argsort(-log_v)
    posterior, q = np.exp(log_v + log_q)[order], np.exp(log_q)[order]
    before = np.cumsum(posterior) - posterior
    return float(np.sum(q * np.clip((CARRIED - before) / posterior, 0, 1)))
