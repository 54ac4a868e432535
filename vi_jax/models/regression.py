"""Bayesian regression: linear, whose evidence and posterior are closed forms, and logistic, where neither is.

The weights w are the latent z `[D]`, w ~ N(0, v I). The data set is ONE datum, a `Regression`: add the batch axis B = 1
by `jax.tree.map(lambda leaf: leaf[None], data)`. There is no intercept but a column of ones. Both are `global_latent`:
`training.subsample` gives minibatches, with the likelihood scaled by N/n.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jax.scipy.stats import norm
from jax.typing import DTypeLike

from vi_jax import checks
from vi_jax.lazy import distrax
from vi_jax.models.exact import ExactModel
from vi_jax.models.global_latent import global_latent
from vi_jax.shapes import check_shape
from vi_jax.types import Model


class Regression(NamedTuple):
    """One regression data set.

    Attributes:
      features: X, `[N, D]`, or `[D]` for one of its rows.
      targets: y, `[N]`, or a scalar.
    """

    features: jax.Array | np.ndarray
    targets: jax.Array | np.ndarray


class RegressionVariances(NamedTuple):
    """θ of `linear_regression`: two scalars.

    Attributes:
      log_prior_variance: log v, of each weight.
      log_variance: log s², of each target.
    """

    log_prior_variance: jax.Array
    log_variance: jax.Array


def linear_regression(num_data: int, dim: int, *, prior_variance: float = 1.0, variance: float = 1.0) -> ExactModel:
    """Makes Bayesian linear regression, w ~ N(0, v I), y_n | w ~ N(x_nᵀ w, s²), θ = (log v, log s²).

        p(w | y) = N(m, P⁻¹),   P = I/v + XᵀX/s²,   m = P⁻¹ Xᵀ y / s²
        p(y) = N(0, v X Xᵀ + s² I),   log p(y) = log p(y, m) − log p(m | y), in O(N D² + D³)

    Bishop, PRML, sections 3.3 and 3.5 (2006). Maximising log p(y) over θ is the evidence approximation there.

    Args:
      num_data: N ≥ 1.
      dim: D ≥ 1, columns of X.
      prior_variance: v > 0, to which `init` sets θ, whatever the key.
      variance: s² > 0, likewise; a variance and no standard deviation.

    Returns:
      The exact model. Its log joint takes minibatches too; its evidence and posterior need all N rows.

    Raises:
      TypeError, ValueError: a size is not a positive integer, or a variance is not positive and finite. When called: a
        shape does not fit.
    """
    num_data, dim = checks.check_positive_int("num_data", num_data), checks.check_positive_int("dim", dim)
    log_prior_variance, log_variance = _log("prior_variance", prior_variance), _log("variance", variance)

    def init(key: jax.Array) -> RegressionVariances:
        del key
        return RegressionVariances(jnp.asarray(log_prior_variance, float), jnp.asarray(log_variance, float))

    def prior(theta: RegressionVariances) -> distrax.MultivariateNormalDiag:
        return _isotropic(dim, jnp.exp(theta.log_prior_variance / 2))

    def log_prior(theta: RegressionVariances, w: jax.Array) -> jax.Array:
        return jnp.asarray(prior(theta).log_prob(check_shape("z", w, (dim,))))

    def log_likelihood(theta: RegressionVariances, row: Regression, w: jax.Array) -> jax.Array:
        mean, target = _predict(row, w, dim)
        return norm.logpdf(target, mean, jnp.exp(theta.log_variance / 2))

    model = global_latent(init, log_prior, log_likelihood, num_data=num_data)._replace(prior=prior)

    def posterior(theta: RegressionVariances, x: Regression) -> distrax.MultivariateNormalTri:
        features, targets = _check(x, (num_data,), dim, theta.log_variance.dtype)
        of_prior, of_datum = jnp.exp(-theta.log_prior_variance), jnp.exp(-theta.log_variance)
        eye = jnp.eye(dim, dtype=features.dtype)
        precision = of_prior * eye + of_datum * features.T @ features
        factor = jnp.linalg.cholesky(precision), True
        mean = cho_solve(factor, of_datum * features.T @ targets)
        return distrax.MultivariateNormalTri(mean, jnp.linalg.cholesky(cho_solve(factor, eye)))

    def log_evidence(theta: RegressionVariances, x: Regression) -> jax.Array:
        q = posterior(theta, x)
        mean = jnp.asarray(q.mean())
        return model.log_joint(theta, x, mean) - jnp.asarray(q.log_prob(mean))

    return ExactModel(model, log_evidence, posterior)


def logistic_regression(num_data: int, dim: int, *, prior_variance: float = 1.0) -> Model:
    """Makes Bayesian logistic regression, w ~ N(0, v I), P(y_n = 1 | w) = sigmoid(x_nᵀ w), θ = ().

        log p(y, w) = log N(w; 0, v I) + Σ_n log sigmoid((2 y_n − 1) x_nᵀ w)

    On `data.german_credit()`, N = 1000 and D = 25, the best mean-field Gaussian has an ELBO of −531.708 for v = 1, with
    log p(y) = −529.176, and −587.628 for v = 100.

    Args:
      num_data: N ≥ 1.
      dim: D ≥ 1, columns of X.
      prior_variance: v > 0; a variance and no standard deviation.

    Returns:
      The model; it takes minibatches. A target other than 0 and 1, as in the coding −1 and 1, makes log p NaN.

    Raises:
      TypeError, ValueError: as `linear_regression`.
    """
    num_data, dim = checks.check_positive_int("num_data", num_data), checks.check_positive_int("dim", dim)
    scale = math.exp(_log("prior_variance", prior_variance) / 2)

    def init(key: jax.Array) -> tuple[()]:
        del key
        return ()

    def prior(theta: tuple[()]) -> distrax.MultivariateNormalDiag:
        del theta
        return _isotropic(dim, jnp.asarray(scale, float))

    def log_prior(theta: tuple[()], w: jax.Array) -> jax.Array:
        return jnp.asarray(prior(theta).log_prob(check_shape("z", w, (dim,))))

    def log_likelihood(theta: tuple[()], row: Regression, w: jax.Array) -> jax.Array:
        del theta
        logit, target = _predict(row, w, dim)
        is_binary = (target == 0) | (target == 1)
        return jnp.where(is_binary, jax.nn.log_sigmoid((2 * target - 1) * logit), jnp.nan)

    return global_latent(init, log_prior, log_likelihood, num_data=num_data)._replace(prior=prior)


def _isotropic(dim: int, scale: jax.Array) -> "distrax.MultivariateNormalDiag":
    return distrax.MultivariateNormalDiag(jnp.zeros(dim, scale.dtype), jnp.full(dim, scale))


def _predict(row: Regression, w: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    """Returns x_nᵀ w and y_n of one row."""
    features, target = _check(row, (), dim, w.dtype)
    return jnp.dot(features, check_shape("z", w, (dim,))), jnp.asarray(target)


def _check(x: Regression, batch: tuple[int, ...], dim: int, dtype: DTypeLike) -> Regression:
    features = check_shape("features of x", x.features, (*batch, dim))
    return Regression(features.astype(dtype), check_shape("targets of x", x.targets, batch).astype(dtype))


def _log(name: str, variance: float) -> float:
    if not 0 < variance < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {variance}.")
    return math.log(variance)
