"""What the rows of `sweep` say, of whatever model, bounds and estimators."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, agree, numbers, where

COORDINATES = 100_000
"""As many as a block may have behind its largest z, and more than those of the zoo: the rows do not say."""
STICKING = "sticking_the_landing"


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges mean gradients by what they are to follow: those that claim no bias, and those that have one."""
    defined = rows["undefined"].isna() | rows["undefined"].eq("")
    rows = where(rows, defined & rows["truth"].ne("none") & rows["block"].isin(("theta", "phi")))
    tilted = rows["block"].eq("phi") & (
        rows["estimator"].str.contains("wake_phi")
        | (rows["estimator"].str.contains(STICKING) & rows["bound"].ne("elbo") & rows["num_samples"].gt(1))
    )
    plain = where(rows, ~tilted).dropna(subset=["largest_z"])
    claim = "Every gradient that claims no bias has the mean that it is to follow"
    unbiased = agree(claim, numbers(plain, "largest_z"), num=max(1, COORDINATES * len(plain)))
    known = list(plain["truth"]).count("exact")
    unbiased = unbiased._replace(found=f"{unbiased.found}; {known} of {len(plain)} truths are exact, others measured")
    return [unbiased, *biased(where(rows, tilted & rows["estimator"].eq(STICKING)))]


def biased(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the bias of sticking the landing at the largest K, which is no ELBO's."""
    found = []
    for bound, here in rows.groupby("bound", sort=False):
        last = here.sort_values("num_samples").iloc[-1]
        share, low, high = (float(last[f"bias_norm{end}"] / last["truth_norm"]) for end in ("", "_low", "_high"))
        words = f"bias {share:.2g} ({low:.2g} to {high:.2g}) times the length of the true gradient"
        claim = f"Under {bound} with K = {last['num_samples']} sticking the landing follows another gradient"
        found.append(Verdict(claim, words, True if low > 0 else (False if high < 0.01 or np.isnan(high) else None)))
    return found
