"""Draws of a guide, with everything that the checks and the weights need of the density at each."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.legality import refuse_dependent, refuse_scaled
from vi_jax.log_weights import batch_draws, check_inputs, check_problem, guide_log_prob, sample_and_score
from vi_jax.models.unconstrained import Target
from vi_jax.types import Guide, Params, PyTree

# Points at which the density is evaluated at once: bounds the memory that data times points take.
_AT_ONCE = 256

Density = Partial


class Evaluations(NamedTuple):
    """S draws of a guide, and the density at each, in nats.

    Attributes:
      z: `[S, D]`.
      log_joint: `[S]`.
      gradient: `[S, D]` of log_joint.
      log_q: `[S]`.
    """

    z: jax.Array
    log_joint: jax.Array
    gradient: jax.Array
    log_q: jax.Array


def check(key: jax.Array, target: Target, guide: Guide, params: Params) -> None:
    """Raises unless the guide and its parameters fit the target, whole data and independent draws."""
    check_inputs(key, params, target.x)
    if checks.check_batch("target.x", target.x) != 1:
        raise ValueError("target.x must have B = 1: one posterior, given all data.")
    refuse_scaled("diagnose", target.model, target.x)
    refuse_dependent("the standard errors of diagnose", guide)
    check_problem(target.model, guide, params, target.x)


def density(target: Target, params: Params) -> Density:
    """Returns `z [D] -> scalar`, the log joint in nats of all the target's data.

    A pytree of the data, so that programs that take it as an argument are compiled once for a target.
    """
    return Partial(target.model.log_joint, params.theta, jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], target.x))


@jax.jit
def values(log_joint: Density, points: jax.Array) -> jax.Array:
    """The log joint at `points` `[..., D]`, as `[...]`."""
    flat = points.reshape(-1, points.shape[-1])
    return jax.lax.map(log_joint, flat, batch_size=_AT_ONCE).reshape(points.shape[:-1])


def evaluate(key: jax.Array, target: Target, guide: Guide, params: Params, *, num_draws: int) -> Evaluations:
    """Draws S times from the guide and evaluates the density and its gradient at each; the key is consumed."""
    # The functions alone are static: a guide's support is an array, and arrays have no hash.
    return _evaluate(target.model.log_joint, guide._replace(support=None), num_draws, key, params, target.x)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _evaluate(log_joint, guide: Guide, num_draws: int, key: jax.Array, params: Params, x: PyTree) -> Evaluations:
    z, log_q = sample_and_score(guide, params.phi, batch_draws(key, x, jnp.arange(num_draws)))
    datum = jax.tree.map(lambda leaf: leaf[0], x)
    one = jax.value_and_grad(lambda z: log_joint(params.theta, datum, z))
    value, gradient = jax.lax.map(one, z[0], batch_size=_AT_ONCE)
    return Evaluations(z[0], value, gradient, log_q[0])


def log_q_of(guide: Guide, params: Params, x: PyTree, z: jax.Array) -> jax.Array:
    """log q(z_r) of given points `[R, D]`, as `[R]`."""
    return guide_log_prob(guide, params.phi, x, z[None])[0]
