"""What the rows of `discrete_latents` say."""

import pandas as pd

from experiments.verdicts import Verdict, above, below, difference, ends, every, text

BETTER = ("VIMCO(50) − VIMCO(5)", "VIMCO(5) − NVIL(1)", "NVIL(1) − REINFORCE(1)")
"""Paired differences of exact NLL that are to be negative."""
WORSE = ("NVIL(1) − exact ELBO", "Concrete(1) − exact ELBO")
"""And those that are to be positive: noise, and relaxation."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the paired differences of exact NLL, and what few draws do to the components of the mixture."""
    paired = {row["method"]: ends(row, "nll") for _, row in rows.query("part == 'difference'").iterrows()}
    orders = (
        ("With more draws, or a baseline, a belief net is trained better", BETTER, below),
        ("What has noise or is relaxed ends above the exact gradients of the ELBO", WORSE, above),
    )
    found = [
        Verdict(claim, ", ".join(f"{name} {text(paired[name])}" for name in names if name in paired) + " nats", holds)
        for claim, names, side in orders
        if (holds := every(side(paired[name]) for name in names if name in paired)) is not None
        or any(name in paired for name in names)
    ]
    return [*found, *mixture(rows.query("part == 'mixture'"))]


def mixture(rows: pd.DataFrame) -> list[Verdict]:
    """Judges components lost at the smallest K, and errors of p and q at the largest, where the methods are there."""
    last = rows[rows["step"].eq(rows.groupby(["method", "K"])["step"].transform("max"))].set_index(["method", "K"])
    few, many = rows["K"].min(), rows["K"].max()
    comparisons = (
        (f"With K = {few} defensive draws keep components that RWS loses", "lost", few, "defensive RWS", "RWS"),
        (f"With K = {many} RWS learns q better than the Concrete does", "guide_error", many, "RWS", "Concrete"),
        (f"With K = {many} RWS learns p better than wake-sleep does", "weights_error", many, "RWS", "wake-sleep"),
    )
    found = []
    for claim, column, k, better, worse in comparisons:
        if {(better, k), (worse, k)} <= set(last.index):
            mine, theirs = (ends(last.loc[(name, k)], column) for name in (better, worse))
            words = f"{better} {text(mine)}, {worse} {text(theirs)}"
            found.append(Verdict(claim, words, below(difference(mine, theirs))))
    return found
