"""The same work written by hand: what the library's times are divided by.

A reference is what a careful user writes without the library: plain matrix products over all draws at once, one key
for all noise, `jax.value_and_grad` of minus the bound. Its Bernoulli term is the library's `bernoulli_log_prob`, so
that no ratio is flattered by a slower one. It takes the library's parameters and has the library's expectations, but
its own draws: the library has a key per draw.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

import vi_jax as vi
from vi_jax.models.bernoulli import bernoulli_log_prob


def negative_elbo(phi: Any, key: jax.Array, features: jax.Array, labels: jax.Array, *, num_samples: int) -> jax.Array:
    """Returns minus the ELBO of a logistic regression with prior N(0, I), in nats, from S draws. No batch axis."""
    noise = jax.random.normal(key, (num_samples, features.shape[1]))
    z = phi.loc + jnp.exp(phi.log_scale) * noise
    logits = jnp.inner(z, features)
    log_likelihood = jnp.sum(bernoulli_log_prob(logits, jnp.broadcast_to(labels, logits.shape)), axis=1)
    return -jnp.mean(log_likelihood - jnp.sum(z**2 - noise**2, axis=1) / 2) - jnp.sum(phi.log_scale)


def fit_regression(
    key: jax.Array,
    params: vi.Params,
    x: tuple[jax.Array, jax.Array],
    *,
    optimizer: optax.GradientTransformation,
    num_samples: int,
    num_steps: int,
) -> tuple[Any, jax.Array]:
    """Returns φ after `num_steps` steps up the ELBO, and the ELBO before each, `[T]` nats. One scan.

    The keys of all steps are made before it, as `vi.fit` makes them: 16 bytes a step. Drawing all noise before it would
    take 4 S D bytes a step, and is another program.
    """
    features, labels = x[0][0], x[1][0]

    def step(state: tuple[Any, Any], step_key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        phi, opt_state = state
        value, gradient = jax.value_and_grad(negative_elbo)(phi, step_key, features, labels, num_samples=num_samples)
        updates, opt_state = optimizer.update(gradient, opt_state, phi)
        return (optax.apply_updates(phi, updates), opt_state), -value

    state = params.phi, optimizer.init(params.phi)
    (phi, _), values = jax.lax.scan(step, state, jax.random.split(key, num_steps))
    return phi, values


def iwae(key: jax.Array, params: vi.Params, x: jax.Array, *, num_samples: int) -> jax.Array:
    """Returns the IWAE bound of an autoencoder with tanh layers, `[B]` nats, all K draws in one matrix."""
    hidden = _layers(params.phi, x)
    loc, log_scale = _dense(params.phi["loc"], hidden), _dense(params.phi["log_scale"], hidden)
    noise = jax.random.normal(key, (num_samples, *loc.shape))
    z = loc + jnp.exp(log_scale) * noise
    logits = _dense(params.theta["logits"], _layers(params.theta, z.reshape(-1, loc.shape[1])))
    pixels = jnp.broadcast_to(x, (num_samples, *x.shape)).reshape(logits.shape)
    log_likelihood = jnp.sum(bernoulli_log_prob(logits, pixels), axis=1).reshape(num_samples, -1)
    log_w = log_likelihood - jnp.sum(z**2 - noise**2, axis=2) / 2 + jnp.sum(log_scale, axis=1)
    return jax.nn.logsumexp(log_w, axis=0) - math.log(num_samples)


def iwae_value_and_grad(
    key: jax.Array, params: vi.Params, x: jax.Array, *, num_samples: int
) -> tuple[jax.Array, vi.Params]:
    """Returns minus the mean of the IWAE bound over the batch, and its gradient."""
    return jax.value_and_grad(lambda params: -jnp.mean(iwae(key, params, x, num_samples=num_samples)))(params)


def _layers(weights: Any, x: jax.Array) -> jax.Array:
    for name in sorted(name for name in weights if name.startswith("Dense")):
        x = jnp.tanh(_dense(weights[name], x))
    return x


def _dense(layer: Any, x: jax.Array) -> jax.Array:
    return x @ layer["kernel"] + layer["bias"]
