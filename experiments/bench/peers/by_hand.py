"""The work in plain JAX, written by hand: one scan of `jax.value_and_grad`, all draws at once, and `loops.py`.

These are no other framework but what one writes without any: the limit that the library should reach where the code is
good, and what it saves where the code is the first that comes to mind.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import vi_jax as vi
from experiments.bench import references
from experiments.bench.peers import loops, ours, work
from experiments.bench.peers.contest import ARITHMETIC, MEMORY, Contest, Entry, Value
from experiments.bench.programs import called

OPERATIONS = "operations counted"
CALL = "checks and dispatch of a call"


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits, IWAE steps, operations, variances, log p(x), gradients in many chunks, and a sweep."""
    for num_samples in config.regression_samples:
        yield fits(config, num_samples)
    for num_samples in config.image_samples:
        yield iwae(config, num_samples)
    yield operations(config)
    for num_samples in config.loop_samples:
        yield loops.variances(config, num_samples)
    yield evidence(config)
    if config.long_samples:
        yield long_chunks(config)
    if config.grid_samples:
        yield loops.grid(config)


def fits(config: work.Config, num_samples: int) -> Contest:
    """W1: one scan over steps; and what a call of the library costs besides its program: checks, and finding it."""
    data, reference = ours.fit_entry(config, num_samples)
    phi = vi.guides.mean_field(data.features.shape[1], initial_scale=work.INITIAL_SCALE).init(jax.random.key(0))
    arguments = jax.random.key(config.seed), ours.datum(data)

    def fit(key: jax.Array, x: Any) -> Any:
        return references.fit_regression(
            key,
            vi.Params((), phi),
            x,
            optimizer=ours.OPTIMIZER,
            num_samples=num_samples,
            num_steps=config.num_steps,
        )

    judge = functools.partial(ours.fit_value, lambda: jax.jit(fit)(jax.random.key(3), arguments[1])[0], data)
    entry = Entry("hand-written scan", fit, arguments, ARITHMETIC, judge)
    as_called = reference._replace(name="vi.fit as called", label=CALL, prepare=called)
    return Contest("W1 fit", num_samples, 1, config.num_steps, (reference, entry, as_called))


def iwae(config: work.Config, num_samples: int) -> Contest:
    """W2: one scan over steps, all draws in one matrix."""
    params, x, reference = ours.iwae_entry(config, num_samples)
    num_steps = work.steps_at_once(num_samples)

    def loss(params: vi.Params, key: jax.Array, x: jax.Array) -> jax.Array:
        return -jnp.mean(references.iwae(key, params, x, num_samples=num_samples))

    def steps(key: jax.Array, params: vi.Params, x: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            params, opt_state = state
            value, gradient = jax.value_and_grad(loss)(params, key, x)
            updates, opt_state = ours.NETWORK_OPTIMIZER.update(gradient, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        start = params, ours.NETWORK_OPTIMIZER.init(params)
        return jax.lax.scan(step, start, jax.random.split(key, num_steps))

    bound = jax.jit(lambda key: -loss(params, key, jnp.asarray(x)))
    judge = functools.partial(ours.bound_value, bound, config.num_values, num_samples)
    entry = Entry("hand-written scan", steps, (jax.random.key(config.seed), params, jnp.asarray(x)), ARITHMETIC, judge)
    return Contest("W2 IWAE step", num_samples, len(x), num_steps, (reference, entry))


def operations(config: work.Config, num_samples: int = 5) -> Contest:
    """W2: the operations of the library's gradients beside those of plain `jax.grad`. Nothing is run in turns."""
    params, x = ours.network_params(config.seed), jnp.asarray(work.images(config.seed, config.batch_size))
    arguments = jax.random.key(config.seed), params, x
    plain = functools.partial(references.iwae_value_and_grad, num_samples=num_samples)
    pairs = {
        "pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
        "STL": (vi.bounds.elbo, vi.estimators.sticking_the_landing),
        "DReG": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
        "wake-φ": (vi.bounds.iwae, vi.estimators.wake_phi),
    }
    entries = [Entry("jax.grad", plain, arguments, OPERATIONS, nothing_to_reach, max_runs=0)]
    for name, pair in pairs.items():
        objective = vi.value_and_grad(*ours.networks(), *pair, num_samples=num_samples)
        entries.append(Entry(name, objective, arguments, OPERATIONS, nothing_to_reach, max_runs=0))
    return Contest("W2 operations", num_samples, config.batch_size, 1, tuple(entries))


def nothing_to_reach() -> Value:
    """Returns a value that agrees with itself: a count of operations reaches nothing, and tests compare gradients."""
    return Value(0.0, 0.0)


def evidence(config: work.Config) -> Contest:
    """W3: log p(x) from K draws, streamed and all at once."""
    params = ours.network_params(config.seed)
    x = jnp.asarray(work.images(config.seed, config.evidence_batch_size))
    arguments, num_samples = (jax.random.key(config.seed), params, x), config.evidence_samples
    model, guide = ours.networks()

    def streamed(key: jax.Array, params: vi.Params, x: jax.Array) -> vi.Evidence:
        return vi.log_evidence(key, model, guide, params, x, num_samples=num_samples)

    naive = functools.partial(references.iwae, num_samples=num_samples)

    def streamed_value() -> Value:
        """Returns the mean over the batch; the naive one has as large an error of its own."""
        found = streamed(*arguments)
        error = float(jnp.sqrt(jnp.sum(found.standard_error**2))) / len(x)
        return Value(float(found.log_evidence.mean()), 5 * math.sqrt(2) * error)

    def naive_value() -> Value:
        return Value(float(jax.jit(naive)(*arguments).mean()), 0.0)

    entries = (
        Entry("vi.log_evidence", streamed, arguments, MEMORY, streamed_value, counted=math.nan),
        Entry("all draws at once", naive, arguments, MEMORY, naive_value),
    )
    return Contest("W3 log p(x)", num_samples, len(x), 1, entries, max(3, config.num_runs // 3))


def long_chunks(config: work.Config) -> Contest:
    """W5: one image and very many draws in chunks, beside one chunk of them: time per draw, and memory."""
    params, x = ours.network_params(config.seed), jnp.asarray(work.images(config.seed, 1))

    def entry(num_samples: int) -> Entry:
        objective = vi.value_and_grad(
            *ours.networks(),
            vi.bounds.iwae,
            vi.estimators.pathwise,
            num_samples=num_samples,
            chunk_size=config.chunk_size,
        )
        share = num_samples / config.long_samples
        arguments = jax.random.key(config.seed), params, x
        name = f"K = {num_samples}, in chunks"
        return Entry(name, objective, arguments, MEMORY, nothing_to_reach, share=share, counted=math.nan)

    return Contest("W5 many draws", config.long_samples, 1, 1, (entry(config.chunk_size), entry(config.long_samples)))
