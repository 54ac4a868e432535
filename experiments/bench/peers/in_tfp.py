"""The work in TensorFlow Probability on JAX: `fit_surrogate_posterior_stateless`, as used and inside one's own jit."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.bench.peers import ours, work
from experiments.bench.peers.contest import ARITHMETIC, RECOMPILES, Contest, Entry
from experiments.bench.programs import called


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits of the regression."""
    for num_samples in config.regression_samples:
        data, reference = ours.fit_entry(config, num_samples)
        as_used = fitting(data, num_samples, config.num_steps)
        key = jax.random.key(config.seed)
        programs = (
            Entry("fit_surrogate_posterior", as_used, (key,), RECOMPILES, value(as_used, data), called),
            Entry("the same in jit", as_used, (key,), ARITHMETIC, value(jax.jit(as_used), data)),
        )
        yield Contest("W1 fit", num_samples, 1, config.num_steps, (reference, *programs))


def target(data: work.Regression) -> Callable[[jax.Array], jax.Array]:
    """Returns log p(y, z) of draws `[S, D]`, in nats."""
    from tensorflow_probability.substrates.jax import distributions as tfd

    features, labels = jnp.asarray(data.features), jnp.asarray(data.labels)

    def log_prob(z: jax.Array) -> jax.Array:
        log_prior = tfd.Independent(tfd.Normal(jnp.zeros(z.shape[-1]), 1.0), 1).log_prob(z)
        return log_prior + tfd.Independent(tfd.Bernoulli(logits=jnp.inner(z, features)), 1).log_prob(labels)

    return log_prob


def surrogate(loc: jax.Array, log_scale: jax.Array) -> Any:
    """Returns q(z) = N(loc, diag(exp(log_scale))²)."""
    from tensorflow_probability.substrates.jax import distributions as tfd

    return tfd.MultivariateNormalDiag(loc, jnp.exp(log_scale))


def fitting(data: work.Regression, num_samples: int, num_steps: int) -> Callable[[jax.Array], Any]:
    """Returns `key -> ((loc, log_scale), losses)`."""
    from tensorflow_probability.substrates import jax as tfp

    log_prob = target(data)
    parameters = tuple(map(jnp.asarray, work.start(data.features.shape[1])))
    optimizer = optax.adam(work.LEARNING_RATE)

    def fit(key: jax.Array) -> Any:
        return tfp.vi.fit_surrogate_posterior_stateless(
            log_prob,
            build_surrogate_posterior_fn=surrogate,
            initial_parameters=parameters,
            optimizer=optimizer,
            num_steps=num_steps,
            sample_size=num_samples,
            seed=key,
        )

    return fit


def value(fit: Callable[[jax.Array], Any], data: work.Regression) -> Callable[[], Any]:
    """Returns what judges one run."""
    return functools.partial(ours.fit_value, lambda: fit(jax.random.key(3))[0], data)
