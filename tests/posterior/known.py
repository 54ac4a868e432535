"""A target of known posterior and evidence, and a guide of its family: log theta and mu jointly Gaussian."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.guides import FullRank
from vi_jax.models import supports

LOG_Z = -3.0
LOC = np.array([1.0, 0.5, -0.3], np.float32)
SCALE = np.array([[0.5, 0, 0], [0.3, 0.4, 0], [0, -0.2, 0.3]], np.float32)
COVARIANCE = SCALE @ SCALE.T
GUIDE = vi.guides.full_rank(3)
NUM_DRAWS = 2000


def log_density(parameters):
    """`{"a": {"mu": scalar}, "theta": [2]}`: (mu, log theta) ~ N(LOC, SCALE SCALEᵀ), times e^LOG_Z."""
    z = jnp.array([parameters["a"]["mu"], *jnp.log(parameters["theta"])])
    noise = jnp.linalg.solve(SCALE, z - LOC)
    normal = -jnp.sum(noise**2) / 2 - 1.5 * math.log(2 * math.pi) - np.sum(np.log(np.diag(SCALE)))
    return LOG_Z + normal - jnp.sum(jnp.log(parameters["theta"]))


TARGET = vi.models.unconstrained(log_density, {"a": {"mu": 0.0}, "theta": np.ones(2)}, {"theta": supports.positive})


def moments():
    """Mean and sd of mu, theta[0], theta[1]: normal and log-normal."""
    variance = np.diag(COVARIANCE)[1:]
    mean = np.exp(LOC[1:] + variance / 2)
    sd = mean * np.sqrt(np.expm1(variance))
    return np.append(LOC[0], mean), np.append(np.sqrt(COVARIANCE[0, 0]), sd)


def params(shift=0.0, scale=1.0):
    """The posterior's own φ, but for a shift along its axes and a factor on its scale."""
    rows, columns = np.tril_indices(3, -1)
    loc = LOC + shift * SCALE.sum(axis=1)
    log_scale = np.log(scale * np.diag(SCALE))
    return vi.Params((), FullRank(*(jnp.asarray(p) for p in (loc, log_scale, scale * SCALE[rows, columns]))))


@functools.cache
def diagnosis(shift=0.0, scale=1.0):
    return vi.diagnose(jax.random.key(0), TARGET, GUIDE, params(shift, scale), num_draws=NUM_DRAWS)
