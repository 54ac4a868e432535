"""Modes of a log density, from many starts at once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.training.ascent import Ascent, LogDensity, ascender, check_starts, check_tolerance, is_done, is_finite


class Modes(NamedTuple):
    """Where M ascents ended.

    Attributes:
      location: `[M, D]`.
      log_density: `[M]` nats. −∞ where the start had no finite log density.
      gradient_norm: `[M]` Euclidean norm, in nats per unit of z.
      gain_left: `[M]` nats, what L-BFGS's own curvature says is left to gain.
      num_steps: `[M]` int32.
      converged: `[M]`, whether `gain_left` is below the tolerance. Where it is not, the density is unbounded or nearly
        flat, the line search met a cliff, or the steps were too few.
    """

    location: jax.Array
    log_density: jax.Array
    gradient_norm: jax.Array
    gain_left: jax.Array
    num_steps: jax.Array
    converged: jax.Array


def find_modes(
    log_density: LogDensity, starts: jax.Array, *, num_steps: int = 500, memory_size: int = 10, tolerance: float = 1e-5
) -> Modes:
    """Climbs log p from M starts by L-BFGS, until ½ gᵀ P g is below the tolerance, at most `num_steps` steps.

    ½ gᵀ P g, with P the inverse curvature that L-BFGS has met, is the height of a quadratic above the iterate, in
    nats and in no unit of z, so that one tolerance serves all densities. Not a global search: each start finds the
    mode of its own basin, and a density that grows without bound, as the centred eight schools towards τ = 0, none;
    that start ends at the last step, not converged. Places where log p is not finite are never entered.

    Price: a gradient per step and one to three per line search; the M starts run together and wait for the slowest.
    One compiled program for a log density that is the same object; arrays in it are constants of that program unless
    it is a `jax.tree_util.Partial`.

    Args:
      log_density: z `[D]` -> scalar nats.
      starts: `[M, D]`.
      num_steps: the most steps of each ascent.
      memory_size: pairs that L-BFGS keeps.
      tolerance: nats. Below the rounding of log p's gradient nothing converges.

    Raises:
      TypeError, ValueError: `starts` is not `[M, D]` or has NaN, a count is not a positive integer, or the tolerance
        is not above 0.
    """
    num_steps = checks.check_positive_int("num_steps", num_steps)
    memory_size = checks.check_positive_int("memory_size", memory_size)
    return _find(as_partial(log_density), check_starts(starts), check_tolerance(tolerance), num_steps, memory_size)


def as_partial(log_density: LogDensity) -> Partial:
    """Returns the log density as a pytree, so that the arrays of a `Partial` are arguments of a program."""
    return log_density if isinstance(log_density, Partial) else Partial(log_density)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _find(log_density: Partial, starts: jax.Array, tolerance: float, num_steps: int, memory_size: int) -> Modes:
    start, step = ascender(log_density, memory_size)

    def climb(z: jax.Array) -> Ascent:
        def goes_on(now: Ascent) -> jax.Array:
            return ~is_done(now, tolerance) & (now.num_steps < num_steps)

        return jax.lax.while_loop(goes_on, step, start(z))

    ends = jax.vmap(climb)(starts)
    norms = jnp.linalg.norm(ends.gradient, axis=-1)
    converged = (ends.gain_left < tolerance) & jax.vmap(is_finite)(ends)
    return Modes(ends.location, ends.log_density, norms, ends.gain_left, ends.num_steps, converged)
