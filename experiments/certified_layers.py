"""Rows of the certificate: two stochastic layers, a chain as state, draws of a posterior, and terms in closed form.

Two layers, linear and Gaussian, of one dimension each: z_2 ~ N(0, 1), z_1 | z_2, x | z_1, and q(z_1 | x) q(z_2 | z_1)
with affine means. log w is a function of two standard normal numbers, so that its law is a quadrature on a grid, and
∇E[L_K] is exact at every K. The forward divergence has the mean of ∂_φ log q, a polynomial of degree 2, under a
Gaussian law, which three Gauss-Hermite nodes in each dimension integrate exactly.
"""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import vi_jax as vi
from experiments.certified_rows import ObjectiveRow, Problem
from experiments.claims import BIASED, UNBIASED
from vi_jax import bounds, estimators, guides, models, objectives
from vi_jax.models import LinearLayer, weight_laws
from vi_jax.objectives import PerDatum

CHAIN = models.linear_gaussian_chain((1, 1), 1)
VARIANCES = (0.6, 0.9)
GUIDE = guides.chain(*(guides.affine(1, 1, variance=variance) for variance in VARIANCES))
DATUM = 0.8
NUM_THETA = 6


def two_layers() -> tuple[vi.Params, jax.Array]:
    """Returns parameters at which nothing is special, and a batch of one datum."""
    theta = tuple(
        LinearLayer(jnp.full((1, 1), W), jnp.full(1, b), jnp.full(1, log_scale))
        for W, b, log_scale in ((0.9, 0.2, -0.1), (0.7, -0.3, 0.1))
    )
    phi = tuple(guides.Affine(jnp.full((1, 1), A), jnp.full(1, b)) for A, b in ((0.4, 0.3), (0.5, -0.1)))
    return vi.Params(theta, phi), jnp.full((1, 1), DATUM)


def log_normal(y: jax.Array, mean: jax.Array, log_scale: jax.Array | float) -> jax.Array:
    """Returns log N(y; mean, exp(log_scale)²)."""
    return -(((y - mean) * jnp.exp(-log_scale)) ** 2) / 2 - log_scale - np.log(2 * np.pi) / 2


def log_joint(theta: tuple[LinearLayer, ...], x: jax.Array, z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Returns log p(x, z_1, z_2), written out and elementwise."""
    of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in theta)
    return (
        log_normal(x, of_x.W * z1 + of_x.b, of_x.log_scale)
        + log_normal(z1, of_z1.W * z2 + of_z1.b, of_z1.log_scale)
        + log_normal(z2, jnp.zeros(()), 0.0)
    )


def means_of_guide(phi: tuple[guides.Affine, ...], x: jax.Array, z1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the means of z_1 given x and of z_2 given z_1."""
    first, second = (jax.tree.map(jnp.squeeze, layer) for layer in phi)
    return first.A * x + first.b, second.A * z1 + second.b


def log_guide(phi: tuple[guides.Affine, ...], x: jax.Array, z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Returns log q(z_1, z_2 | x), written out and elementwise."""
    of_z1, of_z2 = means_of_guide(phi, x, z1)
    return log_normal(z1, of_z1, np.log(VARIANCES[0]) / 2) + log_normal(z2, of_z2, np.log(VARIANCES[1]) / 2)


def law_of_weights(params: vi.Params, num_nodes: int = 73) -> weight_laws.WeightLaw:
    """Returns the law of log w under q, on a square of nodes of noise, by default a quarter apart."""
    nodes = np.linspace(-9, 9, num_nodes)
    first, second = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    log_density = -(first**2 + second**2) / 2
    x = jnp.asarray(DATUM)
    z1 = means_of_guide(params.phi, x, jnp.zeros(()))[0] + VARIANCES[0] ** 0.5 * first
    z2 = means_of_guide(params.phi, x, z1)[1] + VARIANCES[1] ** 0.5 * second
    log_w = log_joint(params.theta, x, z1, z2) - log_guide(params.phi, x, z1, z2)
    return weight_laws.WeightLaw(log_w, jnp.asarray(log_density - np.log(np.exp(log_density).sum())))


@functools.cache
def exact_bound(alpha: float, num_samples: int) -> np.ndarray:
    """Returns ∇E[L_K] of the Rényi bound of order α in θ and φ, `[10]`: 0 is IWAE, 1 the ELBO."""

    def expected(params: vi.Params) -> jax.Array:
        return weight_laws.expected_renyi(law_of_weights(params), num_samples, alpha=alpha)

    return np.asarray(ravel_pytree(jax.jit(jax.grad(expected))(two_layers()[0]))[0])


def mean_score(noise_to_draw: Callable[..., tuple[jax.Array, ...]], num_noise: int) -> np.ndarray:
    """Returns E[∂_φ log q(z | x)] over x, z_1, z_2 that are made of standard normal noise, affinely. `[4]`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    noise = np.array(list(itertools.product(nodes, repeat=num_noise))).T
    weight = np.prod(np.array(list(itertools.product(weights / weights.sum(), repeat=num_noise))), axis=1)
    draws = noise_to_draw(*noise)
    slope = jax.grad(lambda phi: jnp.sum(weight * log_guide(phi, *draws)))(two_layers()[0].phi)
    return np.asarray(ravel_pytree(slope)[0])


@functools.cache
def exact_forward_kl() -> np.ndarray:
    """Returns −∇KL(p(z | x) ‖ q) in φ, `[4]`."""
    params, x = two_layers()

    def draw(first: np.ndarray, second: np.ndarray) -> tuple[jax.Array, ...]:
        # Both conditionals by completing the square, apart from the library's.
        of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in params.theta)
        prior = of_z1.W**2 + jnp.exp(2 * of_z1.log_scale)
        precision = 1 / prior + of_x.W**2 * jnp.exp(-2 * of_x.log_scale)
        pulled = of_z1.b / prior + of_x.W * (DATUM - of_x.b) * jnp.exp(-2 * of_x.log_scale)
        z1 = pulled / precision + first / jnp.sqrt(precision)
        above = 1 + of_z1.W**2 * jnp.exp(-2 * of_z1.log_scale)
        z2 = of_z1.W * (z1 - of_z1.b) * jnp.exp(-2 * of_z1.log_scale) / above + second / jnp.sqrt(above)
        return x[0, 0], z1, z2

    return mean_score(draw, 2)


@functools.cache
def exact_sleep() -> np.ndarray:
    """Returns −∇ E_{p(x)} KL(p(z | x) ‖ q) in φ, `[4]`."""
    of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in two_layers()[0].theta)

    def draw(top: np.ndarray, middle: np.ndarray, bottom: np.ndarray) -> tuple[jax.Array, ...]:
        z1 = of_z1.W * top + of_z1.b + jnp.exp(of_z1.log_scale) * middle
        return of_x.W * z1 + of_x.b + jnp.exp(of_x.log_scale) * bottom, z1, jnp.asarray(top)

    return mean_score(draw, 3)


@functools.cache
def exact_evidence() -> np.ndarray:
    """Returns ∇ log p(x) in θ, `[6]`: x is Gaussian, of a mean and a variance that are summed up by hand."""

    def log_evidence(theta: tuple[LinearLayer, ...]) -> jax.Array:
        of_x, of_z1 = (jax.tree.map(jnp.squeeze, layer) for layer in theta)
        below = of_z1.W**2 + jnp.exp(2 * of_z1.log_scale)
        variance = of_x.W**2 * below + jnp.exp(2 * of_x.log_scale)
        return log_normal(jnp.asarray(DATUM), of_x.W * of_z1.b + of_x.b, jnp.log(variance) / 2)

    return np.asarray(ravel_pytree(jax.grad(log_evidence)(two_layers()[0].theta))[0])


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
        "",
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
