"""The certificate of discrete latents: two bits under a guide of independent ones, judged by sums over codes.

    log p(x, z) = 2 log ½ + log N(x; tanh(θ₀ z₀ + θ₁ z₁) + θ₂ z₀ z₁, ½²),   z ∈ {0, 1}², or inside the square

a function of the bits that is neither linear nor a sum over them, and defined between the codes. ∇E[L_K] is a sum over
all 4^K tuples of codes. `experiments/certified_relaxed.py` has the relaxations of this problem.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import bounds, estimators, objectives

DATUM = 0.8
THETA = (1.1, -0.7, 0.9)
LOGITS = (0.4, -0.8)


def log_joint(theta: jax.Array, x: jax.Array, z: jax.Array) -> jax.Array:
    """Returns log p(x, z) for z `[2]`, or `[1]` for two bits that are one."""
    mean = jnp.tanh(theta[0] * z[0] + theta[1] * z[-1]) + theta[2] * z[0] * z[-1]
    return -2 * jnp.square(x - mean) - jnp.log(jnp.sqrt(2 * jnp.pi) / 2) - 2 * jnp.log(2.0)


MODEL = vi.Model(lambda key: jnp.zeros(3), log_joint)
BITS = vi.guides.bernoulli(2)


def point(num_bits: int) -> vi.Params:
    """Returns θ and the first logits, in the precision in force."""
    return vi.Params(jnp.asarray(THETA), jnp.asarray(LOGITS[:num_bits]))


def estimated(objective: vi.Objective, params: vi.Params) -> Callable[[jax.Array], jax.Array]:
    """Returns `key -> [P]`, an objective's raveled gradient at the datum."""
    return lambda key: ravel_pytree(objective(key, params, jnp.full((1,), DATUM))[1])[0]


@functools.cache
def exact_bits(bound: vi.BoundFn, num_samples: int) -> np.ndarray:
    """Returns ∇E[L_K] in θ and φ, `[5]`, over all 4^K tuples of codes."""

    def expected(params: vi.Params) -> jax.Array:
        x = jnp.asarray(DATUM)
        return vi.exact.expected_bound(bound, MODEL, BITS, params, x, num_samples=num_samples)

    return np.asarray(ravel_pytree(jax.jit(jax.grad(expected))(point(2)))[0])


def exact_forward_kl() -> np.ndarray:
    """Returns ∇log p(x) in θ and −∇KL(p(z | x) ‖ q) in φ, `[5]`: E_{p(z|x)} z_j − sigmoid(φ_j) in φ."""
    codes = vi.models.codes(2)

    def joint(theta: jax.Array) -> jax.Array:
        return jax.vmap(lambda z: log_joint(theta, jnp.asarray(DATUM), z))(codes)

    theta, logits = point(2)
    evidence = jax.grad(lambda theta: jax.nn.logsumexp(joint(theta)))(theta)
    return np.concatenate([evidence, jax.nn.softmax(joint(theta)) @ codes - jax.nn.sigmoid(logits)])


def of_bits(objective: Callable[[int], vi.Objective], bound: vi.BoundFn) -> Callable[[int], Problem]:
    """Returns the problem of an objective of K draws, or of K pairs, that climbs a bound."""
    return lambda k: Problem(estimated(objective(k), point(2)), exact_bits(bound, 1 if bound is bounds.elbo else k))


def of_pair(bound: vi.BoundFn, estimator: vi.Estimator) -> Callable[[int], Problem]:
    """Returns the problem of a bound and an estimator."""
    return of_bits(lambda k: vi.value_and_grad(MODEL, BITS, bound, estimator, num_samples=k), bound)


def relax_at_start(num_samples: int) -> vi.Objective:
    """Returns `objectives.relax` at its initial control, which stays."""
    objective = objectives.relax(MODEL, BITS, num_samples=num_samples)

    def at_start(key: jax.Array, params: vi.Params, x: jax.Array) -> tuple[jax.Array, vi.Params]:
        values, gradient, _ = objective(key, params, x, objectives.start_control())
        return values, gradient

    return at_start


def nvil_before_learning(num_samples: int) -> vi.Objective:
    """Returns `objectives.nvil` with a baseline of −1 nat, which stays, and no divisor."""
    predictor, optimizer = objectives.no_prediction(), optax.sgd(0.0)
    objective = objectives.nvil(MODEL, BITS, predictor, optimizer, num_samples=num_samples, divisor=jnp.ones_like)
    baseline = objectives.start_baseline(jax.random.key(0), predictor, optimizer)
    baseline = baseline._replace(mean=baseline.mean - 1)

    def before_learning(key: jax.Array, params: vi.Params, x: jax.Array) -> tuple[jax.Array, vi.Params]:
        values, gradient, _ = objective(key, params, x, baseline)
        return values, gradient

    return before_learning


def forward_kl(num_samples: int) -> Problem:
    """The enumerated forward KL."""
    del num_samples
    return Problem(estimated(objectives.enumerated_forward_kl(MODEL, BITS), point(2)), exact_forward_kl())


def wake_phi(num_samples: int) -> Problem:
    """φ̄ of wake-φ against that of the forward KL."""
    objective = vi.value_and_grad(MODEL, BITS, bounds.iwae, estimators.wake_phi, num_samples=num_samples)
    gradient = estimated(objective, point(2))
    return Problem(lambda key: gradient(key)[3:], exact_forward_kl()[3:])


PAIRS = "Σ_k ½ (s_k − s_k[z_k ← z̃_k]) {} ∂_φ l, s = L − a"
DISARM = functools.partial(objectives.disarm, MODEL, BITS)
ARM = functools.partial(objectives.arm, MODEL, BITS)
ROWS: tuple[ObjectiveRow, ...] = (
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "enumerated",
        UNBIASED,
        "exact",
        "Σ_z q(z) log w ∂_φ log q",
        "arXiv:1312.6114",
        of_bits(lambda k: objectives.enumerated(MODEL, BITS), bounds.elbo),
        (1,),
        zero_variance=True,
    ),
    ObjectiveRow(
        "Bernoulli",
        "forward KL",
        "enumerated_forward_kl",
        UNBIASED,
        "exact",
        "Σ_z p(z | x) ∂_φ log q",
        "arXiv:1406.2751",
        forward_kl,
        (1,),
        zero_variance=True,
    ),
    ObjectiveRow(
        "Bernoulli",
        "forward KL",
        "wake_phi",
        BIASED,
        "bias O(1/K)",
        "Σ_k w̃_k ∂_φ log q(z_k)",
        "arXiv:1406.2751",
        wake_phi,
        (4, 16),
        order=1.0,
    ),
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "leave_one_out",
        UNBIASED,
        "unbiased",
        "Σ_k (L − L₋ₖ) ∂_φ log q(z_k)",
        "arXiv:2010.10436",
        of_pair(bounds.elbo, estimators.leave_one_out),
        (2, 8),
    ),
    ObjectiveRow(
        "Bernoulli",
        "iwae",
        "vimco",
        UNBIASED,
        "unbiased",
        "Σ_k (L − L₋ₖ − a_k) ∂_φ log q(z_k)",
        "arXiv:1602.06725",
        of_pair(bounds.iwae, estimators.vimco),
        (2, 8),
    ),
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "arm",
        UNBIASED,
        "unbiased, K pairs",
        PAIRS.format("(1 − 2u_k)"),
        "arXiv:1807.11143",
        of_bits(lambda k: ARM(num_pairs=k), bounds.elbo),
    ),
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "disarm",
        UNBIASED,
        "unbiased, K pairs",
        PAIRS.format("(−1)^z̃ 1[z ≠ z̃] sigmoid(|l|)"),
        "arXiv:2006.10680",
        of_bits(lambda k: DISARM(num_pairs=k), bounds.elbo),
    ),
    ObjectiveRow(
        "Bernoulli",
        "iwae",
        "disarm",
        UNBIASED,
        "unbiased, K pairs",
        PAIRS.format("(−1)^z̃ 1[z ≠ z̃] sigmoid(|l|)"),
        "arXiv:2006.10680",
        of_bits(lambda k: DISARM(bounds.iwae, num_pairs=k), bounds.iwae),
        (2, 8),
    ),
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "relax",
        UNBIASED,
        "unbiased at any control, here τ = ½, η = 1",
        "(f − c̃) ∂_φ log q + ∂_φ c − ∂_φ c̃",
        "arXiv:1711.00123",
        of_bits(relax_at_start, bounds.elbo),
    ),
    ObjectiveRow(
        "Bernoulli",
        "elbo",
        "nvil",
        UNBIASED,
        "unbiased at any baseline, times 1/divisor; here c = −1, divisor 1",
        "Σ_k (log w_k − C_ψ(x) − c) ∂_φ log q(z_k) / (K divisor)",
        "arXiv:1402.0030",
        of_bits(nvil_before_learning, bounds.elbo),
    ),
)
