"""Modes that a guide does not cover, of which weights of its own draws say nothing."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.log_weights import batch_draws, sample_and_score
from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import Density, density, log_q_of, values
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.parameters import flatten
from vi_jax.types import Guide, Params, PyTree

# A weight of e⁵ times the evidence: what is 150 times as likely as the guide says is not a matter of its tails.
_EXCESS = 5.0
# Of the evidence, in nats: a place that holds less than 1 % changes no mean by more than a hundredth of its distance.
_LEAST_SHARE = float(np.log(0.01))
# Nats that the density must fall on the way for two places to be apart.
_LEAST_BARRIER = 1.0
_NUM_DRAWS = 64
_POINTS_BETWEEN = 31
_SHOWN = 6


class Places(NamedTuple):
    """Where ascents from several starts have been.

    Attributes:
      location: `[M, D]`, centres of Gaussians.
      log_mass: `[M]` nats, lower bounds of the log evidence by these Gaussians, as `training.Pathfinder.elbo`.
    """

    location: jax.Array
    log_mass: jax.Array


def missed(target: Target, guide: Guide, params: Params, places: Places, log_evidence: float) -> list[Finding]:
    """Places that hold mass, that the guide all but excludes, and that lie behind a valley.

        log p(x, z_m) − log q(z_m) > log Ẑ + 5,   log mass_m > log Ẑ + log 0.01,
        min_t log p(x, (1 − t) z_s + t z_m) < min(log p(x, z_s), log p(x, z_m)) − 1   for each of 64 draws z_s

    where Ẑ is the guide's estimate of the evidence: its weights would all be near Ẑ if it were the posterior. The draws
    of a guide that sits on one of two modes have such weights, and an excellent k̂. A place without a valley before it
    belongs to the guide's own mode, whose tails k̂ does see. What no ascent has met is not seen here either.

    Price: 2000 evaluations of log p for each place that the first two lines leave.
    """
    if not places.log_mass.size:
        return []
    log_joint = density(target, params)
    log_p = np.asarray(values(log_joint, places.location))
    excess = log_p - np.asarray(log_q_of(guide, params, target.x, places.location)) - log_evidence
    mass = np.asarray(places.log_mass) - log_evidence
    wrong = np.flatnonzero((excess > _EXCESS) & (mass > _LEAST_SHARE) & np.isfinite(mass))
    if not wrong.size:
        return []
    draws = _draws(guide, params, target.x)
    wrong = [m for m in wrong if _is_apart(log_joint, draws, places.location[m])]
    if not wrong:
        return []
    worst = max(wrong, key=lambda m: mass[m])
    return [Finding("mode", _text(target, places.location[worst], excess[worst], mass[worst]), is_fatal=True)]


@functools.partial(jax.jit, static_argnums=0)
def _draws(guide: Guide, params: Params, x: PyTree) -> jax.Array:
    z, _ = sample_and_score(guide, params.phi, batch_draws(jax.random.key(0), x, jnp.arange(_NUM_DRAWS)))
    return z[0]


def _is_apart(log_joint: Density, draws: jax.Array, place: jax.Array) -> bool:
    t = jnp.linspace(0, 1, _POINTS_BETWEEN + 2, dtype=draws.dtype)[:, None, None]
    along = np.asarray(values(log_joint, (1 - t) * draws + t * place))
    lowest = np.min(np.where(np.isnan(along), -np.inf, along), axis=0)
    return bool(np.all(lowest < np.minimum(along[0], along[-1]) - _LEAST_BARRIER))


def _text(target: Target, place: jax.Array, excess: float, mass: float) -> str:
    row = flatten(jax.vmap(target.constrain)(place[None]))[0]
    shown = ", ".join(f"{name} = {value:.4g}" for name, value in zip(target.names[:_SHOWN], row, strict=False))
    more = ", …" if len(target.names) > _SHOWN else ""
    return (
        f"Another mode: an ascent ended near {shown}{more}, where the posterior is e^{excess:.3g} times as dense as the"
        f" guide says, and a Gaussian there holds {np.exp(mass):.2g} times the mass that the guide has found. k̂ and the"
        " standard errors know nothing of it. Take a guide with several components (guides.gaussian_mixture), or start"
        " in each mode and weigh the fits by their evidence."
    )
