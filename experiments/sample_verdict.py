"""What the rows of `sample_sweep` say."""

import pandas as pd

from experiments.verdicts import Verdict, above, below, difference, ends, every, text

ROUNDING = 1e-3


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges bounds by the evidence of many draws, and signals at the smallest K by those at the largest."""
    first, last = (
        rows.query(f"num_samples == {k}").set_index(["parameters", "objective", "estimator"])
        for k in (min(rows["num_samples"]), max(rows["num_samples"]))
    )
    return [gaps(first, last), *signals(first, last, max(rows["num_samples"]))]


def gaps(first: pd.DataFrame, last: pd.DataFrame) -> Verdict:
    """Judges the gap of IWAE at the smallest and the largest K, at the trained and at the perturbed parameters."""
    answers, found = [], []
    for point in dict.fromkeys(first.index.get_level_values(0)):
        before, after = (ends(frame.loc[(point, "iwae", "pathwise")], "gap") for frame in (first, last))
        answers.append(above(difference(before, after)))
        # The evidence is a second estimate; a bound on its far side would be none.
        answers.append(below(after) is not True or None)
        found.append(f"{text(before)} to {text(after)} nats, {point}")
    return Verdict("More samples close the gap of IWAE to log p(x)", "; ".join(found), every(answers))


def signals(first: pd.DataFrame, last: pd.DataFrame, k: int) -> list[Verdict]:
    """Judges what K does to the SNR of θ̄ and φ̄ at the trained parameters."""
    found = []
    for claim, side, cells in (
        (f"K = {k} drowns the pathwise φ̄ of IWAE", below, (("iwae", "pathwise", "snr_phi"),)),
        (f"K = {k} sharpens θ̄ of IWAE", above, (("iwae", "pathwise", "snr_theta"),)),
        (
            f"K = {k} sharpens φ̄ of the ELBO and of forward KL",
            above,
            (("elbo", "pathwise", "snr_phi"), ("forward_kl", "wake_phi", "snr_phi")),
        ),
    ):
        pairs = [
            tuple(ends(frame.loc[("trained", bound, estimator)], column) for frame in (first, last))
            for bound, estimator, column in cells
            if ("trained", bound, estimator) in first.index
        ]
        words = ", ".join(f"SNR {text(before)} to {text(after)}" for before, after in pairs)
        found.append(Verdict(claim, words, every(side(difference(after, before)) for before, after in pairs)))
    return found
