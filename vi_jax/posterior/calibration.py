"""Simulation-based calibration of a guide (VSBC): do its marginals hold the truth as often as they say?

    (z*, x) ~ p(z) p(x | z),   q fitted to x,   p_j = Pr_q(z_j < z*_j)

With q the posterior, each p_j is uniform on (0, 1). A biased mean makes its law asymmetric; a wrong spread alone keeps
it symmetric, ∪-shaped where q is too narrow, ∩-shaped where it is too wide.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vi_jax import checks
from vi_jax.log_weights import draw_from, sources
from vi_jax.types import Guide, Model, PyTree

# Terms of the two alternating series below; they fall off like exp(−k²).
_TERMS = 100


class Calibration(NamedTuple):
    """What M simulated data sets say about the marginals of a guide.

    Attributes:
      probabilities: `[M, D]`, p_j of each data set.
      symmetry_p_value: `[D]`, of the hypothesis that p_j and 1 − p_j have one law. Small: the mean is biased.
      uniformity_p_value: `[D]`, of the hypothesis that p_j is uniform. Small: mean or spread is wrong.
      bias: `[D]`, mean of p_j − ½: positive where the guide lies below the truth.
      spread: `[D]`, 12 times the mean of (p_j − ½)²: 1 for a calibrated guide, above where it is too narrow, below
        where it is too wide.
    """

    probabilities: jax.Array
    symmetry_p_value: jax.Array
    uniformity_p_value: jax.Array
    bias: jax.Array
    spread: jax.Array


def simulation_based_calibration(
    key: jax.Array,
    model: Model,
    guide: Guide,
    theta: PyTree,
    fit: Callable[[jax.Array, PyTree], PyTree],
    *,
    num_data_sets: int,
    num_draws: int = 256,
) -> Calibration:
    """Simulates M data sets, fits the guide to each, and asks where the true latent lies in each marginal.

        p_j = (#{s: z_j^s < z*_j} + U) / (S + 1),   z^s ~ q,   U ~ U(0, 1)

    exactly uniform for S exact draws. Price: M fits, mapped as one program, and M S draws held at once. What it cannot
    see: a coordinate's dependence on others, and the posterior of the data at hand, for it averages over the prior. A
    fit that is no pure function of arrays goes through a loop of its own, and `calibration` takes its probabilities.

    Yao, Vehtari, Simpson and Gelman, "Yes, but Did It Work?: Evaluating Variational Inference" (arXiv:1802.02538),
    algorithm 2; Talts et al., "Validating Bayesian Inference Algorithms with Simulation-Based Calibration"
    (arXiv:1804.06788).

    Args:
      key: a typed key, consumed.
      model: with `sample: (key, theta) -> (x, z)`.
      guide: over the z that the model samples.
      theta: θ, at which data are simulated.
      fit: `(key, x) -> phi`, the guide fitted to one data set, pure; x has a leading batch axis, B = 1.
      num_data_sets: M ≥ 1; with fewer than 50, only gross faults are seen.
      num_draws: S ≥ 1 draws of each fitted guide.

    Raises:
      TypeError, ValueError: a bad key or number; the model cannot simulate.
    """
    checks.check_key(key)
    number = checks.check_positive_int("num_data_sets", num_data_sets)
    num_draws = checks.check_positive_int("num_draws", num_draws)
    if model.sample is None:
        raise ValueError("calibration simulates data, and this model has no sample: give Model(sample=...).")
    one = functools.partial(_probabilities, model, guide, fit, num_draws, theta)
    return calibration(jax.jit(jax.vmap(one))(jax.random.split(key, number)))


def calibration(probabilities: jax.Array) -> Calibration:
    """Tests the symmetry and the uniformity of M values of Pr_q(z_j < z*_j) for each coordinate.

        symmetry:    T = √M sup_{t ≤ ½} |F_M(t) + F_M(1 − t) − 1| ~ sup_{u ≤ 1} |W(u)|, W Brownian motion
        uniformity:  D = √M sup |F_M(t) − t| ~ sup |B(t)|, B Brownian bridge (Kolmogorov)

    T is the two-sample Kolmogorov–Smirnov statistic of p and 1 − p, as in the paper. Those two samples are one, so the
    two-sample law, which takes them for independent, would reject a calibrated guide more often than it says; the
    law used here is the right one for large M (Butler, "A Test for Symmetry Using the Sample Distribution Function",
    1969).

    Args:
      probabilities: `[M, D]`, each between 0 and 1. NaN makes that coordinate's answers NaN.

    Raises:
      ValueError: they are not `[M, D]`, or lie outside of 0 and 1.
    """
    if probabilities.ndim != 2 or bool(jnp.any((probabilities < 0) | (probabilities > 1))):
        raise ValueError(
            f"probabilities must be [M, D], each between 0 and 1, got shape {probabilities.shape} and values from "
            f"{jnp.min(probabilities)} to {jnp.max(probabilities)}."
        )
    offset = probabilities - 0.5
    return Calibration(
        probabilities,
        jax.vmap(_symmetry_p_value, in_axes=1)(probabilities),
        jax.vmap(_uniformity_p_value, in_axes=1)(probabilities),
        jnp.mean(offset, axis=0),
        12 * jnp.mean(offset**2, axis=0),
    )


def _probabilities(
    model: Model,
    guide: Guide,
    fit: Callable[[jax.Array, PyTree], PyTree],
    num_draws: int,
    theta: PyTree,
    key: jax.Array,
) -> jax.Array:
    data_key, fit_key, draw_key, tie_key = jax.random.split(key, 4)
    assert model.sample is not None, "checked before the map"
    x, truth = model.sample(data_key, theta)
    phi = fit(fit_key, jax.tree.map(lambda leaf: leaf[None], x))
    draw = functools.partial(draw_from, guide, guide.distribution(phi, x), phi, x)
    draws = jax.vmap(lambda source: ravel_pytree(draw(source))[0])(sources(guide, draw_key, jnp.arange(num_draws)))
    true = ravel_pytree(truth)[0]
    if draws.shape[1:] != true.shape:
        raise ValueError(f"the model samples a latent of {true.size} numbers, the guide one of {draws.shape[1]}.")
    below = jnp.sum(draws < true, axis=0)
    unknown = jnp.any(jnp.isnan(draws), axis=0) | jnp.isnan(true)
    p = (below + jax.random.uniform(tie_key, true.shape)) / (num_draws + 1)
    return jnp.where(unknown, jnp.nan, p)


def _symmetry_p_value(p: jax.Array) -> jax.Array:
    """P(sup |W| > T) = 1 − (4/π) Σ_k (−1)^k / (2k + 1) exp(−(2k + 1)² π² / (8 T²))."""
    # |F(t) + F(1 − t) − 1| counts signs of p − ½ beyond a distance: a walk, ordered from the largest distance down.
    offset = p - 0.5
    walk = jnp.cumsum(jnp.sign(offset)[jnp.argsort(-jnp.abs(offset))])
    statistic = jnp.max(jnp.abs(walk)) / math.sqrt(p.shape[0])
    odd = 2 * jnp.arange(_TERMS) + 1
    terms = (1 - 2 * (jnp.arange(_TERMS) % 2)) / odd * jnp.exp(-((odd * math.pi / statistic) ** 2) / 8)
    return _unless_nan(p, jnp.clip(1 - 4 / math.pi * jnp.sum(terms), 0, 1))


def _uniformity_p_value(p: jax.Array) -> jax.Array:
    """P(sup |B| > λ) = 2 Σ_k (−1)^{k − 1} exp(−2 k² λ²), λ = D (√M + 0.12 + 0.11/√M) (Stephens 1970)."""
    size = p.shape[0]
    ordered, places = jnp.sort(p), jnp.arange(size)
    distance = jnp.max(jnp.maximum((places + 1) / size - ordered, ordered - places / size))
    scaled = distance * (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size))
    k = jnp.arange(1, _TERMS + 1)
    terms = (2 * (k % 2) - 1) * jnp.exp(-2 * (k * scaled) ** 2)
    # Below 0.2 the series converges slowly, and the p-value is 1 to ten digits.
    return _unless_nan(p, jnp.where(scaled < 0.2, 1.0, jnp.clip(2 * jnp.sum(terms), 0, 1)))


def _unless_nan(p: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.where(jnp.any(jnp.isnan(p)), jnp.nan, value)
