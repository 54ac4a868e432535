"""Rows of the certificate: two stochastic layers, a chain as state, draws of a posterior, and terms in closed form.

The problem with two layers, and its exact gradients, are those of `experiments/two_layers.py`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from experiments.two_layers import (
    CHAIN,
    GUIDE,
    NUM_THETA,
    exact_bound,
    exact_evidence,
    exact_forward_kl,
    exact_sleep,
    two_layers,
)
from vi_jax import bounds, estimators, guides, models, objectives
from vi_jax.objectives import PerDatum


def gradient_of(objective: vi.Objective, coordinates: slice = slice(None)) -> Callable[[jax.Array], jax.Array]:
    """Returns key -> these coordinates of the gradient (θ̄, φ̄) at the point of `two_layers`."""
    params, x = two_layers()
    return lambda key: ravel_pytree(objective(key, params, x)[1])[0][coordinates]


PHI = slice(NUM_THETA, None)


def bound_row(target: str, rule: str, claim: str, formula: str, source: str) -> ObjectiveRow:
    """Returns the row of a bound with an estimator that is unbiased for its gradient, in θ and φ."""
    bound, alpha = {"elbo": (bounds.elbo, 1.0), "iwae": (bounds.iwae, 0.0)}[target]

    def build(num_samples: int) -> Problem:
        objective = vi.value_and_grad(CHAIN.model, GUIDE, bound, getattr(estimators, rule), num_samples=num_samples)
        return Problem(gradient_of(objective), exact_bound(alpha, num_samples))

    return ObjectiveRow("two layers", target, rule, UNBIASED, claim, formula, source, build, num_samples=(2, 8))


def build_generalized(num_samples: int) -> Problem:
    """IWAE with the generalized doubly reparameterized gradient."""
    objective = objectives.generalized_doubly_reparameterized(CHAIN.model, GUIDE, bounds.iwae, num_samples=num_samples)
    return Problem(gradient_of(objective), exact_bound(0.0, num_samples))


def build_stuck(num_samples: int) -> Problem:
    """Sticking the landing under IWAE, in φ."""
    objective = vi.value_and_grad(
        CHAIN.model, GUIDE, bounds.iwae, estimators.sticking_the_landing, num_samples=num_samples
    )
    return Problem(gradient_of(objective, PHI), exact_bound(0.0, num_samples)[PHI])


def build_wake(num_samples: int) -> Problem:
    """Wake-φ, in φ."""
    objective = vi.value_and_grad(CHAIN.model, GUIDE, bounds.iwae, estimators.wake_phi, num_samples=num_samples)
    return Problem(gradient_of(objective, PHI), exact_forward_kl())


def build_climbing(num_samples: int) -> Problem:
    """One step of score climbing from the exact posterior, in θ and φ."""
    objective = objectives.score_climbing(CHAIN.model, GUIDE, num_samples=num_samples)
    params, x = two_layers()

    def estimate(key: jax.Array) -> jax.Array:
        start_key, step_key = jax.random.split(key)
        start = CHAIN.posterior(params.theta, x[0]).sample(seed=start_key)
        chain = PerDatum(jax.tree.map(lambda leaf: leaf[None], start))
        return ravel_pytree(objective(step_key, params, x, chain)[1])[0]

    return Problem(estimate, np.concatenate([exact_evidence(), exact_forward_kl()]))


def build_discrete_climbing(num_samples: int) -> Problem:
    """The same over three states, where the gradients are p(z | x) and p(z | x) − q."""
    table, guide = models.table(models.THREE_STATES), guides.categorical(3)
    objective = objectives.score_climbing(table.model, guide, num_samples=num_samples)
    params = vi.Params(table.model.init(jax.random.key(0)), jnp.array([0.1, -0.4, 0.3]))
    posterior = np.ravel(models.THREE_STATES) / np.sum(models.THREE_STATES)

    def estimate(key: jax.Array) -> jax.Array:
        start_key, step_key = jax.random.split(key)
        chain = PerDatum(jax.random.categorical(start_key, jnp.log(jnp.asarray(posterior)))[None])
        return ravel_pytree(objective(step_key, params, jnp.zeros(1, int), chain)[1])[0]

    q = np.exp([0.1, -0.4, 0.3]) / np.exp([0.1, -0.4, 0.3]).sum()
    return Problem(estimate, np.concatenate([posterior, posterior - q]))


def build_exact_draws(num_samples: int) -> Problem:
    """Draws of the exact posterior, in φ."""
    return Problem(gradient_of(objectives.exact_draws(CHAIN, GUIDE, num_samples=num_samples), PHI), exact_forward_kl())


def build_sleep(num_samples: int) -> Problem:
    """The sleep phase, in φ."""
    return Problem(gradient_of(objectives.sleep(CHAIN.model, GUIDE, num_samples=num_samples), PHI), exact_sleep())


def build_wake_sleep(num_samples: int) -> Problem:
    """Wake-sleep: θ climbs the ELBO, φ sleeps."""
    wake = vi.value_and_grad(CHAIN.model, GUIDE, bounds.elbo, estimators.pathwise, num_samples=num_samples)
    both = objectives.joined(theta=wake, phi=objectives.sleep(CHAIN.model, GUIDE, num_samples=num_samples))
    return Problem(gradient_of(both), np.concatenate([exact_bound(1.0, num_samples)[:NUM_THETA], exact_sleep()]))


MEAN, MEAN_GUIDE = models.gaussian_mean(3, prior_mean=0.1, prior_variance=2.0, variance=1.5), guides.mean_field(1)
OBSERVED = (0.5, -1.2, 2.0)


def exact_conjugate_elbo(params: vi.Params) -> jax.Array:
    """Returns the ELBO of `MEAN` under N(m, s²), every term in closed form."""
    theta, m, log_s = params.theta, params.phi.loc[0], params.phi.log_scale[0]

    def expected(y: jax.Array, mean: jax.Array, log_variance: jax.Array, spread: jax.Array) -> jax.Array:
        return -(np.log(2 * np.pi) + log_variance + ((y - mean) ** 2 + spread) * jnp.exp(-log_variance)) / 2

    spread = jnp.exp(2 * log_s)
    of_data = jnp.sum(expected(jnp.array(OBSERVED), m, theta.log_variance, spread))
    of_prior = expected(m, theta.prior_mean, theta.log_prior_variance, spread)
    return of_data + of_prior + (1 + np.log(2 * np.pi)) / 2 + log_s


def closed_form_row(form: str, rule: str, formula: str, source: str) -> ObjectiveRow:
    """Returns the row of the ELBO with one of its terms in closed form."""

    def build(num_samples: int) -> Problem:
        make, estimator = getattr(objectives, form), getattr(estimators, rule)
        objective = make(MEAN.model, MEAN_GUIDE, estimator, num_samples=num_samples)
        phi = guides.MeanField(jnp.array([0.7]), jnp.array([-0.2]))
        params, x = vi.Params(MEAN.model.init(jax.random.key(0)), phi), jnp.array([OBSERVED])
        exact = np.asarray(ravel_pytree(jax.grad(exact_conjugate_elbo)(params))[0])
        return Problem(lambda key: ravel_pytree(objective(key, params, x)[1])[0], exact)

    family, name = "Gaussian, closed-form terms", f"{form}, {rule}"
    return ObjectiveRow(family, "elbo", name, UNBIASED, "unbiased for ∇ELBO", formula, source, build)


OF_BOUND = "unbiased for ∇E[L_K]"
OF_FORWARD = "unbiased for −∇KL(p ‖ q)"
STATIONARY = f"{OF_FORWARD} and ∇log p(x), from a stationary start"
CLIMBS = "Σ w̃ ∂_φ log q, the chain's state among the K"
NAESSETH, WAKE, SLEEP = "arXiv:2003.10374", "arXiv:1406.2751", "Hinton et al. 1995"
ROWS: tuple[ObjectiveRow, ...] = (
    bound_row("elbo", "pathwise", OF_BOUND, "a, a, −a; ∂_φ z of all layers", "arXiv:1312.6114"),
    bound_row("elbo", "sticking_the_landing", OF_BOUND, "a, a, 0", "arXiv:1703.09194"),
    bound_row("elbo", "score_function", OF_BOUND, "a, 0, L − a", "Williams 1992"),
    bound_row("elbo", "leave_one_out", OF_BOUND, "a, 0, L − L₋ₖ", "arXiv:2010.10436"),
    bound_row("iwae", "pathwise", OF_BOUND, "a, a, −a; ∂_φ z of all layers", "arXiv:1509.00519"),
    bound_row("iwae", "doubly_reparameterized", OF_BOUND, "a, a − h, 0", "arXiv:1810.04152"),
    bound_row("iwae", "vimco", OF_BOUND, "a, 0, L − L(geometric mean) − a", "arXiv:1602.06725"),
    ObjectiveRow(
        "two layers",
        "iwae",
        "generalized_doubly_reparameterized",
        UNBIASED,
        OF_BOUND,
        "a − h through q's draws; θ of the prior through the prior's",
        "arXiv:2101.11046",
        build_generalized,
        num_samples=(2, 8),
    ),
    ObjectiveRow(
        "two layers",
        "iwae",
        "sticking_the_landing",
        BIASED,
        "biased for ∇E[L_K]",
        "a, a, 0",
        "arXiv:1703.09194",
        build_stuck,
        num_samples=(2, 8),
    ),
    ObjectiveRow(
        "two layers",
        "forward KL",
        "wake_phi",
        BIASED,
        "biased by O(1/K) for −∇KL(p ‖ q)",
        "Σ w̃ ∂_φ log q",
        WAKE,
        build_wake,
        num_samples=(4, 16),
        order=1.0,
    ),
    ObjectiveRow(
        "score climbing", "forward KL", "score_climbing", UNBIASED, STATIONARY, CLIMBS, NAESSETH, build_climbing, (2, 8)
    ),
    ObjectiveRow(
        "score climbing",
        "forward KL, three states",
        "score_climbing",
        UNBIASED,
        STATIONARY,
        CLIMBS,
        NAESSETH,
        build_discrete_climbing,
        num_samples=(2, 8),
    ),
    ObjectiveRow(
        "forward KL",
        "forward KL",
        "exact_draws",
        UNBIASED,
        OF_FORWARD,
        "mean of ∂_φ log q over z ~ p(z | x)",
        "the definition",
        build_exact_draws,
    ),
    ObjectiveRow(
        "forward KL",
        "forward KL",
        "sleep",
        UNBIASED,
        "unbiased for −∇E KL(p ‖ q) over x ~ p",
        "mean of ∂_φ log q over (x, z) ~ p",
        SLEEP,
        build_sleep,
    ),
    ObjectiveRow(
        "forward KL",
        "elbo and forward KL",
        "joined, wake-sleep",
        UNBIASED,
        "θ: unbiased for ∇ELBO; φ: as sleep",
        "as sleep",
        SLEEP,
        build_wake_sleep,
    ),
    closed_form_row("analytic_kl", "pathwise", "pathwise of log p(x | z), and −∂KL(q ‖ p(z))", "arXiv:1312.6114"),
    closed_form_row("analytic_kl", "sticking_the_landing", "∂_z log p(x | z) ∂_φ z − ∂KL(q ‖ p(z))", "arXiv:1312.6114"),
    closed_form_row("analytic_entropy", "pathwise", "pathwise of log p(x, z), and ∂H(q)", "arXiv:1603.00788"),
    closed_form_row("analytic_entropy", "sticking_the_landing", "∂_z log p(x, z) ∂_φ z + ∂H(q)", "arXiv:1603.00788"),
)
