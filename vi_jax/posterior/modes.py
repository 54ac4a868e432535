"""Modes that a guide does not cover, of which weights of its own draws say nothing."""

from typing import NamedTuple

import jax
import numpy as np

from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import density, log_q_of, values
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.parameters import flatten
from vi_jax.types import Guide, Params

# A weight of e⁵ times the evidence: what is 150 times as likely as the guide says is not a matter of its tails.
_EXCESS = 5.0
# Of the evidence, in nats: a place that holds less than 1 % changes no mean by more than a hundredth of its distance.
_LEAST_SHARE = float(np.log(0.01))
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
    """Places that hold mass and that the guide all but excludes.

        log p(x, z_m) − log q(z_m) > log Ẑ + 5   and   log mass_m > log Ẑ + log 0.01

    where Ẑ is the guide's estimate of the evidence: its weights would all be near Ẑ if it were the posterior. The draws
    of a guide that sits on one of two modes have such weights, and an excellent k̂. The sum of Ẑ and the masses tells
    how much is missed. What no ascent has met is not seen here either.
    """
    log_q = np.asarray(log_q_of(guide, params, target.x, places.location))
    excess = np.asarray(values(density(target, params), places.location)) - log_q - log_evidence
    mass = np.asarray(places.log_mass) - log_evidence
    wrong = np.flatnonzero((excess > _EXCESS) & (mass > _LEAST_SHARE) & np.isfinite(mass))
    if not wrong.size:
        return []
    worst = wrong[np.argmax(mass[wrong])]
    row = flatten(jax.vmap(target.constrain)(places.location[worst : worst + 1]))[0]
    shown = ", ".join(f"{name} = {value:.4g}" for name, value in zip(target.names[:_SHOWN], row, strict=False))
    more = ", …" if len(target.names) > _SHOWN else ""
    text = (
        f"Another mode: an ascent ended near {shown}{more}, where the posterior is e^{excess[worst]:.3g} times as dense"
        f" as the guide says, and a Gaussian there holds {np.exp(mass[worst]):.2g} times the mass that the guide has"
        " found. k̂ and the standard errors know nothing of it. Take a guide with several components"
        " (guides.gaussian_mixture), or start in each mode and weigh the fits by their evidence."
    )
    return [Finding("mode", text, is_fatal=True)]
