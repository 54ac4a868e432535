"""Certificate of dependent draws: antithetic pairs and Sobol points, on the Gaussian problem of `certified_problems`.

Each draw alone is one of q, so E of the ELBO is that of independent draws. Of a pair ε, −ε, E[IWAE₂] is an integral
over the one ε, and differentiates as such.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from experiments import certified_problems as problems
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import bounds, estimators, guides, legality

MODEL = vi.Model(lambda key: jnp.zeros(()), lambda theta, x, z: problems.log_joint(theta, z[0]))
BASE = guides.mean_field(1)
SAMPLERS = {"antithetic": guides.antithetic(BASE, 1), "quasi_monte_carlo": guides.quasi_monte_carlo(BASE, 1)}


def point() -> vi.Params:
    """Returns θ, m and log s of the Gaussian problem."""
    theta, m, log_s = (jnp.asarray(value) for value in problems.POINT)
    return vi.Params(theta, guides.MeanField(m[None], log_s[None]))


def estimate(guide: vi.Guide, bound: vi.BoundFn, rule: vi.Estimator, num_samples: int, key: jax.Array) -> jax.Array:
    """Returns one estimate of the gradient in θ, m and log s, `[3]`."""
    objective = vi.value_and_grad(MODEL, guide, bound, rule, num_samples=num_samples)
    _, gradient = objective(key, point(), jnp.zeros((1, 1)))
    return jnp.concatenate([gradient.theta[None], gradient.phi.loc, gradient.phi.log_scale])


def elbo(guide: vi.Guide, rule: vi.Estimator, num_samples: int) -> Problem:
    """The ELBO, whose expectation dependence leaves as it is."""
    exact = problems.exact_gaussian(("elbo",), 1)["elbo"]
    return Problem(functools.partial(estimate, guide, bounds.elbo, rule, num_samples), exact)


def iwae_of_pairs(rule: vi.Estimator, num_samples: int) -> Problem:
    """IWAE₂ of a pair ε, −ε, by quadrature over ε."""
    noise = np.linspace(-10, 10, 4001)
    probability = np.exp(-(noise**2) / 2) / np.exp(-(noise**2) / 2).sum()

    def expected(theta: jax.Array, m: jax.Array, log_s: jax.Array) -> jax.Array:
        z = m + jnp.exp(log_s) * jnp.stack([noise, -noise])
        return jnp.sum(probability * bounds.iwae(problems.log_joint(theta, z) - problems.log_normal(z, m, log_s)))

    exact = np.stack(jax.grad(expected, (0, 1, 2))(*(jnp.asarray(value) for value in problems.POINT)))
    return Problem(functools.partial(estimate, SAMPLERS["antithetic"], bounds.iwae, rule, num_samples), exact)


def iwae_without_its_score(num_samples: int) -> Problem:
    """Sticking the landing under IWAE₂ of a pair: what the library refuses, its refusal lifted by hand."""

    @estimators.estimator
    def lifted(bound: vi.BoundFn, log_w: jax.Array) -> vi.Coefficients:
        return estimators.sticking_the_landing(bound)(log_w)

    return iwae_of_pairs(estimators.with_tolerance(lifted, estimators.tolerance(estimators.pathwise)), num_samples)


SOURCE = "arXiv:1807.01604"
ROWS = (
    *(
        ObjectiveRow(
            family=name,
            target="elbo",
            estimator=legality.name_of(rule),
            kind=UNBIASED,
            claim="unbiased for ∇ELBO",
            formula=formula,
            source=SOURCE,
            build=functools.partial(elbo, guide, rule),
            num_samples=(1, 8, 64),
        )
        for name, guide in SAMPLERS.items()
        for rule, formula in ((estimators.pathwise, "a, a, −a"), (estimators.sticking_the_landing, "a, a, 0"))
    ),
    ObjectiveRow(
        family="antithetic",
        target="iwae",
        estimator="pathwise",
        kind=UNBIASED,
        claim="unbiased for ∇E[L₂] of a mirrored pair",
        formula="a, a, −a",
        source=SOURCE,
        build=functools.partial(iwae_of_pairs, estimators.pathwise),
        num_samples=(2,),
    ),
    ObjectiveRow(
        family="antithetic",
        target="iwae",
        estimator="sticking_the_landing, were it not refused",
        kind=BIASED,
        claim="biased: refused",
        formula="a, a, 0",
        source=SOURCE,
        build=iwae_without_its_score,
        num_samples=(2,),
    ),
)
