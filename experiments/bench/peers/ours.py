"""The library's programs, the reference of every contest, as its documentation recommends them."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import vi_jax as vi
from experiments.bench.peers import work
from experiments.bench.peers.contest import ARITHMETIC, Entry, Value, value_of_draws
from experiments.bench.regression import logistic_regression

OPTIMIZER = optax.adam(work.LEARNING_RATE)
NETWORK_OPTIMIZER = optax.adam(work.NETWORK_LEARNING_RATE)

# From so many draws on a gradient is computed in chunks of CHUNK_SIZE: the same numbers from 1/30 of the memory.
MANY_SAMPLES, CHUNK_SIZE = 100, 10


def fitting(
    data: work.Regression, num_samples: int, num_steps: int, estimator: vi.Estimator = vi.estimators.pathwise
) -> Callable[..., Any]:
    """Returns `(key, x) -> what vi.fit returns` for a mean-field fit of the regression, x being `datum(data)`."""
    guide = vi.guides.mean_field(data.features.shape[1], initial_scale=work.INITIAL_SCALE)
    params = vi.Params((), guide.init(jax.random.key(0)))
    objective = vi.value_and_grad(logistic_regression(), guide, vi.bounds.elbo, estimator, num_samples=num_samples)
    return lambda key, x: vi.fit(key, objective, OPTIMIZER, params, x, num_steps=num_steps)


def datum(data: work.Regression) -> tuple[jax.Array, jax.Array]:
    """Returns the data set as one datum. What is timed takes it as an argument: a constant would be laid out for it."""
    return jnp.asarray(data.features)[None], jnp.asarray(data.labels)[None]


def fit_entry(
    config: work.Config, num_samples: int, estimator: vi.Estimator = vi.estimators.pathwise
) -> tuple[work.Regression, Entry]:
    """Returns the data of the regression, and one fit by the library."""
    data = work.regression()
    fit = fitting(data, num_samples, config.num_steps, estimator)
    judge = functools.partial(spread_of_fits, fit, data, config.num_seeds)
    return data, Entry("vi.fit", fit, (jax.random.key(config.seed), datum(data)), ARITHMETIC, judge)


def fits_entry(config: work.Config, num_samples: int) -> tuple[work.Regression, Entry]:
    """Returns the data, and many fits at once by `jax.vmap`."""
    data = work.regression()
    fit = fitting(data, num_samples, config.num_steps)
    keys = jax.random.split(jax.random.key(config.seed), config.num_fits)
    judge = functools.partial(spread_of_fits, fit, data, config.num_seeds)
    at_once = jax.vmap(fit, in_axes=(0, None))
    return data, Entry("jax.vmap of vi.fit", at_once, (keys, datum(data)), ARITHMETIC, judge)


def spread_of_fits(fit: Callable[..., Any], data: work.Regression, num_seeds: int) -> Value:
    """Returns the mean of the ELBO that fits from several seeds reach, and how far a further fit may lie from it.

    That is five standard deviations of the difference, and 0.05 nats besides.
    """
    keys = jax.random.split(jax.random.key(1), num_seeds)
    phi = jax.jit(jax.vmap(lambda key: fit(key, datum(data))[0].params.phi))(keys)
    reached = [work.elbo(*one, data) for one in zip(np.asarray(phi.loc), np.asarray(phi.log_scale), strict=True)]
    spread = float(np.std(reached, ddof=1)) * math.sqrt(1 + 1 / num_seeds)
    return Value(float(np.mean(reached)), 5 * spread + 0.05)


def fit_value(fit: Callable[[], tuple[Any, Any]], data: work.Regression) -> Value:
    """Returns the ELBO that one fit of a peer, `() -> (loc, log_scale)`, reaches."""
    return Value(work.elbo(*fit(), data), 0.0)


def networks() -> tuple[vi.Model, vi.Guide]:
    """Returns the decoder and the encoder of W2."""
    model = vi.models.bernoulli_decoder(work.LATENT_DIM, work.DATA_DIM, hidden=work.HIDDEN)
    return model, vi.guides.gaussian_encoder(work.DATA_DIM, work.LATENT_DIM, hidden=work.HIDDEN)


def network_params(seed: int) -> vi.Params:
    """Returns the parameters from which every framework starts."""
    model, guide = networks()
    theta_key, phi_key = jax.random.split(jax.random.key(seed))
    return vi.Params(model.init(theta_key), guide.init(phi_key))


def iwae_objective(num_samples: int) -> vi.Objective:
    """Returns the IWAE bound's pathwise gradient, in chunks from `MANY_SAMPLES` draws on."""
    chunk_size = CHUNK_SIZE if num_samples >= MANY_SAMPLES else None
    return vi.value_and_grad(
        *networks(), vi.bounds.iwae, vi.estimators.pathwise, num_samples=num_samples, chunk_size=chunk_size
    )


def iwae_entry(config: work.Config, num_samples: int) -> tuple[vi.Params, np.ndarray, Entry]:
    """Returns starting parameters, images, and steps of `vi.fit` up the IWAE bound."""
    params, x = network_params(config.seed), work.images(config.seed, config.batch_size)
    objective, num_steps = iwae_objective(num_samples), work.steps_at_once(num_samples)

    def steps(key: jax.Array, params: vi.Params, x: jax.Array) -> Any:
        return vi.fit(key, objective, NETWORK_OPTIMIZER, params, x, num_steps=num_steps)

    arguments = jax.random.key(config.seed), params, jnp.asarray(x)
    bound = jax.jit(lambda key: jnp.mean(objective(key, params, jnp.asarray(x))[0]))
    judge = functools.partial(bound_value, bound, config.num_values, num_samples)
    counted = math.nan if num_samples >= MANY_SAMPLES else 1.0  # A loop over chunks counts as one of them.
    return params, x, Entry("vi.fit", steps, arguments, ARITHMETIC, judge, counted=counted)


def bound_value(bound: Callable[[jax.Array], Any], num_values: int, num_samples: int) -> Value:
    """Returns the mean of a bound, `key -> nats per datum`, over keys of its own."""
    keys = jax.random.split(jax.random.key(2), work.values_at(num_values, num_samples))
    return value_of_draws([float(bound(key)) for key in keys])
