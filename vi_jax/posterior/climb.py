"""Up a ladder of guides: each is fitted and judged by its own draws, until one is good enough."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_jax import bounds
from vi_jax.measurement.psis import pareto_k
from vi_jax.measurement.weights import effective_sample_size
from vi_jax.models.unconstrained import Target
from vi_jax.posterior.evaluate import evaluate
from vi_jax.posterior.findings import Finding
from vi_jax.posterior.gaussian import Beginning
from vi_jax.posterior.ladder import Rung, of_modes, on, step_up
from vi_jax.posterior.modes import missed
from vi_jax.training.laplace import Gaussian
from vi_jax.training.score import log_weight_score
from vi_jax.training.settle import SettledFit, fit_until_settled
from vi_jax.training.step import Prepare
from vi_jax.types import Guide, Params

# Below ½ the weights have a variance, so that errors fall like 1/√S; from there on a richer guide is worth its price.
# So it is where that variance takes half of the draws: k̂ is then an estimate from few. Where the weights are all but
# equal it is not: the tail of what hardly varies is of no account, whatever its shape.
_GOOD_K = 0.5
_TRUSTED_K = 0.7
_GOOD_SHARE = 0.5
_ALL_BUT_EQUAL = 0.99
# A Gaussian that has not settled after four rates lives in the wrong coordinates: its own are better.
_FIRST_STAGES = 4
_MAX_STAGES = 8


class Problem(NamedTuple):
    """What is the same on every rung.

    Attributes:
      target: the posterior.
      beginning: where the first rung starts.
      num_draws: S, by which each rung is judged.
      prepare: as of `fit`, of every step: `training.subsample` for minibatches.
    """

    target: Target
    beginning: Beginning
    num_draws: int
    prepare: Prepare | None


class Attempt(NamedTuple):
    """One rung of the ladder.

    Attributes:
      name: of the rung.
      guide: over z `[D]`.
      params: where the fit ended.
      fit: how it went: rates, scores, whether it settled.
      pareto_k: k̂ of S draws; −∞ where their weights are all but equal, ∞ where they are not finite.
      is_good: k̂ < ½ and an effective sample size above ½ S, or k̂ < 1 and one above .99 S.
      elbo: nats, of the same draws.
      log_evidence: nats, likewise.
      missed: modes that ascents have met and this guide excludes.
    """

    name: str
    guide: Guide
    params: Params
    fit: SettledFit
    pareto_k: float
    is_good: bool
    elbo: float
    log_evidence: float
    missed: tuple[Finding, ...]


def climb(key: jax.Array, problem: Problem, rungs: tuple[Rung, ...]) -> tuple[Attempt, ...]:
    """Fits the rungs in their order until one is good or misses a mode; then, if there are modes, their mixture."""
    gaussian, attempts = problem.beginning.gaussian, []
    for number, rung in enumerate(rungs):
        attempt, gaussian = _settle(jax.random.fold_in(key, number), problem, rung, gaussian)
        attempts.append(attempt)
        if attempt.is_good or attempt.missed:
            break
    if attempts[-1].missed and problem.beginning.log_mass.size > 1:
        start, _, modes, log_mass, _ = problem.beginning
        of_rung = jax.random.fold_in(key, len(rungs))
        attempts.append(_attempt(of_rung, problem, of_modes(start, modes, log_mass), start, max_stages=_MAX_STAGES))
    return tuple(attempts)


def best_of(attempts: tuple[Attempt, ...]) -> Attempt:
    """Returns, of the attempts that miss no mode, a good one, or one below the limit of trust, by the largest ELBO.

    Each condition gives way where none fulfils it. k̂ itself is too noisy to choose by: ELBOs of one target compare.
    """

    def rank(attempt: Attempt) -> tuple[bool, bool, bool, float]:
        elbo = attempt.elbo if np.isfinite(attempt.elbo) else -np.inf
        return bool(attempt.missed), not attempt.is_good, not attempt.pareto_k < _TRUSTED_K, -elbo

    return min(attempts, key=rank)


def _settle(key: jax.Array, problem: Problem, rung: Rung, gaussian: Gaussian) -> tuple[Attempt, Gaussian]:
    """Fits a rung; where it does not settle soon, once more, in the coordinates of the Gaussian that it has reached.

    Returns the better of both, and the Gaussian that the next rung starts from.
    """
    first_key, second_key = jax.random.split(key)
    first = _attempt(first_key, problem, rung, gaussian, max_stages=_FIRST_STAGES if rung.gaussian else _MAX_STAGES)
    if not np.isfinite(first.elbo):
        return first, gaussian
    reached = step_up(rung, first.params.phi, gaussian)
    if first.fit.settled or rung.gaussian is None:
        return first, reached
    second = _attempt(second_key, problem, rung, reached, max_stages=_MAX_STAGES)
    if second.fit.settled or second.elbo > first.elbo:
        return second, step_up(rung, second.params.phi, reached)
    return first, reached


def _attempt(key: jax.Array, problem: Problem, rung: Rung, gaussian: Gaussian, *, max_stages: int) -> Attempt:
    init_key, fit_key, trial_key = jax.random.split(key, 3)
    target, guide = problem.target, on(rung, gaussian)
    fit = fit_until_settled(
        fit_key,
        rung.objective(target.model, guide),
        Params((), guide.init(init_key)),
        target.x,
        score=log_weight_score(target.model, guide),
        watch=rung.watch(rung.guide(target.dim)),
        first_rate=rung.rate,
        max_stages=max_stages,
        prepare=problem.prepare,
    )
    drawn = evaluate(trial_key, target, guide, fit.params, num_draws=problem.num_draws)
    log_w = drawn.log_joint - drawn.log_q
    k, log_evidence = _k(log_w), float(bounds.iwae(log_w))
    share = float(effective_sample_size(log_w)) / log_w.size
    return Attempt(
        name=rung.name,
        guide=guide,
        params=fit.params,
        fit=fit,
        pareto_k=k,
        is_good=is_good(k, share),
        elbo=float(jnp.mean(log_w)),
        log_evidence=log_evidence,
        missed=tuple(missed(target, guide, fit.params, problem.beginning.places, log_evidence)),
    )


def is_good(pareto_k: float, share: float) -> bool:
    """Whether a rung will do, by k̂ and its effective sample size as a share of S."""
    return (pareto_k < _GOOD_K and share > _GOOD_SHARE) or (pareto_k < 1 and share > _ALL_BUT_EQUAL)


def _k(log_w: jax.Array) -> float:
    """k̂; where there is none, −∞ if the weights are all but equal, as the posterior's are, ∞ if they are not finite."""
    k = float(jax.jit(pareto_k)(log_w))
    if not np.isnan(k):
        return k
    return -np.inf if np.all(np.isfinite(log_w)) else np.inf
