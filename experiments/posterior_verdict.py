"""What the rows of `posteriors` say."""

import numpy as np
import pandas as pd

from experiments import intervals
from experiments.verdicts import Verdict, agree, numbers, where, within
from vi_jax.posterior.verdict import UNTRUSTED

ROUNDING = 1e-6
ALLOWED = 0.25
"""Posterior standard deviations of a mean, and the share of an sd, that a trusted answer may be wrong by."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges ELBOs by log Z and by their known optima, and the trust that was put in each fit by its errors."""
    fits = rows.dropna(subset=["elbo"])
    known = fits.query("log_z_source == 'known'")
    elbo = numbers(known, "elbo")
    error = np.maximum((numbers(known, "elbo_high") - elbo) / intervals.QUANTILE, ROUNDING)
    bound = agree(
        "No ELBO is above log Z, where that is known",
        np.maximum((elbo - numbers(known, "log_z") - ROUNDING) / error, 0),
        small=0,
    )
    return [bound, optima(fits.query("objective == 'reverse-kl'").dropna(subset=["elbo_best"])), trust(fits)]


def optima(rows: pd.DataFrame) -> Verdict:
    """Judges the fits by reverse KL whose best ELBO is known."""
    claim = "Reverse KL comes to the best ELBO of its family, where that is known"
    if rows.empty:
        return Verdict(claim, "it is not known of any of these fits", holds=None)
    error = np.abs(numbers(rows, "elbo_error"))
    worst = rows.iloc[int(error.argmax())]
    fits = f"{len(rows)} fit{'s' * (len(rows) > 1)}"
    found = f"within {error.max():.2g} nats in {fits}, the worst {worst['target']} by {worst['guide']}"
    return Verdict(claim, found, within(error, 0.05, 0.5))


def trust(rows: pd.DataFrame) -> Verdict:
    """Judges means and sds of every fit that is trusted, corrected by its weights where the trust asks for it."""
    claim = f"What is trusted has means within {ALLOWED} sd and sds within {100 * ALLOWED:.0f} % of the reference"
    trusted = where(rows, rows["level"].notna() & ~rows["level"].isin((UNTRUSTED, "")))
    if trusted.empty:
        return Verdict(claim, "nothing is trusted", holds=None)
    raw = trusted["level"] == "trusted"
    mean, sd = (
        np.where(raw, trusted[name], trusted[f"corrected_{name}"]).astype(float) for name in ("mean_error", "sd_ratio")
    )
    # What chains stand for is known to their own error.
    seen = 3 * np.nan_to_num(numbers(trusted, "reference_mcse"))
    worst = trusted.iloc[int(np.nanargmax(np.maximum(mean, np.abs(sd - 1))))]
    found = f"within {np.max(mean):.2g} sd and {100 * np.max(np.abs(sd - 1)):.0f} % in {len(trusted)} of"
    found += f" {len(rows)} fits, the worst {worst['target']} by {worst['guide']}/{worst['objective']}"
    return Verdict(claim, found, bool(((mean <= ALLOWED + seen) & (np.abs(sd - 1) <= ALLOWED + seen)).all()))
