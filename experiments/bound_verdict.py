"""What the rows of `bound_tightness` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, against, agree, numbers

ROUNDING = 1e-12
ORDER = "ELBO ≤ IWAE_K ≤ log p(x) ≤ EUBO and CUBO₂, and IWAE_K rises with K"


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the estimates by the exact bounds, and these by the order and the rate that they are to have."""
    drawn = rows.query("bound != 'CUBO'")
    claim = "The estimates of every bound have the exact mean"
    # An estimate of log p(x) itself would be another.
    estimates = agree(claim, numbers(drawn, "z"), wrong=against(drawn, "estimate", drawn["log_evidence"]))
    return [estimates, order(rows), rate(rows), crossing(rows.query("bound == 'CUBO_K'"))]


def order(rows: pd.DataFrame) -> Verdict:
    """Judges ELBO ≤ IWAE_K ≤ IWAE_K' ≤ log p(x) ≤ EUBO, CUBO₂ for K < K'."""
    steps = [
        gap
        for _, here in rows.groupby("problem")
        for gap in -here.query("bound == 'IWAE'").sort_values("num_samples")["gap"].diff().dropna()
    ]
    room = [*steps, *rows.query("bound == 'IWAE'")["gap"], *-rows.query("bound in ('EUBO', 'CUBO')")["gap"]]
    elbo, first = (numbers(rows.query(f"bound == '{name}' and num_samples == 1"), "gap") for name in ("ELBO", "IWAE"))
    if not room:
        return Verdict(ORDER, "nothing was computed", holds=None)
    found = f"the smallest of {len(room)} steps up is {min(room):.2g} nats"
    alike = elbo.shape != first.shape or bool((abs(elbo - first) <= ROUNDING).all())
    return Verdict(ORDER, found, bool((np.asarray(room) >= -ROUNDING).all() and alike))


def rate(rows: pd.DataFrame) -> Verdict:
    """Judges K · gap at the largest K, on problems where Var(w)/p² ≤ K/20: its next term is of that order."""
    last = rows.query("bound == 'IWAE' and num_samples == num_samples.max()")
    small = last.query("half_variance <= num_samples / 40")
    claim = "The gap of IWAE goes like Var(w) / 2Kp(x)² where that is small"
    if small.empty:
        return Verdict(claim, "no K of these rows is large enough", holds=None)
    ratio = numbers(small, "rate") / numbers(small, "half_variance")
    # Relative to the asymptote the next term is of order Var(w)/(K p²).
    allowed = (4 * numbers(small, "half_variance") + 1) / numbers(small, "num_samples")
    where = f"on {len(small)} of {len(last)} problems, at K = {max(last['num_samples'])}"
    found = f"the gap is {ratio.min():.4f} to {ratio.max():.4f} of it {where}"
    return Verdict(claim, found, bool((np.abs(ratio - 1) <= allowed).all()))


def crossing(rows: pd.DataFrame) -> Verdict:
    """Judges whether E[½ log (1/K) Σ w²] is on both sides of log p(x)."""
    gaps = rows.groupby("problem")["gap"]
    crosses = (gaps.first() > 0) & (gaps.last() < 0)
    found = f"it starts below log p(x) and ends above on {crosses.sum()} of {len(crosses)} problems"
    return Verdict("The K-sample CUBO₂ is a bound in neither direction", found, bool(crosses.any()) or None)
