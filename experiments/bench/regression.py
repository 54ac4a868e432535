"""W1: fitting a mean-field guide to a Bayesian logistic regression, 569 × 31, one scan over steps."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vi_jax as vi
from experiments.bench import references
from experiments.bench.arithmetic import Arithmetic
from experiments.bench.config import Config
from experiments.bench.programs import Case, Program
from vi_jax.models.bernoulli import bernoulli_log_prob

OPTIMIZER = optax.adam(1e-3)
REFERENCE = "hand-written"
MODEL = "logistic regression 569 × 31"
ESTIMATORS = {"pathwise": vi.estimators.pathwise, "STL": vi.estimators.sticking_the_landing}
Fit = Callable[[jax.Array, vi.Params, Any], Any]


def fit(config: Config, name: str, num_samples: int, arithmetic: Arithmetic) -> Case:
    """One fit, beside a scan over steps with optax that is written by hand."""
    programs = tuple(
        Program(program, one, arguments(config)) for program, one in fits(config, num_samples, ESTIMATORS).items()
    )
    return Case(name, MODEL, num_samples, 1, config.num_steps, 1, arithmetic, programs)


def many_fits(config: Config, name: str, num_samples: int, arithmetic: Arithmetic) -> Case:
    """Fits from many seeds as one program, each program of `fit` mapped over keys."""
    some = {"pathwise": ESTIMATORS["pathwise"]}
    programs = tuple(
        Program(program, functools.partial(over_seeds, one, config.num_fits), arguments(config))
        for program, one in fits(config, num_samples, some).items()
    )
    return Case(name, MODEL, num_samples, 1, config.num_steps, config.num_fits, arithmetic, programs)


def over_seeds(one: Fit, num_fits: int, key: jax.Array, params: vi.Params, x: Any) -> Any:
    """Runs a fit from `num_fits` keys at once."""
    return jax.vmap(one, in_axes=(0, None, None))(jax.random.split(key, num_fits), params, x)


def fits(config: Config, num_samples: int, estimators: dict[str, vi.Estimator]) -> dict[str, Fit]:
    """Returns the fit written by hand, and the library's with each estimator, by name."""
    sizes = {"num_samples": num_samples, "num_steps": config.num_steps}
    by_name: dict[str, Fit] = {REFERENCE: functools.partial(references.fit_regression, optimizer=OPTIMIZER, **sizes)}
    model, guide = logistic_regression(), mean_field()
    for name, estimator in estimators.items():
        objective = vi.value_and_grad(model, guide, vi.bounds.elbo, estimator, num_samples=num_samples)
        by_name[name] = fitting(objective, config.num_steps)
    return by_name


def fitting(objective: vi.Objective, num_steps: int) -> Fit:
    """Returns (key, params, x) -> what `vi.fit` returns."""
    return lambda key, params, x: vi.fit(key, objective, OPTIMIZER, params, x, num_steps=num_steps)


@functools.cache
def arguments(config: Config) -> tuple[vi.Params, tuple[jax.Array, jax.Array]]:
    """Returns initial parameters, and the whole data set as one datum."""
    features, labels = tumours()
    return vi.Params((), mean_field().init(jax.random.key(config.seed))), (features[None], labels[None])


def mean_field() -> vi.Guide:
    """Makes the guide over the 31 coefficients."""
    return vi.guides.mean_field(31, initial_scale=0.1)


def logistic_regression() -> vi.Model:
    """Makes z ~ N(0, I), y_n ~ Bernoulli(sigmoid(aₙ · z)), the whole data set (a, y) as one datum."""

    def log_joint(theta: tuple[()], x: tuple[jax.Array, jax.Array], z: jax.Array) -> jax.Array:
        features, labels = x
        log_prior = -jnp.sum(z**2) / 2 - z.size * math.log(2 * math.pi) / 2
        # Mapped over draws this is [S, N], whose rows fill a vector; features @ z would be [N, S].
        return log_prior + jnp.sum(bernoulli_log_prob(jnp.inner(z, features), labels))

    return vi.Model(lambda key: (), log_joint)


def tumours() -> tuple[jax.Array, jax.Array]:
    """Returns the features `[569, 31]` of scikit-learn's breast cancer data, standardised, then 1; labels `[569]`."""
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return jnp.asarray(features, float), jnp.asarray(labels, float)
