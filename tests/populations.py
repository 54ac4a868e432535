"""Populations of draws on which claims about expectations are checked: all of a finite guide, many of a Gaussian."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.types import BoundFn, CoefficientFn, Coefficients

# --- all C^K tuples of draws from a finite guide ----------------------------------------------------------------------

# Numpy, so that the precision is that of the test. FACTS: C = 3, p(x, z) and the guide's logits.
LOG_JOINT = np.log(np.array([0.20, 0.05, 0.03]))
LOGITS = np.array([0.1, -0.4, 0.3])


def all_tuples(num_samples: int) -> np.ndarray:
    return np.array(list(itertools.product(range(len(LOGITS)), repeat=num_samples)))


def expected_bound(bound: BoundFn, num_samples: int, log_joint=LOG_JOINT, logits=LOGITS) -> jax.Array:
    """E[L_K], every tuple with its probability. Differentiable: its gradient is what unbiased means."""
    tuples, log_q = all_tuples(num_samples), jax.nn.log_softmax(jnp.asarray(logits))
    probability = jnp.exp(jnp.sum(log_q[tuples], axis=1))
    return jnp.sum(probability * bound((jnp.asarray(log_joint) - log_q)[tuples].T))


class Enumerated(NamedTuple):
    """Probabilities `[T]` of all tuples and an estimator's gradients `[T, 3]` on each."""

    probability: np.ndarray
    theta: np.ndarray
    phi: np.ndarray

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        return self.probability @ self.theta, self.probability @ self.phi

    def trace_of_covariance(self) -> float:
        """Of φ̄."""
        return float(np.sum(self.probability @ self.phi**2 - (self.probability @ self.phi) ** 2))


def enumerate_gradients(coefficients: CoefficientFn, num_samples: int) -> Enumerated:
    tuples, log_q = all_tuples(num_samples), np.asarray(jax.nn.log_softmax(jnp.asarray(LOGITS)))
    c = coefficients(jnp.asarray((LOG_JOINT - log_q)[tuples].T))
    one_hot = np.eye(3)[tuples]
    theta = np.einsum("kt,tkc->tc", c.model, one_hot)
    phi = np.einsum("kt,tkc->tc", c.score, one_hot - np.exp(log_q))
    return Enumerated(np.exp(log_q[tuples].sum(axis=1)), theta, phi)


# --- many draws of one Gaussian guide, each with its own derivatives --------------------------------------------------


class Draws(NamedTuple):
    """R replicates of K draws: log w `[K, R]` and, per draw, ∂_θ log p, ∂_z log w ∂_φ z and ∂_φ log q, `[K, R, P]`."""

    log_w: jax.Array
    model: jax.Array
    path: jax.Array
    score: jax.Array

    def gradient(self, c: Coefficients) -> np.ndarray:
        """`[R, 3]`: one θ̄ and two φ̄ (location, log scale) per replicate."""
        theta = jnp.einsum("kr,krp->rp", c.model, self.model)
        phi = jnp.einsum("kr,krp->rp", c.path, self.path) + jnp.einsum("kr,krp->rp", c.score, self.score)
        return np.asarray(jnp.concatenate([theta, phi], axis=1))


def gaussian_draws(key: jax.Array, num_samples: int, num_replicates: int) -> Draws:
    """z ~ N(m, s²), p(x, z) = N(z; θ, 1) N(x; z + ½ sin z, 1). The guide is wider than p, so all moments exist."""

    def log_normal(y, loc, scale):
        return -0.5 * ((y - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)

    def log_p(theta, z):
        return log_normal(z, theta, 1.0) + log_normal(0.8, z + 0.5 * jnp.sin(z), 1.0)

    def log_q(phi, z):
        return log_normal(z, phi[0], jnp.exp(phi[1]))

    def one(noise):
        theta, phi = jnp.asarray(-0.4), jnp.array([0.7, 0.1])
        z, pull = jax.vjp(lambda phi: phi[0] + jnp.exp(phi[1]) * noise, phi)
        slope = jax.grad(lambda z: log_p(theta, z) - log_q(phi, z))(z)
        return log_p(theta, z) - log_q(phi, z), jax.grad(log_p)(theta, z)[None], *pull(slope), jax.grad(log_q)(phi, z)

    return Draws(*jax.jit(jax.vmap(jax.vmap(one)))(jax.random.normal(key, (num_samples, num_replicates))))


def z_scores(samples: np.ndarray, expected=0.0) -> np.ndarray:
    """|mean − expected| in standard errors, per coordinate of `[R, ...]`; 0 where the samples are exactly that."""
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    distance = np.abs(np.mean(samples, axis=0) - expected)
    return np.where(distance == 0, 0.0, distance / np.where(error == 0, np.finfo(float).tiny, error))
