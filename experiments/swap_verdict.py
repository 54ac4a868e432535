"""What the rows of `swap_objectives` say."""

import pandas as pd

from experiments.deep_rows import MEAN
from experiments.verdicts import Verdict, above, apart, below, difference, ends, numbers, text, where


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges every swap by its control, the run that kept its objective for as many steps."""
    results = rows.query("part == 'result'")
    means, seeds = (where(results, mask) for mask in (results["seed"] == MEAN, results["seed"] != MEAN))
    gain = {row["method"]: ends(row, "gain") for _, row in means.iterrows()}
    found = []
    for claim, side, swapped, control in (
        ("A VAE gains more by going on as an IWAE than as a VAE", above, "vae then iwae", "vae then vae"),
        ("An IWAE that goes on as a VAE loses to one that goes on as it is", below, "iwae then vae", "iwae then iwae"),
    ):
        if {swapped, control} <= set(gain):
            words = f"NLL gains {text(gain[swapped])} nats against {text(gain[control])}"
            found.append(Verdict(claim, words, side(difference(gain[swapped], gain[control]))))
    return [*found, *guide(seeds)]


def guide(rows: pd.DataFrame) -> list[Verdict]:
    """Judges −ELBO − NLL = KL(q ‖ p(z | x)) of an IWAE that went on as a VAE by its control's, by seeds."""
    here = [rows.query(f"method == '{name}'") for name in ("iwae then vae", "iwae then iwae")]
    if any(runs.empty for runs in here):
        return []
    back, kept = (numbers(runs, "minus_elbo") - numbers(runs, "nll") for runs in here)
    words = f"KL(q ‖ p) is {back.max():.2f} nats at most, {kept.min():.2f} at least where IWAE went on"
    return [Verdict("The ELBO gets its guide back when an IWAE goes on as a VAE", words, apart(back, kept))]
