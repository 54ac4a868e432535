"""What the rows of `deep_generative` say."""

import numpy as np
import pandas as pd

from experiments.deep_rows import MEAN
from experiments.verdicts import Verdict, above, agree, apart, ends, every, numbers, text, where, z_scores


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges means over seeds by reference numbers where there are any, and more draws by what they gain."""
    results = rows.query("part == 'result'").astype({"K": int})
    means, seeds = (where(results, mask) for mask in (results["seed"] == MEAN, results["seed"] != MEAN))
    return [*references(means), *draws(means.query("method == 'iwae'")), *guides(seeds), *others(seeds)]


def references(rows: pd.DataFrame) -> list[Verdict]:
    """Judges NLL and −ELBO by reference numbers, to the intervals over test images."""
    kept = rows.dropna(subset=["reference_nll"])
    if kept.empty:
        return []
    z = [score for name in ("nll", "minus_elbo") for score in z_scores(kept, name, f"reference_{name}")]
    off = np.abs(numbers(kept, "nll") - numbers(kept, "reference_nll")).max()
    found = agree("NLL and −ELBO are the reference numbers", z)
    return [found._replace(found=f"NLL within {off:.2f} nats in {len(kept)} models; {found.found}")]


def draws(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the gain in NLL of the largest k over the smallest, image by image."""
    few, many = sizes(rows)
    if few == many:
        return []
    gain = ends(rows.query(f"K == {many}").iloc[0], "gain")
    return [
        Verdict(
            f"IWAE trains a better model with k = {many} than with k = {few}", f"gain {text(gain)} nats", above(gain)
        )
    ]


def guides(rows: pd.DataFrame) -> list[Verdict]:
    """Judges KL(q ‖ p(z | x)) = −ELBO − NLL under IWAE with the smallest and the largest k, by seeds."""
    iwae = rows.query("method == 'iwae'")
    few, many = sizes(iwae)
    if few == many:
        return []
    near, far = (
        numbers(here, "minus_elbo") - numbers(here, "nll") for here in (iwae.query(f"K == {k}") for k in (few, many))
    )
    words = f"KL(q ‖ p) {near.mean():.2f} nats with k = {few}, {far.mean():.2f} with k = {many}"
    return [Verdict("A tighter bound trains a guide further from its posterior", words, apart(near, far))]


def sizes(rows: pd.DataFrame) -> tuple[int, int]:
    """Returns the smallest and the largest k, zeros where there is none."""
    return (int(min(rows["K"])), int(max(rows["K"]))) if len(rows) else (0, 0)


def others(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the gradients of φ that are not IWAE's pathwise one, at the k that they share with it, by seeds."""
    cells = dict.fromkeys(zip(rows["method"], rows["K"], strict=True))
    gain = {(name, k): numbers(rows.query(f"method == '{name}' and K == {k}"), "gain") for name, k in cells}
    pairs = [(name, k) for name, k in gain if name in ("dreg", "rws", "piwae") and k > 1 and ("iwae", k) in gain]
    if not pairs:
        return []
    iwae = dict.fromkeys(("iwae", k) for _, k in pairs)
    words = ", ".join(f"{name}({k}) {gain[name, k].mean():.2f}" for name, k in [*pairs, *iwae])
    holds = every(apart(gain["iwae", k], gain[name, k]) for name, k in pairs)
    claim = "With as many draws DReG, RWS and PIWAE train a better model than the pathwise IWAE"
    return [Verdict(claim, f"gains {words} nats", holds)]
