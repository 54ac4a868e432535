"""A row of `posteriors`: one method on one target, judged by the library and against the reference."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from experiments import intervals
from experiments.posterior_methods import Fitted
from experiments.posterior_reference import Chains
from experiments.posterior_targets import Problem, Reference

BLANK: dict[str, Any] = {
    "target": "",
    "dim": 0,
    "guide": "",
    "objective": "",
    **intervals.columns("elbo", (np.nan,) * 3),
    "elbo_best": np.nan,
    "elbo_error": np.nan,
    "log_z": np.nan,
    "log_z_source": "",
    "gap": np.nan,
    "mean_error": np.nan,
    "mean_rms": np.nan,
    "sd_ratio": np.nan,
    "sd_rms": np.nan,
    "corrected_mean_error": np.nan,
    "corrected_mean_rms": np.nan,
    "corrected_sd_ratio": np.nan,
    "corrected_sd_rms": np.nan,
    "pareto_k": np.nan,
    "threshold": np.nan,
    "mean_pareto_k": np.nan,
    "sd_pareto_k": np.nan,
    "ess": np.nan,
    "iwae": np.nan,
    **intervals.columns("evidence", (np.nan,) * 3),
    "eubo": np.nan,
    "level": "",
    "seconds": np.nan,
    "compile_seconds": np.nan,
    "gradients": 0,
    "reference": "",
    "reference_mcse": np.nan,
    "r_hat": np.nan,
    "note": "",
}
"""Every column.

ELBO, its best possible value `elbo_best` where that is known, log Z and its `gap` to the ELBO in nats. Errors of means
are the largest of all parameters and the root of the mean square, in reference standard deviations; `sd_ratio` is that
sd/reference sd which is farthest from 1, `sd_rms` the root mean square of ratio − 1. `mean_pareto_k` and `sd_pareto_k`
are the largest k̂ of a corrected mean and of a corrected sd. `reference_mcse` is the largest Monte Carlo standard error
of a reference mean, in its sd: no error below it can be seen.
"""


class Clock(NamedTuple):
    """Seconds of wall clock, and those among them that XLA compiled for, filled in when the block is left."""

    seconds: list[float]
    compiling: list[float]

    def columns(self) -> dict[str, float]:
        """Returns the two columns."""
        return {"seconds": sum(self.seconds), "compile_seconds": sum(self.compiling)}


@contextlib.contextmanager
def timed() -> Iterator[Clock]:
    """Times a block. Programs that were compiled earlier, or kept on disk, are not compiled again."""
    clock = Clock([], [])

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            clock.compiling.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    begin = time.perf_counter()
    try:
        yield clock
    finally:
        clock.seconds.append(time.perf_counter() - begin)
        jax.monitoring.unregister_event_duration_listener(listen)


class Evidence(NamedTuple):
    """log Z in nats, and where it is from."""

    value: float
    source: str


def known(problem: Problem) -> Evidence:
    """Returns log Z of a problem where it is known, else NaN."""
    return Evidence(np.nan, "") if problem.log_z is None else Evidence(problem.log_z, "known")


def evidence_of(problem: Problem, diagnosis: vi.posterior.Diagnosis) -> Evidence:
    """Returns log Z if it is known; else what the weights of the default call say of it, by its name."""
    found = diagnosis.evidence
    if problem.log_z is not None:
        return known(problem)
    if found.reliable:
        return Evidence(float(found.log_evidence.value), "importance sampling, default call")
    return Evidence(float(found.iwae.value), "IWAE of the default call, a lower bound")


def judged(
    problem: Problem,
    reference: Reference,
    diagnosis: vi.posterior.Diagnosis,
    evidence: Evidence,
    family: str,
    fitted: Fitted,
) -> dict[str, Any]:
    """Returns what the diagnosis says of a fit, as columns."""
    found = diagnosis.evidence
    elbo, best = float(found.elbo.value), problem.optima.get(family, np.nan)
    return {
        **intervals.around("elbo", elbo, found.elbo.standard_error),
        "elbo_best": best,
        "elbo_error": elbo - best,
        "log_z": evidence.value,
        "log_z_source": evidence.source,
        "gap": evidence.value - elbo,
        **errors(diagnosis, reference),
        "pareto_k": float(diagnosis.pareto_k),
        "threshold": diagnosis.threshold,
        "mean_pareto_k": float(np.max(diagnosis.moments.mean_pareto_k)),
        "sd_pareto_k": float(np.max(diagnosis.moments.sd_pareto_k)),
        "ess": float(diagnosis.effective_sample_size),
        "iwae": float(found.iwae.value),
        **intervals.columns("evidence", (found.log_evidence.value, *found.interval)),
        "eubo": np.nan if found.eubo is None else float(found.eubo.value),
        "level": diagnosis.verdict.level,
        "gradients": fitted.num_gradients,
        "note": "; ".join([fitted.note, *(finding.kind for finding in diagnosis.findings)]),
    }


def errors(diagnosis: vi.posterior.Diagnosis, reference: Reference) -> dict[str, Any]:
    """Returns the errors of means and sds, of the guide itself and after importance correction."""
    both = vi.measurement.reference_errors(diagnosis.moments, *map(jnp.asarray, (reference.mean, reference.sd)))
    columns: dict[str, Any] = {"reference": reference.source}
    columns["reference_mcse"] = float(np.max(reference.mcse / reference.sd))
    for prefix, error in (("", both.raw), ("corrected_", both.corrected)):
        ratios = np.asarray(error.sd_ratio)
        columns |= {
            f"{prefix}mean_error": float(error.largest_mean),
            f"{prefix}mean_rms": float(error.rms_mean),
            f"{prefix}sd_ratio": float(ratios[np.argmax(np.abs(np.log(ratios)))]),
            f"{prefix}sd_rms": float(error.rms_sd),
        }
    return columns


def of_chains(chains: Chains) -> dict[str, Any]:
    """Returns the row of the chains that serve as reference."""
    reference = chains.reference
    return {
        "objective": "nuts",
        "reference": reference.source,
        "reference_mcse": float(np.max(reference.mcse / reference.sd)),
        "r_hat": chains.r_hat,
        "ess": chains.effective_sample_size,
        "note": f"{chains.num_divergent} of {len(reference.draws if reference.draws is not None else ())} diverged",
    }
