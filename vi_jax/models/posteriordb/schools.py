"""Eight schools as posteriordb has it: `models.eight_schools`, with θ, μ and τ reported under both parametrizations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax.models.hierarchical import CENTRED, NON_CENTRED, Parametrization, eight_schools
from vi_jax.models.posteriordb.forms import columns, reported
from vi_jax.models.unconstrained import Target


class SchoolEffects(NamedTuple):
    """Parameters: the effects `[J]`, and the mean and standard deviation of their prior."""

    theta: Any
    mu: Any
    tau: Any


def eight_schools_centred(data: Mapping[str, Any]) -> Target:
    """Makes eight_schools-eight_schools_centered, over z = (θ, μ, log τ).

    As `models.eight_schools`, normalised: log Z = −31.31134735.

    Args:
      data: effects `y` and their standard errors `sigma`, each `[J]`.

    Raises:
      ValueError: the data lack a name, or have another shape; an error is not positive.
    """
    return _schools(CENTRED, data)


def eight_schools_noncentred(data: Mapping[str, Any]) -> Target:
    """Makes eight_schools-eight_schools_noncentered, over z = ((θ − μ)/τ, μ, log τ); else as `eight_schools_centred`.

    Args:
      data: as there.

    Raises:
      ValueError: as there.
    """
    return _schools(NON_CENTRED, data)


def _schools(parametrization: Parametrization, data: Mapping[str, Any]) -> Target:
    effects, errors = columns("eight_schools", data, "y", "sigma")

    def constrain(z: jax.Array) -> SchoolEffects:
        mu, tau = z[-2], jnp.exp(z[-1])
        return SchoolEffects(parametrization.effect(mu, tau, z[:-2]), mu, tau)

    def unconstrain(parameters: SchoolEffects) -> jax.Array:
        # Both θ and e are affine in the same standard normal numbers.
        theta, mu, tau = map(jnp.asarray, parameters)
        loc, scale = parametrization.law(mu, tau)
        return jnp.concatenate([loc + scale * (theta - mu) / tau, jnp.stack([mu, jnp.log(tau)])])

    model = eight_schools(parametrization, errors=errors)
    dim = len(effects) + 2
    return reported(Target(model, np.asarray(effects)[None], dim, constrain, unconstrain, (), np.zeros(dim)))
