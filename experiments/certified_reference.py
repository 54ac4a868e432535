"""The certificate of objectives whose draws come from another distribution than the guide, by quadrature over z.

The Gaussian problem of `experiments/certified_problems.py`, in one dimension. Every moment exists: the reference is
wider than the posterior, and the prior as defense bounds the weights by the likelihood.
"""

import functools
from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from experiments.certified_problems import DATUM, log_joint, log_normal
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import objectives
from vi_jax.models import weight_laws

THETA = -0.4
# m and log s, where q is narrower than the posterior.
PHI = (0.7, -0.5)
REFERENCE = (0.2, 0.4)
SHARE = 0.3
# Seven standard deviations of the reference, beyond which is 1e-12 of it; log w spans a hundred nats.
NODES = np.linspace(-11, 11, 2201)

MODEL = vi.Model(lambda key: jnp.zeros(()), lambda theta, x, z: log_joint(theta, z))
# z | x ~ N((θ + x)/2, ½): where the guide can be the posterior.
CONJUGATE = vi.Model(lambda key: jnp.zeros(()), lambda theta, x, z: log_normal(z, theta, 0.0) + log_normal(x, z, 0.0))


def normal(phi: jax.Array, x: jax.Array) -> distrax.Normal:
    """Returns N(m, s²) for phi = (m, log s)."""
    del x
    return distrax.Normal(phi[0], jnp.exp(phi[1]))


GUIDE = vi.Guide(lambda key: jnp.zeros(2), normal)


def wide(params: vi.Params, x: jax.Array) -> distrax.Normal:
    """Returns the reference of the log-variance."""
    del params
    return normal(jnp.asarray(REFERENCE), x)


def prior(params: vi.Params, x: jax.Array) -> distrax.Normal:
    """Returns the model's prior, the defense."""
    del x
    return distrax.Normal(params.theta, 1.0)


def point(phi: tuple[float, float] = PHI) -> vi.Params:
    """Returns θ and φ, in the precision in force."""
    return vi.Params(jnp.asarray(THETA), jnp.asarray(phi))


def estimated(objective: vi.Objective, params: vi.Params, take: slice) -> Callable[[jax.Array], jax.Array]:
    """Returns `key -> [P]`: of θ̄, m̄ and the slope in log s, those that are taken."""

    def estimate(key: jax.Array) -> jax.Array:
        _, gradient = objective(key, params, jnp.full((1,), DATUM))
        return jnp.concatenate([gradient.theta[None], gradient.phi])[take]

    return estimate


@functools.cache
def exact_forward_kl() -> np.ndarray:
    """Returns −∇KL(p(z | x) ‖ q) in m and log s: the posterior mean of the score."""
    theta, phi = point()
    posterior = jax.nn.softmax(log_joint(theta, jnp.asarray(NODES)))
    return np.asarray(jax.grad(lambda phi: jnp.sum(posterior * log_normal(jnp.asarray(NODES), *phi)))(phi))


def log_mixture(z: jax.Array) -> jax.Array:
    """Returns the log-density of guide and prior, mixed."""
    theta, (m, log_s) = point()
    return jnp.logaddexp(np.log1p(-SHARE) + log_normal(z, m, log_s), np.log(SHARE) + log_normal(z, theta, 0.0))


def exact_theta(log_r: jax.Array, num_samples: int) -> np.ndarray:
    """Returns the slope in θ of E log (1/K) Σ_k p(x, z_k)/r(z_k), for log r on the nodes."""
    log_prob = jax.nn.log_softmax(log_r)

    def expected(theta: jax.Array) -> jax.Array:
        law = weight_laws.WeightLaw(log_joint(theta, jnp.asarray(NODES)) - log_r, log_prob)
        return weight_laws.expected_renyi(law, num_samples, alpha=0.0)

    return np.asarray(jax.jit(jax.grad(expected))(jnp.asarray(THETA)))[None]


@functools.cache
def exact_log_variance(num_samples: int) -> np.ndarray:
    """Returns the slope in θ of the importance-weighted bound, and −∇½ Var_r(log w) in m and log s."""
    theta, phi = point()
    z = jnp.asarray(NODES)
    log_r = log_normal(z, *REFERENCE)
    r = jax.nn.softmax(log_r)

    def minus_half_variance(phi: jax.Array) -> jax.Array:
        log_w = log_joint(theta, z) - log_normal(z, *phi)
        return -(r @ log_w**2 - (r @ log_w) ** 2) / 2

    return np.concatenate([exact_theta(log_r, num_samples), jax.grad(minus_half_variance)(phi)])


def of_defense(take: slice, exact: Callable[[int], np.ndarray]) -> Callable[[int], Problem]:
    """Returns the problem of defensive wake-φ, in θ or in φ."""

    def build(num_samples: int) -> Problem:
        objective = objectives.defensive_wake_phi(MODEL, GUIDE, prior, share=SHARE, num_samples=num_samples)
        return Problem(estimated(objective, point(), take), exact(num_samples))

    return build


def log_variance(num_samples: int) -> Problem:
    """Returns the problem of the log-variance under the wide reference, in θ and φ."""
    objective = objectives.log_variance(MODEL, GUIDE, wide, num_samples=num_samples)
    return Problem(estimated(objective, point(), slice(None)), exact_log_variance(num_samples))


def log_variance_at_the_posterior(num_samples: int) -> Problem:
    """Returns the same where q is the posterior, in φ: zero for every draw."""
    objective = objectives.log_variance(CONJUGATE, GUIDE, wide, num_samples=num_samples)
    params = point(((THETA + DATUM) / 2, float(np.log(0.5) / 2)))
    return Problem(estimated(objective, params, slice(1, None)), np.zeros(2))


FAMILY = "Gaussian, other draws"
WAKE, VARGRAD = "arXiv:1805.10469", "arXiv:2010.10436"
VARIANCE_FORMULA = "Σ (log w − mean log w)/(K−1) ∂ log q, z ~ r"
ROWS = (
    ObjectiveRow(
        FAMILY,
        "forward KL",
        "defensive_wake_phi",
        BIASED,
        "φ̄ biased by O(1/K)",
        "Σ w̃ ∂ log q, w = p/r, r = (1 − share) q + share · prior",
        WAKE,
        of_defense(slice(1, None), lambda _: exact_forward_kl()),
        num_samples=(4, 16),
        order=1.0,
    ),
    ObjectiveRow(
        FAMILY,
        "iwae with r as proposal",
        "defensive_wake_phi",
        UNBIASED,
        "θ̄ unbiased",
        "that of θ: Σ w̃ ∂ log p",
        WAKE,
        of_defense(slice(1), lambda k: exact_theta(log_mixture(jnp.asarray(NODES)), k)),
    ),
    ObjectiveRow(
        FAMILY,
        "−½ Var_r(log w); θ: iwae with r as proposal",
        "log_variance",
        UNBIASED,
        "unbiased under any r",
        VARIANCE_FORMULA,
        VARGRAD,
        log_variance,
        num_samples=(2, 8),
    ),
    ObjectiveRow(
        FAMILY,
        "−½ Var_r(log w), q the posterior",
        "log_variance",
        UNBIASED,
        "φ̄ zero for every draw",
        VARIANCE_FORMULA,
        VARGRAD,
        log_variance_at_the_posterior,
        num_samples=(2, 8),
        zero_variance=True,
    ),
)
