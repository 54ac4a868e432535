"""Three linear regressions with unknown noise: easy posteriors but for their correlations and scales.

    y_n ~ N(x_nᵀ β, σ²)

All start from least squares, and take minibatches (`training.subsample`).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import cauchy, norm, t

from vi_jax.models.posteriordb.forms import columns, entry, least_squares, reported
from vi_jax.models.regression import Regression
from vi_jax.models.supports import positive, real
from vi_jax.models.unconstrained import Target, unconstrained_with_data


class Weights(NamedTuple):
    """Parameters of `kidiq` and `nes`.

    Attributes:
      beta: `[P]`, the intercept first.
      sigma: standard deviation of the noise.
    """

    beta: Any
    sigma: Any


class Centred(NamedTuple):
    """Parameters of `diamonds`.

    Attributes:
      b: `[P − 1]`, weights of the centred columns.
      Intercept: the mean at the mean of the columns.
      sigma: standard deviation of the noise.
    """

    b: Any
    Intercept: Any
    sigma: Any


def kidiq(data: Mapping[str, Any]) -> Target:
    """Makes kidiq-kidscore_interaction: test scores of children by their mothers' schooling and IQ, P = 4, N = 434.

        y ~ N(β_1 + β_2 hs + β_3 iq + β_4 hs·iq, σ²),   σ ~ half-Cauchy(2.5),   β flat: improper

    Correlations up to .99. Gelman and Hill, "Data Analysis Using Regression" (2007), section 3.3.

    Args:
      data: `kid_score`, `mom_hs`, `mom_iq`, each `[N]`.

    Raises:
      ValueError: the data lack a name, or have another shape.
    """
    score, hs, iq = columns("kidiq", data, "kid_score", "mom_hs", "mom_iq")

    def log_prior(parameters: Weights) -> jax.Array:
        return math.log(2) + cauchy.logpdf(parameters.sigma, scale=2.5)

    return _regression(np.stack([np.ones_like(iq), hs, iq, hs * iq], axis=1), score, log_prior)


def nes(data: Mapping[str, Any]) -> Target:
    """Makes nes1980-nes: party identification in the United States of 1980, P = 9, N = 701.

        y ~ N(β · (1, ideology, race, age = 2, age = 3, age = 4, education, gender, income), σ²),   β, σ flat: improper

    Gelman and Hill, "Data Analysis Using Regression" (2007), section 4.7.

    Args:
      data: `partyid7`, `real_ideo`, `race_adj`, `age_discrete`, `educ1`, `gender`, `income`, each `[N]`.

    Raises:
      ValueError: the data lack a name, or have another shape.
    """
    names = ("partyid7", "real_ideo", "race_adj", "age_discrete", "educ1", "gender", "income")
    party, ideology, race, age, *others = columns("nes", data, *names)
    ages = [age == group for group in (2, 3, 4)]
    features = np.stack([np.ones_like(party), ideology, race, *ages, *others], axis=1)
    return _regression(features, party, lambda parameters: jnp.zeros_like(parameters.sigma))


def diamonds(data: Mapping[str, Any]) -> Target:
    """Makes diamonds-diamonds: log-prices by 24 features of condition number 2.6e5, N = 5000.

        y ~ N(a + (x − mean x) · b, σ²),   b ~ N(0, 1),   a ~ t_3(8, 10),   σ ~ half-t_3(0, 10)

    Bürkner, "brms" (2017), whose program centres the columns. `fit` in float32 loses the narrowest directions.

    Args:
      data: `Y` `[N]`; `X` `[N, P]`, its first column the ones.

    Raises:
      ValueError: the data lack a name, or have another shape.
    """
    (price,) = columns("diamonds", data, "Y")
    features = np.asarray(entry("diamonds", data, "X"), float)
    if features.ndim != 2 or len(features) != len(price) or features.shape[1] < 2:
        raise ValueError(f"X of the data of diamonds must be [{len(price)}, P ≥ 2], got shape {features.shape}.")
    features = features[:, 1:] - features[:, 1:].mean(axis=0)
    weights, sigma = least_squares(np.insert(features, 0, 1.0, axis=1), price)

    def log_prior(parameters: Centred) -> jax.Array:
        of_noise = math.log(2) + t.logpdf(parameters.sigma, 3.0, scale=10.0)
        return jnp.sum(norm.logpdf(parameters.b)) + t.logpdf(parameters.Intercept, 3.0, 8.0, 10.0) + of_noise

    def log_likelihood(row: Regression, parameters: Centred) -> jax.Array:
        return norm.logpdf(row.targets, parameters.Intercept + row.features @ parameters.b, parameters.sigma)

    like, supports = Centred(weights[1:], weights[0], sigma), Centred(real, real, positive)
    rows = Regression(features, price)
    return reported(unconstrained_with_data(log_prior, log_likelihood, rows, like, supports))


def _regression(features: np.ndarray, targets: np.ndarray, log_prior: Any) -> Target:
    def log_likelihood(row: Regression, parameters: Weights) -> jax.Array:
        return norm.logpdf(row.targets, row.features @ parameters.beta, parameters.sigma)

    like, supports = Weights(*least_squares(features, targets)), Weights(real, positive)
    rows = Regression(features, targets)
    return reported(unconstrained_with_data(log_prior, log_likelihood, rows, like, supports))
