"""What each pair of bound and estimator claims: the rows of the certificate, and the only place to add one."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import vi_jax as vi
from vi_jax import bounds, estimators
from vi_jax.bounds import csiszar
from vi_jax.models import weight_laws

UNBIASED, BIASED, FORWARD_KL = "unbiased", "biased", "forward KL"
PAIRED = "as pathwise"
"""Unbiased where no integral says for what: the mean of pathwise on the same draws, which has a quadrature at K = 2."""
AT_THE_POSTERIOR = "q = p(z | x)"
BETAS = (0.0, 0.1, 0.5, 1.0)


class BoundRow(NamedTuple):
    """A bound of the certificate.

    Attributes:
      bound: the bound itself.
      formula: L(log w), in words of the page.
      direction: of E[L_K].
      expected: `(law of one weight, K) -> E[L_K]`, without a draw; None where that is no integral in one dimension.
      multiple: K must be a multiple of this.
      least: the smallest K.
      linear: ∇L does not depend on log w.
      minimized: φ is to descend it.
      nodes: of the quadrature that gives the law of one weight.
      smooth: ∇L is continuous; where it is not, `doubly_reparameterized` is refused.
    """

    bound: vi.BoundFn
    formula: str
    direction: str
    expected: Callable[[weight_laws.WeightLaw, int], jax.Array] | None
    multiple: int = 1
    least: int = 1
    linear: bool = False
    minimized: bool = False
    nodes: int = 1601
    smooth: bool = True


class EstimatorRow(NamedTuple):
    """An estimator of the certificate.

    Attributes:
      estimator: the estimator itself.
      coefficients: model, path and score, in words of the page.
      source: paper.
      reparameterized: it differentiates through the draws.
      least: the smallest K.
      sign: φ̄ is this times the gradient.
      only: the bounds that it is for; None for all.
      quiet: where φ̄ has no variance, in words of the page.
      needs_smooth: ∇L must be continuous.
    """

    estimator: vi.Estimator
    coefficients: str
    source: str
    reparameterized: bool = False
    least: int = 1
    sign: int = 1
    only: tuple[str, ...] | None = None
    quiet: str = "nowhere"
    needs_smooth: bool = False


def power_mean(alpha: float) -> Callable[[weight_laws.WeightLaw, int], jax.Array]:
    """Returns the expectation of the Rényi bound of order α."""
    return lambda law, num_samples: weight_laws.expected_renyi(law, num_samples, alpha=alpha)


def slope_of_power_mean(beta: float, law: weight_laws.WeightLaw, num_samples: int) -> jax.Array:
    """Returns E[Σ_k w̃(β)_k log w_k] = d/dβ E[log (1/K) Σ_k w_k^β]."""
    if beta == 0:
        return weight_laws.expected_renyi(law, num_samples, alpha=1.0)

    def log_mean(b: jax.Array) -> jax.Array:
        return weight_laws.expected_renyi(law._replace(log_w=b * law.log_w), num_samples, alpha=0.0)

    return jax.jvp(log_mean, (jnp.asarray(beta),), (jnp.ones(()),))[1]


def riemann(nodes: tuple[float, ...]) -> Callable[[weight_laws.WeightLaw, int], jax.Array]:
    """Returns the expectation of a Riemann sum over BETAS, with E_β taken at `nodes`."""

    def expected(law: weight_laws.WeightLaw, num_samples: int) -> jax.Array:
        widths = [high - low for low, high in itertools.pairwise(BETAS)]
        terms = [w * slope_of_power_mean(b, law, num_samples) for b, w in zip(nodes, widths, strict=True)]
        return jnp.sum(jnp.stack(terms))

    return expected


def jackknifed(law: weight_laws.WeightLaw, num_samples: int) -> jax.Array:
    """Returns K E[IWAE_K] − (K − 1) E[IWAE_{K−1}]."""
    whole, rest = (power_mean(0.0)(law, k) for k in (num_samples, num_samples - 1))
    return num_samples * whole - (num_samples - 1) * rest


def combined(law: weight_laws.WeightLaw, num_samples: int) -> jax.Array:
    """Returns 0.3 ELBO + 0.7 E[IWAE_K]."""
    return 0.3 * power_mean(1.0)(law, num_samples) + 0.7 * power_mean(0.0)(law, num_samples)


def largest(law: weight_laws.WeightLaw, num_samples: int) -> jax.Array:
    """Returns E[max log w] = Σ_i v_i (F_i^K − F_{i−1}^K) over the values v of log w in order, F their distribution."""
    order = jnp.argsort(law.log_w)
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.exp(law.log_prob[order]))])
    return jnp.sum(law.log_w[order] * jnp.diff(below**num_samples))


def divergence(f: csiszar.LogSpace, formula: str) -> BoundRow:
    """Returns the row of an f-divergence: its ratios u ≤ K, so that every moment exists; of one draw it is 0."""
    return BoundRow(bounds.f_divergence(f), formula, DIVERGENCE, None, least=2, minimized=True)


LOWER, NEITHER, DIVERGENCE = "lower", "none at finite K", "≥ 0, consistent for D_f(p ‖ q)"
BOUNDS = {
    "elbo": BoundRow(bounds.elbo, "mean log w", LOWER, power_mean(1.0), linear=True),
    "iwae": BoundRow(bounds.iwae, "log mean w", LOWER, power_mean(0.0)),
    "renyi(0.5)": BoundRow(bounds.renyi(0.5), "2 log mean w^½", LOWER, power_mean(0.5)),
    "renyi(2)": BoundRow(bounds.renyi(2.0), "−log mean w⁻¹", LOWER, power_mean(2.0)),
    "cubo(2)": BoundRow(bounds.cubo(2), "½ log mean w²", NEITHER, power_mean(-1.0), minimized=True),
    "renyi(-inf)": BoundRow(bounds.renyi(-math.inf), "max log w", NEITHER, largest, nodes=160_001, smooth=False),
    "miwae(2)": BoundRow(
        bounds.miwae(2), "mean of iwae over 2 groups", LOWER, lambda law, k: power_mean(0.0)(law, k // 2), multiple=2
    ),
    "ciwae(0.3)": BoundRow(bounds.ciwae(0.3), "0.3 elbo + 0.7 iwae", LOWER, combined),
    "thermodynamic": BoundRow(
        bounds.thermodynamic(BETAS), "left sum of E_β, β = 0, .1, .5", LOWER, riemann(BETAS[:-1])
    ),
    "thermodynamic_upper": BoundRow(
        bounds.thermodynamic_upper(BETAS),
        "right sum of E_β, β = .1, .5, 1",
        NEITHER,
        riemann(BETAS[1:]),
        minimized=True,
    ),
    "eubo": BoundRow(
        bounds.eubo, "Σ w̃ log w", NEITHER, lambda law, k: slope_of_power_mean(1.0, law, k), minimized=True
    ),
    "jackknife(1)": BoundRow(bounds.jackknife(1), "K iwae − (K−1) mean iwae without one", NEITHER, jackknifed, least=2),
    "kl_reverse": divergence(csiszar.kl_reverse, "mean −log u, u = K w̃"),
    "kl_forward": divergence(csiszar.kl_forward, "mean u log u"),
    "chi_square": divergence(csiszar.chi_square, "mean u² − 1 = K/ESS − 1"),
    "squared_hellinger": divergence(csiszar.squared_hellinger, "mean (√u − 1)²"),
    "jensen_shannon": divergence(csiszar.jensen_shannon, "mean u log u − (1 + u) log((1 + u)/2)"),
    "amari_alpha(0.5)": divergence(csiszar.amari_alpha(0.5), "mean 4 (u − √u)"),
    "log_variance": BoundRow(
        bounds.log_variance, "½ Var(log w), K − 1 normalised", "½ Var_q(log w)", None, least=2, minimized=True
    ),
}
ESTIMATORS = {
    "pathwise": EstimatorRow(estimators.pathwise, "a, a, −a", "arXiv:1312.6114", reparameterized=True),
    "sticking_the_landing": EstimatorRow(
        estimators.sticking_the_landing, "a, a, 0", "arXiv:1703.09194", reparameterized=True, quiet=AT_THE_POSTERIOR
    ),
    "doubly_reparameterized": EstimatorRow(
        estimators.doubly_reparameterized,
        "a, a − h, 0",
        "arXiv:1810.04152",
        reparameterized=True,
        quiet=AT_THE_POSTERIOR,
        needs_smooth=True,
    ),
    "score_function": EstimatorRow(estimators.score_function, "a, 0, L − a", "Williams 1992"),
    "leave_one_out": EstimatorRow(
        estimators.leave_one_out,
        "a, 0, L − L₋ₖ − a (ELBO: without −a)",
        "arXiv:2010.10436",
        least=2,
        quiet=f"{AT_THE_POSTERIOR}, for the ELBO",
    ),
    "vimco": EstimatorRow(estimators.vimco, "a, 0, L − L(geometric mean) − a", "arXiv:1602.06725", least=2),
    "vimco_arithmetic": EstimatorRow(
        estimators.vimco_arithmetic, "a, 0, L − L(arithmetic mean) − a", "arXiv:1602.06725", least=2
    ),
    "ovis": EstimatorRow(estimators.ovis, "w̃, 0, −log(1 − w̃) − w̃", "arXiv:2008.01998", least=2, only=("iwae",)),
    "minimized(score_function)": EstimatorRow(
        estimators.minimized(estimators.score_function),
        "a, 0, a − L",
        "Williams 1992",
        sign=-1,
        only=tuple(name for name, row in BOUNDS.items() if row.minimized),
    ),
    "wake_phi": EstimatorRow(estimators.wake_phi, "a, 0, w̃", "arXiv:1406.2751"),
    "wake_phi_doubly_reparameterized": EstimatorRow(
        estimators.wake_phi_doubly_reparameterized,
        "a, w̃ − w̃², 0",
        "arXiv:1810.04152",
        reparameterized=True,
        least=2,
        quiet=AT_THE_POSTERIOR,
    ),
}


class Claim(NamedTuple):
    """One row: a bound, an estimator, and what is claimed of its φ̄. Of θ̄ every row claims the gradient of E[L_K]."""

    bound: str
    estimator: str
    kind: str


def claim(bound: str, estimator: str) -> Claim:
    """Returns what this pair claims at K ≥ 2."""
    if estimator.startswith("wake_phi"):
        return Claim(bound, estimator, FORWARD_KL)
    if estimator == "sticking_the_landing" and not BOUNDS[bound].linear:
        return Claim(bound, estimator, BIASED)
    return Claim(bound, estimator, UNBIASED)


def kind_at(row: Claim, num_samples: int) -> str:
    """Returns the claim at this K: of one draw every bound is log w, and sticking the landing is unbiased."""
    return UNBIASED if row.kind == BIASED and num_samples == BOUNDS[row.bound].multiple else row.kind


GAUSSIAN = tuple(
    claim(bound, name) for bound in BOUNDS for name, row in ESTIMATORS.items() if row.only is None or bound in row.only
)
DISCRETE = tuple(row for row in GAUSSIAN if not ESTIMATORS[row.estimator].reparameterized)


def is_defined(row: Claim, num_samples: int) -> bool:
    """Whether the pair has a row at this K. One draw per group leaves nothing to leave out."""
    bound, estimator = BOUNDS[row.bound], ESTIMATORS[row.estimator]
    # Leaving a draw out of the jackknife, or of a variance, needs one more.
    least = max(bound.least + (bound.least > 1 and row.estimator == "leave_one_out"), estimator.least)
    grouped = bound.multiple > 1 and row.estimator == "leave_one_out"
    return (
        (estimator.only is None or row.bound in estimator.only)
        and num_samples >= least
        and num_samples % bound.multiple == 0
        and not (grouped and num_samples == bound.multiple)
        and (bound.smooth or not estimator.needs_smooth)
    )
