"""The posteriors of `posteriors`: sixteen log-densities, and what is known of each without variational inference."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax import models

NUM_REFERENCE_DRAWS = 4000
# Frozen numbers: those of a PRNG would change with the version of JAX.
_DESIGN_SEED = 0


class Reference(NamedTuple):
    """Moments of the P constrained numbers of a posterior, and draws of it where there are any.

    Attributes:
      source: "exact", "posteriordb", "Inference Gym" or "NUTS".
      mean: `[P]`.
      sd: `[P]`, standard deviations.
      mcse: `[P]`, Monte Carlo standard errors of `mean`; zeros where it is exact.
      draws: `[R, P]`, or None.
    """

    source: str
    mean: np.ndarray
    sd: np.ndarray
    mcse: np.ndarray
    draws: np.ndarray | None


class Problem(NamedTuple):
    """A posterior to approximate.

    Attributes:
      target: the log-density.
      reference: None where it is left to NUTS.
      log_z: log evidence in nats where it is known, else None.
      optima: the largest ELBO that a family of guides can have, by its name, where that is known.
      sampled: what NUTS draws from, the same posterior in other coordinates, where its own are bad for it; else None.
    """

    target: vi.models.Target
    reference: Reference | None
    log_z: float | None = None
    optima: Mapping[str, float] = {}
    sampled: vi.models.Target | None = None


def _exact(exact: models.ExactModel, x: Any, dim: int, theta: Any = (), **known: Any) -> Problem:
    """A model whose posterior is known: its moments, draws and evidence."""
    datum = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], x)
    posterior = exact.posterior(theta, datum)
    keys = jax.random.split(jax.random.key(0), NUM_REFERENCE_DRAWS)
    draws = np.asarray(jax.vmap(lambda key: posterior.sample(seed=key))(keys))
    mean, sd = np.asarray(posterior.mean()), np.sqrt(np.asarray(posterior.variance()))
    model = vi.Model(lambda key: (), lambda nothing, x, z: exact.model.log_joint(theta, x, z))
    reference = Reference("exact", mean, sd, np.zeros(dim), draws)
    return Problem(models.as_target(model, x, dim), reference, float(exact.log_evidence(theta, datum)), **known)


def funnel() -> Problem:
    """Neal's funnel in ten dimensions: no Gaussian fits, and sds of x are e^{9/4}."""
    optima = {"mean-field": float(models.funnel_optimum(10).elbo)}
    return _exact(models.funnel(10), np.zeros((1, 1)), 10, optima=optima)


def banana() -> Problem:
    """A parabola with Gaussian noise across."""
    return _exact(models.banana(), np.zeros((1, 1)), 2, optima={"mean-field": float(models.banana_optimum().elbo)})


def mixture() -> Problem:
    """.4 N((−3, 0), I) + .6 N((3, 0), Σ), correlation .8: two modes six standard deviations apart."""
    means = np.array([[-3.0, 0], [3.0, 0]])
    covariances = np.array([np.eye(2), [[1.0, 0.8], [0.8, 1]]])
    return _exact(models.gaussian_mixture(np.array([0.4, 0.6]), means, covariances), np.zeros((1, 1)), 2)


def _design(num_data: int, dim: int) -> tuple[np.ndarray, np.random.RandomState]:
    """Columns with correlations of about ½, and the generator that drew them, whose stream NumPy never changes."""
    random = np.random.RandomState(_DESIGN_SEED)
    return random.randn(num_data, dim) + random.randn(num_data, 1), random


def linear_regression() -> Problem:
    """Linear regression with known noise, N = 40 and D = 5: a Gaussian posterior, which full rank meets exactly."""
    features, random = _design(40, 5)
    targets = features @ np.array([1.0, -1, 0.5, 0, 2]) + random.randn(40)
    exact = models.linear_regression(40, 5)
    x = models.Regression(jnp.asarray(features)[None], jnp.asarray(targets)[None])
    problem = _exact(exact, x, 5, exact.model.init(jax.random.key(0)))
    return problem._replace(optima={"full-rank": problem.log_z})


def logistic_regression() -> Problem:
    """Logistic regression with N = 40 and D = 5, a prior N(0, 3²) and little data: skewed."""
    features, random = _design(40, 5)
    logits = features @ np.array([1.0, -1, 0.5, 0, 2])
    labels = (random.rand(40) < 1 / (1 + np.exp(-logits))).astype(float)
    return Problem(_logistic(features, labels, variance=9.0), None)


def _logistic(features: Any, labels: Any, *, variance: float) -> vi.models.Target:
    number, dim = np.shape(features)
    model = models.logistic_regression(number, dim, prior_variance=variance)
    return models.as_target(model, models.Regression(jnp.asarray(features)[None], jnp.asarray(labels)[None]), dim)


def eight_schools(parametrization: str, optima: Mapping[str, float]) -> Problem:
    """Eight schools; posteriordb's reference where its files are found, else NUTS non-centred."""
    effects, errors = models.EIGHT_SCHOOLS
    names = {"centred": "eight_schools_centered", "noncentred": "eight_schools_noncentered"}
    make = {
        "centred": models.posteriordb.eight_schools_centred,
        "noncentred": models.posteriordb.eight_schools_noncentred,
    }
    data = {"y": effects, "sigma": errors}
    try:
        reference = _of_posteriordb(vi.data.posteriordb(f"eight_schools-{names[parametrization]}").reference)
    except FileNotFoundError:
        reference = None
    sampled = None if parametrization == "noncentred" else make["noncentred"](data)
    return Problem(make[parametrization](data), reference, -31.31134735, optima, sampled)


def german_credit(variance: float, log_z: float, optima: Mapping[str, float]) -> Problem:
    """Logistic regression on German credit; the reference of the Inference Gym is of the prior N(0, 1) alone."""
    data = vi.data.german_credit()
    known = vi.data.german_credit_reference() if variance == 1 else None
    reference = known and Reference("Inference Gym", known.mean, known.sd, known.mcse, None)
    return Problem(_logistic(data.x, data.y, variance=variance), reference, log_z, optima)


def posteriordb(name: str) -> Problem:
    """One of posteriordb, with its reference draws."""
    found = vi.data.posteriordb(name)
    return Problem(models.posteriordb.posterior(name, found.data), _of_posteriordb(found.reference))


def _of_posteriordb(found: vi.data.ReferencePosterior) -> Reference:
    return Reference("posteriordb", found.mean, found.sd, found.mcse, found.draws)


TARGETS: Mapping[str, Callable[[], Problem]] = {
    "linear-regression": linear_regression,
    "logistic-regression": logistic_regression,
    "banana": banana,
    "mixture": mixture,
    "funnel": funnel,
    "eight-schools-noncentred": lambda: eight_schools("noncentred", {"mean-field": -31.597, "full-rank": -31.532}),
    "eight-schools-centred": lambda: eight_schools("centred", {"mean-field": -33.403, "full-rank": -32.590}),
    "german-credit": lambda: german_credit(1.0, -529.176, {"mean-field": -531.708, "full-rank": -529.202}),
    "german-credit-wide": lambda: german_credit(100.0, -585.041, {"mean-field": -587.628, "full-rank": -585.069}),
    "kidiq": lambda: posteriordb("kidiq-kidscore_interaction"),
    "nes1980": lambda: posteriordb("nes1980-nes"),
    "arK": lambda: posteriordb("arK-arK"),
    "garch": lambda: posteriordb("garch-garch11"),
    "low-dim-gauss-mix": lambda: posteriordb("low_dim_gauss_mix-low_dim_gauss_mix"),
    "diamonds": lambda: posteriordb("diamonds-diamonds"),
    "gp-pois-regr": lambda: posteriordb("gp_pois_regr-gp_pois_regr"),
}
"""By name. The last nine need files, found as `data.find` says, and raise FileNotFoundError without."""


def check(name: str) -> None:
    """Raises ValueError unless there is a target of this name."""
    if name not in TARGETS:
        raise ValueError(f"there is no target {name!r}: choose from {', '.join(TARGETS)}.")
