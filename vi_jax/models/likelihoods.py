"""What a decoder may say of its pixels: log p(x | z) as a function of the outputs of a network.

Pixels are independent given z, so that a hidden one drops out (`models.observe`):

    log p_θ(x | z) = Σ_i log p(x_i | outputs_i),   outputs = NET_θ(z)

Every likelihood here is a function that returns a `Likelihood`, the argument of `models.decoder`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.bernoulli import bernoulli_log_prob, mean_logit
from vi_jax.models.levels import Binomial as Binomial
from vi_jax.models.levels import DiscretizedLogistic, binomial_log_prob, discretized_logistic_log_prob

Outputs = dict[str, jax.Array]

# The logistic starts a quarter of the range wide: no level is then so improbable that its gradient dominates.
_INITIAL_LOG_SCALE = math.log(0.25)


class Likelihood(NamedTuple):
    """p(x | z) of independent pixels, given what a network makes of z.

    Attributes:
      bias: `(mean [data_dim] or None, data_dim) -> {head: [data_dim]}`, the linear heads that the network needs, each
        with its initial bias: at weights of zero the pixels have that mean.
      shared: `{name: initial value}`, numbers learned beside the network, each one for all pixels.
      distribution: `outputs -> distribution` of x `[data_dim]`; it has `sample`, `log_prob` and `mean`. `outputs` holds
        `[data_dim]` by the name of each head and a scalar by that of each shared number.
      log_prob: `(outputs, x [data_dim]) -> [data_dim]` nats, pixel by pixel.
    """

    bias: Callable[[ArrayLike | None, int], dict[str, np.ndarray]]
    shared: dict[str, float]
    distribution: Callable[[Outputs], Any]
    log_prob: Callable[[Outputs, jax.Array], jax.Array]


def bernoulli() -> Likelihood:
    """Makes x_i ~ Bernoulli(sigmoid(logits_i)): log p(x_i) = x_i l_i − log(1 + e^{l_i}).

    x is 0 or 1; a value strictly between gives the expected log-probability of a binarized pixel, not a density. The
    bias is logit(mean), the mean in [0, 1] and clipped to [0.001, 0.999]; see `models.bernoulli_log_prob`.
    """

    def distribution(outputs: Outputs) -> distrax.Independent:
        logits = outputs["logits"]
        return distrax.Independent(distrax.Bernoulli(logits=logits, dtype=logits.dtype), 1)

    return Likelihood(
        bias=lambda mean, data_dim: {"logits": mean_logit(mean, data_dim)},
        shared={},
        distribution=distribution,
        log_prob=lambda outputs, x: bernoulli_log_prob(outputs["logits"], x),
    )


def binomial(total: int) -> Likelihood:
    """Makes x_i ~ Binomial(n, sigmoid(logits_i)): log p(x_i) = log C(n, x_i) + x_i l_i − n log(1 + e^{l_i}).

    For grey levels that are counts: scikit-learn's digits count the ink in 4×4 cells, 0 … 16, n = 16.

    Args:
      total: n ≥ 1.

    Returns:
      The likelihood. x counts from 0 to n; any other value has probability zero, and so log p = −∞: data that were
      scaled to [0, 1] show. The mean is in [0, n], its bias logit(mean/n) clipped as `bernoulli`'s.

    Raises:
      TypeError, ValueError: `total` is not a positive integer.
    """
    total = checks.check_positive_int("total", total)

    def bias(mean: ArrayLike | None, data_dim: int) -> dict[str, np.ndarray]:
        fraction = None if mean is None else _check_mean(mean, data_dim, 0.0, total) / total
        return {"logits": mean_logit(fraction, data_dim)}

    return Likelihood(
        bias=bias,
        shared={},
        distribution=lambda outputs: Binomial(outputs["logits"], total),
        log_prob=lambda outputs, x: binomial_log_prob(outputs["logits"], x, total),
    )


def gaussian() -> Likelihood:
    """Makes x_i ~ N(loc_i, exp(log_noise)), with ONE learned noise variance for all pixels.

        log p(x_i) = −(x_i − loc_i)² / (2 s²) − ½ log(2π s²),   s² = exp(log_noise)

    On a linear network (`decoder(…, hidden=())`) the model is probabilistic PCA. Its evidence is that of `models.ppca`
    at FactorAnalysis(mean=θ["loc"]["bias"], loadings=θ["loc"]["kernel"].T, log_noise=θ["log_noise"]), and a linear
    encoder loses nothing at the optimum: Lucas et al., "Don't Blame the ELBO!" (arXiv:1911.02469). The noise starts
    at 1, loc at the mean of the data, any finite numbers.
    """
    return Likelihood(
        bias=lambda mean, data_dim: {"loc": _real_mean(mean, data_dim)},
        shared={"log_noise": 0.0},
        distribution=lambda outputs: _normal(outputs["loc"], outputs["log_noise"] / 2),
        log_prob=lambda outputs, x: _normal_log_prob(x, outputs["loc"], outputs["log_noise"] / 2),
    )


def gaussian_per_pixel() -> Likelihood:
    """Makes x_i ~ N(loc_i, exp(log_scale_i)²), mean and scale of every pixel from the network.

    Kingma and Welling (arXiv:1312.6114), their Gaussian decoder. The density has no upper bound: on a pixel that the
    network can predict exactly, a constant one first of all, the scale falls without end. Leave such pixels out, or
    take `gaussian`.
    """
    return Likelihood(
        bias=lambda mean, data_dim: {"loc": _real_mean(mean, data_dim), "log_scale": np.zeros(data_dim)},
        shared={},
        distribution=lambda outputs: _normal(outputs["loc"], outputs["log_scale"]),
        log_prob=lambda outputs, x: _normal_log_prob(x, outputs["loc"], outputs["log_scale"]),
    )


def gaussian_fixed(scale: float) -> Likelihood:
    """Makes x_i ~ N(loc_i, scale²), the scale given: squared error with a weight, and 1/scale² the weight.

    Args:
      scale: standard deviation, positive and finite, a constant of the program.

    Raises:
      ValueError: `scale` is not positive and finite.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}: pass a standard deviation, as 0.1.")
    log_scale = math.log(scale)
    return Likelihood(
        bias=lambda mean, data_dim: {"loc": _real_mean(mean, data_dim)},
        shared={},
        distribution=lambda outputs: _normal(outputs["loc"], jnp.asarray(log_scale, outputs["loc"].dtype)),
        log_prob=lambda outputs, x: _normal_log_prob(x, outputs["loc"], log_scale),
    )


def discretized_logistic(num_levels: int = 256) -> Likelihood:
    """Makes each pixel one of `num_levels` grey levels: a logistic law of the intensity, cut into as many cells.

        P(x_i) = σ((x_i + ½ − m_i) / s_i) − σ((x_i − ½ − m_i) / s_i),   m = (L − 1) loc,   s = (L − 1) exp(log_scale)

    The lowest cell reaches to −∞ and the highest to +∞, so that the levels have probability one. Salimans et al.,
    "PixelCNN++" (arXiv:1701.05517), with one component; in place of their approximation in the tails, and of their
    floor under the scale, the difference is computed by an identity that holds everywhere.

    Args:
      num_levels: L ≥ 2.

    Returns:
      The likelihood. x is the level itself, 0 … L − 1; any other value has probability zero, and so log p = −∞: data
      that were scaled to [0, 1] show. The mean is in levels too; loc starts at mean / (L − 1), the middle of the range
      without a mean, and the scale at a quarter of the range.

    Raises:
      TypeError, ValueError: `num_levels` is not an integer above 1.
    """
    if checks.check_positive_int("num_levels", num_levels) < 2:
        raise ValueError(f"num_levels must be at least 2, got {num_levels}: 256 for bytes, 17 for the digits' counts.")
    top = num_levels - 1

    def bias(mean: ArrayLike | None, data_dim: int) -> dict[str, np.ndarray]:
        loc = np.full(data_dim, 0.5) if mean is None else _check_mean(mean, data_dim, 0.0, top) / top
        return {"loc": loc, "log_scale": np.full(data_dim, _INITIAL_LOG_SCALE)}

    return Likelihood(
        bias=bias,
        shared={},
        distribution=lambda outputs: DiscretizedLogistic(outputs["loc"], outputs["log_scale"], num_levels),
        log_prob=lambda outputs, x: discretized_logistic_log_prob(outputs["loc"], outputs["log_scale"], x, num_levels),
    )


def _normal(loc: jax.Array, log_scale: jax.Array) -> "distrax.MultivariateNormalDiag":
    return distrax.MultivariateNormalDiag(loc, jnp.broadcast_to(jnp.exp(log_scale), loc.shape))


def _normal_log_prob(x: jax.Array, loc: jax.Array, log_scale: jax.Array | float) -> jax.Array:
    return -(((x - loc) * jnp.exp(-log_scale)) ** 2) / 2 - log_scale - math.log(2 * math.pi) / 2


def _check_mean(mean: ArrayLike, data_dim: int, low: float, high: float) -> np.ndarray:
    """Returns the mean as `[data_dim]` float64; raises `ValueError` unless it is that and in range."""
    mean = np.asarray(mean, np.float64)
    if mean.shape != (data_dim,):
        raise ValueError(f"mean must have shape ({data_dim},), got {mean.shape}; pass train.mean(axis=0).")
    if not np.all((mean >= low) & (mean <= high) & np.isfinite(mean)):
        raise ValueError(
            f"mean must be finite and from {low} to {high}, got values from {mean.min()} to {mean.max()}: pass the mean"
            " of the data in the units of this likelihood."
        )
    return mean


def _real_mean(mean: ArrayLike | None, data_dim: int) -> np.ndarray:
    return np.zeros(data_dim) if mean is None else _check_mean(mean, data_dim, -math.inf, math.inf)
