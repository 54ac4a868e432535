"""The ELBO of a mean-field Gaussian on draws that are fixed: a function like any other, maximised to convergence."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from vi_jax import checks
from vi_jax.guides.gaussian import MeanField
from vi_jax.training.ascent import LogDensity
from vi_jax.training.mode import as_partial, find_modes


class DeterministicFit(NamedTuple):
    """The maximum of the ELBO over N fixed draws, and how far it is from that over all draws.

    Attributes:
      phi: `MeanField` of `[D]`, φ̂.
      standard_error: `MeanField` of `[D]`: the Monte Carlo standard error of each number of φ̂, those of another N
        draws would differ by it.
      covariance: `[D, D]`, linear response: the covariance of z by how E_q z answers to a tilt of log p. It has the
        correlations that a mean-field guide has not, and on a Gaussian is exact.
      elbo: nats, on the fixed draws; too high by `optimism`.
      elbo_standard_error: nats.
      optimism: nats, tr((−H)⁻¹ G) / N: how much higher the ELBO is on the draws that chose φ̂ than on others, to first
        order. Where it is not small, N is.
      converged: whether the maximum was found.
      num_steps: int32, of L-BFGS.
    """

    phi: MeanField
    standard_error: MeanField
    covariance: jax.Array
    elbo: jax.Array
    elbo_standard_error: jax.Array
    optimism: jax.Array
    converged: jax.Array
    num_steps: jax.Array


def fit_deterministic(
    key: jax.Array, log_density: LogDensity, start: MeanField, *, num_draws: int = 30, num_steps: int = 1000
) -> DeterministicFit:
    """Maximises the ELBO of N(m, diag(s)²) on N fixed draws, and returns the Monte Carlo error of the maximum.

        L̂(φ) = (1/N) Σ_n log p(m + s ⊙ ε_n) + Σ_i log s_i + (D/2) log 2π e,   φ = (m, log s)
        Cov(φ̂) ≈ H⁻¹ G H⁻¹ / N,   G = Cov_n(∇ of the n-th term),   H = ∇²L̂(φ̂)
        Cov(z) ≈ the block of m in (−H)⁻¹

    No rate, no stopping rule and no noise: L-BFGS, and an error that says whether N was enough. For a mean-field guide
    alone: 2D numbers that each see one coordinate are held by N draws whatever D is. A full-rank guide has D of its
    numbers in each row, and for N < D the ELBO on fixed draws is unbounded: it flattens q in the direction that no
    draw has.

    Price: N gradients a step; at the end the Hessian, 2D of those, and O(D³).

    Giordano, Ingram and Broderick, "Black Box Variational Inference with a Deterministic Objective: Faster, More
    Accurate, and Even More Black Box" (arXiv:2304.05527), whose N is 30.

    Args:
      key: typed key, consumed.
      log_density: z `[D]` -> scalar nats; finite at the draws of the start.
      start: φ to start from.
      num_draws: N ≥ 2.
      num_steps: the most steps of L-BFGS.

    Raises:
      TypeError, ValueError: a count is no integer or too small, or `start` is not two vectors of one length.
    """
    checks.check_key(key)
    num_draws = checks.check_positive_int("num_draws", num_draws)
    num_steps = checks.check_positive_int("num_steps", num_steps)
    if num_draws < 2:
        raise ValueError("num_draws must be at least 2, got 1: one draw has no Monte Carlo error.")
    start = MeanField(*(jnp.asarray(leaf, float) for leaf in start))
    if start.loc.ndim != 1 or start.loc.shape != start.log_scale.shape:
        raise ValueError(f"start must hold two vectors [D], got {start.loc.shape} and {start.log_scale.shape}.")
    noise = jax.random.normal(key, (num_draws, start.loc.size), start.loc.dtype)
    return _fit(as_partial(log_density), noise, start, num_steps)


def _term(log_density: Partial, numbers: jax.Array, noise: jax.Array) -> jax.Array:
    """The ELBO on one draw, `noise` `[D]`, as a function of the 2D numbers of φ."""
    loc, log_scale = jnp.split(numbers, 2)
    entropy = jnp.sum(log_scale) + loc.size / 2 * math.log(2 * math.pi * math.e)
    return log_density(loc + jnp.exp(log_scale) * noise) + entropy


def _mean_term(log_density: Partial, noise: jax.Array, numbers: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(lambda draw: _term(log_density, numbers, draw))(noise))


@functools.partial(jax.jit, static_argnums=3)
def _fit(log_density: Partial, noise: jax.Array, start: MeanField, num_steps: int) -> DeterministicFit:
    objective = Partial(_mean_term, log_density, noise)
    flat, unflatten = ravel_pytree(start)
    found = find_modes(objective, flat[None], num_steps=num_steps)
    numbers = found.location[0]
    terms, gradients = jax.vmap(jax.value_and_grad(functools.partial(_term, log_density)), (None, 0))(numbers, noise)
    inverse = jnp.linalg.inv(-jax.hessian(objective)(numbers))
    spread = jnp.cov(gradients.T, ddof=1) / len(noise)
    errors = jnp.sqrt(jnp.diagonal(inverse @ spread @ inverse))
    return DeterministicFit(
        phi=unflatten(numbers),
        standard_error=unflatten(errors),
        covariance=inverse[: start.loc.size, : start.loc.size],
        elbo=jnp.mean(terms),
        elbo_standard_error=jnp.std(terms, ddof=1) / len(noise) ** 0.5,
        optimism=jnp.sum(inverse * spread),
        converged=found.converged[0],
        num_steps=found.num_steps[0],
    )
