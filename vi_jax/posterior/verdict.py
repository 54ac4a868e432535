"""The verdict: may this approximation be trusted, why, and what to try next, in words."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vi_jax.measurement.corrected import PosteriorMoments
from vi_jax.measurement.reference_errors import ReferenceErrors
from vi_jax.measurement.sandwich import EvidenceSandwich
from vi_jax.posterior.findings import Finding

TRUSTED = "trusted"
CORRECTED = "trusted after importance correction"
UNTRUSTED = "not to be trusted"

# The guide's own moments will do where the correction moves means, in posterior sd, and sds, as a ratio, by less.
_MEAN_LIMIT = 0.1
_SD_LIMIT = 0.05
# Corrected means are then known to a tenth of a posterior sd.
_LEAST_SAMPLE_SIZE = 100
_NEXT = (
    "Try a richer guide (mean_field, then full_rank, then flow) or, after a flow, a longer fit or other coordinates (a "
    "non-centred parametrisation, a log scale)."
)


class Verdict(NamedTuple):
    """Whether to trust an approximation.

    Attributes:
      trusted: whether means and sds may be used, those that `level` says.
      level: "trusted", the guide as it is; "trusted after importance correction"; "not to be trusted".
      text: what was found, why, and what to try next.
    """

    trusted: bool
    level: str
    text: str

    def __str__(self) -> str:
        """The text."""
        return self.text


def verdict(
    names: tuple[str, ...],
    threshold: float,
    evidence: EvidenceSandwich,
    moments: PosteriorMoments,
    errors: ReferenceErrors | None,
    findings: tuple[Finding, ...],
) -> Verdict:
    """Judges by what was found, then by k̂, then by the effective sample size, then by how far the correction moves.

    A finding that is fatal, k̂ from the threshold on (from 1 on where the weights are all but equal,
    `EvidenceSandwich.reliable`), or a parameter known to fewer than 100 effective draws: not to be trusted. Else
    trusted as it is where the correction moves no mean by 0.1 posterior sd and no sd by 5 %, and trusted after it
    otherwise.
    """
    means, sds = _moved(moments)
    fatal = any(finding.is_fatal for finding in findings)
    enough = bool(jnp.min(moments.corrected.effective_sample_size) >= _LEAST_SAMPLE_SIZE)
    if fatal or not (evidence.reliable and enough):
        level = UNTRUSTED
    else:
        level = TRUSTED if means.max() < _MEAN_LIMIT and sds.max() < _SD_LIMIT else CORRECTED
    said = [f"{level.capitalize()}."]
    said += [finding.text for finding in findings]
    if fatal:
        said += [
            f"k̂ ({evidence.pareto_k:.2f}) and what else follows from the weights say nothing until that is mended."
        ]
    else:
        said += [_about_k(threshold, evidence), _about_size(names, moments, evidence)]
        said += _ADVICE[level](names, means, sds, moments, threshold)
    said += [_about_evidence(evidence)]
    said += [_about_errors(names, errors)] if errors is not None else []
    return Verdict(level != UNTRUSTED, level, "\n".join(said))


def _moved(moments: PosteriorMoments) -> tuple[np.ndarray, np.ndarray]:
    """How far the correction moves means, in posterior sd, and sds, as a ratio, `[P]` each; NaN counts as infinite."""
    raw, corrected = moments.raw, moments.corrected
    is_constant = (raw.sd == 0) & (corrected.sd == 0)
    means = jnp.where(is_constant, 0, jnp.abs((raw.mean - corrected.mean) / corrected.sd))
    sds = jnp.where(is_constant, 0, jnp.abs(raw.sd / corrected.sd - 1))
    return tuple(np.nan_to_num(np.asarray(part), nan=np.inf) for part in (means, sds))  # type: ignore[return-value]


def _about_k(threshold: float, evidence: EvidenceSandwich) -> str:
    k = evidence.pareto_k
    if bool(jnp.isnan(k)):
        said = "all weights are all but equal: the guide is the posterior, to these draws" if evidence.reliable else ""
        return f"There is no k̂: {said or 'the weights have no tail to which a law could be fitted'}."
    if evidence.reliable and bool(k >= threshold):
        return f"k̂ = {k:.3f} is not below {threshold:.3f}, but the weights are all but equal: their tail adds little."
    if evidence.reliable:
        return f"k̂ = {k:.3f} is below {threshold:.3f}: importance weights mend what the guide misses."
    if bool(k < threshold):
        return f"k̂ = {k:.3f} is below {threshold:.3f}, but is itself uncertain with so few effective draws."
    return (
        f"k̂ = {k:.3f} is not below {threshold:.3f}: the guide misses mass of the posterior that no number of its "
        "draws will weigh correctly, and no standard error here is to be believed."
    )


def _about_size(names: tuple[str, ...], moments: PosteriorMoments, evidence: EvidenceSandwich) -> str:
    sizes = np.asarray(moments.corrected.effective_sample_size)
    place = int(np.argmin(sizes))
    said = (
        f"Effective sample size {evidence.effective_sample_size:.0f} of the weights, {sizes[place]:.0f} for the mean "
        f"of {names[place]}, the least"
    )
    return said + ("." if sizes[place] >= _LEAST_SAMPLE_SIZE else ": fewer than 100. Take more draws (num_draws).")


def _advice_trusted(names, means, sds, moments, threshold) -> list[str]:
    return [
        f"The correction moves no mean by more than {means.max():.2f} posterior sd and no sd by more than "
        f"{sds.max():.1%}: the guide may be used as it is.",
        *_except(names, moments, threshold),
    ]


def _advice_corrected(names, means, sds, moments: PosteriorMoments, threshold: float) -> list[str]:
    return [
        f"The guide's own means are off by up to {means.max():.2f} posterior sd ({names[int(means.argmax())]}) and its "
        f"sds by up to {sds.max():.0%} ({names[int(sds.argmax())]}): use the corrected moments (vi.summary) or the "
        "resampled draws (vi.posterior.to_arviz).",
        *_except(names, moments, threshold),
    ]


def _except(names: tuple[str, ...], moments: PosteriorMoments, threshold: float) -> list[str]:
    largest = np.maximum(moments.mean_pareto_k, moments.sd_pareto_k)
    bad = [name for name, k in zip(names, largest, strict=True) if k >= threshold]
    if not bad:
        return []
    more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
    return [f"Except mean or sd of {', '.join(bad[:6])}{more}, whose own k̂ is not below {threshold:.3f}."]


def _advice_untrusted(names, means, sds, moments, threshold) -> list[str]:
    del names, means, sds, moments, threshold
    return [_NEXT]


_ADVICE = {TRUSTED: _advice_trusted, CORRECTED: _advice_corrected, UNTRUSTED: _advice_untrusted}


def _about_evidence(evidence: EvidenceSandwich) -> str:
    low, high = (float(end) for end in evidence.interval)
    elbo = f"ELBO {evidence.elbo.value:.3f} ± {evidence.elbo.standard_error:.3f}"
    uppers = [f"EUBO {evidence.eubo.value:.3f} ± {evidence.eubo.standard_error:.3f}"] if evidence.eubo else []
    uppers += [f"at most {evidence.exact_upper:.3f}, exactly"] if evidence.exact_upper is not None else []
    lower = (
        f"log evidence above {low:.3f} (IWAE_{evidence.iwae_num_samples}, 95 %), from above unknown by these weights"
    )
    said = (
        f"log evidence {evidence.log_evidence.value:.3f}, 95 % interval ({low:.3f}, {high:.3f})"
        if evidence.reliable
        else lower
    )
    return "; ".join([f"In nats: {elbo}", said, *uppers]) + "."


def _about_errors(names: tuple[str, ...], errors: ReferenceErrors) -> str:
    def one(what: str, error) -> str:
        worst = names[int(np.nanargmax(np.nan_to_num(np.abs(error.mean), nan=-1.0)))]
        return (
            f"{what} means within {error.largest_mean:.3f} reference sd ({worst}), rms {error.rms_mean:.3f}, sds "
            f"within {error.largest_sd:.1%}, rms {error.rms_sd:.1%}"
        )

    return f"Against the reference: {one('raw', errors.raw)}; {one('corrected', errors.corrected)}."
