"""A fit that finds its own step sizes and its own end, and shows what it went by."""

import functools
import math
from typing import NamedTuple

import jax
import numpy as np

from vi_jax import checks
from vi_jax.objectives import StatefulObjective
from vi_jax.training.ascent import check_tolerance
from vi_jax.training.one_rate import (
    BLOCK_STEPS,
    LARGEST_R_HAT,
    Rate,
    Watch,
    blocks,
    flat,
    optimizer,
    run_rate,
    with_rate,
)
from vi_jax.training.score import Score
from vi_jax.training.step import Prepare, TrainState, init_state
from vi_jax.types import Objective, Params, PyTree

_SHRINK = 0.5
# Halves of a stationary chain differ little against its spread; twice the spread is a journey.
_TRAVELLING_R_HAT = 2.0


class Stage(NamedTuple):
    """What was seen at one rate. Python numbers.

    Attributes:
      rate: of Adam.
      num_steps: taken at this rate.
      r_hat: the largest split-R̂ of a watched coordinate over the latter half of the steps; 1 if none moved at all.
      noise: ½ Σ MCSE² of the average of that half, nats: what the average's own noise is expected to cost.
      score: mean of the score at that average, nats; not finite if any draw's is not.
      standard_error: of `score`, nats.
      gain: how much higher than at the average of the rate before, paired draw by draw where both are finite; NaN at
        the first rate.
      gain_standard_error: of `gain`, nats.
      num_nonfinite_steps: steps whose value or gradient was not finite. NaN gradients are skipped.
      num_nonfinite_draws: of the S draws of the score.
      is_still: whether the iterates were stationary: R̂ < 1.1, or halves that differ by less than a tenth of the
        tolerance.
    """

    rate: float
    num_steps: int
    r_hat: float
    noise: float
    score: float
    standard_error: float
    gain: float
    gain_standard_error: float
    num_nonfinite_steps: int
    num_nonfinite_draws: int
    is_still: bool


class SettledFit(NamedTuple):
    """Where the fit ended, and whether that is an end.

    Attributes:
      params: the average of the last rate's iterates.
      stages: a `Stage` for each rate.
      settled: whether the last two rates agree within the tolerance and nothing was seen that says otherwise.
      reason: why it ended, in a sentence.
      state: the `TrainState` after the last step, for those who go on.
    """

    params: Params
    stages: tuple[Stage, ...]
    settled: bool
    reason: str
    state: TrainState


def fit_until_settled(
    key: jax.Array,
    objective: Objective | StatefulObjective,
    params: Params,
    x: PyTree,
    *,
    score: Score,
    first_rate: float = 0.1,
    tolerance: float = 0.01,
    max_stages: int = 8,
    prepare: Prepare | None = None,
    extra: PyTree = (),
    watch: Watch = flat,
) -> SettledFit:
    """Climbs by Adam at a rate that is halved until halving it changes the score by less than the tolerance.

    At a constant rate γ the iterates come to a stationary law about the optimum. That they are there is told by
    split-R̂ < 1.1 of every watched coordinate over the latter half of the rate's steps. They are averaged over that
    half, which from the second rate on grows until the average's own noise, ½ Σ MCSE², costs less than the tolerance.
    The loss of such an average is O(γ) or better, so what a halving gains is at least what all further ones would. The
    fit ends where

        |gain| + its standard error < tolerance   and   noise < tolerance

    with the gain paired: both averages are scored on the same draws. Otherwise the next rate starts from this average.
    R̂ need not be below 1.1 at every rate, but at one: a smaller rate moves in longer waves, and MCSE sees them.

    All of that is said in the units of the parameters: let them be such that 1 is a large step and ½ d² a loss in
    nats. For a guide over u, in coordinates in which the posterior is near N(0, I), they are, and 0.1 is a natural
    first rate; for a guide over raw z with sds of 0.001 or 1000 they are not. For the weights of a network, whose
    stillness nobody needs, let `watch` return means over sds and log sds of draws at a fixed noise.

    Nothing runs for ever: 7680 steps are the most at a rate, and a rate whose iterates still travel then (R̂ > 2) ends
    the fit, as on an improper density, or from a start that is hundreds of units away. A step whose gradient has
    NaN is skipped and counted; the fit is then that of the draws whose gradients are finite.

    Price: 960 steps a rate at least; 240 (W + P) numbers held, twice.

    Dhaka et al., "Robust, Accurate Stochastic Optimization for Variational Inference" (arXiv:2009.00666); Welandawe
    et al., "A Framework for Improving the Reliability of Black-box Variational Inference" (arXiv:2203.15945), whose
    rule predicts the symmetrised KL to the optimum where this one observes the score.

    Args:
      key: typed key, consumed.
      objective: as for `fit`; any whose optimum has a score that says where it is.
      params: to start from.
      x: data, leaves `[B, ...]`; a score sees all of them.
      score: what to be still in, such as `log_weight_score(model, guide)`, whatever the objective. The program is
        cached on the objects that are passed here: make them once.
      first_rate: of Adam, above 0.
      tolerance: nats, above 0.
      max_stages: the most rates.
      prepare: as for `fit`: `training.subsample` for minibatches.
      extra: as for `init_state`, for an objective with a state.
      watch: `params -> [W]`.

    Raises:
      TypeError, ValueError: as `fit`; a rate or a tolerance is not above 0, or `max_stages` no positive integer.
    """
    checks.check_key(key)
    max_stages = checks.check_positive_int("max_stages", max_stages)
    tolerance = check_tolerance(tolerance)
    if not first_rate > 0:
        raise ValueError(f"first_rate must be above 0, got {first_rate}: 0.1 where the posterior is near N(0, I).")
    fit_key, score_key = jax.random.split(key)
    state = init_state(fit_key, optimizer(), params, extra=extra)
    stages: list[Stage] = []
    draws = None
    for n in range(max_stages):
        rate = first_rate * _SHRINK**n
        found = run_rate(
            blocks(with_rate(state, rate), objective, x, prepare, watch),
            tolerance=tolerance,
            largest_r_hat=math.inf if any(stage.is_still for stage in stages) else LARGEST_R_HAT,
            most_noise=tolerance if stages else math.inf,
        )
        state = found.state._replace(params=found.average)
        before, draws = draws, np.asarray(_score(score, score_key, found.average, x))
        stages.append(_stage(rate, found, draws, before))
        ended = _ends(stages, draws.size, found, tolerance)
        if ended is not None:
            return SettledFit(found.average, tuple(stages), *ended, state)
    reason = f"{max_stages} rates were not enough: {_summary(stages[-1])}, against a tolerance of {tolerance:g}."
    return SettledFit(state.params, tuple(stages), settled=False, reason=reason, state=state)


@functools.partial(jax.jit, static_argnums=0)
def _score(score: Score, key: jax.Array, params: Params, x: PyTree) -> jax.Array:
    return score(key, params, x)


def _stage(rate: float, found: Rate, draws: np.ndarray, before: np.ndarray | None) -> Stage:
    with np.errstate(invalid="ignore"):
        gains = np.full(1, np.nan) if before is None else draws - before
        score, error = _mean_and_error(draws)
    gain = _mean_and_error(gains[np.isfinite(gains)])
    bad = int(np.sum(~np.isfinite(draws)))
    return Stage(
        rate, found.num_steps, found.r_hat, found.noise, score, error, *gain, found.num_nonfinite, bad, found.is_still
    )


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    if values.size < 2:
        return float("nan"), float("nan")
    return float(np.mean(values)), float(np.std(values, ddof=1) / values.size**0.5)


def _ends(stages: list[Stage], num_draws: int, found: Rate, tolerance: float) -> tuple[bool, str] | None:
    """Whether it settled, and why it ends; None to go on."""
    last, bad = stages[-1], stages[-1].num_nonfinite_draws
    has_been_still = any(stage.is_still for stage in stages)
    if not found.is_alive:
        return False, f"no gradient was finite in the last {BLOCK_STEPS} steps at rate {last.rate:g}."
    if not has_been_still and last.r_hat > _TRAVELLING_R_HAT:
        return False, (
            f"the parameters still travel after {last.num_steps} steps at rate {last.rate:g} (R̂ = {last.r_hat:.1f}):"
            " the density is improper or unbounded, or the start too far away: precondition, or start nearer."
        )
    if bad == num_draws:
        return False, "no draw has a finite score: the density is zero or NaN there, or the guide grew without bound."
    agrees = abs(last.gain) + last.gain_standard_error < tolerance
    if not (has_been_still and agrees and last.noise < tolerance):
        return None
    if bad:
        return False, (
            f"the parameters are still, but the scores of {bad} draws are not finite: the guide reaches where the"
            f" density is zero or NaN, so that its score is {last.score}."
        )
    return True, f"{_summary(last)}, within the tolerance of {tolerance:g}."


def _summary(last: Stage) -> str:
    return (
        f"halving the rate to {last.rate:g} changed the score by {last.gain:.4f} ± {last.gain_standard_error:.4f} nats,"
        f" at a noise of {last.noise:.4f} (R̂ = {last.r_hat:.2f})"
    )
