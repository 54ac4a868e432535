"""The certificate of discrete latents: bits and their relaxations, judged by sums over codes and by quadrature.

    log p(x, z) = 2 log ½ + log N(x; tanh(θ₀ z₀ + θ₁ z₁) + θ₂ z₀ z₁, ½²),   z ∈ {0, 1}², or inside the square

a function of the bits that is neither linear nor a sum over them, and defined between the codes.

    Bernoulli          q = Π_j Bernoulli(sigmoid(φ_j)); ∇E[L_K] by summing over all 4^K tuples of codes
    relaxed            one bit (z₁ = z₀) as a Concrete at τ = ½; ∇E[L_K] of the relaxed bound by a quadrature over its
                       noise and the law of log w (`models.weight_laws`), differentiated in θ and φ
    straight-through   hard bits with the derivative of relaxed ones, against ∇ELBO of the discrete guide
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import bounds, estimators, objectives
from vi_jax.models import weight_laws

DATUM = 0.8
THETA = (1.1, -0.7, 0.9)
LOGITS = (0.4, -0.8)
TEMPERATURE = 0.5


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


# --- bits ------------------------------------------------------------------------------------------------------------


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
    return lambda k: Problem(estimated(objective(k), point(2)), exact_bits(bound, k))


def of_pair(bound: vi.BoundFn, estimator: vi.Estimator) -> Callable[[int], Problem]:
    """Returns the problem of a bound and an estimator."""
    return of_bits(lambda k: vi.value_and_grad(MODEL, BITS, bound, estimator, num_samples=k), bound)


def relax_at_start(num_samples: int) -> vi.Objective:
    """Returns `objectives.relax` at its initial control, which stays."""
    objective = objectives.relax(MODEL, BITS, num_samples=num_samples)

    def at_start(key: jax.Array, params: vi.Params, x: jax.Array) -> tuple[jax.Array, vi.Params]:
        values, gradient, _ = objective(key, params, x, objectives.initial_control())
        return values, gradient

    return at_start


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
BERNOULLI = (
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
)


# --- one relaxed bit -------------------------------------------------------------------------------------------------


def relaxed_law(theta: jax.Array, logit: jax.Array) -> weight_laws.WeightLaw:
    """Returns the law of log w of one relaxed bit, on 1601 nodes of its logistic noise.

    In y = logit z the density is that of a logistic, and dz = z (1 − z) dy: no digit is lost near z = 1.
    """
    noise = np.linspace(-40, 40, 1601)
    of_noise = -np.logaddexp(0, noise) - np.logaddexp(0, -noise)
    y = (logit + noise) / TEMPERATURE
    log_q = jnp.log(TEMPERATURE) + of_noise + jax.nn.softplus(y) + jax.nn.softplus(-y)
    joint = jax.vmap(lambda z: log_joint(theta, jnp.asarray(DATUM), z[None]))(jax.nn.sigmoid(y))
    return weight_laws.WeightLaw(joint - log_q, jnp.asarray(of_noise - np.log(np.exp(of_noise).sum())))


@functools.cache
def exact_relaxed(bound: str, num_samples: int) -> np.ndarray:
    """Returns ∇E[L_K] of the relaxed bound in θ and the logit, `[4]`."""
    alpha = {"elbo": 1.0, "iwae": 0.0}[bound]

    def expected(theta: jax.Array, logit: jax.Array) -> jax.Array:
        return weight_laws.expected_renyi(relaxed_law(theta, logit), num_samples, alpha=alpha)

    theta, (logit,) = point(1)
    return np.append(*jax.jit(jax.grad(expected, (0, 1)))(theta, logit))


RELAXED = vi.guides.relaxed(vi.guides.bernoulli(1), temperature=TEMPERATURE)
RELAXED_PAIR = vi.guides.relaxed(vi.guides.categorical(2), temperature=TEMPERATURE)
BOUNDS = {"elbo": bounds.elbo, "iwae": bounds.iwae}


def of_relaxed(bound: str, estimator: vi.Estimator) -> Callable[[int], Problem]:
    """Returns the problem of a relaxed bit."""

    def build(num_samples: int) -> Problem:
        objective = vi.value_and_grad(MODEL, RELAXED, BOUNDS[bound], estimator, num_samples=num_samples)
        return Problem(estimated(objective, point(1)), exact_relaxed(bound, num_samples))

    return build


def of_relaxed_category(bound: str, estimator: vi.Estimator) -> Callable[[int], Problem]:
    """Returns the problem of two relaxed categories, the bit being the second: l = (0, logit)."""
    model = vi.Model(MODEL.init, lambda theta, x, z: log_joint(theta, x, z[1:]))

    def build(num_samples: int) -> Problem:
        objective = vi.value_and_grad(model, RELAXED_PAIR, BOUNDS[bound], estimator, num_samples=num_samples)
        params = vi.Params(point(1).theta, jnp.array([0.0, LOGITS[0]]))
        *theta, logit = exact_relaxed(bound, num_samples)
        return Problem(estimated(objective, params), np.array([*theta, -logit, logit]))

    return build


def relaxed_for_discrete(num_samples: int) -> Problem:
    """The relaxed ELBO's gradient, taken for that of the discrete ELBO: two relaxed bits."""
    guide = vi.guides.relaxed(BITS, temperature=TEMPERATURE)
    objective = vi.value_and_grad(MODEL, guide, bounds.elbo, estimators.pathwise, num_samples=num_samples)
    return Problem(estimated(objective, point(2)), exact_bits(bounds.elbo, 1))


def straight_through(num_samples: int) -> Problem:
    """φ̄ of straight-through bits, taken for that of the discrete ELBO."""
    guide = vi.guides.straight_through(BITS, temperature=TEMPERATURE)
    objective = vi.value_and_grad(MODEL, guide, bounds.elbo, estimators.pathwise, num_samples=num_samples)
    gradient = estimated(objective, point(2))
    return Problem(lambda key: gradient(key)[3:], exact_bits(bounds.elbo, 1)[3:])


FORMULAS = {
    "pathwise": "Σ_k a_k d log w_k/dφ",
    "sticking_the_landing": "Σ_k a_k ∂_z log w_k ∂_φ z_k",
    "doubly_reparameterized": "Σ_k (a_k − h_k) ∂_z log w_k ∂_φ z_k",
}
CONCRETE = "arXiv:1611.00712, 1611.01144"


def relaxed_row(family: str, bound: str, name: str, of: Callable[..., Callable[[int], Problem]]) -> ObjectiveRow:
    """Returns the row of a pair of bound and path estimator."""
    build = of(bound, getattr(estimators, name))
    return ObjectiveRow(
        family, bound, name, UNBIASED, "unbiased for the relaxed bound", FORMULAS[name], CONCRETE, build
    )


PATHS = (
    *(relaxed_row("relaxed bit", "elbo", name, of_relaxed) for name in FORMULAS),
    *(relaxed_row("relaxed bit", "iwae", name, of_relaxed) for name in ("pathwise", "doubly_reparameterized")),
    relaxed_row("relaxed category", "iwae", "doubly_reparameterized", of_relaxed_category),
    ObjectiveRow(
        "relaxed bits",
        "elbo of the bits themselves",
        "pathwise",
        BIASED,
        "biased by the relaxation",
        FORMULAS["pathwise"],
        CONCRETE,
        relaxed_for_discrete,
    ),
    ObjectiveRow(
        "straight-through",
        "elbo",
        "pathwise",
        BIASED,
        "biased, sign unknown, not by K",
        FORMULAS["pathwise"] + ", z hard, ∂_φ z relaxed",
        "arXiv:1308.3432",
        straight_through,
    ),
)

ROWS: tuple[ObjectiveRow, ...] = (*BERNOULLI, *PATHS)
