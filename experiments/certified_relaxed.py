"""The certificate of relaxed and straight-through bits, on the problem of `experiments/certified_discrete.py`.

relaxed bit         one bit (z₁ = z₀) as a Concrete at τ = ½; ∇E[L_K] of the relaxed bound by a quadrature over its
                    noise and the law of log w (`models.weight_laws`), differentiated in θ and φ
relaxed category    the same bit as two categories: the same bound, so l = (0, φ) has the derivative (−φ̄, φ̄)
relaxed bits        two of them, against ∇ELBO of the discrete guide
straight-through    hard bits with the derivative of relaxed ones, against the same
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from experiments.certified_discrete import BITS, DATUM, LOGITS, MODEL, estimated, exact_bits, log_joint, point
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import bounds, estimators
from vi_jax.models import weight_laws

TEMPERATURE = 0.5


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


ROWS: tuple[ObjectiveRow, ...] = (
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
