"""The work in NumPyro: `svi.run` as its documentation has it, and its update inside one program of one's own."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import vi_jax as vi
from experiments.bench.peers import ours, work
from experiments.bench.peers.contest import ARITHMETIC, DISPATCH, ONE_BY_ONE, RECOMPILES, Contest, Entry
from experiments.bench.programs import called


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits, fits at once, and IWAE steps."""
    for num_samples in config.regression_samples:
        yield fits(config, num_samples)
    for num_samples in config.fits_samples:
        yield fits_at_once(config, num_samples)
    for num_samples in config.image_samples:
        yield iwae(config, num_samples)


def fits(config: work.Config, num_samples: int) -> Contest:
    """W1: one fit after another."""
    data, reference = ours.fit_entry(config, num_samples)
    svi, key = regression_svi(data, num_samples), jax.random.key(config.seed)
    run, scan = run_by_library(svi, data, config.num_steps), run_in_scan(svi, data, config.num_steps)
    programs = (
        Entry("svi.run", run, (key,), RECOMPILES, value(run, data), called),
        Entry("svi.update in jit(scan)", scan, (key, *data), ARITHMETIC, value(jax.jit(scan), data)),
    )
    return Contest("W1 fit", num_samples, 1, config.num_steps, (reference, *programs))


def fits_at_once(config: work.Config, num_samples: int) -> Contest:
    """W1: many fits, from a key each."""
    data, reference = ours.fits_entry(config, num_samples)
    keys = jax.random.split(jax.random.key(config.seed), config.num_fits)
    svi = regression_svi(data, num_samples)
    run, scan = run_by_library(svi, data, config.num_steps), run_in_scan(svi, data, config.num_steps)
    jitted = jax.jit(scan)
    at_once, few = jax.vmap(scan, in_axes=(0, None, None)), 2
    programs = (
        Entry(
            "svi.run in a loop",
            in_a_loop(run),
            (keys[:few],),
            RECOMPILES,
            value(run, data),
            called,
            few / config.num_fits,
        ),
        Entry("jit(scan) in a loop", in_a_loop(jitted), (keys,), ONE_BY_ONE, value(jitted, data), called),
        Entry("vmap of jit(scan)", at_once, (keys, *data), ARITHMETIC, value(jitted, data)),
    )
    workload = f"W1 {config.num_fits} fits"
    return Contest(workload, num_samples, 1, config.num_steps, (reference, *programs), config.num_runs // 2)


def in_a_loop(fit: Callable[[jax.Array], Any]) -> Callable[[jax.Array], list[Any]]:
    """Returns a Python loop of fits, one per key."""
    return lambda keys: [fit(key) for key in keys]


def regression_svi(data: work.Regression, num_samples: int) -> Any:
    """Returns the `SVI` of the regression with S particles."""
    import numpyro
    import numpyro.distributions as dist
    import optax
    from numpyro.infer import SVI, Trace_ELBO

    loc, log_scale = work.start(data.features.shape[1])

    def model(features: Any, labels: Any) -> None:
        z = numpyro.sample("z", dist.Normal(jnp.zeros(features.shape[1]), 1).to_event(1))
        with numpyro.plate("data", features.shape[0]):
            numpyro.sample("y", dist.Bernoulli(logits=jnp.inner(z, features)), obs=labels)

    def guide(features: Any, labels: Any) -> None:
        del features, labels
        mean: Any = numpyro.param("loc", jnp.asarray(loc))
        log: Any = numpyro.param("log_scale", jnp.asarray(log_scale))
        numpyro.sample("z", dist.Normal(mean, jnp.exp(log)).to_event(1))

    return SVI(model, guide, optax.adam(work.LEARNING_RATE), Trace_ELBO(num_particles=num_samples))


def run_by_library(svi: Any, data: work.Regression, num_steps: int) -> Callable[[jax.Array], Any]:
    """Returns `key -> φ` by `svi.run`, without its progress bar, which makes it slower."""
    return lambda key: svi.run(key, num_steps, data.features, data.labels, progress_bar=False).params


def run_in_scan(svi: Any, data: work.Regression, num_steps: int) -> Callable[..., Any]:
    """Returns the pure function `(key, features, labels) -> φ` that scans over `svi.update`."""

    def run(key: jax.Array, features: Any = data.features, labels: Any = data.labels) -> Any:
        state = svi.init(key, features, labels)
        state, losses = jax.lax.scan(
            lambda state, _: svi.update(state, features, labels), state, None, length=num_steps
        )
        return svi.get_params(state) | {"losses": losses}

    return run


def value(run: Callable[[jax.Array], Any], data: work.Regression) -> Callable[[], Any]:
    """Returns what judges one run."""

    def fit() -> tuple[Any, Any]:
        phi = run(jax.random.key(3))
        return phi["loc"], phi["log_scale"]

    return functools.partial(ours.fit_value, fit, data)


def iwae(config: work.Config, num_samples: int) -> Contest:
    """W2: steps up the IWAE bound by `RenyiELBO(alpha=0)`."""
    params, x, reference = ours.iwae_entry(config, num_samples)
    svi, num_steps = iwae_svi(params, num_samples), work.steps_at_once(num_samples)
    state = svi.init(jax.random.key(config.seed), x)
    update = jax.jit(svi.update)

    def loop(state: Any, x: Any) -> Any:
        losses = []
        for _ in range(num_steps):
            state, loss = update(state, x)
            losses.append(loss)
        return state, losses

    def scan(state: Any, x: Any) -> Any:
        return jax.lax.scan(lambda state, _: svi.update(state, x), state, None, length=num_steps)

    def bound(key: jax.Array) -> Any:
        return -update(state._replace(rng_key=key), x)[1] / len(x)

    def judge() -> Any:
        return ours.bound_value(bound, config.num_values, num_samples)

    programs = (
        Entry("jit(svi.update) in a loop", loop, (state, x), DISPATCH, judge, called),
        Entry("svi.update in jit(scan)", scan, (state, jnp.asarray(x)), ARITHMETIC, judge),
    )
    return Contest("W2 IWAE step", num_samples, len(x), num_steps, (reference, *programs))


def iwae_svi(params: vi.Params, num_samples: int) -> Any:
    """Returns the `SVI` of the autoencoder with K particles and the bound of α = 0, which is IWAE's."""
    import numpyro
    import numpyro.distributions as dist
    import optax
    from numpyro.infer import SVI, RenyiELBO

    def model(x: Any) -> None:
        theta: Any = numpyro.param("theta", params.theta)
        with numpyro.plate("batch", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(work.LATENT_DIM), 1).to_event(1))
            logits = dense(theta["logits"], layers(theta, z))
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Any) -> None:
        phi: Any = numpyro.param("phi", params.phi)
        with numpyro.plate("batch", len(x)):
            hidden = layers(phi, x)
            scale = jnp.exp(dense(phi["log_scale"], hidden))
            numpyro.sample("z", dist.Normal(dense(phi["loc"], hidden), scale).to_event(1))

    bound = RenyiELBO(alpha=0, num_particles=num_samples)
    return SVI(model, guide, optax.adam(work.NETWORK_LEARNING_RATE), bound)


def layers(weights: Any, x: Any) -> Any:
    """Returns the last hidden layer."""
    for i in range(len(work.HIDDEN)):
        x = jnp.tanh(dense(weights[f"Dense_{i}"], x))
    return x


def dense(layer: Any, x: Any) -> Any:
    """Returns x W + b."""
    return x @ layer["kernel"] + layer["bias"]
