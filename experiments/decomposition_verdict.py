"""What the rows of `elbo_decompositions` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, agree, below, difference, ends, every, numbers, text

ROUNDING = 1e-9
TOY = {"log p/q": 16.0, "recon. − KL": 4.0, "energy + H": 16.0}
"""Of the variances of φ̄ to that of STL."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges value and gradient of every form, log p(x) = ELBO + KL, and which form has the least variance."""
    z = np.concatenate([numbers(rows, "z_score"), numbers(rows, "gradient_z_max")])
    num = len(rows) + int(numbers(rows, "num_coordinates").sum())
    residual = np.nanmax(np.abs(numbers(rows, "residual")))
    identity = Verdict(
        "log p(x) = ELBO + KL(q ‖ p(z | x)), each computed without the others",
        f"they differ by {residual:.1g} nats at most",
        bool(residual <= ROUNDING),
    )
    same = agree("All forms have the same value and the same gradient, the exact ones", z, num=num)
    return [same, identity, least(rows), toy(rows.query("problem == 'toy'"))]


def least(rows: pd.DataFrame) -> Verdict:
    """Judges whether the closed-form KL wins far from the posterior, and sticking the landing near it, on the VAE."""
    claim = "On the VAE reconstruction − KL has the least variance at the start, STL at the end"
    here = rows.query("problem == 'VAE'").set_index(["point", "form", "estimator"])
    if here.empty:
        return Verdict(claim, "not measured", holds=None)
    closed, sticking = ("recon. − KL", "pathwise"), ("log p/q", "STL")
    found, answers = [], []
    for point, best, other in (("start", closed, sticking), ("end", sticking, closed)):
        mine, theirs = (ends(here.loc[(point, *form)], "variance_phi") for form in (best, other))
        answers.append(below(difference(mine, theirs)))
        found.append(f"{text(mine)} against {text(theirs)} at the {point}")
    return Verdict(claim, ", ".join(found), every(answers))


def toy(rows: pd.DataFrame) -> Verdict:
    """Judges the variances of φ̄ on the toy, which are in these ratios draw by draw."""
    unit = numbers(rows.query("estimator == 'STL'"), "variance_phi")
    ratios = {name: numbers(rows.query("estimator != 'STL' and form == @name"), "variance_phi") / unit for name in TOY}
    error = max(np.abs(ratio / TOY[name] - 1).max() for name, ratio in ratios.items())
    found = ", ".join(f"{name} {ratio.mean():.4f}" for name, ratio in ratios.items())
    return Verdict("On the toy the variances are 16, 4 and 16 times that of STL", found, bool(error <= ROUNDING))
