"""What the rows of `deep_generative` say."""

import pandas as pd

from experiments.deep_rows import MEAN
from experiments.verdicts import Verdict, above, agree, ends, every, text, z_scores


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges means over seeds by reference numbers where there are any, and more draws by what they gain."""
    results = rows.query("part == 'result'").astype({"K": int})
    whole = results["seed"].eq(MEAN)
    means, seeds = results[whole], results[~whole]
    return [*references(means), *draws(means.query("method == 'iwae'")), *guides(seeds), *others(seeds)]


def references(rows: pd.DataFrame) -> list[Verdict]:
    """Judges NLL and −ELBO by reference numbers, to the intervals over test images."""
    kept = rows.dropna(subset=["reference_nll"])
    if kept.empty:
        return []
    z = [score for name in ("nll", "minus_elbo") for score in z_scores(kept, name, f"reference_{name}")]
    off = (kept["nll"] - kept["reference_nll"]).abs().max()
    found = agree("NLL and −ELBO are the reference numbers", z)
    return [found._replace(found=f"NLL within {off:.2f} nats in {len(kept)} models; {found.found}")]


def draws(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the gain in NLL of the largest k over the smallest, image by image."""
    if rows["K"].nunique() < 2:
        return []
    last = rows.loc[rows["K"].idxmax()]
    claim = f"IWAE trains a better model with k = {last['K']} than with k = {rows['K'].min()}"
    return [Verdict(claim, f"gain {text(ends(last, 'gain'))} nats", above(ends(last, "gain")))]


def guides(rows: pd.DataFrame) -> list[Verdict]:
    """Judges KL(q ‖ p(z | x)) = −ELBO − NLL under IWAE with the smallest and the largest k, in every seed."""
    iwae = rows.query("method == 'iwae'")
    if iwae["K"].nunique() < 2:
        return []
    divergence = (iwae["minus_elbo"] - iwae["nll"]).groupby(iwae["K"])
    few, many = (divergence.get_group(k) for k in (iwae["K"].min(), iwae["K"].max()))
    words = f"KL(q ‖ p) {few.mean():.2f} nats with k = {iwae['K'].min()}, {many.mean():.2f} with k = {iwae['K'].max()}"
    return [Verdict("A tighter bound trains a guide further from its posterior", words, apart(few, many))]


def others(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the gradients of φ that are not IWAE's pathwise one, at the k that they share with it, in every seed."""
    gain = {name: here["gain"] for name, here in rows.groupby(["method", "K"])}
    pairs = [(name, k) for name, k in gain if name in ("dreg", "rws", "piwae") and k > 1 and ("iwae", k) in gain]
    if not pairs:
        return []
    iwae = dict.fromkeys(("iwae", k) for _, k in pairs)
    words = ", ".join(f"{name}({k}) {gain[name, k].mean():.2f}" for name, k in [*pairs, *iwae])
    holds = every(apart(gain["iwae", k], gain[name, k]) for name, k in pairs)
    claim = "With as many draws DReG, RWS and PIWAE train a better model than the pathwise IWAE"
    return [Verdict(claim, f"gains {words} nats", holds)]


def apart(lower: pd.Series, higher: pd.Series) -> bool | None:
    """Whether every seed of one is below every seed of the other; False where it is the other way round."""
    if lower.max() < higher.min():
        return True
    return False if higher.max() < lower.min() else None
