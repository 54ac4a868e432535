"""The ELBO of the autoencoder by hand, as `references` writes its IWAE bound: plain products of flat matrices."""

from typing import Any

import jax
import jax.numpy as jnp

import vi_jax as vi
from vi_jax.models.bernoulli import bernoulli_log_prob


def elbo(key: jax.Array, params: vi.Params, x: jax.Array, *, num_samples: int) -> jax.Array:
    """Returns the mean over batch and draws of log p(x, z) − log q(z | x), in nats; all K draws in one matrix."""
    loc, log_scale = _heads(params.phi, x, "loc", "log_scale")
    noise = jax.random.normal(key, (num_samples, *loc.shape))
    z = loc + jnp.exp(log_scale) * noise
    (logits,) = _heads(params.theta, z.reshape(-1, loc.shape[1]), "logits")
    pixels = jnp.broadcast_to(x, (num_samples, *x.shape)).reshape(logits.shape)
    log_likelihood = jnp.sum(bernoulli_log_prob(logits, pixels)) / num_samples
    log_ratio = jnp.sum(log_scale) - jnp.sum(z**2 - noise**2) / (2 * num_samples)
    return (log_likelihood + log_ratio) / len(x)


def value_and_grad(key: jax.Array, params: vi.Params, x: jax.Array, *, num_samples: int) -> tuple[jax.Array, vi.Params]:
    """Returns minus the ELBO, and its gradient."""
    return jax.value_and_grad(lambda params: -elbo(key, params, x, num_samples=num_samples))(params)


def _heads(weights: Any, x: jax.Array, *names: str) -> list[jax.Array]:
    for name in sorted(name for name in weights if name.startswith("Dense")):
        x = jnp.tanh(x @ weights[name]["kernel"] + weights[name]["bias"])
    return [x @ weights[name]["kernel"] + weights[name]["bias"] for name in names]
