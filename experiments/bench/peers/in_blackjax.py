"""The work in BlackJAX: `meanfield_vi`, a Python loop of jitted steps as its documentation has it, and in `lax.scan`.

Its default estimator is sticking the landing, so that the library's program of this contest has it too.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import vi_jax as vi
from experiments.bench.peers import ours, work
from experiments.bench.peers.contest import ARITHMETIC, DISPATCH, Contest, Entry
from experiments.bench.programs import called


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits of the regression."""
    for num_samples in config.regression_samples:
        data, reference = ours.fit_entry(config, num_samples, vi.estimators.sticking_the_landing)
        algorithm, state = start(data, num_samples)
        loop, scan = in_a_loop(algorithm, config.num_steps), in_scan(algorithm, config.num_steps)
        arguments = jax.random.key(config.seed), state
        programs = (
            Entry("jit(step) in a loop", loop, arguments, DISPATCH, value(loop, state, data), called),
            Entry("step in jit(scan)", scan, arguments, ARITHMETIC, value(jax.jit(scan), state, data)),
        )
        yield Contest("W1 fit", num_samples, 1, config.num_steps, (reference, *programs))


def start(
    data: work.Regression, num_samples: int, optimizer: optax.GradientTransformation = ours.OPTIMIZER
) -> tuple[Any, Any]:
    """Returns the algorithm and its first state, at the scale from which all fits begin instead of its own, e⁻²."""
    import blackjax

    features, labels = jnp.asarray(data.features), jnp.asarray(data.labels)
    loc, log_scale = map(jnp.asarray, work.start(features.shape[1]))

    def log_density(z: jax.Array) -> jax.Array:
        log_prior = -jnp.sum(z**2) / 2 - z.size * math.log(2 * math.pi) / 2
        logits = jnp.inner(z, features)
        return log_prior + jnp.sum(labels * logits - jax.nn.softplus(logits))

    algorithm = blackjax.meanfield_vi(log_density, optimizer, num_samples=num_samples)
    return algorithm, algorithm.init(loc)._replace(rho=log_scale)


def in_a_loop(algorithm: Any, num_steps: int) -> Callable[[jax.Array, Any], Any]:
    """Returns `(key, state) -> (state, values)` by one call of the jitted step after another."""
    step = jax.jit(algorithm.step)

    def run(key: jax.Array, state: Any) -> Any:
        values = []
        for step_key in jax.random.split(key, num_steps):
            state, info = step(step_key, state)
            values.append(info.elbo)
        return state, values

    return run


def in_scan(algorithm: Any, num_steps: int) -> Callable[[jax.Array, Any], Any]:
    """Returns the pure function `(key, state) -> (state, values)` that scans over the step."""

    def run(key: jax.Array, state: Any) -> Any:
        keys = jax.random.split(key, num_steps)
        return jax.lax.scan(lambda state, key: algorithm.step(key, state), state, keys)

    return run


def value(run: Callable[[jax.Array, Any], Any], state: Any, data: work.Regression) -> Callable[[], Any]:
    """Returns what judges one run."""

    def fit() -> tuple[Any, Any]:
        reached = run(jax.random.key(3), state)[0]
        return reached.mu, reached.rho

    return functools.partial(ours.fit_value, fit, data)
