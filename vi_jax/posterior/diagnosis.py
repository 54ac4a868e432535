"""From a guide and its parameters to a number that says whether to trust them."""

from typing import Any, NamedTuple

import jax

from vi_jax import checks
from vi_jax.measurement import psis
from vi_jax.measurement.corrected import PosteriorMoments, posterior_moments
from vi_jax.measurement.reference_errors import ReferenceErrors, reference_errors
from vi_jax.measurement.sandwich import EvidenceSandwich, evidence_sandwich
from vi_jax.models.unconstrained import Target
from vi_jax.posterior import evaluate, findings, reach, shape
from vi_jax.posterior.modes import Places, missed, uncovered
from vi_jax.posterior.parameters import ReferencePosterior, flatten, reference_posterior
from vi_jax.posterior.summary import summary
from vi_jax.posterior.verdict import Verdict, verdict
from vi_jax.types import Guide, Params, PyTree

# A tail of 20 weights, on which k̂ rests.
_LEAST_DRAWS = 100


class Diagnosis(NamedTuple):
    """S draws of a guide, weighed and judged. Printing it gives the verdict and the table of `vi.summary`.

    Attributes:
      names: of the P parameters, in the order of every `[P]` here.
      draws: the constrained parameters, a pytree with leading axis S. Draws of the guide: weigh them, or resample.
      unconstrained: `[S, D]`, the same draws as the guide makes them.
      log_joint: `[S]` nats, log p(x, z) with the Jacobian.
      log_weights: `[S]` nats, log p(x, z) − log q(z).
      smoothed_log_weights: `[S]` nats, Pareto-smoothed.
      pareto_k: k̂ of the weights.
      threshold: min(1 − 1/log₁₀ S, 0.7), below which k̂ is to lie.
      effective_sample_size: (Σ w)² / Σ w².
      evidence: bounds on log p(x) from both sides, as far as they are known.
      moments: raw and corrected, `[P]`.
      errors: of both against the reference, None without one.
      findings: what is wrong with the density or the fit, empty where nothing is.
      verdict: `trusted`, `level` and `text`.
    """

    names: tuple[str, ...]
    draws: PyTree
    unconstrained: jax.Array
    log_joint: jax.Array
    log_weights: jax.Array
    smoothed_log_weights: jax.Array
    pareto_k: jax.Array
    threshold: float
    effective_sample_size: jax.Array
    evidence: EvidenceSandwich
    moments: PosteriorMoments
    errors: ReferenceErrors | None
    findings: tuple[findings.Finding, ...]
    verdict: Verdict

    def __str__(self) -> str:
        """The verdict, then the table."""
        return f"{self.verdict}\n\n{summary(self)}"


def diagnose(
    key: jax.Array,
    target: Target,
    guide: Guide,
    params: Params,
    *,
    num_draws: int = 4000,
    reference: Any = None,
    places: Places | None = None,
    record: jax.Array | None = None,
    exact_upper: float | None = None,
) -> Diagnosis:
    """Draws from a guide, weighs the draws by the target, and says in words whether to trust what they say.

        log w_s = log p(x, z_s) − log q(z_s),   z_s ~ q,   s = 1..S

    k̂ of the weights judges the guide (`measurement.pareto_k`); the density itself is examined for NaN, infinities,
    gradients that are not finite, steps, tails that do not fall or that reach beyond all draws, and rounding. None of
    that sees a mode that no draw has met: weights of draws say nothing of it, and `places` does. Price: S values and
    gradients of the density, and about as many again to examine it, S D for the draws.

    Yao, Vehtari, Simpson and Gelman (arXiv:1802.02538); Vehtari et al. (arXiv:1507.02646).

    Args:
      key: a typed key, consumed.
      target: the posterior, of `models.unconstrained`.
      guide: over z `[D]`.
      params: `Params((), phi)`.
      num_draws: S ≥ 100.
      reference: what is known of the posterior: its draws, as a tree like the parameters with leading axis R or as
        `[R, P]`, or the pair (mean, sd), `[P]` each, or both, as `data.posteriordb(name).reference`. Draws give the
        upper bound of the evidence, too.
      places: where ascents have been, and what mass they found there: those that the guide misses are reported.
      record: `[T]` nats, the ELBO of the fit by step, which is asked whether it had settled.
      exact_upper: an upper bound of the evidence in closed form, nats.

    Raises:
      TypeError, ValueError: guide, parameters, target and reference do not fit; S < 100; the guide's draws depend on
        each other.
    """
    number = check_num_draws(num_draws)
    evaluate.check(key, target, guide, params)
    known = None if reference is None else reference_posterior(target, reference)
    found = evaluate.evaluate(key, target, guide, params, num_draws=number)
    draws = jax.vmap(target.constrain)(found.z)
    log_w = found.log_joint - found.log_q
    reference_log_w = _reference_log_weights(target, guide, params, known)
    evidence = evidence_sandwich(log_w, reference_log_w=reference_log_w, exact_upper=exact_upper)
    moments = posterior_moments(flatten(draws), log_w)
    errors = None if known is None else reference_errors(moments, known.mean, known.sd)
    wrong = (*_examine(target, params, found, record), *_missed(target, guide, params, places, evidence))
    threshold = psis.pareto_k_threshold(number)
    return Diagnosis(
        names=target.names,
        draws=draws,
        unconstrained=found.z,
        log_joint=found.log_joint,
        log_weights=log_w,
        smoothed_log_weights=jax.jit(psis.smoothed_log_weights)(log_w),
        pareto_k=evidence.pareto_k,
        threshold=threshold,
        effective_sample_size=evidence.effective_sample_size,
        evidence=evidence,
        moments=moments,
        errors=errors,
        findings=wrong,
        verdict=verdict(target.names, threshold, evidence, moments, errors, wrong),
    )


def check_num_draws(num_draws: int) -> int:
    """Returns S; raises `ValueError` if it is too small for k̂ to see a tail."""
    number = checks.check_positive_int("num_draws", num_draws)
    if number < _LEAST_DRAWS:
        raise ValueError(f"num_draws must be at least {_LEAST_DRAWS}, for k̂ to see a tail, got {number}.")
    return number


def _reference_log_weights(
    target: Target, guide: Guide, params: Params, known: ReferencePosterior | None
) -> jax.Array | None:
    if known is None or known.unconstrained is None:
        return None
    z = known.unconstrained
    log_q = evaluate.log_q_of(guide, params, target.x, z)
    return evaluate.values(evaluate.density(target, params), z) - log_q


def _missed(
    target: Target, guide: Guide, params: Params, places: Places | None, evidence: EvidenceSandwich
) -> list[findings.Finding]:
    if places is None:
        return []
    log_evidence = float(evidence.log_evidence.value)
    found = missed(target, guide, params, places, log_evidence)
    return found or uncovered(target, guide, params, places, log_evidence)


def _examine(
    target: Target, params: Params, found: evaluate.Evaluations, record: jax.Array | None
) -> tuple[findings.Finding, ...]:
    log_joint = evaluate.density(target, params)
    improper = shape.tails(target, log_joint, found)
    return (
        *findings.nan_densities(target, log_joint, found),
        *findings.support_mismatch(target, log_joint, found),
        *findings.infinite_densities(target, log_joint, found),
        *findings.nonfinite_gradients(target, found),
        *shape.steps(log_joint, found),
        *(improper or reach.unreached(target, log_joint, found)),
        *([] if record is None else shape.growth(record)),
        *findings.rounding(log_joint, found),
        *findings.collapsed(target, found),
    )
