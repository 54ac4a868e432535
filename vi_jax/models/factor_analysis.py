"""Factor analysis and probabilistic PCA: real images with an evidence that is known, whatever part of them is visible.

    z ~ N(0, I),   x | z ~ N(μ + W z, Ψ),   Ψ = diag(exp(log_noise))
    p(x) = N(μ, W Wᵀ + Ψ),   p(z | x) = N(M⁻¹ Wᵀ Ψ⁻¹ (x − μ), M⁻¹),   M = I + Wᵀ Ψ⁻¹ W

Given z the pixels are independent, so a hidden pixel is one of precision zero in Ψ⁻¹; the same formulas then hold for
p(x_visible) and p(z | x_visible). Nothing larger than the `[q, q]` matrix M is ever factorised.

Rubin and Thayer, "EM Algorithms for ML Factor Analysis" (1982); Tipping and Bishop, "Probabilistic Principal Component
Analysis" (1999).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.models.partial import Partial, split, sum_visible
from vi_jax.shapes import check_shape
from vi_jax.types import Model


class FactorAnalysis(NamedTuple):
    """θ of `factor_analysis` and of `ppca`.

    Attributes:
      mean: `[D]`, μ.
      loadings: `[D, q]`, W.
      log_noise: logarithms of the noise variances, `[D]`, or one for all pixels, `[]`.
    """

    mean: jax.Array
    loadings: jax.Array
    log_noise: jax.Array


class HiddenPixels(NamedTuple):
    """The Gaussian p(x_hidden | x_visible), as a Gaussian over all pixels.

    Attributes:
      mean: `[D]`, the visible pixels at their values.
      covariance: `[D, D]`, zero in the rows and columns of visible pixels.
    """

    mean: jax.Array
    covariance: jax.Array


class OptimalMeanField(NamedTuple):
    """The independent Gaussians nearest to p(z | x) in KL(q ‖ p(z | x)).

    Attributes:
      mean: `[q]`, that of the posterior.
      variance: `[q]`, 1 / M_ii: smaller than the posterior's marginal variances (M⁻¹)_ii unless M is diagonal.
      gap: scalar, the nats by which its ELBO stays below log p(x).
    """

    mean: jax.Array
    variance: jax.Array
    gap: jax.Array


def factor_analysis(latent_dim: int, data_dim: int) -> ExactModel:
    """Makes factor analysis, one noise variance per pixel.

        log p(x) = log p(x, z*) + (q/2) log 2π − ½ log|M|,   z* = E[z | x]

    Args:
      latent_dim: q ≥ 1.
      data_dim: D ≥ 1.

    Returns:
      The exact model; θ is `FactorAnalysis`. `init` draws the loadings from N(0, 1/q), so that keys make different
      problems, with zero mean and unit noise. x is `[D]` or a `Partial`, z is `[q]`. Where nothing is visible the
      evidence is 0 and the posterior the prior. Price per datum: O(D q²), in x and in M.

    Raises:
      TypeError, ValueError: a dimension is not a positive integer. When called: x or z has another shape.
    """
    return _exact_model(latent_dim, data_dim, per_pixel=(data_dim,))


def ppca(latent_dim: int, data_dim: int) -> ExactModel:
    """Makes probabilistic PCA: factor analysis with one noise variance for all pixels, so `log_noise` is a scalar.

    Its maximum likelihood is a closed form, `ppca_maximum_likelihood`. Args, result and errors are otherwise those of
    `factor_analysis`.
    """
    return _exact_model(latent_dim, data_dim, per_pixel=())


def hidden_given_visible(theta: FactorAnalysis, x: Partial) -> HiddenPixels:
    """Returns the exact conditional of the hidden pixels, for one datum.

        E[x_h | x_v] = μ_h + W_h z*,   Cov[x_h | x_v] = W_h M⁻¹ W_hᵀ + Ψ_h,   z*, M from the visible pixels

    Raises:
      ValueError: x is not one datum of D pixels.
    """
    values, visible = split(x, theta.mean.shape[0], theta.mean.dtype)
    hidden = jnp.zeros(values.shape, bool) if visible is None else ~visible
    q = _posterior(theta, x)
    spread = theta.loadings @ q.factor
    covariance = spread @ spread.T + jnp.diag(_noise(theta))
    mean = jnp.where(hidden, theta.mean + theta.loadings @ q.mean, values)
    return HiddenPixels(mean, jnp.where(hidden[:, None] & hidden, covariance, 0))


def optimal_mean_field(theta: FactorAnalysis, x: jax.Array | Partial) -> OptimalMeanField:
    """Returns the best q(z) = Π_i N(z_i; m_i, v_i) for one datum, and what it costs.

        v_i = 1 / M_ii,   log p(x) − ELBO = ½ (Σ_i log M_ii − log|M|)

    Raises:
      ValueError: x is not one datum of D pixels.
    """
    q = _posterior(theta, x)
    diagonal = jnp.diag(q.precision)
    return OptimalMeanField(q.mean, 1 / diagonal, (jnp.sum(jnp.log(diagonal)) - q.log_det_precision) / 2)


def ppca_maximum_likelihood(x: jax.Array, latent_dim: int) -> FactorAnalysis:
    """Returns the θ of `ppca` that maximises Σ_n log p(x_n).

        μ = mean(x),   s² = mean of the D − q smallest eigenvalues of the covariance,   W = U (Λ − s² I)^½

    with Λ the q largest and U their eigenvectors. W is unique up to a rotation of z. Tipping and Bishop (1999).

    Args:
      x: `[N, D]`. A pixel that never varies only lowers the noise estimate: leave it out. Where
        the data have rank q or less, the noise is 0 and its logarithm −∞ or NaN: the maximum is unbounded.
      latent_dim: q, below D.

    Raises:
      TypeError, ValueError: x is not a matrix; q is not a positive integer below D.
    """
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    if x.ndim != 2 or x.shape[1] <= latent_dim:
        raise ValueError(f"x must be a data set [N, D] with D above latent_dim = {latent_dim}, got shape {x.shape}.")
    mean = jnp.mean(x, axis=0)
    covariance = (x - mean).T @ (x - mean) / x.shape[0]
    eigenvalues, eigenvectors = jnp.linalg.eigh(covariance)
    noise = jnp.mean(eigenvalues[:-latent_dim])
    scales = jnp.sqrt(jnp.maximum(eigenvalues[-latent_dim:] - noise, 0))
    # Largest first, as components are named.
    return FactorAnalysis(mean, (eigenvectors[:, -latent_dim:] * scales)[:, ::-1], jnp.log(noise))


class _Posterior(NamedTuple):
    """p(z | x): mean `[q]`, precision M `[q, q]`, log|M|, and the upper triangular F `[q, q]` with F Fᵀ = M⁻¹."""

    mean: jax.Array
    precision: jax.Array
    log_det_precision: jax.Array
    factor: jax.Array


def _posterior(theta: FactorAnalysis, x: jax.Array | Partial) -> _Posterior:
    data_dim, latent_dim = theta.loadings.shape
    values, visible = split(x, data_dim, theta.mean.dtype)
    precision = 1 / _noise(theta)
    weighted = theta.loadings * (precision if visible is None else jnp.where(visible, precision, 0))[:, None]
    identity = jnp.eye(latent_dim, dtype=theta.mean.dtype)
    M = identity + weighted.T @ theta.loadings
    root = jnp.linalg.cholesky(M)
    factor = solve_triangular(root, identity, lower=True).T
    mean = factor @ (factor.T @ (weighted.T @ (values - theta.mean)))
    return _Posterior(mean, M, 2 * jnp.sum(jnp.log(jnp.diag(root))), factor)


def _noise(theta: FactorAnalysis) -> jax.Array:
    """The variances, `[D]`."""
    return jnp.broadcast_to(jnp.exp(theta.log_noise), theta.mean.shape)


def _exact_model(latent_dim: int, data_dim: int, per_pixel: tuple[int, ...]) -> ExactModel:
    latent_dim = checks.check_positive_int("latent_dim", latent_dim)
    data_dim = checks.check_positive_int("data_dim", data_dim)

    def init(key: jax.Array) -> FactorAnalysis:
        loadings = jax.random.normal(key, (data_dim, latent_dim)) / math.sqrt(latent_dim)
        return FactorAnalysis(jnp.zeros(data_dim), loadings, jnp.zeros(per_pixel))

    def prior(theta: FactorAnalysis) -> distrax.MultivariateNormalDiag:
        zeros = jnp.zeros(latent_dim, theta.mean.dtype)
        return distrax.MultivariateNormalDiag(zeros, jnp.ones_like(zeros))

    def likelihood(theta: FactorAnalysis, z: jax.Array) -> distrax.MultivariateNormalDiag:
        mean = theta.mean + theta.loadings @ check_shape("z", z, (latent_dim,))
        return distrax.MultivariateNormalDiag(mean, jnp.sqrt(_noise(theta)))

    def sample(key: jax.Array, theta: FactorAnalysis) -> tuple[jax.Array, jax.Array]:
        z_key, x_key = jax.random.split(key)
        z = prior(theta).sample(seed=z_key)
        return likelihood(theta, z).sample(seed=x_key), z

    def log_joint(theta: FactorAnalysis, x: jax.Array | Partial, z: jax.Array) -> jax.Array:
        values, visible = split(x, data_dim, theta.mean.dtype)
        error = values - theta.mean - theta.loadings @ check_shape("z", z, (latent_dim,))
        log_noise = jnp.broadcast_to(theta.log_noise, error.shape)
        of_pixels = error**2 * jnp.exp(-log_noise) + log_noise + math.log(2 * math.pi)
        return -(jnp.sum(z**2) + latent_dim * math.log(2 * math.pi) + sum_visible(of_pixels, visible)) / 2

    def log_evidence(theta: FactorAnalysis, x: jax.Array | Partial) -> jax.Array:
        # p(x) = p(x, z) / p(z | x) at the posterior's mean: a sum of squares, where the usual
        # |x − μ|² − (what z explains of it) would subtract two large numbers.
        q = _posterior(theta, x)
        return log_joint(theta, x, q.mean) + (latent_dim * math.log(2 * math.pi) - q.log_det_precision) / 2

    def posterior(theta: FactorAnalysis, x: jax.Array | Partial) -> distrax.MultivariateNormalTri:
        q = _posterior(theta, x)
        return distrax.MultivariateNormalTri(q.mean, q.factor, is_lower=False)

    return ExactModel(Model(init, log_joint, sample, prior, likelihood), log_evidence, posterior)
