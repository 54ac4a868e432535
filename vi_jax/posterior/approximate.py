"""From a log-density to an approximation and a verdict, in one call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vi_jax import bounds, checks
from vi_jax.log_weights import log_weights
from vi_jax.measurement.psis import pareto_k
from vi_jax.models.supports import Support
from vi_jax.models.unconstrained import Target, log_density, unconstrained
from vi_jax.posterior.diagnosis import Diagnosis, diagnose
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.gaussian import Beginning, begin
from vi_jax.posterior.ladder import Rung, default_ladder, of_modes, on, step_up
from vi_jax.posterior.modes import Places, missed
from vi_jax.posterior.start import check_start
from vi_jax.training.laplace import Gaussian
from vi_jax.training.score import log_weight_score
from vi_jax.training.settle import SettledFit, fit_until_settled
from vi_jax.types import Guide, Params, PyTree

# Below ½ the weights have a variance, so that errors fall like 1/√S; from there on a richer guide is worth its price.
_GOOD_K = 0.5
_NUM_TRIAL_DRAWS = 4000
# A Gaussian that has not settled after four rates lives in the wrong coordinates: its own are better.
_FIRST_STAGES = 4
_MAX_STAGES = 8


class Attempt(NamedTuple):
    """One rung of the ladder.

    Attributes:
      name: of the rung.
      guide: over z `[D]`.
      params: where the fit ended.
      fit: how it went: rates, scores, whether it settled.
      pareto_k: k̂ of draws of their own; infinite where there is none because log p was not finite.
      elbo: nats, of the same draws.
      log_evidence: nats, likewise.
      missed: modes that ascents have met and this guide excludes.
    """

    name: str
    guide: Guide
    params: Params
    fit: SettledFit
    pareto_k: float
    elbo: float
    log_evidence: float
    missed: tuple[Finding, ...]


class Approximation(NamedTuple):
    """A posterior approximated, and how far to trust it. Printing it gives the diagnosis.

    Attributes:
      target: what was approximated.
      guide: over z `[D]`.
      params: `Params((), φ)`.
      diagnosis: draws, weights, moments, evidence and verdict.
      attempts: every rung that was tried, in order.
    """

    target: Target
    guide: Guide
    params: Params
    diagnosis: Diagnosis
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        """Returns what was tried, the verdict and the table of parameters."""
        tried = ", ".join(f"{a.name} (k̂ = {a.pareto_k:.2f}, ELBO {a.elbo:.3f})" for a in self.attempts)
        return f"Tried: {tried}.\n{self.diagnosis}"


def approximate(
    key: jax.Array,
    density: Callable[[PyTree], jax.Array],
    like: PyTree,
    supports: PyTree | Support | None = None,
    *,
    num_draws: int = 10_000,
    reference: Any = None,
) -> Approximation:
    """Approximates a posterior of which there is a log-density, and says whether to trust the result.

        approximation = vi.approximate(key, log_density, {"mu": 0.0, "sigma": 1.0}, {"sigma": supports.positive})
        print(approximation)

    It is `approximate_target` of `models.unconstrained(density, like, supports)`.

    Args:
      key: typed key, consumed.
      density: `parameters -> scalar` nats, up to a constant.
      like: example parameters inside their supports: where the search starts.
      supports: as of `models.unconstrained`.
      num_draws: S of the diagnosis.
      reference: as of `diagnose`.

    Raises:
      TypeError, ValueError: as `models.unconstrained` and `approximate_target`.
    """
    checks.check_key(key)
    return approximate_target(key, unconstrained(density, like, supports), num_draws=num_draws, reference=reference)


def approximate_target(
    key: jax.Array,
    target: Target,
    *,
    ladder: Sequence[Rung] | None = None,
    num_draws: int = 10_000,
    reference: Any = None,
) -> Approximation:
    """Approximates a posterior by the first guide of a ladder that is good, or the best of them, and judges it.

    1. The log-density is checked at the start and beside it (`check_start`).
    2. Ascents from four starts find a Gaussian: Pathfinder's, or Laplace's (`begin`).
    3. In coordinates in which that Gaussian is N(0, I), each rung's guide climbs the ELBO by sticking the landing,
       whose noise vanishes where the guide fits, at rates and for as long as `fit_until_settled` finds right.
    4. k̂ of 4000 draws decides: below ½ the weights have a variance and the ladder ends, else the next rung starts from
       this one's Gaussian. Where ascents have met modes that the guide excludes, a mixture with a component in each is
       fitted instead (`of_modes`). The guide that misses none and has the smallest k̂ is kept.
    5. Fresh draws are diagnosed.

    Price: up to 100 dimensions mostly compilation, a minute or so on two CPU cores, and several thousand steps of 16
    gradients of the log-density for each rung. O(D²) memory.

    Zhang et al. (arXiv:2108.03782); Roeder, Wu and Duvenaud (arXiv:1703.09194); Welandawe et al. (arXiv:2203.15945);
    Vehtari et al. (arXiv:1507.02646).

    Args:
      key: typed key, consumed.
      target: of `models.unconstrained` and its like.
      ladder: guides to try, plainest first; `posterior.default_ladder(D)` if None.
      num_draws: S of the diagnosis.
      reference: as of `diagnose`.

    Returns:
      `Approximation`.

    Raises:
      TypeError, ValueError: log p or its gradient is not finite at the start, or the support of a parameter ends where
        it is not declared to; the ladder is empty; as `diagnose`.
    """
    checks.check_key(key)
    rungs = tuple(default_ladder(target.dim) if ladder is None else ladder)
    if not rungs:
        raise ValueError("ladder must name one rung at least, such as vi.posterior.full_rank.")
    begin_key, diagnosis_key, key = jax.random.split(key, 3)
    start = jnp.asarray(np.zeros(target.dim) if target.start is None else target.start, float)
    check_start(target, start)
    beginning = begin(begin_key, Partial(log_density(target)), start)
    attempts = _climb(key, target, rungs, beginning)
    best = min(attempts, key=_rank)
    places = Places(beginning.paths.loc, beginning.log_mass)
    diagnosis = diagnose(
        diagnosis_key, target, best.guide, best.params, num_draws=num_draws, reference=reference, places=places
    )
    return Approximation(target, best.guide, best.params, diagnosis, attempts)


def _rank(attempt: Attempt) -> tuple[int, float]:
    return len(attempt.missed), attempt.pareto_k


def _climb(key: jax.Array, target: Target, rungs: tuple[Rung, ...], beginning: Beginning) -> tuple[Attempt, ...]:
    gaussian, attempts = beginning.gaussian, []
    for number, rung in enumerate(rungs):
        of_rung = jax.random.fold_in(key, number)
        attempt, gaussian = _settle(of_rung, target, rung, gaussian, beginning)
        attempts.append(attempt)
        if attempt.pareto_k < _GOOD_K or attempt.missed:
            break
    if attempts[-1].missed and beginning.log_mass.size > 1:
        rung = of_modes(beginning.gaussian, beginning.paths, beginning.log_mass)
        of_rung = jax.random.fold_in(key, len(rungs))
        attempts.append(_attempt(of_rung, target, rung, beginning.gaussian, beginning, max_stages=_MAX_STAGES))
    return tuple(attempts)


def _settle(
    key: jax.Array, target: Target, rung: Rung, gaussian: Gaussian, beginning: Beginning
) -> tuple[Attempt, Gaussian]:
    """Fits a rung; where it does not settle soon, once more, in the coordinates of the Gaussian that it has reached."""
    first_key, second_key = jax.random.split(key)
    first = _attempt(
        first_key, target, rung, gaussian, beginning, max_stages=_FIRST_STAGES if rung.gaussian else _MAX_STAGES
    )
    reached = step_up(rung, first.params.phi, gaussian)
    if first.fit.settled or rung.gaussian is None or not np.isfinite(first.elbo):
        return first, (reached if first.fit.settled else gaussian)
    second = _attempt(second_key, target, rung, reached, beginning, max_stages=_MAX_STAGES)
    if second.fit.settled or second.elbo > first.elbo:
        return second, step_up(rung, second.params.phi, reached)
    return first, reached


def _attempt(
    key: jax.Array, target: Target, rung: Rung, gaussian: Gaussian, beginning: Beginning, *, max_stages: int
) -> Attempt:
    init_key, fit_key, trial_key = jax.random.split(key, 3)
    guide = on(rung, gaussian)
    start = Params((), guide.init(init_key))
    score = log_weight_score(target.model, guide)
    objective = rung.objective(target.model, guide)
    watch = rung.watch(rung.guide(target.dim))
    fit = fit_until_settled(
        fit_key,
        objective,
        start,
        target.x,
        score=score,
        watch=watch,
        first_rate=rung.rate,
        max_stages=max_stages,
    )
    log_w = log_weights(trial_key, target.model, guide, fit.params, target.x, num_samples=_NUM_TRIAL_DRAWS)[:, 0]
    log_evidence = float(bounds.iwae(log_w))
    places = Places(beginning.paths.loc, beginning.log_mass)
    wrong = missed(target, guide, fit.params, places, log_evidence)
    return Attempt(rung.name, guide, fit.params, fit, _k(log_w), float(jnp.mean(log_w)), log_evidence, tuple(wrong))


def _k(log_w: jax.Array) -> float:
    """k̂; where there is none, −∞ if the weights are all but equal, as the posterior's are, ∞ if they are not finite."""
    k = float(pareto_k(log_w))
    if not np.isnan(k):
        return k
    return -np.inf if np.all(np.isfinite(log_w)) else np.inf
