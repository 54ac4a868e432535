"""What the rows of `swap_objectives` say."""

import pandas as pd

from experiments.deep_rows import MEAN
from experiments.verdicts import Verdict, above, below, difference, ends, text


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges every swap by its control, the run that kept its objective for as many steps."""
    results = rows.query("part == 'result'")
    whole = results["seed"].eq(MEAN)
    gain = {row["method"]: ends(row, "gain") for _, row in results[whole].iterrows()}
    found = []
    for claim, side, swapped, control in (
        ("A VAE gains more by going on as an IWAE than as a VAE", above, "vae then iwae", "vae then vae"),
        ("An IWAE that goes on as a VAE loses to one that goes on as it is", below, "iwae then vae", "iwae then iwae"),
    ):
        if {swapped, control} <= set(gain):
            words = f"NLL gains {text(gain[swapped])} nats against {text(gain[control])}"
            found.append(Verdict(claim, words, side(difference(gain[swapped], gain[control]))))
    return [*found, *guide(results[~whole])]


def guide(rows: pd.DataFrame) -> list[Verdict]:
    """Judges −ELBO − NLL = KL(q ‖ p(z | x)) of the last objective's two runs, in every seed."""
    divergence = (rows["minus_elbo"] - rows["nll"]).groupby(rows["method"])
    if not {"vae then vae", "iwae then vae", "iwae then iwae"} <= set(divergence.groups):
        return []
    least, most = divergence.min(), divergence.max()
    back, kept = (least["iwae then vae"], most["iwae then vae"]), least["iwae then iwae"]
    # Every seed on the side of its present objective, or every one on the other, or neither.
    holds = True if back[1] < kept else (False if back[0] > most["iwae then iwae"] else None)
    words = f"KL(q ‖ p) is {back[1]:.2f} nats at most, {kept:.2f} at least where IWAE went on"
    return [Verdict("The ELBO gets its guide back when an IWAE goes on as a VAE", words, holds)]
