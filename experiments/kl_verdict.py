"""What the rows of `kl_directions` say."""

from itertools import pairwise

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, above, agree, below, difference, ends, every, numbers, text, within

ROUNDING = 1e-9
WIDENING = ("reverse KL", "α = ½", "forward KL", "CUBO₂")


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges variances by the exact ones and by their order, the split of restarts, and wake-φ with few draws."""
    correlated = rows.query("part == 'correlated'")
    return [optima(correlated), widening(correlated.query("method == 'draws'")), modes(rows), wake(rows)]


def optima(rows: pd.DataFrame) -> Verdict:
    """Judges both ways to each optimum; those from draws are the ones of finite K, after a finite number of steps."""
    exactly, drawn = (
        np.abs(numbers(rows.query(f"method == '{name}'"), "relative_error")) for name in ("exact gradient", "draws")
    )
    holds = every([within(exactly, ROUNDING, ROUNDING), within(drawn, 0.015, 0.1)])
    found = f"relative errors up to {exactly.max():.0e} by exact gradients, {100 * drawn.max():.1f} % by draws"
    return Verdict("Every direction ends at its exact variance", found, holds)


def widening(rows: pd.DataFrame) -> Verdict:
    """Judges the order of the fitted variances at every correlation."""
    answers, found = [], []
    for target, here in rows.groupby("target", sort=False):
        by_name = here.set_index("objective")
        fits = [ends(by_name.loc[name], "variance") for name in WIDENING if name in by_name.index]
        answers += [above(difference(wider, narrow)) for narrow, wider in pairwise(fits)]
        found.append(f"{target}: " + " < ".join(f"{fit[0]:.3g}" for fit in fits))
    return Verdict(f"Variances: {' < '.join(WIDENING)}", ", ".join(found), every(answers))


def modes(rows: pd.DataFrame) -> Verdict:
    """Judges the even split of the restarts between the two modes at ±4, and the divergence that they end with."""
    here = rows.query("part == 'two modes' and target == '±4'").dropna(subset=["z"])
    claim = "Of two modes at ±4 reverse KL takes one or the other, as often, at the exact divergence"
    if here.empty:
        return Verdict(claim, "not fitted", holds=None)
    split = agree(claim, numbers(here, "z"))
    shares = " and ".join(f"{100 * share:.0f} %" for share in here["share"])
    error = np.abs(numbers(here, "kl") - numbers(here, "kl_exact"))
    # The saddle between them keeps a few for longer than there are steps.
    elsewhere = 1 - numbers(here, "share").sum()
    found = f"{shares} of restarts end there, {split.found}; KL is off by {error.max(initial=0):.0e} nats"
    return Verdict(claim, found, every([split.holds, within(error, 1e-3, 1e-2), within(elsewhere, 0.1, 0.5)]))


def wake(rows: pd.DataFrame) -> Verdict:
    """Judges the variance that wake-φ keeps of the exact one that it starts from, at the smallest K."""
    here = rows.query("part == 'wake-φ'").sort_values("num_samples")
    claim = "wake-φ with few draws ends narrower than forward KL does"
    if here.empty:
        return Verdict(claim, "not fitted", holds=None)
    few, exact = ends(here.iloc[0], "variance"), here["exact"].iloc[0]
    found = f"variance {text(few)} at K = {here['num_samples'].iloc[0]}, exact {exact:g}"
    return Verdict(claim, found, below(few, exact))
