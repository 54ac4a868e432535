"""Deterministic ascent of a log density by L-BFGS: one step, and when to stop. What modes and Pathfinder share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vi_jax import checks
from vi_jax.lazy import optax

LogDensity = Callable[[jax.Array], jax.Array]
"""z `[D]` -> scalar, in nats up to a constant."""

# A step cut in half 30 times is 10⁻⁹ of the first: what is still NaN there is NaN at the iterate's doorstep.
_LINE_SEARCH_STEPS = 30


class Ascent(NamedTuple):
    """One iterate of L-BFGS.

    Attributes:
      location: z, `[D]`.
      log_density: log p(z), nats.
      gradient: ∇ log p(z), `[D]`.
      gain_left: ½ gᵀ P g, nats: what a quadratic with L-BFGS's inverse curvature P has left to gain. It does not depend
        on the units of z. Infinite before the first step, when no curvature is known.
      num_steps: steps taken.
      failures: line searches in a row that found no higher point.
      opt_state: optax's.
    """

    location: jax.Array
    log_density: jax.Array
    gradient: jax.Array
    gain_left: jax.Array
    num_steps: jax.Array
    failures: jax.Array
    opt_state: Any


class Ascender(NamedTuple):
    """`start: z -> Ascent`, and `step: Ascent -> Ascent`."""

    start: Callable[[jax.Array], Ascent]
    step: Callable[[Ascent], Ascent]


def ascender(log_density: LogDensity, memory_size: int) -> Ascender:
    """Makes L-BFGS with a zoom line search, for densities that are zero, infinite or NaN in places.

    The line search sees −log p, and +∞ wherever log p is not finite, so that it backs off from such places, from
    log p = +∞ as well: no maximum is there to be found. A search that finds nothing higher leaves the iterate, and the
    next begins with an empty memory: a curvature that was not positive may have spoilt the direction.

    Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989); Nocedal and Wright,
    "Numerical Optimization", algorithms 3.5, 3.6 and 7.5.

    Args:
      log_density: z `[D]` -> scalar nats.
      memory_size: pairs of steps and gradients to keep.
    """
    direction: Any = optax.scale_by_lbfgs(memory_size)
    search: Any = optax.scale_by_zoom_linesearch(_LINE_SEARCH_STEPS, initial_guess_strategy="one")

    def loss(z: jax.Array) -> jax.Array:
        value = -log_density(z)
        return jnp.where(jnp.isfinite(value), value, jnp.inf)

    def start(z: jax.Array) -> Ascent:
        value, slope = jax.value_and_grad(loss)(z)
        zero = jnp.zeros((), jnp.int32)
        unknown = jnp.full_like(value, jnp.inf)
        return Ascent(z, -value, -slope, unknown, zero, zero, (direction.init(z), search.init(z)))

    def step(now: Ascent) -> Ascent:
        towards, memory = direction.update(-now.gradient, now.opt_state[0], now.location)
        change, searched = search.update(
            -towards, now.opt_state[1], now.location, value=-now.log_density, grad=-now.gradient, value_fn=loss
        )
        location = now.location + change
        value, slope = jax.value_and_grad(loss)(location)
        is_higher = (-value > now.log_density) & jnp.all(jnp.isfinite(slope))
        # Rounding hides the last gains from the values, but not from the gradient.
        is_level = (-value == now.log_density) & (jnp.linalg.norm(slope) < jnp.linalg.norm(now.gradient))
        moved = is_higher | is_level
        fresh = start(now.location)
        there = Ascent(location, -value, -slope, now.gain_left, now.num_steps, jnp.zeros_like(now.failures), ())
        here = now._replace(failures=now.failures + 1, opt_state=())
        after = jax.tree.map(lambda a, b: jnp.where(moved, a, b), there, here)
        state = jax.tree.map(lambda a, b: jnp.where(moved, a, b), (memory, searched), fresh.opt_state)
        left = jnp.where(now.num_steps > 0, jnp.abs(jnp.vdot(now.gradient, towards)) / 2, jnp.inf)
        return after._replace(gain_left=left, num_steps=now.num_steps + 1, opt_state=state)

    return Ascender(start, step)


def is_done(now: Ascent, tolerance: float) -> jax.Array:
    """Returns whether there is nothing left to gain, nowhere to go, or no number to go on with."""
    return (now.gain_left < tolerance) | (now.failures > 1) | ~is_finite(now)


def is_finite(now: Ascent) -> jax.Array:
    """Returns whether log p, |z|² and |g|² are finite: the squares overflow on the way to infinity."""
    return jnp.isfinite(now.log_density + jnp.vdot(now.location, now.location) + jnp.vdot(now.gradient, now.gradient))


def check_starts(starts: jax.Array) -> jax.Array:
    """Returns `starts` in the default float type; raises `ValueError` unless they are `[M, D]` finite numbers."""
    starts = jnp.asarray(starts, float)
    if starts.ndim != 2 or not starts.size:
        raise ValueError(f"starts must be [M, D], M points to start from, got shape {starts.shape}: one is z[None].")
    checks.check_no_nan("starts", starts)
    return starts


def check_tolerance(tolerance: float) -> float:
    """Returns `tolerance`; raises `ValueError` unless it is above 0."""
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0 nats, got {tolerance}: rounding leaves a gain that never is 0.")
    return tolerance
