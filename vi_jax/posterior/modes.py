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
_NUM_LOCAL = 256
_POINTS_BETWEEN = 31
_SHOWN = 6


class Places(NamedTuple):
    """Where ascents from several starts have been.

    Attributes:
      location: `[M, D]`, centres of Gaussians.
      log_mass: `[M]` nats, lower bounds of the log evidence by these Gaussians, as `training.Pathfinder.elbo`.
      scale_tril: `[M, D, D]` of these Gaussians, for `uncovered`; None where it is not known.
    """

    location: jax.Array
    log_mass: jax.Array
    scale_tril: jax.Array | None = None


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


def uncovered(target: Target, guide: Guide, params: Params, places: Places, log_evidence: float) -> list[Finding]:
    """Gaussians on whose draws the guide all but excludes more than 1 % of the evidence, valley or not.

        A = {z: log p(x, z) − log q(z) > log Ẑ + 5}
        log ∫_A p(x, z) dz ≥ log Pr_g(A) + E_g[log p(x, z) − log g(z) | A] > log Ẑ + log 0.01,   g = N(m, L Lᵀ)

    by 256 draws of g. A spike within a slab is such a place: in ten dimensions no draw of the slab comes near it, all
    weights are equal, and k̂ is excellent. Nothing is found where the Gaussians' factors are not known.

    Price: 256 evaluations of log p and of log q for each place.
    """
    if places.scale_tril is None or not places.log_mass.size:
        return []
    noise = jax.random.normal(jax.random.key(1), (_NUM_LOCAL, target.dim), places.location.dtype)
    masses = [
        _mass_of_excess(target, guide, params, loc, scale, noise, log_evidence)
        for loc, scale in zip(places.location, places.scale_tril, strict=True)
    ]
    worst = int(np.argmax(masses))
    if not masses[worst] > _LEAST_SHARE:
        return []
    text = (
        f"Mass out of sight: about {_described(target, places.location[worst])}, the posterior is more than 150 times"
        f" as dense as the guide says on a region that holds at least {np.exp(masses[worst]):.2g} times the mass that"
        " the guide has found. No draw of the guide meets it: k̂ and the standard errors know nothing of it. Take a"
        " guide with several components (guides.gaussian_mixture), one of them there."
    )
    return [Finding("mode", text, is_fatal=True)]


def _mass_of_excess(
    target: Target,
    guide: Guide,
    params: Params,
    loc: jax.Array,
    scale_tril: jax.Array,
    noise: jax.Array,
    log_evidence: float,
) -> float:
    """A lower bound, in nats relative to the guide's evidence; −∞ where the guide excludes nothing."""
    z = loc + noise @ scale_tril.T
    log_p = np.asarray(values(density(target, params), z))
    log_g = -jnp.sum(noise**2 + jnp.log(2 * jnp.pi), axis=1) / 2 - jnp.sum(jnp.log(jnp.diagonal(scale_tril)))
    excess = log_p - np.asarray(log_q_of(guide, params, target.x, z)) - log_evidence
    inside = (excess > _EXCESS) & np.isfinite(log_p)
    if not inside.any():
        return -np.inf
    return float(np.log(inside.mean()) + (log_p - np.asarray(log_g))[inside].mean()) - log_evidence


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
    return (
        f"Another mode: an ascent ended near {_described(target, place)}, where the posterior is e^{excess:.3g} times"
        f" as dense as the guide says, and a Gaussian there holds {np.exp(mass):.2g} times the mass that the guide has"
        " found. k̂ and the standard errors know nothing of it. Take a guide with several components"
        " (guides.gaussian_mixture), or start in each mode and weigh the fits by their evidence."
    )


def _described(target: Target, place: jax.Array) -> str:
    row = flatten(jax.vmap(target.constrain)(place[None]))[0]
    shown = ", ".join(f"{name} = {value:.4g}" for name, value in zip(target.names[:_SHOWN], row, strict=False))
    return shown + (", …" if len(target.names) > _SHOWN else "")
